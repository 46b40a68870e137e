//! Syncs of the revision log between checkpoints.
//!
//! Nothing waits for them. A sync of few bytes hardly slows the syncs of the WAL. If all bytes were synced at
//! once, when a checkpoint needs them, that sync would delay writes.

use crate::job::Job;

/// Bytes after which the revision log is synced. Never more than an eighth of a segment.
const SYNC_BYTES_MAX: u64 = 8 << 20;

/// The progress of syncing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    /// A job syncs.
    Syncing,
}

/// Syncs segments each time a number of bytes was applied.
#[derive(Debug)]
pub(super) struct SegmentSync {
    state: State,
    sync_bytes: u64,
    /// Bytes of entries applied since the last sync was begun.
    bytes_since: u64,
}

impl SegmentSync {
    pub(super) fn new(segment_bytes: u64) -> SegmentSync {
        SegmentSync { state: State::Idle, sync_bytes: SYNC_BYTES_MAX.min(segment_bytes / 8), bytes_since: 0 }
    }

    /// Entries of so many bytes were applied.
    pub(super) fn applied(&mut self, bytes: u64) {
        self.bytes_since += bytes;
    }

    /// A sync, if one is due.
    pub(super) fn begin(&mut self, log: &disk::RevisionLog) -> Option<Job> {
        if self.state == State::Syncing || self.bytes_since < self.sync_bytes {
            return None;
        }
        self.state = State::Syncing;
        self.bytes_since = 0;
        Some(Job::SyncSegments(log.sync_job()))
    }

    pub(super) fn is_syncing(&self) -> bool {
        self.state == State::Syncing
    }

    pub(super) fn finished(&mut self) {
        self.state = State::Idle;
    }
}
