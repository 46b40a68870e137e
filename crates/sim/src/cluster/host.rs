//! One machine of the cluster: its disk, its clock, and the member that runs on it, if one does.
//!
//! The disk and the clock outlive the member. The model is etcd as it must be after the entries that the member
//! has applied; it is known once the member has taken its first step.

use std::time::Duration;

use disk::{Disk as _, SimDisk};
use node::{Fatal, Input};

use super::history::History;
use super::plan::ClusterPlan;
use crate::member::{Birth, Member, Pace, TICK, WAL_DIR};
use crate::model::Model;

/// Clock rates are parts of a million: a sound clock has this one.
pub(super) const TRUE_RATE_PPM: u64 = 1_000_000;

/// What a machine is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Its member is to join the cluster, and is not started before it is added.
    Expected,
    /// Its member is started whenever it does not run.
    Member,
    /// Its member was removed, and is not started any more.
    Retired,
    /// Its disk is damaged, so that its member does not start.
    Lost,
}

/// A machine.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) place: usize,
    pub(super) standing: Standing,
    pub(super) disk: SimDisk,
    pub(super) member: Option<Member>,
    /// When the member is started again, if it does not run.
    pub(super) starts_at: Duration,
    pub(super) lives: u64,
    /// The time on its clock, and how fast that runs.
    pub(super) clock: Duration,
    pub(super) rate_ppm: u64,
    next_tick: Duration,
    /// Until when all of its threads stand still.
    pub(super) paused_until: Duration,
    /// Until when one of them does: the node, the WAL's writer.
    pub(super) node_stalls_until: Duration,
    pub(super) wal_stalls_until: Duration,
    /// What the member has applied; `None` before its first step.
    pub(super) applied: Option<Applied>,
    /// The last entry of the state that it took over from another member; 0 if it took over none.
    pub(super) installed: u64,
    /// The highest term and commit index seen in this life.
    pub(super) term: u64,
    pub(super) commit: u64,
    /// Whether a sync was made to fail in this life.
    pub(super) is_sync_failing: bool,
    /// Last entry of the newest checkpoint that is durable.
    pub(super) checkpoint: u64,
    /// Whether a bit on its disk has changed.
    pub(super) is_damaged: bool,
    /// When the member stops, since it was removed.
    pub(super) retires_at: Option<Duration>,
    /// Whether anybody has asked for its removal.
    pub(super) is_removal_asked: bool,
    /// Whether the death that is planned for it is one of the process alone.
    pub(super) keeps_power: bool,
}

/// The entries that a member has applied, and what etcd would hold after them.
#[derive(Debug)]
pub(super) struct Applied {
    pub(super) index: u64,
    pub(super) model: Model,
}

impl Host {
    pub(super) fn new(place: usize, seed: u64) -> Result<Host, String> {
        let host = Host {
            place,
            standing: Standing::Member,
            disk: SimDisk::new(seed ^ (place as u64 + 1)),
            member: None,
            starts_at: Duration::ZERO,
            lives: 0,
            clock: Duration::ZERO,
            rate_ppm: TRUE_RATE_PPM,
            next_tick: TICK,
            paused_until: Duration::ZERO,
            node_stalls_until: Duration::ZERO,
            wal_stalls_until: Duration::ZERO,
            applied: None,
            installed: 0,
            term: 0,
            commit: 0,
            is_sync_failing: false,
            checkpoint: 0,
            is_damaged: false,
            retires_at: None,
            is_removal_asked: false,
            keeps_power: false,
        };
        let dir = std::path::Path::new(WAL_DIR).parent().expect("the WAL lies in a directory");
        let made = host.disk.create_dir(dir).and_then(|()| host.disk.sync_dir(std::path::Path::new("/")));
        made.map(|()| host).map_err(|error| format!("a new disk fails: {error}"))
    }

    /// Starts the member with what is on the disk.
    pub(super) fn start(&mut self, plan: &ClusterPlan) -> Result<(), Fatal> {
        self.lives += 1;
        (self.is_sync_failing, self.applied) = (false, None);
        self.term = 0;
        self.installed = 0;
        self.commit = 0;
        let birth = Birth {
            place: self.place,
            members: if self.place < plan.members { plan.members } else { 0 },
            life: self.lives,
            seed: plan.seed,
            now: self.clock,
        };
        self.member = Some(Member::start(&self.disk, &plan.settings(), birth)?);
        Ok(())
    }

    /// Lets `time` pass. The clock goes on whether the member runs or not. A member that stands still finds one
    /// tick when it goes on.
    pub(super) fn pass(&mut self, time: Duration) {
        let nanos = time.as_nanos() * u128::from(self.rate_ppm) / u128::from(TRUE_RATE_PPM);
        self.clock += Duration::from_nanos(u64::try_from(nanos).expect("little time passes at once"));
        if let Some(member) = &mut self.member {
            member.now = self.clock;
            if self.clock >= self.next_tick && !member.has_tick_waiting() {
                member.send(Input::Tick);
                self.next_tick = self.clock + TICK;
            }
        }
    }

    /// True time until the next tick.
    pub(super) fn until_tick(&self) -> Duration {
        self.next_tick.saturating_sub(self.clock)
    }

    /// How fast its threads go at the true time `now`.
    pub(super) fn pace(&self, now: Duration, plan: &ClusterPlan) -> Pace {
        let unless = |until: Duration, pace| if now < until.max(self.paused_until) { 0 } else { pace };
        Pace {
            node: unless(self.node_stalls_until, Pace::USUAL),
            wal: unless(self.wal_stalls_until, Pace::USUAL),
            jobs: unless(Duration::ZERO, plan.job_pace),
        }
    }

    /// The member and what etcd would hold after what it has applied, once that is known.
    pub(super) fn known(&self) -> Option<(&Member, &Applied)> {
        Some((self.member.as_ref()?, self.applied.as_ref()?))
    }

    /// The same while clients are served by threads other than the node's.
    pub(super) fn serving(&self, now: Duration) -> Option<(&Member, &Applied)> {
        self.known().filter(|_| now >= self.paused_until && !self.disk.has_crashed())
    }

    /// Notes that the member has applied the entries up to `index`; returns up to which it had before.
    pub(super) fn apply_to(&mut self, index: u64, history: &History) -> u64 {
        let applied = self.applied.get_or_insert_with(|| Applied { index: 0, model: Model::new() });
        for request in history.requests(applied.index + 1..=index) {
            // The result was compared when the command was committed.
            let _ = applied.model.apply(request);
        }
        std::mem::replace(&mut applied.index, index)
    }
}
