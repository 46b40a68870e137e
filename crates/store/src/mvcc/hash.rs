//! HashKV: one number for all a store holds at a revision, equal on every member that holds the same.
//!
//! CRC-32C over the ASCII bytes `key`, then for each record in revision order its 17- or 18-byte revision
//! key and its `mvccpb.KeyValue` bytes. Which records take part (etcd 3.7's rules, for a hash at revision
//! `at` of a store compacted at `compacted`):
//!
//! 1. only those with main revision ≤ `at`;
//! 2. of those with main ≤ `compacted` only the keep set: for each key the newest record ≤ `at` in the
//!    generation that holds `at`, unless it is the tombstone that ends it; if the whole keep set is empty, all of
//!    them;
//! 3. no tombstone at main = `compacted`.
//!
//! The hash of a compaction is the hash at its revision, of the store as the compaction before it left it;
//! its keep set is what the compaction keeps, so a tombstone at `at` is in it. etcd keeps the ten newest of
//! those and answers with them whenever exactly their revision is asked for; so does this cache. It is gone
//! after a restart, as etcd's is.
//!
//! The revision log is in the order that the hash wants, so a hash scans it and asks the index about each
//! record: that takes no memory for a record. Calls that ask for the same hash at the same time share one
//! computation.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use disk::revision_log::{Record, Scan};
use disk::{RecordMeta, Revision};

use super::index::ChangeOf;
use super::{Pin, Shared, State};
use crate::Error;

/// Keys and changes looked at under one hold of the index lock.
const STEPS_PER_HOLD: usize = 1000;
/// Records hashed in one step: about 200 µs under the index lock.
const CHUNK_RECORDS: usize = 500;
/// Bytes of records after which a step takes no more.
const CHUNK_BYTES: usize = 1 << 20;
/// Hashes of compactions kept.
const CACHED_HASHES: usize = 10;

/// A hash and what it covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyValueHash {
    /// CRC-32C.
    pub hash: u32,
    /// The compaction assumed; -1: none.
    pub compact_revision: i64,
    /// The revision hashed.
    pub revision: i64,
}

/// The hashes of the newest compactions, and those being computed.
#[derive(Debug, Default)]
pub(super) struct HashCache {
    newest_last: VecDeque<KeyValueHash>,
    /// Computations that are finished or given up may be among them.
    under_way: Vec<(Subject, Weak<Mutex<Computation>>)>,
}

impl HashCache {
    pub(super) fn insert(&mut self, hash: KeyValueHash) {
        if self.newest_last.len() == CACHED_HASHES {
            self.newest_last.pop_front();
        }
        self.newest_last.push_back(hash);
    }

    /// Forgets all: the store is another one.
    pub(super) fn clear(&mut self) {
        self.newest_last.clear();
        self.under_way.clear();
    }

    /// All of them, that of the newest compaction first.
    pub(super) fn newest_first(&self) -> Vec<KeyValueHash> {
        self.newest_last.iter().rev().copied().collect()
    }

    pub(super) fn at(&self, revision: i64) -> Option<KeyValueHash> {
        self.newest_last.iter().find(|h| h.revision == revision).copied()
    }

    /// The computation of `subject`, which `begin` begins if there is none.
    fn share(
        &mut self,
        subject: Subject,
        begin: impl FnOnce(Subject) -> Computation,
    ) -> Arc<Mutex<Computation>> {
        self.under_way.retain(|(_, computation)| computation.strong_count() > 0);
        let same = self.under_way.iter().find(|(other, _)| *other == subject);
        if let Some(computation) = same.and_then(|(_, computation)| computation.upgrade()) {
            return computation;
        }
        let computation = Arc::new(Mutex::new(begin(subject.clone())));
        self.under_way.push((subject, Arc::downgrade(&computation)));
        computation
    }
}

/// What is hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Subject {
    at: i64,
    compacted: i64,
    scope: Scope,
}

/// What takes part.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Scope {
    /// The records of a revision, by the rules above.
    Revision,
    /// The same, and the tombstones that the compaction keeps.
    Compaction,
    /// Every record that is kept, between these bytes before and after.
    Everything { before: Vec<u8>, after: Vec<u8> },
}

