//! The plan of a cluster's run: everything that is decided before it begins.

use super::faults::{Fault, FaultSet};
use crate::member::Settings;
use crate::random::Random;

/// Makes the choices of a plan independent of those of its run, though both come from one seed.
const PLAN_SALT: u64 = 0xc1a5;

/// Parameters of one run. Equal plans give equal runs.
#[derive(Debug, Clone, Copy)]
pub struct ClusterPlan {
    /// The seed of every choice.
    pub seed: u64,
    /// Members of the cluster: 1 to 7.
    pub members: usize,
    /// What clients send and ask.
    pub operations: u64,
    /// What may go wrong.
    pub faults: FaultSet,
    /// Events between two faults, on average.
    pub fault_interval: u64,
    /// Of a hundred messages so many are lost, or repeated, by a network that does that.
    pub bad_messages_percent: u64,
    /// Longest time between two events, in milliseconds.
    pub step_ms_max: u64,
    /// How often a job goes on, while the node and the WAL writer each go on 8 times.
    pub job_pace: u64,
    /// Bytes of the longest value.
    pub value_len_max: u64,
    /// Bytes of a segment of the revision log.
    pub segment_bytes: u64,
    /// Bytes of a file of the write-ahead log.
    pub wal_file_bytes: u64,
    /// Entries after which a checkpoint is due.
    pub checkpoint_entries: u64,
    /// Bytes of WAL after which a checkpoint is due at once.
    pub checkpoint_bytes: u64,
    /// Entries kept in memory that a checkpoint already covers.
    pub catchup_entries: u64,
}

impl ClusterPlan {
    /// The plan of a seed.
    pub fn new(seed: u64) -> ClusterPlan {
        let random = &mut Random::new(seed ^ PLAN_SALT);
        let segment_bytes = 8 << random.between(10, 12);
        ClusterPlan {
            seed,
            members: random.weighted(&[(1, 1), (1, 2), (10, 3), (2, 4), (5, 5), (1, 6), (1, 7)]),
            operations: random.weighted(&[(3, 40), (4, 100), (2, 250), (1, 600)]),
            faults: draw_faults(random),
            fault_interval: random.weighted(&[(1, 100), (3, 300), (2, 1000)]),
            bad_messages_percent: random.weighted(&[(3, 2), (2, 10), (1, 40)]),
            step_ms_max: random.weighted(&[(1, 20), (3, 100), (2, 400)]),
            job_pace: random.weighted(&[(1, 1), (2, 8), (1, 24)]),
            value_len_max: segment_bytes / random.weighted(&[(2, 128), (2, 64), (1, 32)]),
            segment_bytes,
            wal_file_bytes: segment_bytes << random.below(2),
            checkpoint_entries: 5 << random.below(6),
            checkpoint_bytes: 512 << random.below(8),
            catchup_entries: random.weighted(&[(1, 0), (2, 5), (2, 40), (2, u64::MAX)]),
        }
    }

    /// The plan of another seed with the same members, operations and kinds of faults.
    pub(super) fn with_seed(&self, seed: u64) -> ClusterPlan {
        let ClusterPlan { members, operations, faults, .. } = *self;
        ClusterPlan { members, operations, faults, ..ClusterPlan::new(seed) }
    }

    pub(super) fn settings(&self) -> Settings {
        Settings {
            segment_bytes: self.segment_bytes,
            wal_file_bytes: self.wal_file_bytes,
            checkpoint_entries: self.checkpoint_entries,
            checkpoint_bytes: self.checkpoint_bytes,
            catchup_entries: self.catchup_entries,
            quota_bytes: None,
        }
    }
}

/// A tenth of the runs has no fault. The others have each fault with a probability of their own.
fn draw_faults(random: &mut Random) -> FaultSet {
    let percent = random.weighted(&[(1, 0), (3, 15), (4, 35), (2, 80)]);
    let mut faults = FaultSet::default();
    for fault in Fault::ALL {
        if random.percent(percent) {
            faults.insert(fault);
        }
    }
    faults
}
