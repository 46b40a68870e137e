//! Whether there is room for a command, in the WAL and in the revision log.
//!
//! Room is reserved ahead of need as spare files. While there is little of it, commands that take space are
//! refused, and a reserve is left to those that give space back and to what the member writes on its own
//! account.

use std::collections::VecDeque;
use std::time::Duration;

use proto::raftpb::Entry;
use raft::Persist;

use crate::handover::RevisionRoom;
use crate::spare::Spare;

/// Room below which commands that take space are refused. Never more than a quarter of a segment, or small
/// segments would refuse everything.
const RESERVE_BYTES_MAX: u64 = 4 << 20;

/// Bytes of a short command. While not even one fits beside the reserve, none is taken.
const SHORT_COMMAND_BYTES: u64 = 256;

/// Bytes that a log entry, or the state written with a batch, takes beside its data, at most.
pub(crate) const ENTRY_BYTES: usize = 64;

/// A batch on its way to the disk.
#[derive(Debug)]
struct Unreported {
    seq: u64,
    bytes: u64,
    /// When it was handed to the WAL.
    since: Duration,
}

/// The room of a member, and how much of it is promised to commands.
#[derive(Debug)]
pub(crate) struct Admission {
    reserve_bytes: u64,
    /// Bytes that can be appended to the WAL without allocating, as last reported.
    wal_room: u64,
    spare_file: Spare,
    /// Batches handed to the WAL that the last report does not cover.
    unreported: VecDeque<Unreported>,
    unreported_bytes: u64,
    revision_room: RevisionRoom,
    /// Batches whose entries are not all applied: last index and bytes.
    unapplied: VecDeque<(u64, u64)>,
    unapplied_bytes: u64,
    /// Bytes of commands that are admitted and not proposed yet.
    admitted_bytes: u64,
    /// Bytes of a leader's entries that are not handed to the WAL yet.
    appended_bytes: u64,
    /// Bytes that commands take beside those of their entries: of the ones that are admitted and not handed
    /// to the WAL.
    extra_bytes: u64,
    has_space: bool,
}

impl Admission {
    pub(crate) fn new(segment_bytes: u64, wal_room: u64) -> Admission {
        Admission {
            reserve_bytes: RESERVE_BYTES_MAX.min(segment_bytes / 4),
            wal_room,
            spare_file: Spare::Idle,
            unreported: VecDeque::new(),
            unreported_bytes: 0,
            revision_room: RevisionRoom { bytes: 0, is_disk_full: false },
            unapplied: VecDeque::new(),
            unapplied_bytes: 0,
            admitted_bytes: 0,
            appended_bytes: 0,
            extra_bytes: 0,
            has_space: true,
        }
    }

    /// Whether commands that take space may be proposed.
    pub(crate) fn has_space(&self) -> bool {
        self.has_space
    }

    /// Whether there is room for a command of `bytes`. One that takes no space, such as a delete, is written
    /// all the same: it may use most of the reserve. The rest is left to what the member itself has to write.
    pub(crate) fn fits(&self, bytes: u64, takes_space: bool) -> bool {
        let reserve = if takes_space { self.reserve_bytes } else { self.reserve_bytes / 4 };
        (self.has_space || !takes_space) && self.room() >= reserve + bytes
    }

    /// Counts a command that fits and is going to be proposed.
    /// Its entry has `bytes`; it takes `weight` of the room.
    pub(crate) fn admit(&mut self, bytes: u64, weight: u64) {
        self.admitted_bytes += bytes;
        self.extra_bytes += weight.saturating_sub(bytes);
    }

    /// Whether missing room is expected: a spare file is being made, and no attempt has failed.
    pub(crate) fn expects_room(&self) -> bool {
        self.has_space && !self.is_disk_full()
    }

    /// The admitted commands are proposed, or lost.
    pub(crate) fn proposed(&mut self) {
        self.admitted_bytes = 0;
    }

