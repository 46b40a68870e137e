//! The simulator on fixed seeds: what every change must pass at once, before the minutes and nights of `sim
//! --minutes`.

mod cluster;

use sim::{Fault, Kill, Plan, Report, simulate};

/// Runs a plan; a difference fails the test with the trace that led to it.
fn run(plan: &Plan) -> Report {
    simulate(plan).unwrap_or_else(|failure| {
        panic!("{}\n{plan:?}: {}", failure.trace.join("\n"), failure.what);
    })
}

/// Runs all plans and sums their reports.
fn run_all(plans: impl Iterator<Item = Plan>) -> Report {
    let mut sum = Report::default();
    plans.for_each(|plan| sum += run(&plan));
    sum
}

#[test]
fn a_member_killed_at_random_equals_the_model() {
    let sum = run_all((0..300).map(Plan::new));
    assert!(sum.kills > 1000 && sum.checkpoints > 1000 && sum.compactions > 1000, "{sum:?}");
    assert!(sum.answered > 10_000 && sum.reads > 10_000 && sum.events > 10_000, "{sum:?}");
    assert!(sum.alarmed > 1000, "{sum:?}");
}

#[test]
fn a_member_killed_at_any_one_effect_equals_the_model() {
    for seed in 0..6 {
        let plan = Plan::short(seed);
        let effects = run(&plan).effects;
        assert!(effects > 50, "{effects} effects");
        let sum = run_all((0..effects).map(|n| Plan { kill: Kill::AtEffect(n), ..plan }));
        assert_eq!(sum.kills, effects, "one kill in each run");
    }
}

#[test]
fn power_lost_after_a_process_was_killed_at_any_one_effect_leaves_what_was_acknowledged() {
    for seed in 0..4 {
        let plan = Plan::short(seed);
        let effects = run(&plan).effects;
        let sum = run_all((0..effects).map(|n| Plan { kill: Kill::ProcessAtEffect(n), ..plan }));
        assert!(sum.kills > effects * 3 / 2, "most runs go on until power is lost: {sum:?} of {effects}");
    }
}

#[test]
fn equal_plans_give_equal_traces() {
    for seed in 0..20 {
        let plan = Plan::new(seed);
        assert_eq!(run(&plan), run(&plan));
    }
    assert_ne!(run(&Plan::new(1)).trace, run(&Plan::new(2)).trace);
}

#[test]
fn a_full_disk_refuses_writes_until_there_is_room() {
    let sum = run_all((0..200).map(|seed| Plan::with_fault(seed, Fault::FullDisk)));
    assert!(sum.refused > 100, "{sum:?}");
}

#[test]
fn nothing_acknowledged_is_lost_to_a_failed_sync() {
    let sum = run_all((0..60).map(|seed| Plan::with_fault(seed, Fault::FailedSync)));
    assert!(sum.fatal_stops > 60, "{sum:?}");
}