impl Subject {
    /// Whether a retained record takes part, if the rule of the keep set `has_keep_set` or is off.
    fn covers(&self, meta: &RecordMeta, in_keep: bool, has_keep_set: bool) -> bool {
        if matches!(self.scope, Scope::Everything { .. }) {
            return true;
        }
        let main = meta.revision.main;
        let is_old = main <= self.compacted && has_keep_set && !disk::seeded_bug!("compacted-record-hashed");
        let is_kept = in_keep || self.is_kept_tombstone(meta.tombstone, main);
        !(meta.tombstone && main == self.compacted) && (is_kept || !is_old)
    }

    /// Whether this is a tombstone that the compaction being hashed keeps.
    fn is_kept_tombstone(&self, tombstone: bool, main: i64) -> bool {
        self.scope == Scope::Compaction && tombstone && main == self.at
    }
}

/// A hash being computed step by step, maybe for several who have asked for it.
#[derive(Debug)]
pub struct HashRead {
    source: Source,
    /// Revision of the store when it was asked for.
    current: i64,
}

/// Where a hash comes from.
#[derive(Debug)]
enum Source {
    /// It was computed before.
    Known(KeyValueHash),
    Computation(Arc<Mutex<Computation>>),
}

#[derive(Debug)]
struct Computation {
    shared: Arc<Shared>,
    subject: Subject,
    /// All that is to be hashed is in it.
    scan: Scan,
    stage: Stage,
    pin: Pin,
}

#[derive(Debug)]
enum Stage {
    /// Finding out whether any change is in the keep set, from this change on.
    Deciding {
        from: Option<ChangeOf>,
    },
    Hashing {
        has_keep_set: bool,
        crc: u32,
    },
    Done(KeyValueHash),
}

impl HashRead {
    /// The hash of revision `at` of a store compacted at `compacted`; `current` is its newest revision.
    ///
    /// Must be called with the state locked by the caller, so that nothing it needs is trimmed before it
    /// holds its pin.
    pub(super) fn new(shared: &Arc<Shared>, state: &State, at: i64) -> HashRead {
        let compacted = state.compact_revision;
        HashRead::of(shared, state, Subject { at, compacted, scope: Scope::Revision })
    }

    /// The hash of the compaction at `at`, after the one at `previous`; otherwise as [`HashRead::new`].
    pub(super) fn of_compaction(shared: &Arc<Shared>, state: &State, at: i64, previous: i64) -> HashRead {
        HashRead::of(shared, state, Subject { at, compacted: previous, scope: Scope::Compaction })
    }

    /// The hash of every record that is kept, between bytes to be hashed before and after them; otherwise as
    /// [`HashRead::new`].
    pub(super) fn of_everything(
        shared: &Arc<Shared>,
        state: &State,
        (before, after): (Vec<u8>, Vec<u8>),
    ) -> HashRead {
        let scope = Scope::Everything { before, after };
        HashRead::of(shared, state, Subject { at: state.revision, compacted: state.compact_revision, scope })
    }

    fn of(shared: &Arc<Shared>, state: &State, subject: Subject) -> HashRead {
        let begin = |subject| Computation::begin(shared, state, subject);
        let computation = shared.hashes().share(subject, begin);
        HashRead { source: Source::Computation(computation), current: state.revision }
    }

    /// A hash computed before.
    pub(super) fn known(current: i64, hash: KeyValueHash) -> HashRead {
        HashRead { source: Source::Known(hash), current }
    }

    /// Does a bounded piece of work; true once the hash is known. Waits while another one does a step of the
    /// same computation.
    pub fn step(&mut self) -> Result<bool, Error> {
        match &self.source {
            Source::Known(_) => Ok(true),
            Source::Computation(computation) => lock(computation).step(),
        }
    }

    /// Revision of the store when the hash was asked for, and the hash. It must be known.
    pub fn finish(self) -> (i64, KeyValueHash) {
        let hash = match self.source {
            Source::Known(hash) => hash,
            Source::Computation(computation) => match lock(&computation).stage {
                Stage::Done(hash) => hash,
                _ => panic!("a hash is finished only when complete"),
            },
        };
        (self.current, hash)
    }
}

