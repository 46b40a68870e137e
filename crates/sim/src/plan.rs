//! The plan of a run: everything that is decided before it begins.

use crate::member::{Pace, Settings};
use crate::random::Random;

/// Make the choices of a plan independent of those of its run, though both come from one seed.
const PLAN_SALT: u64 = 0x9a17;
const FAULT_SALT: u64 = 0xfa01;

/// When the member is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kill {
    /// Never.
    Never,
    /// Power is lost once, when the disk has carried out this many effects.
    AtEffect(u64),
    /// The process is killed when the disk has carried out this many effects. Power is lost soon after the
    /// next process serves.
    ProcessAtEffect(u64),
    /// Again and again, at random, with or without a loss of power: between steps, within them, and while the
    /// member recovers.
    AtRandom,
}

/// What is wrong with the disk, from time to time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// It is full for a while.
    FullDisk,
    /// It fails to sync a file.
    FailedSync,
}

/// Parameters of one run. Equal plans give equal runs.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// The seed of every choice.
    pub seed: u64,
    /// Commands that clients send.
    pub commands: u64,
    /// When the member is killed.
    pub kill: Kill,
    /// In how many steps of a thousand the member is killed, if `kill` is [`Kill::AtRandom`].
    pub kills_per_mille: u64,
    /// What is wrong with the disk.
    pub fault: Fault,
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
    /// Bytes of the longest value.
    pub value_len_max: u64,
    /// Bytes of data at which writes are refused.
    pub quota_bytes: Option<u64>,
    /// How often a job goes on, while the node and the WAL writer each go on 8 times.
    pub job_pace: u64,
}

impl Plan {
    /// The plan of a seed: mostly kills at random on a sound disk, small files of many sizes.
    pub fn new(seed: u64) -> Plan {
        let fault = Random::new(seed ^ FAULT_SALT).weighted(&[
            (6, Fault::None),
            (2, Fault::FullDisk),
            (2, Fault::FailedSync),
        ]);
        Plan::with_fault(seed, fault)
    }

    /// The plan of a seed with a given fault.
    pub fn with_fault(seed: u64, fault: Fault) -> Plan {
        let random = &mut Random::new(seed ^ PLAN_SALT);
        let is_full = fault == Fault::FullDisk;
        // On a full disk a member lives on the reserve in its files, which is a part of their size.
        let segment_bytes = if is_full { 32 << 10 } else { 8 << random.between(10, 12) };
        Plan {
            seed,
            commands: random.weighted(&[(3, 60), (4, 150), (2, 400), (1, 1000)]),
            kill: if random.percent(95) { Kill::AtRandom } else { Kill::Never },
            kills_per_mille: random.weighted(&[(1, 30), (4, 10), (3, 3), (2, 1)]),
            fault,
            segment_bytes,
            wal_file_bytes: segment_bytes << random.below(2),
            checkpoint_entries: 5 << random.below(6),
            checkpoint_bytes: 512 << random.below(8),
            catchup_entries: random.weighted(&[(2, 0), (1, 3), (1, 40)]),
            value_len_max: segment_bytes / random.weighted(&[(2, 128), (2, 64), (2, 32), (1, 16)]),
            quota_bytes: random.percent(25).then(|| 2048 << random.below(4)),
            job_pace: random.weighted(&[(1, 1), (1, 3), (2, 8), (1, 24)]),
        }
    }

    /// A short run on a sound disk without kills. It is repeated with a kill at every effect.
    pub fn short(seed: u64) -> Plan {
        Plan { commands: 40, kill: Kill::Never, ..Plan::with_fault(seed, Fault::None) }
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings {
            segment_bytes: self.segment_bytes,
            wal_file_bytes: self.wal_file_bytes,
            checkpoint_entries: self.checkpoint_entries,
            checkpoint_bytes: self.checkpoint_bytes,
            catchup_entries: self.catchup_entries,
            quota_bytes: self.quota_bytes,
        }
    }

    pub(crate) fn pace(&self) -> Pace {
        Pace { node: Pace::USUAL, wal: Pace::USUAL, jobs: self.job_pace }
    }

    /// Bytes of commands in flight at most: less than the member keeps in reserve when it runs out of space,
    /// which is a quarter of a segment.
    pub(crate) fn in_flight_bytes_max(&self) -> usize {
        (self.segment_bytes / 16 * 3) as usize
    }
}
