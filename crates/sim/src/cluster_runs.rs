//! Runs of clusters, on all processors.

use std::num::NonZero;
use std::ops::Range;
use std::panic;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use sim::bugs::{self, Bug, CLUSTER_BUGS};
use sim::{ClusterPlan, ClusterReport, Failure, shrink, simulate_cluster};

use crate::args::{Args, Work};

/// Seeds within which a seeded bug must be found.
const SEEDS_A_BUG: u64 = 3000;

/// Tells how much time has passed since the start.
type Elapsed<'a> = &'a (dyn Fn() -> Duration + Sync);

/// A plan that has failed.
type Failed = (ClusterPlan, Failure);

/// Does what the options say.
pub(crate) fn run(args: &Args, elapsed: Elapsed<'_>) -> Result<(), String> {
    match &args.work {
        Work::Bugs => find_bugs(args, elapsed),
        Work::Seeds(seeds) => run_seeds(args, seeds.clone(), &|| false, elapsed),
        Work::Minutes(minutes) => {
            let end = Duration::from_secs(60 * minutes);
            run_seeds(args, 0..u64::MAX, &|| elapsed() >= end, elapsed)
        }
    }
}

fn run_seeds(
    args: &Args,
    seeds: Range<u64>,
    is_over: &(dyn Fn() -> bool + Sync),
    elapsed: Elapsed<'_>,
) -> Result<(), String> {
    let bug = args.bug.as_deref();
    bugs::switch_on(bug)?;
    let (sum, failed) = run_parallel(args, seeds, bug, is_over);
    if let Some((plan, failure)) = failed {
        return Err(describe(args, &plan, &failure));
    }
    let seconds = elapsed().as_secs_f64();
    let processors = processors() as f64;
    println!("{} runs in {seconds:.1} s, {:.0} a second", sum.runs, sum.runs as f64 / seconds);
    println!("{sum}");
    let simulated = sum.simulated.as_secs_f64();
    println!(
        "{simulated:.0} s simulated, {:.0} in a second of a processor",
        simulated / seconds / processors
    );
    println!("no difference found");
    Ok(())
}

/// Runs seeds until one fails, there are no more, or the time is over.
fn run_parallel(
    args: &Args,
    seeds: Range<u64>,
    bug: Option<&str>,
    is_over: &(dyn Fn() -> bool + Sync),
) -> (ClusterReport, Option<Failed>) {
    let next_seed = AtomicU64::new(seeds.start);
    let result = Mutex::new((ClusterReport::default(), None));
    let run = || {
        let is_switched = bugs::switch_on(bug);
        is_switched.expect("a bug that could be switched on can be on another thread");
        loop {
            let seed = next_seed.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end || is_over() {
                return;
            }
            let plan = args.cluster_plan(seed);
            let report = simulate_cluster(&plan);
            let mut result = result.lock().unwrap_or_else(PoisonError::into_inner);
            match report {
                Ok(report) => result.0 += report,
                Err(failure) => result.1 = result.1.take().or(Some((plan, failure))),
            }
            if result.1.is_some() {
                return;
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..processors() {
            scope.spawn(run);
        }
    });
    result.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn processors() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// What went wrong, and a smaller plan with which it goes wrong too.
fn describe(args: &Args, plan: &ClusterPlan, failure: &Failure) -> String {
    let lines = failure.trace.join("\n");
    eprintln!("{lines}\n{plan:?}\nseed {}: {}", plan.seed, failure.what);
    eprintln!("again: {}\nlooking for a smaller plan", args.repeat_cluster(plan));
    panic::set_hook(Box::new(|_| {}));
    let smallest = shrink(plan, &|plan| simulate_cluster(plan).is_err());
    let what = simulate_cluster(&smallest).err().map_or_else(|| failure.what.clone(), |failure| failure.what);
    format!("{what}\nsmallest: {}", args.repeat_cluster(&smallest))
}

/// Switches on one bug after the other and runs seeds until it is found.
fn find_bugs(args: &Args, elapsed: Elapsed<'_>) -> Result<(), String> {
    if cfg!(panic = "abort") {
        return Err(
            "some bugs show as a panic, and this build ends at the first: build without --release".into()
        );
    }
    panic::set_hook(Box::new(|_| {}));
    println!("{:<34} {:>6} {:>9}  shows as", "bug", "seed", "time");
    let mut missed = Vec::new();
    for Bug { name, what } in &CLUSTER_BUGS {
        bugs::switch_on(Some(name))?;
        let start = elapsed();
        let (_, failed) = run_parallel(args, 0..SEEDS_A_BUG, Some(name), &|| false);
        let seconds = (elapsed() - start).as_secs_f64();
        if let Some((plan, failure)) = failed {
            let text: String = failure.what.chars().take(110).collect();
            println!("{name:<34} {:>6} {seconds:>7.2} s  {text}", plan.seed);
        } else {
            println!("{name:<34} not found: {what}");
            missed.push(*name);
        }
    }
    if missed.is_empty() { Ok(()) } else { Err(format!("not found: {}", missed.join(", "))) }
}
