//! What a member does for itself: checkpoints, spare files, and giving back space.
//!
//! Every chore is a job that runs elsewhere and comes back; this keeps count of which are under way and when
//! the next is due. A chore that fails for want of space is tried again later; any other failure stops the
//! member.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use disk::Disk;
use proto::checkpointpb::Checkpoint;
use proto::raftpb::ConfState;
use proto::walpb;
use store::Store;

use crate::Config;
use crate::error::Fatal;
use crate::input::{Note, Output};
use crate::job::{CheckpointJob, Finished, Job, SavedCheckpoint};
use crate::log_writer::LogTask;

/// Room below which commands that take space are refused, in the log and in the revision log each. Enough for
/// what is already under way and for the entries a member writes on its own account. Never more than a quarter
/// of a segment, or small segments would refuse everything.
const RESERVE_BYTES_MAX: u64 = 4 << 20;

/// Bytes after which the revision log is synced, though nothing waits for it: in small pieces a sync hardly
/// slows that of the write-ahead log, all at once, when a checkpoint needs it, it would hold up writes. Never
/// more than an eighth of a segment.
const SYNC_BYTES_MAX: u64 = 8 << 20;

/// How much longer than the last checkpoint the log must have become before its length asks for the next: with
/// a million leases a checkpoint has some twenty megabytes, and is not to be written for every few of the log.
const LOG_BYTES_PER_CHECKPOINT_BYTE: u64 = 8;

/// Where the log stands, as a checkpoint records it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Position {
    pub(crate) index: u64,
    pub(crate) term: u64,
    pub(crate) conf_state: ConfState,
}

/// The chores of one member.
#[derive(Debug)]
pub(crate) struct Chores {
    disk: Arc<dyn Disk>,
    /// Where the checkpoint lies.
    dir: PathBuf,
    checkpoint_entries: u64,
    checkpoint_bytes: u64,
    checkpoint_ticks: u32,
    retry_ticks: u32,
    reserve_bytes: u64,
    /// Index of the newest durable checkpoint, and the length of its file if it was made since the start.
    checkpointed: u64,
    checkpoint_file_bytes: u64,
    is_checkpointing: bool,
    ticks_since_checkpoint: u32,
    bytes_since_checkpoint: u64,
    sync_bytes: u64,
    is_syncing: bool,
    bytes_since_sync: u64,
    /// Bytes that can be appended to the log without allocating, as last reported.
    log_room: u64,
    /// Batches on their way to the log that the report does not cover, by number, with their bytes.
    unreported: VecDeque<(u64, u64)>,
    /// Bytes of commands that were admitted since the room was last looked at.
    admitted_bytes: u64,
    /// Bytes that the log and the revision log both had room for when last looked at.
    room: u64,
    is_segment_asked: bool,
    /// Which preparations failed for want of space. Only those are asked for again: two of one kind at a time
    /// would take each other's file.
    has_segment_failed: bool,
    has_log_file_failed: bool,
    /// Ticks until failed preparations are tried again.
    retry_in: Option<u32>,
    is_reclaiming: bool,
    /// Whether segments may wait for a checkpoint that does not list them.
    has_retired: bool,
    is_reclaim_due: bool,
    /// Whether all dead bytes are to be given back, however few they are in a segment.
    is_defragmenting: bool,
    has_space: bool,
}

