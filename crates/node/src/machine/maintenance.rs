//! The maintenance of a member: checkpoints, spare segments, the work of compactions, reclaiming space.
//!
//! What takes long is a job, which runs on another thread and reports its result. Each kind of work is a
//! state machine of its own; this module starts the work that is due. Work that fails for want of space is
//! repeated later. Any other failure stops the member.

mod checkpoint;
mod defragmentation;
mod reclaim;
mod segment_sync;

use std::path::PathBuf;
use std::sync::Arc;

use disk::Disk;
use disk::revision_log::Removal;
use store::{Footprint, Store};

use self::checkpoint::{Checkpointer, Urgency};
use self::defragmentation::{Defragmentation, Stage};
use self::reclaim::Reclaim;
use self::segment_sync::SegmentSync;
use super::AppliedState;
use crate::config::Config;
use crate::error::Fatal;
use crate::handover::RevisionRoom;
use crate::job::{Finished, Job};
use crate::output::{Note, Output};
use crate::spare::Spare;
use crate::wal_writer::WalTask;

/// Work that waits for room.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pressure {
    /// The room in the revision log that the next committed entry needs, if there is not enough.
    pub(crate) awaited: Option<Footprint>,
    /// Whether proposals wait for room.
    pub(crate) has_queue: bool,
    /// Whether commands that take space are refused.
    pub(crate) has_refusals: bool,
}

/// The hash of what a compaction is about to drop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CompactionHash {
    Idle,
    /// A job computes it.
    Hashing,
}

/// The maintenance of one member.
#[derive(Debug)]
pub(crate) struct Maintenance {
    retry_ticks: u32,
    checkpointer: Checkpointer,
    segment_sync: SegmentSync,
    spare_segment: Spare,
    reclaim: Reclaim,
    hash: CompactionHash,
    /// Jobs under way that remove files.
    n_removals: usize,
    defragmentation: Defragmentation,
    /// Ticks without progress after which a defragmentation counts as stuck.
    stuck_ticks: u32,
    /// Revision of the last compaction that has finished.
    compacted: i64,
}

