//! What a member does for itself: checkpoints, spare segments, compactions carried through, space given back.
//!
//! Whatever takes long is a job that runs elsewhere and comes back. Each kind of work is a state machine of its own;
//! this hands out what is due. What fails for want of space is tried again later; any other failure stops the member.

mod checkpoint;
mod reclaim;
mod segment_sync;

use std::path::PathBuf;
use std::sync::Arc;

use disk::Disk;
use store::{Footprint, Store};

use self::checkpoint::{Checkpointer, Urgency};
use self::reclaim::Reclaim;
use self::segment_sync::SegmentSync;
use super::AppliedState;
use crate::config::Config;
use crate::error::Fatal;
use crate::handover::RevisionRoom;
use crate::job::{Finished, Job};
use crate::output::{Note, Output};
use crate::spare::Spare;

/// What waits for room.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pressure {
    /// What the next committed entry needs of the revision log if there is no room for it.
    pub(crate) awaited: Option<Footprint>,
    /// Whether proposals wait for room.
    pub(crate) has_queue: bool,
    /// Whether commands that take space are refused.
    pub(crate) has_refusals: bool,
}

/// The maintenance of one member.
#[derive(Debug)]
pub(crate) struct Maintenance {
    retry_ticks: u32,
    checkpointer: Checkpointer,
    segment_sync: SegmentSync,
    spare_segment: Spare,
    reclaim: Reclaim,
    /// Whether all dead bytes are to be given back, however few they are in a segment.
    is_defragmenting: bool,
}

impl Maintenance {
    /// Of a member whose newest checkpoint, at index `checkpointed`, lies in `dir`.
    pub(crate) fn new(disk: Arc<dyn Disk>, dir: PathBuf, config: &Config, checkpointed: u64) -> Maintenance {
        Maintenance {
            retry_ticks: config.retry_ticks,
            checkpointer: Checkpointer::new(disk, dir, config, checkpointed),
            segment_sync: SegmentSync::new(config.segment_bytes),
            spare_segment: Spare::Idle,
            reclaim: Reclaim::Due,
            is_defragmenting: false,
        }
    }

    /// Entries of so many bytes were applied.
    pub(crate) fn applied(&mut self, bytes: u64) {
        self.checkpointer.applied(bytes);
        self.segment_sync.applied(bytes);
    }

    pub(crate) fn tick(&mut self) {
        self.checkpointer.tick();
        self.reclaim.tick();
        if self.spare_segment.tick() {
            self.reclaim.look();
        }
    }

    /// Begins to give back all dead bytes, those of the active segment too.
    pub(crate) fn defragment(&mut self, store: &mut Store) {
        store.log().give_up_wasteful_tail();
        self.is_defragmenting = true;
        self.reclaim.look();
    }

    /// The room for records.
    pub(crate) fn room(&self, store: &mut Store) -> RevisionRoom {
        RevisionRoom { bytes: store.log().room(), is_disk_full: self.spare_segment.has_failed() }
    }

    /// Hands out what is due, and takes one small step of what is under way. Returns the revision of a compaction
    /// that has finished.
    pub(crate) fn work<W>(
        &mut self,
        store: &mut Store,
        applied: &AppliedState,
        pressure: Pressure,
        output: &mut Output<W>,
    ) -> Option<i64> {
        self.prepare_segment(store, pressure, output);
        let urgency = Urgency {
            is_short_of_space: pressure.has_refusals,
            is_rewriting: self.reclaim == Reclaim::Rewriting,
            is_awaited: self.is_defragmenting,
        };
        if self.checkpointer.is_due(applied.entry.index, urgency) {
            self.checkpointer.begin(store, applied, output);
        }
        if !self.checkpointer.is_saving() {
            output.jobs.extend(self.segment_sync.begin(store.log()));
        }
        // First the step: a compaction that it finishes makes way for the next one, and for reclaiming.
        let compacted = self.step(store);
        if let Some(job) = store.compaction_hash_job() {
            output.notes.push(Note::Compacting);
            output.jobs.push(Job::HashCompaction(job));
        }
        self.begin_reclaim(store, output);
        output.is_busy |= store.can_trim() || store.can_relocate();
        compacted
    }

