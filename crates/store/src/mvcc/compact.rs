//! Forgetting history, without stopping anybody.
//!
//! A compaction is three things, of which only the first is waited for: the mark (reads below are refused
//! from then on), the hash of what is about to go (by a job off the writer's thread), and the trimming of
//! the index, a bounded number of changes at a time between batches. The bytes are given back later, when
//! the segments they lie in are rewritten.
//!
//! Compactions wait for each other in order, and trimming waits for reads that still need what it would
//! trim.

use std::collections::VecDeque;

use super::hash::{HashRead, KeyValueHash};
use super::{Mvcc, Shared, State};
use crate::Error;

/// Keys looked at and changes dropped in one trimming step: about 50 µs of the writer's time.
const TRIM_STEPS: usize = 500;

/// The compactions marked and not yet finished, oldest first.
#[derive(Debug, Default)]
pub(super) struct Compactor {
    queue: VecDeque<Compaction>,
}

#[derive(Debug)]
struct Compaction {
    at: i64,
    previous: i64,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// Waiting for its turn.
    Marked,
    /// The hash job has been handed out.
    Hashing,
    /// The index is being trimmed; all before this key is done.
    Trimming { from: Option<Box<[u8]>> },
}

impl Compactor {
    pub(super) fn schedule(&mut self, at: i64, previous: i64) {
        self.queue.push_back(Compaction { at, previous, stage: Stage::Marked });
    }
}

/// Computes the hash of a compaction; may run on any thread.
#[derive(Debug)]
pub struct CompactionHashJob {
    read: HashRead,
}

impl CompactionHashJob {
    /// Reads all records the hash covers.
    pub fn run(mut self) -> Result<KeyValueHash, Error> {
        while !self.read.step()? {}
        Ok(self.read.finish().1)
    }
}

impl Mvcc {
    /// The next hash job to run, if a compaction is waiting for one.
    pub(crate) fn compaction_hash_job(&mut self) -> Option<CompactionHashJob> {
        let front = self.compactor.queue.front_mut().filter(|c| matches!(c.stage, Stage::Marked))?;
        front.stage = Stage::Hashing;
        let state = self.shared.read();
        let read = HashRead::of_compaction(&self.shared, &state, front.at, front.previous);
        Some(CompactionHashJob { read })
    }

    /// Takes the result of the job: the trimming may begin.
    pub(crate) fn compaction_hashed(&mut self, hash: KeyValueHash) {
        self.shared.hashes().insert(hash);
        if let Some(front) = self.compactor.queue.front_mut() {
            front.stage = Stage::Trimming { from: None };
        }
    }

    /// Whether a trimming step would get anywhere now.
    pub(crate) fn can_trim(&self) -> bool {
        let front = self.compactor.queue.front();
        front.is_some_and(|c| matches!(c.stage, Stage::Trimming { .. }) && may_trim(&self.shared, c.at))
            || (self.has_holds && self.shared.read().holds.can_release())
    }

    /// Trims some changes. Returns the revision of the compaction if that finished it.
    pub(crate) fn trim_step(&mut self) -> Option<i64> {
        self.release_step();
        let front = self.compactor.queue.front_mut()?;
        let Stage::Trimming { from } = &mut front.stage else { return None };
        if !may_trim(&self.shared, front.at) {
            return None;
        }
        let log = &mut self.log;
        let mut state = self.shared.write();
        let State { index, operations, holds, .. } = &mut *state;
        let held = holds.revisions();
        *from = index.compact_step(front.at, &held, from.as_deref(), TRIM_STEPS, &mut |change| {
            if change.needed_by == 0 {
                log.mark_dead(change.location);
            } else {
                holds.keep(change);
            }
            operations.compacted += 1;
        });
        drop(state);
        if from.is_some() {
            return None;
        }
        self.compactor.queue.pop_front().map(|c| c.at)
    }

    /// Counts records as dead that were trimmed earlier and that no export needs any more.
    fn release_step(&mut self) {
        if self.has_holds {
            let log = &mut self.log;
            let mut state = self.shared.write();
            state.holds.release(TRIM_STEPS, &mut |location| log.mark_dead(location));
            self.has_holds = !state.holds.is_empty();
        }
    }

    /// Whether compactions are under way, and up to which revision.
    pub(crate) fn compacting(&self) -> Option<i64> {
        self.compactor.queue.back().map(|c| c.at)
    }
}

/// A read pinned below `at` may still need what trimming at `at` would drop.
fn may_trim(shared: &Shared, at: i64) -> bool {
    shared.pins().first_key_value().is_none_or(|(&pinned, _)| pinned >= at)
}
