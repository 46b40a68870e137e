//! Makes a failing plan smaller, as long as it still fails.

use super::ClusterPlan;

/// Seeds that are tried for a smaller plan, since other choices follow from it.
const SEEDS_TRIED: u64 = 8;

/// Runs after which the smallest plan found so far is good enough.
const RUNS_MAX: u32 = 1000;

/// The smallest plan found that still fails as `fails` says, beginning with `plan`, which fails.
///
/// Takes away kinds of faults, members and operations, one after the other, until nothing more can go.
pub fn shrink(plan: &ClusterPlan, fails: &dyn Fn(&ClusterPlan) -> bool) -> ClusterPlan {
    let mut smallest = *plan;
    let mut runs = 0;
    let mut fails = |plan: &ClusterPlan| {
        runs += 1;
        runs <= RUNS_MAX && fails(plan)
    };
    loop {
        let smaller = candidates(&smallest)
            .into_iter()
            .flat_map(|candidate| (0..SEEDS_TRIED).map(move |n| candidate.with_seed(candidate.seed ^ n)));
        match smaller.into_iter().find(|candidate| fails(candidate)) {
            Some(found) => smallest = found,
            None => return smallest,
        }
    }
}

/// Plans that are smaller than `plan` by one thing.
fn candidates(plan: &ClusterPlan) -> Vec<ClusterPlan> {
    let mut smaller = Vec::new();
    for fault in plan.faults.iter() {
        let mut faults = plan.faults;
        faults.remove(fault);
        smaller.push(ClusterPlan { faults, ..*plan });
    }
    let members = [1, 3, plan.members.saturating_sub(1)];
    smaller.extend(
        members
            .into_iter()
            .filter(|n| *n > 0 && *n < plan.members)
            .map(|n| ClusterPlan { members: n, ..*plan }),
    );
    for operations in [plan.operations / 4, plan.operations / 2, plan.operations * 3 / 4] {
        if operations < plan.operations {
            smaller.push(ClusterPlan { operations, ..*plan });
        }
    }
    smaller
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{ClusterFault, FaultSet};

    #[test]
    fn what_is_not_needed_for_the_failure_is_taken_away() {
        let mut faults = FaultSet::default();
        ClusterFault::ALL.into_iter().for_each(|fault| faults.insert(fault));
        let plan = ClusterPlan { members: 7, operations: 800, faults, ..ClusterPlan::new(1) };
        let fails = |plan: &ClusterPlan| {
            plan.members >= 3 && plan.operations >= 50 && plan.faults.contains(ClusterFault::Partition)
        };
        let smallest = shrink(&plan, &fails);
        assert_eq!(smallest.members, 3);
        assert!((50..67).contains(&smallest.operations), "{}", smallest.operations);
        assert!(smallest.faults.iter().eq([ClusterFault::Partition]));
    }
}
