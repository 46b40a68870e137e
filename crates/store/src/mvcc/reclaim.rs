//! Giving back the space of records that compaction has dropped.
//!
//! A job, off the writer's thread, copies the records still needed out of a run of mostly dead segments into
//! one new segment. Then the index is pointed to the copies, a few keys at a time between batches; then the
//! old segments leave the log, and their files go once a checkpoint no longer lists them.

use disk::revision_log::{ReclaimPlan, Rewritten};

use super::Mvcc;
use super::view::ReadView;

/// Records pointed elsewhere in one step: about 100 µs of the writer's time, since they come in the order of
/// keys.
const STEP_RECORDS: usize = 500;

/// Copies what is needed of some segments; may run on any thread.
#[derive(Debug)]
pub struct ReclaimJob {
    plan: ReclaimPlan,
    view: ReadView,
}

impl ReclaimJob {
    /// Reads and writes up to a segment's worth of records, and makes the copy durable.
    pub fn run(self) -> Result<Rewritten, disk::Error> {
        self.plan.run(&|key, revision| self.view.holds(key, revision))
    }
}

/// A rewritten run that the index is being pointed to.
#[derive(Debug)]
pub(super) struct Relocation {
    rewritten: Rewritten,
}

impl Mvcc {
    /// A job worth running, if there is one and none is under way; `thoroughly`, any that frees something
    /// is.
    pub(crate) fn reclaim_job(&mut self, thoroughly: bool) -> Option<ReclaimJob> {
        if self.relocation.is_some() {
            return None;
        }
        let plan = self.log.reclaim_candidate(thoroughly)?;
        Some(ReclaimJob { plan, view: self.view() })
    }

    /// Takes what the job has made.
    pub(crate) fn reclaimed(&mut self, rewritten: Rewritten) {
        self.log.install(&rewritten);
        self.relocation = Some(Relocation { rewritten });
    }

    /// Whether [`Mvcc::relocate_step`] has something to do.
    pub(crate) fn can_relocate(&self) -> bool {
        self.relocation.is_some()
    }

    /// Points some of the index to the copies; true if that was the last of it.
    pub(crate) fn relocate_step(&mut self) -> bool {
        let Some(relocation) = &mut self.relocation else { return false };
        let step: Vec<_> = relocation.rewritten.moved.by_ref().take(STEP_RECORDS).collect();
        {
            let mut state = self.shared.write();
            for (key, revision, to) in step.iter().skip(disk::seeded_bug!("key-not-relocated").into()) {
                if !state.index.relocate(key, *revision, *to)
                    && !state.holds.relocate(*revision, *to)
                    && !disk::seeded_bug!("dead-copy-counted-as-live")
                {
                    self.log.mark_dead(*to);
                }
            }
        }
        if step.len() == STEP_RECORDS {
            return false;
        }
        self.log.retire(&relocation.rewritten);
        self.relocation = None;
        true
    }
}
