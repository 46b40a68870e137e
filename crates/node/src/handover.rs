//! The plain values that join the two parts of a member.
//!
//! ```text
//!   consensus ── committed entries ──▶ machine
//!             ◀── Progress ────────────
//! ```
//!
//! Committed entries are durable here and on a quorum. They pass to the machine in order and wait in its
//! queue, so that neither part waits for the other.

use proto::raftpb::ConfChange;

/// Names an entry of the raft log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct EntryId {
    pub(crate) index: u64,
    pub(crate) term: u64,
}

/// What the machine has applied.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Progress {
    /// The last entry applied.
    pub(crate) applied: EntryId,
    /// The configuration change that this entry made, if it made one. Consensus uses it from now on.
    pub(crate) conf_change: Option<ConfChange>,
}

/// The room for commands in the revision log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RevisionRoom {
    /// Bytes that can be written without asking the disk for space, less those of entries that are not
    /// applied yet.
    pub(crate) bytes: u64,
    /// Whether the disk had no space for another segment.
    pub(crate) is_disk_full: bool,
}
