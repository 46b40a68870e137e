//! The plain values that join the two parts of a member.
//!
//! ```text
//!   consensus ── committed entries ──▶ machine
//!             ◀── Progress ────────────
//! ```
//!
//! Committed entries are durable here and on a quorum. They go down in order and wait in the machine's queue,
//! so that neither part waits for the other.

use proto::raftpb::ConfChange;

/// Names an entry of the raft log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct EntryId {
    pub(crate) index: u64,
    pub(crate) term: u64,
}

/// How far the machine has come.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Progress {
    /// The last entry applied.
    pub(crate) applied: EntryId,
    /// The configuration change that this entry made, if it made one: consensus is to act by it from now on.
    pub(crate) conf_change: Option<ConfChange>,
}

/// The room for commands in the revision log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RevisionRoom {
    /// Bytes that can be written without asking the disk for space, those of entries that are not applied yet
    /// taken off.
    pub(crate) bytes: u64,
    /// Whether the disk had no space for another segment.
    pub(crate) is_disk_full: bool,
}
