//! Clusters on fixed seeds.

use sim::{ClusterPlan, ClusterReport, FaultSet, simulate_cluster, trace_cluster};

/// Runs a plan; a difference fails the test with the trace that led to it.
fn run(plan: &ClusterPlan) -> ClusterReport {
    simulate_cluster(plan).unwrap_or_else(|failure| {
        panic!("{}\n{plan:?}: {}", failure.trace.join("\n"), failure.what);
    })
}

fn traced(plan: &ClusterPlan) -> ClusterReport {
    trace_cluster(plan).unwrap_or_else(|failure| panic!("{plan:?}: {}", failure.what))
}

/// Runs plans and sums their reports.
fn run_all(plans: impl Iterator<Item = ClusterPlan>) -> ClusterReport {
    let mut sum = ClusterReport::default();
    plans.for_each(|plan| sum += run(&plan));
    sum
}

#[test]
fn a_cluster_without_faults_is_one_etcd() {
    let plans = (0..20).map(|seed| ClusterPlan { faults: FaultSet::default(), ..ClusterPlan::new(seed) });
    let sum = run_all(plans);
    assert!(sum.answered > 1000 && sum.linearizable_reads > 300 && sum.events > 1000, "{sum}");
}

#[test]
fn equal_plans_give_equal_traces() {
    for seed in 0..10 {
        let plan = ClusterPlan::new(seed);
        assert_eq!(traced(&plan), traced(&plan));
    }
    assert_ne!(traced(&ClusterPlan::new(1)).trace, traced(&ClusterPlan::new(2)).trace);
}

#[test]
fn a_cluster_with_any_faults_is_one_etcd() {
    let sum = run_all((0..100).map(ClusterPlan::new));
    assert!(sum.answered > 3000 && sum.linearizable_reads > 800 && sum.events > 9000, "{sum}");
    assert!(sum.joined > 5 && sum.retired > 3 && sum.changes_answered > 10, "{sum}");
    assert!(sum.transferred > 8 && sum.damage_found > 1, "{sum}");
    assert!(sum.elections > 150 && sum.restarts > 400, "{sum}");
}