    /// Whether the WAL has room for so many bytes of a leader's entries. They may use most of the reserve: the
    /// cluster has agreed on them, or will.
    pub(crate) fn fits_append(&self, bytes: u64) -> bool {
        let taken = self.unreported_bytes + self.appended_bytes + self.reserve_bytes / 4;
        self.wal_room >= taken + bytes
    }

    /// Counts entries of a leader that fit and are going to be handed to the WAL.
    pub(crate) fn append(&mut self, bytes: u64) {
        self.appended_bytes += bytes;
    }

    /// Of the entries counted by [`Admission::append`], those that raft has taken are handed to the WAL.
    pub(crate) fn appended(&mut self) {
        self.appended_bytes = 0;
    }

    /// Counts a batch that is handed to the WAL.
    pub(crate) fn handed_to_wal(&mut self, batch: &Persist, now: Duration) {
        let bytes: usize = batch.entries.iter().map(entry_bytes).sum();
        let bytes = bytes as u64;
        let unreported = Unreported { seq: batch.seq, bytes: bytes + ENTRY_BYTES as u64, since: now };
        self.unreported.push_back(unreported);
        self.unreported_bytes += bytes + ENTRY_BYTES as u64;
        if let (Some(first), Some(last)) = (batch.entries.first(), batch.entries.last()) {
            // The batch replaces entries from its first index on.
            while let Some((_, bytes)) = self.unapplied.pop_back_if(|(index, _)| *index >= first.index) {
                self.unapplied_bytes -= bytes;
            }
            let bytes = bytes + std::mem::take(&mut self.extra_bytes);
            self.unapplied.push_back((last.index, bytes));
            self.unapplied_bytes += bytes;
        }
    }

    /// Takes the report of the WAL's writer: the room it had after batch `persisted`.
    pub(crate) fn set_wal_room(&mut self, bytes: u64, persisted: Option<u64>) {
        self.wal_room = bytes;
        while let Some(batch) = self.unreported.pop_front_if(|batch| Some(batch.seq) <= persisted) {
            self.unreported_bytes -= batch.bytes;
        }
    }

    /// Since when the oldest batch is on its way to the disk.
    pub(crate) fn writing_since(&self) -> Option<Duration> {
        self.unreported.front().map(|batch| batch.since)
    }

    /// Entries up to `index` are applied, after which the revision log has this room.
    pub(crate) fn set_revision_room(&mut self, room: RevisionRoom, index: u64) {
        self.revision_room = room;
        while let Some((_, bytes)) = self.unapplied.pop_front_if(|(last, _)| *last <= index) {
            self.unapplied_bytes -= bytes;
        }
    }

    /// Looks whether there is enough room for commands that take space. Returns the answer if it has changed.
    pub(crate) fn check_space(&mut self) -> Option<bool> {
        let has_space = self.room() >= self.reserve_bytes + SHORT_COMMAND_BYTES || self.expects_room();
        let has_changed = has_space != self.has_space;
        self.has_space = has_space;
        has_changed.then_some(has_space)
    }

    pub(crate) fn spare_file(&mut self) -> &mut Spare {
        &mut self.spare_file
    }

    /// Whether the disk had no space for a spare file.
    pub(crate) fn is_disk_full(&self) -> bool {
        self.spare_file.has_failed() || self.revision_room.is_disk_full
    }

    /// Bytes that WAL and revision log both have room for.
    fn room(&self) -> u64 {
        let wal = self.wal_room.saturating_sub(self.unreported_bytes);
        let revision_log = self.revision_room.bytes.saturating_sub(self.unapplied_bytes);
        wal.min(revision_log.saturating_sub(self.extra_bytes)).saturating_sub(self.admitted_bytes)
    }
}

/// Bytes of an entry in the WAL, at most.
pub(crate) fn entry_bytes(entry: &Entry) -> usize {
    entry.data.len() + ENTRY_BYTES
}