/// Work that has finished.
#[derive(Debug, Default)]
pub(crate) struct Done {
    /// The revision of a compaction.
    pub(crate) compaction: Option<i64>,
    /// The number of a defragmentation.
    pub(crate) defragmentation: Option<u64>,
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
            hash: CompactionHash::Idle,
            n_removals: 0,
            defragmentation: Defragmentation::new(),
            stuck_ticks: config.request_timeout().div_duration_f64(config.tick).ceil() as u32,
            compacted: i64::MIN,
        }
    }

    /// Whether no job of the store runs.
    pub(crate) fn is_quiet(&self) -> bool {
        self.spare_segment != Spare::Making
            && !self.segment_sync.is_syncing()
            && !self.checkpointer.is_saving()
            && self.hash != CompactionHash::Hashing
            && self.reclaim != Reclaim::Rewriting
            && self.n_removals == 0
    }

    /// Removes segments that were never in use.
    pub(crate) fn remove<W>(&mut self, segments: Removal, output: &mut Output<W>) {
        self.n_removals += 1;
        output.jobs.push(Job::Remove(segments));
    }

    /// The store was replaced, by one whose checkpoint at index `checkpointed` is durable. No job of the old one runs.
    pub(crate) fn replaced(&mut self, checkpointed: u64) {
        self.checkpointer.replaced(checkpointed);
        self.reclaim = Reclaim::Due;
        self.compacted = i64::MIN;
    }

    /// Entries of so many bytes were applied.
    pub(crate) fn applied(&mut self, bytes: u64) {
        self.checkpointer.applied(bytes);
        self.segment_sync.applied(bytes);
    }

    /// Lets a tick pass. True if a defragmentation is stuck: for want of space, or because a read holds what
    /// is to be trimmed.
    pub(crate) fn tick(&mut self, store: &Store) -> bool {
        self.checkpointer.tick();
        self.reclaim.tick();
        if self.spare_segment.tick() {
            self.reclaim.look();
        }
        let is_moving = matches!(self.reclaim, Reclaim::Rewriting | Reclaim::Relocating)
            || self.checkpointer.is_saving()
            || self.hash == CompactionHash::Hashing
            || store.can_trim();
        self.defragmentation.tick(is_moving, self.stuck_ticks)
    }

    /// Asks for all dead bytes to be given back, those of the active segment too; returns the number of the
    /// run that does it.
    pub(crate) fn defragment(&mut self, store: &mut Store) -> u64 {
        self.defragmentation.request(store.compacting(), store.log().size().bytes)
    }

    /// The room for records.
    pub(crate) fn room(&self, store: &mut Store) -> RevisionRoom {
        RevisionRoom { bytes: store.log().room(), is_disk_full: self.spare_segment.has_failed() }
    }

    /// Starts the work that is due, and takes one small step of what is under way.
    pub(crate) fn work<W>(
        &mut self,
        store: &mut Store,
        applied: &AppliedState,
        pressure: Pressure,
        output: &mut Output<W>,
    ) -> Done {
        self.prepare_segment(store, pressure, output);
        let urgency = Urgency {
            is_short_of_space: pressure.has_refusals,
            is_rewriting: self.reclaim == Reclaim::Rewriting,
            is_awaited: self.defragmentation.stage() == Stage::Releasing,
        };
        if self.checkpointer.is_due(applied.entry.index, urgency) {
            self.checkpointer.begin(store, applied, output);
        }
        if !self.checkpointer.is_saving() {
            output.jobs.extend(self.segment_sync.begin(store.log()));
        }
        // First the step: a compaction that it finishes makes way for the next one, and for reclaiming.
        let compaction = self.step(store);
        if let Some(job) = store.compaction_hash_job() {
            self.hash = CompactionHash::Hashing;
            output.notes.push(Note::Compacting);
            output.jobs.push(Job::HashCompaction(job));
        }
        self.begin_rewriting(store, output);
        self.begin_reclaim(store, output);
        let defragmentation = self.end_defragmentation(store, output);
        output.is_busy |= store.can_trim() || store.can_relocate();
        Done { compaction, defragmentation }
    }

    /// Takes the result of a job. When one finds no space, the WAL gives up the files that wait there for their next
    /// use: a rewriting may need just these to begin.
    pub(crate) fn finished<W>(
        &mut self,
        finished: Finished,
        store: &mut Store,
        output: &mut Output<W>,
    ) -> Result<(), Fatal> {
        let mut is_short = false;
        match finished {
            Finished::PrepareWalFile(_) | Finished::ImportSnapshot(_) | Finished::InstallSnapshot(_) => {
                unreachable!("others take the results of these jobs")
            }
            Finished::PrepareSegment(result) => {
                let segment = unless_full(result)?;
                is_short = segment.is_none();
                self.spare_segment.finished(segment.is_none().then_some(self.retry_ticks));
                if let Some(segment) = segment {
                    store.log().adopt(segment);
                    if store.log().is_active_to_seal() || store.log().is_active_wasteful() {
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
                is_short = saved.is_none();
                self.checkpointer.finished(saved.as_ref(), store, output);
                if saved.is_some() {
                    self.n_removals += 1;
                    self.reclaim.look();
                }
            }
            Finished::HashCompaction(result) => {
                self.hash = CompactionHash::Idle;
                match result {
                    Ok(hash) => store.compaction_hashed(hash),
                    Err(store::Error::Disk(error)) => return Err(error.into()),
                    Err(store::Error::Refused(refusal)) => {
                        unreachable!("a compaction pins what it hashes: {refusal}")
                    }
                }
            }
            Finished::Reclaim(result) => {
                let rewritten = unless_full(result)?;
                is_short = rewritten.is_none();
                self.reclaim.finished(rewritten, self.retry_ticks, store);
            }
            Finished::Remove(result) => {
                unless_full(result)?;
                self.n_removals -= 1;
            }
        }
        if is_short {
            output.wal.push(WalTask::RemoveSpares);
        }
        Ok(())
    }

    /// Starts making another segment if one is due, or if something waits for room.
    fn prepare_segment<W>(&mut self, store: &mut Store, pressure: Pressure, output: &mut Output<W>) {
        let log = store.log();
        let is_short = |room: Footprint| !log.has_room_for(room.bytes, room.longest);
        let is_needed = log.needs_next()
            || pressure.awaited.is_some_and(is_short)
            || ((pressure.has_queue || log.is_active_wasteful()) && !log.has_next());
        if self.spare_segment == Spare::Idle && is_needed {
            self.spare_segment = Spare::Making;
            let longest = pressure.awaited.map_or(0, |room| room.longest);
            output.jobs.push(Job::PrepareSegment(log.next_segment_for(longest)));
        }
    }

    /// Continues a defragmentation once the compactions that it waits for have trimmed.
    fn begin_rewriting<W>(&mut self, store: &mut Store, output: &mut Output<W>) {
        let bytes = store.log().size().bytes;
        self.defragmentation.begin_repeated(store.compacting(), bytes);
        let Stage::Trimming { up_to } = self.defragmentation.stage() else { return };
        if up_to <= self.compacted {
            self.defragmentation.trimmed(store.log().segments().len());
            store.log().seal_active_when_possible();
            self.reclaim.look();
            output.is_busy = true;
        }
    }

    fn begin_reclaim<W>(&mut self, store: &mut Store, output: &mut Output<W>) {
        let is_defragmenting = matches!(self.defragmentation.stage(), Stage::Rewriting { left } if left > 0);
        let thoroughly = is_defragmenting && !disk::seeded_bug!("defragmentation-not-thorough");
        if let Some(job) = self.reclaim.begin(store, thoroughly) {
            self.defragmentation.rewriting();
            output.jobs.push(job);
        }
    }

    /// Takes a defragmentation to its end once nothing is left to rewrite; returns its number then.
    fn end_defragmentation<W>(&mut self, store: &mut Store, output: &mut Output<W>) -> Option<u64> {
        let is_rewritten = self.reclaim == Reclaim::Idle && !store.log().is_active_to_seal();
        if matches!(self.defragmentation.stage(), Stage::Rewriting { .. }) && is_rewritten {
            self.defragmentation.advance(Stage::Releasing);
            output.is_busy = true;
        }
        let is_released = !self.checkpointer.has_retired() && !self.checkpointer.is_saving();
        if self.defragmentation.stage() != Stage::Releasing || !is_released || self.n_removals > 0 {
            return None;
        }
        let (run, bytes_before) = self.defragmentation.finish();
        let bytes_after = store.log().size().bytes;
        output.notes.push(Note::Defragmented { bytes_before, bytes_after });
        output.is_busy = true;
        Some(run)
    }

    /// One bounded step of trimming or relocating. Returns the compaction that it finished, if any.
    fn step(&mut self, store: &mut Store) -> Option<i64> {
        if self.reclaim == Reclaim::Relocating {
            if self.reclaim.relocate_step(store) {
                self.checkpointer.retired();
            }
            return None;
        }
        let finished = store.trim_step()?;
        self.compacted = finished;
        self.reclaim.look();
        Some(finished)
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