impl Chores {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        config: &Config,
        checkpointed: u64,
        log_room: u64,
    ) -> Chores {
        Chores {
            disk,
            dir,
            checkpoint_entries: config.checkpoint_entries,
            checkpoint_bytes: config.checkpoint_bytes,
            checkpoint_ticks: config.checkpoint_ticks,
            retry_ticks: config.retry_ticks,
            reserve_bytes: RESERVE_BYTES_MAX.min(config.segment_bytes / 4),
            checkpointed,
            checkpoint_file_bytes: 0,
            is_checkpointing: false,
            ticks_since_checkpoint: 0,
            bytes_since_checkpoint: 0,
            sync_bytes: SYNC_BYTES_MAX.min(config.segment_bytes / 8),
            is_syncing: false,
            bytes_since_sync: 0,
            log_room,
            unreported: VecDeque::new(),
            admitted_bytes: 0,
            room: log_room,
            is_segment_asked: false,
            has_segment_failed: false,
            has_log_file_failed: false,
            retry_in: None,
            is_reclaiming: false,
            has_retired: false,
            is_reclaim_due: true,
            is_defragmenting: false,
            has_space: true,
        }
    }

    /// Whether commands that take space may be proposed.
    pub(crate) fn has_space(&self) -> bool {
        self.has_space
    }

    /// Whether there is room for a command of `bytes`. One that takes no space, such as a delete, still writes to
    /// the log: it may use most of the reserve, but not all, since the member would not outlive that.
    pub(crate) fn fits(&self, bytes: usize, takes_space: bool) -> bool {
        let reserve = if takes_space { self.reserve_bytes } else { self.reserve_bytes / 4 };
        (self.has_space || !takes_space) && self.room >= reserve + self.admitted_bytes + bytes as u64
    }

    /// Counts a command that fits and is going to be proposed.
    pub(crate) fn admit(&mut self, bytes: usize) {
        self.admitted_bytes += bytes as u64;
    }

    /// Whether room that is missing now will come: a spare file is being made, and nothing says that it cannot be.
    pub(crate) fn expects_room(&self) -> bool {
        self.has_space && !self.has_segment_failed && !self.has_log_file_failed
    }

    /// Takes the log writer's word for the room it had after batch `persisted`.
    pub(crate) fn set_log_room(&mut self, bytes: u64, persisted: Option<u64>) {
        self.log_room = bytes;
        while self.unreported.front().is_some_and(|(seq, _)| Some(*seq) <= persisted) {
            self.unreported.pop_front();
        }
    }

    /// Counts the bytes of a batch handed to the log.
    pub(crate) fn note_logged(&mut self, seq: u64, bytes: u64) {
        self.unreported.push_back((seq, bytes));
        self.bytes_since_checkpoint += bytes;
        self.bytes_since_sync += bytes;
    }

    pub(crate) fn tick<W>(&mut self, output: &mut Output<W>) {
        self.ticks_since_checkpoint = self.ticks_since_checkpoint.saturating_add(1);
        self.retry_in = match self.retry_in {
            Some(0) => {
                self.is_segment_asked &= !std::mem::take(&mut self.has_segment_failed);
                self.is_reclaim_due = true;
                if std::mem::take(&mut self.has_log_file_failed) {
                    output.log.push(LogTask::OfferNext);
                }
                None
            }
            ticks => ticks.map(|t| t - 1),
        };
    }

    /// Begins to give back all dead bytes, those of the segment being written too.
    pub(crate) fn defragment(&mut self, store: &mut Store) {
        store.log().give_up_wasteful_tail();
        (self.is_defragmenting, self.is_reclaim_due) = (true, true);
    }

    /// Hands out what is due, and takes one small step of what is under way.
    pub(crate) fn work<W>(
        &mut self,
        store: &mut Store,
        applied: &Position,
        output: &mut Output<W>,
    ) -> Option<i64> {
        self.watch_space(store, output);
        if store.log().needs_next() && !self.is_segment_asked {
            self.is_segment_asked = true;
            output.jobs.push(Job::PrepareSegment(store.log().next_segment()));
        }
        if self.is_checkpoint_due(applied.index) {
            self.begin_checkpoint(store, applied, output);
        }
        if self.bytes_since_sync >= self.sync_bytes && !self.is_syncing && !self.is_checkpointing {
            (self.is_syncing, self.bytes_since_sync) = (true, 0);
            output.jobs.push(Job::SyncSegments(store.log().sync_job()));
        }
        // First the step: a compaction that it finishes makes way for the next one, and for reclaiming.
        let compacted = self.step(store);
        if let Some(job) = store.compaction_hash_job() {
            output.notes.push(Note::Compacting);
            output.jobs.push(Job::HashCompaction(job));
        }
        if self.is_reclaim_due && !self.is_reclaiming {
            self.is_reclaim_due = false;
            let thoroughly = self.is_defragmenting && !disk::seeded_bug!("defragmentation-not-thorough");
            if let Some(job) = store.reclaim_job(thoroughly) {
                self.is_reclaiming = true;
                output.jobs.push(Job::Reclaim(job));
            } else if !store.can_relocate() {
                // What is retired goes with the next checkpoint, which is made at once and looks for more.
                self.is_defragmenting &= self.has_retired || store.log().is_tail_to_seal();
            }
        }
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
            Finished::PrepareLogFile(result) => {
                let prepared = self.unless_full(result)?;
                self.has_log_file_failed = prepared.is_none();
                output.log.extend(prepared.map(LogTask::Adopt));
            }
            Finished::PrepareSegment(result) => {
                let prepared = self.unless_full(result)?;
                self.has_segment_failed = prepared.is_none();
                if let Some(prepared) = prepared {
                    store.log().adopt(prepared);
                    self.is_segment_asked = false;
                    self.is_reclaim_due |= self.is_defragmenting;
                }
            }
            Finished::SyncSegments(result) => {
                self.is_syncing = false;
                self.unless_full(result)?;
            }
            Finished::Checkpoint(result) => {
                self.is_checkpointing = false;
                match self.unless_full(result)? {
                    Some(saved) => self.checkpointed(&saved, store, output),
                    None => self.has_retired = true,
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
                self.is_reclaiming = false;
                if let Some(rewritten) = self.unless_full(result)? {
                    store.reclaimed(rewritten);
                }
            }
            Finished::Remove(result) => {
                self.unless_full(result)?;
            }
        }
        Ok(())
    }

    fn unless_full<T>(&mut self, result: Result<T, disk::Error>) -> Result<Option<T>, Fatal> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.may_be_retried() => {
                self.retry_in.get_or_insert(self.retry_ticks);
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn watch_space<W>(&mut self, store: &mut Store, output: &mut Output<W>) {
        // What is on its way to the log is not in the revision log either.
        let under_way: u64 = self.unreported.iter().map(|(_, bytes)| bytes).sum();
        (self.room, self.admitted_bytes) =
            (self.log_room.min(store.log().room()).saturating_sub(under_way), 0);
        let is_left = self.room >= self.reserve_bytes || self.expects_room();
        if is_left != self.has_space {
            self.has_space = is_left;
            output.notes.push(Note::Space { is_left });
        }
    }

    fn is_checkpoint_due(&self, applied: u64) -> bool {
        let long = self.checkpoint_bytes.max(self.checkpoint_file_bytes * LOG_BYTES_PER_CHECKPOINT_BYTE);
        let is_long = self.bytes_since_checkpoint >= long;
        let is_old = self.ticks_since_checkpoint >= self.checkpoint_ticks;
        let has_entries = applied - self.checkpointed >= self.checkpoint_entries;
        // What it releases may be the only way to have room again, and without room there may never be more entries.
        let is_short = !self.has_space && self.ticks_since_checkpoint >= self.retry_ticks;
        // Files that a rewriting has retired go with a checkpoint soon after it, though nothing more may be written.
        let is_soon = self.is_defragmenting || self.ticks_since_checkpoint >= self.retry_ticks;
        let has_retired = self.has_retired && !self.is_reclaiming && is_soon;
        let has_news = applied > self.checkpointed || (is_short && self.has_retired) || has_retired;
        let is_due = is_long || is_short || has_retired || (has_entries && is_old);
        !self.is_checkpointing && has_news && is_due
    }

    fn begin_checkpoint<W>(&mut self, store: &mut Store, applied: &Position, output: &mut Output<W>) {
        (self.is_checkpointing, self.ticks_since_checkpoint, self.bytes_since_checkpoint) = (true, 0, 0);
        self.has_retired = false;
        let snapshot = store.snapshot(Checkpoint {
            applied_index: applied.index + u64::from(disk::seeded_bug!("applied-index-too-high")),
            applied_term: applied.term,
            conf_state: Some(applied.conf_state.clone()),
            ..Checkpoint::default()
        });
        if disk::seeded_bug!("log-released-early") {
            output.log.push(LogTask::Release(applied.index));
        }
        let (disk, dir) = (Arc::clone(&self.disk), self.dir.clone());
        let job = CheckpointJob { disk, dir, sync: store.log().sync_job(), snapshot };
        output.jobs.push(Job::Checkpoint(Box::new(job)));
    }

    /// A checkpoint is durable: the log before it, which a start does not read, and segments it does not list are no
    /// longer needed.
    fn checkpointed<W>(&mut self, saved: &SavedCheckpoint, store: &mut Store, output: &mut Output<W>) {
        let SavedCheckpoint { body, file_bytes } = saved;
        let (index, term) = (body.applied_index, body.applied_term);
        (self.checkpointed, self.checkpoint_file_bytes) = (index, *file_bytes);
        output.log.push(LogTask::MarkCheckpoint(walpb::Snapshot {
            index,
            term,
            conf_state: body.conf_state.clone(),
        }));
        output.log.push(LogTask::Release(index));
        output.jobs.push(Job::Remove(store.log().release(&body.segments)));
        output.notes.push(Note::Checkpoint { index });
        self.is_reclaim_due = true;
    }

    /// One bounded step of trimming or relocating. Returns the compaction it finished, if any.
    fn step(&mut self, store: &mut Store) -> Option<i64> {
        if store.can_relocate() {
            let has_finished = store.relocate_step();
            self.is_reclaim_due |= has_finished;
            self.has_retired |= has_finished;
            return None;
        }
        let finished = store.trim_step();
        self.is_reclaim_due |= finished.is_some();
        finished
    }
}
