//! Giving back the space of records that compaction has dropped.
//!
//! A job, off the writer's thread, copies the records still needed out of a run of mostly dead segments into
//! one new segment. Then the index is pointed to the copies, a few keys at a time between batches; then the old
//! segments leave the log, and their files go once a checkpoint no longer lists them.

use disk::log::{ReclaimPlan, Rewritten};

use super::Mvcc;
use super::view::ReadView;

/// Records pointed elsewhere in one step: about 500 µs of the writer's time at a million keys.
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
    /// How many records of it are done.
    done: usize,
}

impl Mvcc {
    /// A job worth running, if there is one and none is under way; `thoroughly`, any that frees something is.
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
        self.relocation = Some(Relocation { rewritten, done: 0 });
    }

    /// Whether [`Mvcc::relocate_step`] has something to do.
    pub(crate) fn can_relocate(&self) -> bool {
        self.relocation.is_some()
    }

    /// Points some of the index to the copies; true if that was the last of it.
    pub(crate) fn relocate_step(&mut self) -> bool {
        let Some(relocation) = &mut self.relocation else { return false };
        let moved = &relocation.rewritten.moved;
        let end = moved.len().min(relocation.done + STEP_RECORDS);
        {
            let mut state = self.shared.write();
            for (key, revision, to) in
                moved[relocation.done..end].iter().skip(disk::seeded_bug!("key-not-relocated").into())
            {
                if !state.index.relocate(key, *revision, *to) {
                    self.log.mark_dead(*to);
                }
            }
        }
        relocation.done = end;
        if end < moved.len() {
            return false;
        }
        self.log.retire(&relocation.rewritten);
        self.relocation = None;
        true
    }
}
