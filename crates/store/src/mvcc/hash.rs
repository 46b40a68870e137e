//! HashKV: one number for all a store holds at a revision, equal on every member that holds the same.
//!
//! CRC-32C over the ASCII bytes `key`, then for each record in revision order its 17- or 18-byte revision key
//! and its `mvccpb.KeyValue` bytes. Which records take part (etcd 3.7's rules, for a hash at revision `at` of a
//! store compacted at `compacted`):
//!
//! 1. only those with main revision ≤ `at`;
//! 2. of those with main ≤ `compacted` only the keep set: for each key the newest record ≤ `at` in the
//!    generation that holds `at`, unless it is the tombstone that ends it; if the whole keep set is empty, all of
//!    them;
//! 3. no tombstone at main = `compacted`.
//!
//! The hash of a compaction is the hash at its revision, of the store as the compaction before it left it; its
//! keep set is what the compaction keeps, so a tombstone at `at` is in it. etcd keeps the ten newest of those
//! and answers with them whenever exactly their revision is asked for; so does this cache. It is gone after a
//! restart, as etcd's is.

use std::collections::VecDeque;
use std::sync::Arc;

use disk::log::Sweep;
use disk::{Location, Revision};

use super::{Pin, Shared};
use crate::Error;

/// Keys looked at under one hold of the index lock.
const CHUNK_KEYS: usize = 1000;
/// Records hashed in one step.
const CHUNK_RECORDS: usize = 1000;
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

/// The hashes of the newest compactions.
#[derive(Debug, Default)]
pub(super) struct HashCache {
    newest_last: VecDeque<KeyValueHash>,
}

impl HashCache {
    pub(super) fn insert(&mut self, hash: KeyValueHash) {
        if self.newest_last.len() == CACHED_HASHES {
            self.newest_last.pop_front();
        }
        self.newest_last.push_back(hash);
    }

    pub(super) fn at(&self, revision: i64) -> Option<KeyValueHash> {
        self.newest_last.iter().find(|h| h.revision == revision).copied()
    }
}

/// A record that may take part.
#[derive(Debug)]
struct Candidate {
    revision: Revision,
    tombstone: bool,
    location: Location,
    in_keep: bool,
}

/// A hash being computed step by step.
#[derive(Debug)]
pub struct HashRead {
    shared: Arc<Shared>,
    at: i64,
    compacted: i64,
    current: i64,
    scope: Scope,
    stage: Stage,
    _pin: Option<Pin>,
}

/// What takes part.
#[derive(Debug)]
enum Scope {
    /// What stands at a revision, by the rules above.
    Revision,
    /// The same, and the tombstones that the compaction keeps.
    Compaction,
    /// Every record that is kept, between these bytes before and after.
    Everything { before: Vec<u8>, after: Vec<u8> },
}

#[derive(Debug)]
enum Stage {
    Collecting(Collecting),
    Hashing(Hashing),
    Done(KeyValueHash),
}

#[derive(Debug, Default)]
struct Collecting {
    /// All keys up to this one are done.
    after: Option<Box<[u8]>>,
    candidates: Vec<Candidate>,
    /// What the candidates are going to be read through.
    records: Sweep,
}

#[derive(Debug)]
struct Hashing {
    /// In revision order.
    candidates: Vec<Candidate>,
    next: usize,
    crc: u32,
    records: Sweep,
}

impl HashRead {
    /// Must be called with the state locked by the caller, so that nothing it needs is trimmed before it holds
    /// its pin.
    pub(super) fn new(shared: Arc<Shared>, at: i64, compacted: i64, current: i64) -> HashRead {
        let pin = Pin::new(&shared, compacted);
        let stage = Stage::Collecting(Collecting::default());
        HashRead { shared, at, compacted, current, scope: Scope::Revision, stage, _pin: Some(pin) }
    }

    /// The hash of the compaction at `at`, after the one at `previous`; otherwise as [`HashRead::new`].
    pub(super) fn of_compaction(shared: Arc<Shared>, at: i64, previous: i64, current: i64) -> HashRead {
        HashRead { scope: Scope::Compaction, ..HashRead::new(shared, at, previous, current) }
    }

