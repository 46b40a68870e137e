//! Why a member cannot serve a request, and why it must stop.

use std::fmt;
use std::path::PathBuf;

use store::CommandError;

/// This member cannot serve the request now. The store is unchanged, unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unserved {
    /// Too many requests wait already. A retry later is safe.
    TooManyRequests,
    /// Leadership moved while the request was under way: it may or may not take effect.
    LeaderChanged,
    /// It was not finished within the time that a request may take. A command that was not proposed by then
    /// is never carried out. Anything else may or may not take effect.
    TimedOut,
    /// The same, and an election shortly after the request is the likely reason.
    TimedOutInElection,
    /// Leadership cannot go to a member that has no vote.
    BadTransferee,
    /// Only the leader can serve it, which this member is not. A retry later is safe.
    NotLeader,
    /// The member is stopping: the request may or may not take effect.
    Stopped,
}

/// The member must stop: going on could lose or falsify data.
#[derive(Debug)]
pub enum Fatal {
    /// The disk failed, or holds damaged data.
    Disk(disk::Error),
    /// The content of the raft log contradicts itself.
    Raft(raft::Error),
    /// A state that the leader has sent cannot be taken over.
    Snapshot(store::ImportError),
    /// A committed entry cannot be applied.
    Entry {
        /// Its index.
        index: u64,
        /// What is wrong with it.
        error: CommandError,
    },
    /// A committed configuration change cannot be read.
    ConfChange {
        /// Index of its entry.
        index: u64,
    },
    /// There is a checkpoint and no WAL: the file system of one of them is not mounted, or the WAL was
    /// removed. Without it a vote could be given twice, and what was acknowledged since the checkpoint would
    /// be lost.
    NoLog {
        /// The directory without a WAL.
        wal_dir: PathBuf,
        /// The checkpoint.
        checkpoint: PathBuf,
        /// The index up to which the checkpoint goes.
        applied_index: u64,
    },
    /// The same before the first checkpoint: there is a segment of the revision log, which is made after the
    /// WAL. A new WAL would begin without all that was acknowledged.
    NoLogOfSegment {
        /// The directory without a WAL.
        wal_dir: PathBuf,
        /// The segment.
        segment: PathBuf,
    },
    /// The WAL does not continue where the checkpoint ends: it belongs to another life of the member, or a
    /// part of it is lost.
    LogMismatch {
        /// The checkpoint, whether it is there or not.
        checkpoint: PathBuf,
        /// The index up to which it goes; 0 if there is none.
        applied_index: u64,
        /// What is wrong with the WAL.
        source: disk::Error,
    },
    /// The member cannot go on alone, for this reason.
    NotAlone(&'static str),
    /// The WAL belongs to another member or cluster than the configuration says.
    Foreign {
        /// Member and cluster that the WAL names.
        found: (u64, u64),
        /// Member and cluster expected.
        expected: (u64, u64),
    },
}

impl From<disk::Error> for Fatal {
    fn from(error: disk::Error) -> Self {
        Fatal::Disk(error)
    }
}

impl From<raft::Error> for Fatal {
    fn from(error: raft::Error) -> Self {
        Fatal::Raft(error)
    }
}

impl fmt::Display for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fatal::Disk(error) => error.fmt(f),
            Fatal::NoLog { wal_dir, checkpoint, applied_index } => write!(
                f,
                "{} holds no write-ahead log, but the checkpoint {} (applied index {applied_index}) was made by a \
                 member that had one: is the file system of {0} mounted, is --wal-dir the one it had?",
                wal_dir.display(),
                checkpoint.display()
            ),
            Fatal::NoLogOfSegment { wal_dir, segment } => write!(
                f,
                "{} holds no write-ahead log, but the segment {} was made by a member that had one: is the file system \
                 of {0} mounted, is --wal-dir the one it had?",
                wal_dir.display(),
                segment.display()
            ),
            Fatal::LogMismatch { checkpoint, applied_index, source } => write!(
                f,
                "the write-ahead log does not continue the checkpoint {} (applied index {applied_index}): {source}",
                checkpoint.display()
            ),
            Fatal::NotAlone(reason) => write!(f, "cannot make a new cluster of this member alone: {reason}"),
            Fatal::Raft(error) => error.fmt(f),
            Fatal::Snapshot(error) => error.fmt(f),
            Fatal::Entry { index, error } => write!(f, "log entry {index} cannot be applied: {error}"),
            Fatal::ConfChange { index } => write!(f, "log entry {index} is no readable configuration change"),
            Fatal::Foreign { found, expected } => write!(
                f,
                "the log belongs to member {:x} of cluster {:x}, but this is member {:x} of cluster {:x}",
                found.0, found.1, expected.0, expected.1
            ),
        }
    }
}

impl std::error::Error for Fatal {}