    /// Takes the result of a job.
    pub(crate) fn finished<W>(
        &mut self,
        finished: Finished,
        store: &mut Store,
        output: &mut Output<W>,
    ) -> Result<(), Fatal> {
        match finished {
            Finished::PrepareWalFile(_) => unreachable!("spare files of the WAL are the affair of consensus"),
            Finished::PrepareSegment(result) => {
                let segment = unless_full(result)?;
                self.spare_segment.finished(segment.is_none().then_some(self.retry_ticks));
                if let Some(segment) = segment {
                    store.log().adopt(segment);
                    if self.is_defragmenting {
                        self.reclaim.look();
                    }
                }
            }
            Finished::SyncSegments(result) => {
                self.segment_sync.finished();
                unless_full(result)?;
            }
            Finished::Checkpoint(result) => {
                let saved = unless_full(result)?;
                self.checkpointer.finished(saved.as_ref(), store, output);
                if saved.is_some() {
                    self.reclaim.look();
                }
            }
            Finished::HashCompaction(result) => match result {
                Ok(hash) => store.compaction_hashed(hash),
                Err(store::Error::Disk(error)) => return Err(error.into()),
                Err(store::Error::Refused(refusal)) => {
                    unreachable!("a compaction pins what it hashes: {refusal}")
                }
            },
            Finished::Reclaim(result) => {
                let rewritten = unless_full(result)?;
                self.reclaim.finished(rewritten, self.retry_ticks, store);
            }
            Finished::Remove(result) => {
                unless_full(result)?;
            }
        }
        Ok(())
    }

    /// Has another segment made if it is time to, or if something waits for room.
    fn prepare_segment<W>(&mut self, store: &mut Store, pressure: Pressure, output: &mut Output<W>) {
        let log = store.log();
        let is_short = |room: Footprint| !log.has_room_for(room.bytes, room.longest);
        let is_needed = log.needs_next()
            || pressure.awaited.is_some_and(is_short)
            || (pressure.has_queue && !log.has_next());
        if self.spare_segment == Spare::Idle && is_needed {
            self.spare_segment = Spare::Making;
            let longest = pressure.awaited.map_or(0, |room| room.longest);
            output.jobs.push(Job::PrepareSegment(log.next_segment_for(longest)));
        }
    }

    fn begin_reclaim<W>(&mut self, store: &mut Store, output: &mut Output<W>) {
        if self.reclaim != Reclaim::Due {
            return;
        }
        let thoroughly = self.is_defragmenting && !disk::seeded_bug!("defragmentation-not-thorough");
        match self.reclaim.begin(store, thoroughly) {
            Some(job) => output.jobs.push(job),
            // What is retired goes with the next checkpoint, which is made at once and leads to another look.
            None => {
                self.is_defragmenting &= self.checkpointer.has_retired() || store.log().is_tail_to_seal();
            }
        }
    }

    /// One bounded step of trimming or relocating. Returns the compaction that it finished, if any.
    fn step(&mut self, store: &mut Store) -> Option<i64> {
        if self.reclaim == Reclaim::Relocating {
            if self.reclaim.relocate_step(store) {
                self.checkpointer.retired();
            }
            return None;
        }
        let finished = store.trim_step();
        if finished.is_some() {
            self.reclaim.look();
        }
        finished
    }
}

/// The value, unless the disk had no space for it.
pub(crate) fn unless_full<T>(result: Result<T, disk::Error>) -> Result<Option<T>, Fatal> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.may_be_retried() => Ok(None),
        Err(error) => Err(error.into()),
    }
}