    /// The hash of every record that is kept, in its place between what stands `before` and `after` the records;
    /// otherwise as [`HashRead::new`].
    pub(super) fn of_everything(self, (before, after): (Vec<u8>, Vec<u8>)) -> HashRead {
        HashRead { scope: Scope::Everything { before, after }, ..self }
    }

    /// A hash computed before.
    pub(super) fn known(shared: Arc<Shared>, current: i64, hash: KeyValueHash) -> HashRead {
        HashRead {
            shared,
            at: hash.revision,
            compacted: hash.compact_revision,
            current,
            scope: Scope::Revision,
            stage: Stage::Done(hash),
            _pin: None,
        }
    }

    /// Does a bounded piece of work; true once the hash is known.
    pub fn step(&mut self) -> Result<bool, Error> {
        match &mut self.stage {
            Stage::Collecting(_) => self.collect(),
            Stage::Hashing(_) => self.hash()?,
            Stage::Done(_) => {}
        }
        Ok(matches!(self.stage, Stage::Done(_)))
    }

    /// Revision of the store when the hash was asked for, and the hash. It must be known.
    pub fn finish(self) -> (i64, KeyValueHash) {
        match self.stage {
            Stage::Done(hash) => (self.current, hash),
            _ => panic!("a hash is finished only when complete"),
        }
    }

    fn collect(&mut self) {
        let Stage::Collecting(Collecting { after, candidates, records }) = &mut self.stage else { return };
        let (at, compacted, scope) = (self.at, self.compacted, &self.scope);
        {
            let state = self.shared.read();
            *after = state.index.retained(compacted, at, after.take(), CHUNK_KEYS, &mut |r| {
                let (revision, tombstone, location) = (r.revision, r.tombstone, r.location);
                let is_everything = matches!(scope, Scope::Everything { .. });
                if is_everything || (revision.main <= at && !(tombstone && revision.main == compacted)) {
                    let is_kept_tombstone =
                        matches!(scope, Scope::Compaction) && tombstone && revision.main == at;
                    let in_keep = r.in_keep || is_kept_tombstone || is_everything;
                    candidates.push(Candidate { revision, tombstone, location, in_keep });
                }
            });
            // Taken under the lock: by the time of the hashing, a rewrite may have moved what was found here.
            records.cover(&self.shared.log.snapshot());
        }
        if after.is_none() {
            let before =
                if let Scope::Everything { before, .. } = scope { crc32c::crc32c(before) } else { 0 };
            self.stage = Stage::Hashing(Hashing {
                candidates: in_order(std::mem::take(candidates), compacted),
                next: 0,
                crc: crc32c::crc32c_append(before, b"key"),
                records: std::mem::take(records),
            });
        }
    }

    fn hash(&mut self) -> Result<(), Error> {
        let Stage::Hashing(Hashing { candidates, next, crc, records }) = &mut self.stage else {
            return Ok(());
        };
        let chunk = &candidates[*next..candidates.len().min(*next + CHUNK_RECORDS)];
        for c in chunk {
            *crc = crc32c::crc32c_append(*crc, &c.revision.to_key());
            if c.tombstone {
                *crc = crc32c::crc32c_append(*crc, b"t");
            }
            *crc = crc32c::crc32c_append(*crc, records.read(c.location)?);
        }
        *next += chunk.len();
        if *next == candidates.len() {
            let after = if let Scope::Everything { after, .. } = &self.scope { &after[..] } else { &[] };
            let hash = crc32c::crc32c_append(*crc, after);
            self.stage =
                Stage::Done(KeyValueHash { hash, compact_revision: self.compacted, revision: self.at });
        }
        Ok(())
    }
}

/// Applies the rule of the keep set and sorts what is left by revision.
fn in_order(mut candidates: Vec<Candidate>, compacted: i64) -> Vec<Candidate> {
    if candidates.iter().any(|c| c.in_keep) && !disk::seeded_bug!("compacted-record-hashed") {
        candidates.retain(|c| c.in_keep || c.revision.main > compacted);
    }
    candidates.sort_unstable_by_key(|c| c.revision);
    candidates
}