// A panic ends the process (release builds abort), so poison says nothing.
fn lock(computation: &Mutex<Computation>) -> MutexGuard<'_, Computation> {
    computation.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Computation {
    /// The state is locked by the caller, see [`HashRead::new`].
    fn begin(shared: &Arc<Shared>, state: &State, subject: Subject) -> Computation {
        let pin = Pin::new(shared, state, subject.compacted);
        let scan = shared.log.scan(Revision::default());
        let stage = Stage::Deciding { from: None };
        Computation { shared: Arc::clone(shared), subject, scan, stage, pin }
    }

    fn step(&mut self) -> Result<bool, Error> {
        match &self.stage {
            Stage::Deciding { .. } => self.find_keep_set(),
            Stage::Hashing { .. } => self.hash()?,
            Stage::Done(_) => return Ok(true),
        }
        self.pin.check()?;
        Ok(matches!(self.stage, Stage::Done(_)))
    }

    /// Looks for a change in the keep set: one is enough to know that the rule of the keep set is on.
    fn find_keep_set(&mut self) {
        let Stage::Deciding { from } = &mut self.stage else { return };
        let subject = &self.subject;
        let mut has_keep_set = false;
        *from = {
            let state = self.shared.read();
            state.index.retained(subject.compacted, subject.at, from.as_ref(), STEPS_PER_HOLD, &mut |r| {
                let main = r.revision.main;
                let is_kept = r.in_keep || subject.is_kept_tombstone(r.tombstone, main);
                let is_candidate = main <= subject.at && !(r.tombstone && main == subject.compacted);
                has_keep_set = is_candidate && is_kept;
                if has_keep_set { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
        };
        if has_keep_set || from.is_none() {
            let before = match &subject.scope {
                Scope::Everything { before, .. } => crc32c::crc32c(before),
                Scope::Revision | Scope::Compaction => 0,
            };
            self.stage = Stage::Hashing { has_keep_set, crc: crc32c::crc32c_append(before, b"key") };
        }
    }

    /// Hashes the next records.
    fn hash(&mut self) -> Result<(), Error> {
        let (records, is_last) = self.next_records()?;
        let Stage::Hashing { has_keep_set, crc } = &mut self.stage else { return Ok(()) };
        let subject = &self.subject;
        // For each record that is retained, whether it is in the keep set.
        let places: Vec<Option<bool>> = {
            let state = self.shared.read();
            let place = |record: &Record| {
                let revision = record.meta.revision;
                state.index.place_in_hash(record.key(), revision, subject.compacted, subject.at)
            };
            records.iter().map(place).collect()
        };
        for (record, place) in records.iter().zip(places) {
            let Some(in_keep) = place else { continue };
            if subject.covers(&record.meta, in_keep, *has_keep_set) {
                *crc = crc32c::crc32c_append(*crc, &record.meta.revision.to_key());
                if record.meta.tombstone {
                    *crc = crc32c::crc32c_append(*crc, b"t");
                }
                *crc = crc32c::crc32c_append(*crc, &record.key_value());
            }
        }
        if is_last {
            let after = match &subject.scope {
                Scope::Everything { after, .. } => &after[..],
                Scope::Revision | Scope::Compaction => &[],
            };
            let hash = crc32c::crc32c_append(*crc, after);
            self.stage =
                Stage::Done(KeyValueHash { hash, compact_revision: subject.compacted, revision: subject.at });
        }
        Ok(())
    }

    /// Some records up to the revision hashed, and whether they are the last of them.
    fn next_records(&mut self) -> Result<(Vec<Record>, bool), Error> {
        let mut records = Vec::new();
        let mut bytes = 0;
        while records.len() < CHUNK_RECORDS && bytes < CHUNK_BYTES {
            match self.scan.next().transpose()? {
                Some(record) if record.meta.revision.main <= self.subject.at => {
                    bytes += record.key_value().len();
                    records.push(record);
                }
                _ => return Ok((records, true)),
            }
        }
        Ok((records, false))
    }
}
