//! Runs the simulator over many seeds: `sim --minutes 1`. A failure prints its seed, what led to it and how
//! to repeat it.

mod args;
mod cluster_runs;

use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use args::{Args, Work};
use sim::bugs::{self, BUGS, Bug};
use sim::{Failure, Kill, Plan, Report, panic_text, simulate};

/// Seeds within which a seeded bug must be found.
const SEEDS_A_BUG: u64 = 20_000;

fn main() -> ExitCode {
    match Args::parse(std::env::args().skip(1)).and_then(|args| run(&args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("sim: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), String> {
    let start = Instant::now();
    if args.is_cluster {
        return cluster_runs::run(args, &|| start.elapsed());
    }
    bugs::switch_on(args.bug.as_deref())?;
    let mut total = Total::default();
    match &args.work {
        Work::Seeds(seeds) => seeds.clone().try_for_each(|seed| run_seed(args, seed, &mut total))?,
        Work::Minutes(minutes) => {
            let end = start + Duration::from_secs(60 * minutes);
            (0..)
                .take_while(|_| Instant::now() < end)
                .try_for_each(|seed| run_seed(args, seed, &mut total))?;
        }
        Work::Bugs => return find_bugs(args),
    }
    total.print(start.elapsed());
    Ok(())
}

/// Switches on one bug after the other and runs seeds until it is found.
fn find_bugs(args: &Args) -> Result<(), String> {
    if cfg!(panic = "abort") {
        return Err(
            "some bugs show as a panic, and this build ends at the first: build without --release".into()
        );
    }
    panic::set_hook(Box::new(|_| {}));
    println!("{:<34} {:>6} {:>9}  shows as", "bug", "seed", "time");
    let missed = BUGS.iter().map(|bug| find(args, bug)).collect::<Result<Vec<_>, _>>()?;
    let missed: Vec<_> = missed.into_iter().flatten().collect();
    if missed.is_empty() { Ok(()) } else { Err(format!("not found: {}", missed.join(", "))) }
}

/// Returns the name of the bug if it is not found.
fn find(args: &Args, bug: &Bug) -> Result<Option<&'static str>, String> {
    bugs::switch_on(Some(bug.name))?;
    let start = Instant::now();
    for seed in 0..SEEDS_A_BUG {
        if let Err(failure) = try_plan(&args.plan(seed)) {
            let what: String = failure.what.chars().take(90).collect();
            println!("{:<34} {seed:>6} {:>7.2} s  {what}", bug.name, start.elapsed().as_secs_f64());
            return Ok(None);
        }
    }
    println!("{:<34} not found: {}", bug.name, bug.what);
    Ok(Some(bug.name))
}

/// Runs a seed, or each run of its sweep.
fn run_seed(args: &Args, seed: u64, total: &mut Total) -> Result<(), String> {
    total.seeds += 1;
    let plan = args.plan(seed);
    if !args.is_sweep {
        return run_plan(args, &plan, total).map(|_| ());
    }
    let effects = run_plan(args, &Plan { kill: Kill::Never, ..plan }, total)?.effects;
    let kills = (0..effects).flat_map(|n| [Kill::AtEffect(n), Kill::ProcessAtEffect(n)]);
    kills.map(|kill| Plan { kill, ..plan }).try_for_each(|plan| run_plan(args, &plan, total).map(|_| ()))
}

fn run_plan(args: &Args, plan: &Plan, total: &mut Total) -> Result<Report, String> {
    // In a build where a panic aborts, this hook prints all that is known of the panic.
    let again = args.repeat(plan);
    panic::set_hook(Box::new(move |info| eprintln!("{info}\nagain: {again}")));
    let report = try_plan(plan).map_err(|failure| {
        let lines = failure.trace.join("\n");
        format!("{lines}\n{plan:?}\nseed {}: {}\nagain: {}", plan.seed, failure.what, args.repeat(plan))
    })?;
    total.add(&report);
    Ok(report)
}

/// In a build that unwinds, a panic is a failure of the run.
fn try_plan(plan: &Plan) -> Result<Report, Failure> {
    let run = panic::catch_unwind(AssertUnwindSafe(|| simulate(plan)));
    run.unwrap_or_else(|panic| Err(Failure { what: panic_text(&*panic), trace: Vec::new() }))
}

/// Sums over all runs.
#[derive(Debug, Default)]
struct Total {
    seeds: u64,
    runs: u64,
    sum: Report,
}

impl Total {
    fn add(&mut self, report: &Report) {
        self.runs += 1;
        self.sum += *report;
    }

    fn print(&self, elapsed: Duration) {
        let Total { seeds, runs, sum } = self;
        let per_second = *runs as f64 / elapsed.as_secs_f64();
        println!("{seeds} seeds, {runs} runs in {:.1} s, {per_second:.0} a second", elapsed.as_secs_f64());
        println!(
            "{} commands, {} answers, {} reads and {} watch events compared",
            sum.commands, sum.answered, sum.reads, sum.events
        );
        println!(
            "{} effects, {} kills, {} restarts, {} stops after a failed sync, {} starts delayed by a full disk",
            sum.effects, sum.kills, sum.restarts, sum.fatal_stops, sum.late_starts
        );
        println!(
            "{} checkpoints, {} compactions, {} commands refused for want of space, {} because of an alarm",
            sum.checkpoints, sum.compactions, sum.refused, sum.alarmed
        );
        println!("no difference found");
    }
}
