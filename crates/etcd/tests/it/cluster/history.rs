//! What clients asked, when, and what they were told.
//!
//! All clients are tasks of one process, so one clock orders everything that they ask and are told.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;

/// One key as a write leaves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) key: Bytes,
    /// The stamp of the new value, which no other write has; `None` if the key is deleted.
    pub(super) stamp: Option<u64>,
}

/// Revision and stamp of a key that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) revision: i64,
    pub(super) stamp: u64,
}

/// A put or a transaction. At least one of its changes is a put, whose stamp identifies it.
#[derive(Debug, Clone)]
pub(super) struct Write {
    pub(super) asked: Instant,
    pub(super) changes: Vec<Change>,
    /// The revision that the first key must have before, 0 if it must not exist. `None` demands nothing.
    pub(super) demanded: Option<i64>,
    pub(super) outcome: Outcome,
}

/// What became of a write, as far as its client knows.
#[derive(Debug, Clone)]
pub(super) enum Outcome {
    /// It was carried out.
    Done { answered: Instant, revision: i64 },
    /// The first key was not as demanded: this is how it was at `revision`.
    Unmet { answered: Instant, revision: i64, found: Option<Kept> },
    /// It was refused in a way that excludes that it is carried out.
    Refused,
    /// No answer, or one that leaves it open.
    InDoubt,
}

/// A range and its answer.
#[derive(Debug, Clone)]
pub(super) struct Read {
    pub(super) asked: Instant,
    pub(super) answered: Instant,
    pub(super) is_linearizable: bool,
    pub(super) start: Bytes,
    /// The first key behind the range.
    pub(super) end: Bytes,
    /// The revision that the answer says it is of.
    pub(super) revision: i64,
    pub(super) found: Vec<(Bytes, Kept)>,
}

/// A lease with one key.
#[derive(Debug, Clone)]
pub(super) struct Lease {
    pub(super) key: Bytes,
    /// Grants and renewals that were acknowledged: when they were asked for, and the time to live that was promised.
    pub(super) promises: Vec<(Instant, Duration)>,
    pub(super) revocation_asked: Option<Instant>,
}

/// The changes of a revision, and when a watcher was told of them first.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) changes: Vec<Change>,
    pub(super) at: Instant,
}

/// Revisions that watchers were told of.
pub(super) type Revisions = BTreeMap<i64, Seen>;

/// What the clients of a round asked and were told.
#[derive(Debug, Default)]
pub(super) struct History {
    pub(super) writes: Vec<Write>,
    pub(super) reads: Vec<Read>,
    pub(super) leases: Vec<Lease>,
    /// Answers of any kind, of which waiting tests make sure that they go on.
    pub(super) n_acknowledged: u64,
}
