//! When checkpoints are made, and what becomes possible once one is durable.

use std::path::PathBuf;
use std::sync::Arc;

use disk::Disk;
use proto::checkpointpb::Checkpoint;
use proto::walpb;
use store::Store;

use crate::config::Config;
use crate::job::{CheckpointJob, Job, SavedCheckpoint};
use crate::machine::AppliedState;
use crate::output::{Note, Output};
use crate::wal_writer::WalTask;

/// Bytes of WAL for each byte of the last checkpoint before the next is due because of them. With a million
/// leases a checkpoint has some twenty megabytes, so it should not be written for every few megabytes of WAL.
const WAL_BYTES_PER_CHECKPOINT_BYTE: u64 = 8;

/// The state of saving a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    /// A job makes a checkpoint durable.
    Saving,
    /// There was no space for the last one.
    Failed,
}

/// What makes a checkpoint due before its usual time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Urgency {
    /// Commands are refused for want of space. The files that a checkpoint releases may be the only way to
    /// make room.
    pub(super) is_short_of_space: bool,
    /// More segments are about to be retired. The files of retired segments can wait until then.
    pub(super) is_rewriting: bool,
    /// A defragmentation waits until the files of retired segments are removed.
    pub(super) is_awaited: bool,
}

/// Makes checkpoints.
#[derive(Debug)]
pub(super) struct Checkpointer {
    disk: Arc<dyn Disk>,
    /// The directory of the checkpoint.
    dir: PathBuf,
    entries_min: u64,
    bytes_min: u64,
    ticks_min: u32,
    retry_ticks: u32,
    state: State,
    /// Index of the newest durable checkpoint, and the length of its file if it was made since the start.
    last_index: u64,
    last_file_bytes: u64,
    ticks_since: u32,
    /// Bytes of entries applied since the last checkpoint was begun.
    bytes_since: u64,
    /// Whether segments may wait for a checkpoint that does not list them.
    has_retired: bool,
}

impl Checkpointer {
    pub(super) fn new(disk: Arc<dyn Disk>, dir: PathBuf, config: &Config, last_index: u64) -> Checkpointer {
        Checkpointer {
            disk,
            dir,
            entries_min: config.checkpoint_entries,
            bytes_min: config.checkpoint_bytes,
            ticks_min: config.checkpoint_ticks,
            retry_ticks: config.retry_ticks,
            state: State::Idle,
            last_index,
            last_file_bytes: 0,
            ticks_since: 0,
            bytes_since: 0,
            has_retired: false,
        }
    }

    pub(super) fn tick(&mut self) {
        self.ticks_since = self.ticks_since.saturating_add(1);
    }

    /// Entries of so many bytes were applied.
    pub(super) fn applied(&mut self, bytes: u64) {
        self.bytes_since += bytes;
    }

    /// A segment was retired: its file is removed after the next checkpoint.
    pub(super) fn retired(&mut self) {
        self.has_retired = true;
    }

    /// The checkpoint at `index` came with another state: what was written before it can be removed soon.
    pub(super) fn replaced(&mut self, index: u64) {
        self.last_index = index;
        self.ticks_since = 0;
        self.bytes_since = 0;
        self.has_retired = true;
    }

    /// Whether a checkpoint is being made.
    pub(super) fn is_saving(&self) -> bool {
        self.state == State::Saving
    }

    /// Whether files wait for a checkpoint.
    pub(super) fn has_retired(&self) -> bool {
        self.has_retired
    }

    pub(super) fn is_due(&self, applied: u64, urgency: Urgency) -> bool {
        let long = self.bytes_min.max(self.last_file_bytes * WAL_BYTES_PER_CHECKPOINT_BYTE);
        let is_long = self.bytes_since >= long;
        let is_old = self.ticks_since >= self.ticks_min;
        let has_entries = applied - self.last_index >= self.entries_min;
        let may_retry = self.ticks_since >= self.retry_ticks;
        // Without room there may never be `entries_min` new entries.
        let is_short = urgency.is_short_of_space && may_retry;
        // Files that a rewrite has retired are released by a checkpoint soon after it, even if nothing more
        // is written.
        let is_awaited = urgency.is_awaited && self.state == State::Idle;
        let is_release = self.has_retired && !urgency.is_rewriting && (is_awaited || may_retry);
        let has_news = applied > self.last_index || (is_short && self.has_retired) || is_release;
        let is_due = is_long || is_short || is_release || (has_entries && is_old);
        self.state != State::Saving && has_news && is_due
    }

    pub(super) fn begin<W>(&mut self, store: &mut Store, applied: &AppliedState, output: &mut Output<W>) {
        self.state = State::Saving;
        self.ticks_since = 0;
        self.bytes_since = 0;
        self.has_retired = false;
        let seeded_error = u64::from(disk::seeded_bug!("applied-index-too-high"));
        let snapshot = store.snapshot(Checkpoint {
            applied_index: applied.entry.index + seeded_error,
            applied_term: applied.entry.term,
            conf_state: Some(applied.conf_state.clone()),
            ..Checkpoint::default()
        });
        if disk::seeded_bug!("wal-released-early") {
            output.wal.push(WalTask::Release(applied.entry.index));
        }
        let (disk, dir) = (Arc::clone(&self.disk), self.dir.clone());
        let job = CheckpointJob { disk, dir, sync: store.log().sync_job(), snapshot };
        output.jobs.push(Job::Checkpoint(Box::new(job)));
    }

    /// A checkpoint is durable, or (`None`) there was no space for it. What it covers of the WAL, which a
    /// start does not read, and the segments that it does not list are no longer needed.
    pub(super) fn finished<W>(
        &mut self,
        saved: Option<&SavedCheckpoint>,
        store: &mut Store,
        output: &mut Output<W>,
    ) {
        let Some(SavedCheckpoint { body, file_bytes }) = saved else {
            self.state = State::Failed;
            self.has_retired = true;
            return;
        };
        self.state = State::Idle;
        let index = body.applied_index;
        self.last_index = index;
        self.last_file_bytes = *file_bytes;
        output.wal.push(WalTask::MarkCheckpoint(walpb::Snapshot {
            index,
            term: body.applied_term,
            conf_state: body.conf_state.clone(),
        }));
        output.wal.push(WalTask::Release(index));
        output.jobs.push(Job::Remove(store.log().release(&body.segments)));
        output.notes.push(Note::Checkpoint { index });
    }
}
