//! Reading the store from any thread.
//!
//! A view is cheap to clone and always shows the newest committed state. Nothing here waits for the writer
//! longer than one batch, and nothing here keeps the writer waiting longer than one chunk.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use disk::Location;
use disk::log::{Scan, Segments};
use proto::etcdserverpb::request_op::Request as Op;
use proto::etcdserverpb::{RangeRequest, TxnRequest};

use super::hash::HashRead;
use super::range::{self, CHUNK_BYTES, CHUNK_KEYS, RangeQuery, RangeRead, Records};
use super::txn::{all_hold, branch, check_op_revision};
use super::{KeyValueHash, Operations, Pin, Shared};
use crate::buckets;
use crate::outcome::{OpOutcome, RangeOutcome, TxnOutcome};
use crate::{Control, Error, Refusal, work};

impl Records for Segments {
    fn read(&self, at: Location) -> Result<Bytes, disk::Error> {
        Segments::read(self, at)
    }

    fn visit_all(&self, places: &[Location], visit: &mut dyn FnMut(&[u8])) -> Result<(), disk::Error> {
        Segments::visit_all(self, places, visit)
    }
}

/// A reader of the store.
#[derive(Debug, Clone)]
pub struct ReadView {
    pub(super) shared: Arc<Shared>,
}

impl ReadView {
    pub(super) fn new(shared: Arc<Shared>) -> ReadView {
        ReadView { shared }
    }

    /// Revision of the newest change.
    pub fn revision(&self) -> i64 {
        self.shared.read().revision
    }

    /// The last compaction asked for; -1 if there was none.
    pub fn compact_revision(&self) -> i64 {
        self.shared.read().compact_revision
    }

    /// Number of keys, deleted ones whose history is not yet compacted included.
    pub fn keys(&self) -> u64 {
        self.shared.read().index.len()
    }

    /// Reads under way that compaction has to wait for.
    pub fn open_reads(&self) -> usize {
        self.shared.pins().values().sum()
    }

    /// What was done to keys since the start, by commands and by readers.
    pub fn operations(&self) -> Operations {
        let mut operations = self.shared.read().operations;
        operations += self.shared.reads.operations();
        operations
    }

    /// Begins to read a range. A small one is complete when this returns.
    ///
    /// Refused with [`Refusal::Compacted`] or [`Refusal::FutureRevision`].
    pub fn range(&self, query: RangeQuery) -> Result<RangeReading, Error> {
        self.shared.reads.range();
        let state = self.shared.read();
        let at = query.resolve(state.revision, state.compact_revision)?;
        let mut read = if query.is_lookup() {
            RangeRead::uncounted(query, at, state.revision)
        } else {
            RangeRead::new(query, at, state.revision, &state.index)
        };
        if !read.is_collected() {
            read.collect_up_to(&state.index, CHUNK_KEYS, CHUNK_BYTES);
        }
        // Taken under the lock: every location collected lies in these segments.
        let segments = self.shared.log.snapshot();
        let pin = if read.is_collected() { None } else { Some(Pin::new(&self.shared, at)) };
        drop(state);
        let mut reading = RangeReading { view: self.clone(), read, found: VecDeque::new(), pin };
        reading.settle(segments)?;
        Ok(reading)
    }

    /// Runs a transaction of ranges only: compares and reads see one revision of the store.
    pub fn txn(&self, request: &TxnRequest) -> Result<TxnOutcome, Error> {
        // Its ranges may name any revision from the compacted one on.
        let (at, compacted, _pin) = {
            let state = self.shared.read();
            (state.revision, state.compact_revision, Pin::new(&self.shared, state.compact_revision))
        };
        let succeeded = {
            let state = self.shared.read();
            all_hold(&request.compare, at, &state.index, &self.shared.log.snapshot())?
        };
        let branch = branch(request, succeeded);
        self.shared.reads.txn(branch.len());
        let mut results = Vec::new();
        for op in branch {
            let Some(Op::RequestRange(range)) = &op.request else {
                return Err(Refusal::KeyNotFound.into());
            };
            check_op_revision(range.revision, at, compacted)?;
            results.push(OpOutcome::Range(self.range_pinned(range, at)?));
        }
        Ok(TxnOutcome { revision: at, succeeded, results })
    }

    /// A key as of `revision`, as `mvccpb.KeyValue` bytes; nothing if it did not exist then or that history is
    /// gone.
    pub(crate) fn key_at(&self, key: &[u8], revision: i64) -> Result<Option<Bytes>, Error> {
        let (found, segments) = {
            let state = self.shared.read();
            if revision < state.compact_revision {
                return Ok(None);
            }
            (state.index.at(key, revision), self.shared.log.snapshot())
        };
        found.map(|f| segments.read(f.location)).transpose().map_err(Error::from)
    }

    /// Whether the store still holds this change of this key.
    pub fn holds(&self, key: &[u8], revision: disk::Revision) -> bool {
        self.shared.read().index.has(key, revision)
    }

    /// The records of the log from `from` on, in revision order, as far as they are committed.
    pub(crate) fn scan(&self, from: disk::Revision) -> Scan {
        work::count_log_scan();
        self.shared.log.scan(from)
    }

    /// Begins to hash the store as of `revision` (0: now; below 0, where there is nothing yet, the hash of
    /// nothing), as etcd's `HashKV` does.
    ///
    /// Refused with [`Refusal::Compacted`] or [`Refusal::FutureRevision`].
    pub fn hash(&self, revision: i64) -> Result<HashRead, Error> {
        let state = self.shared.read();
        let (current, compacted) = (state.revision, state.compact_revision);
        if let Some(hash) = self.shared.hashes().at(revision) {
            return Ok(HashRead::known(Arc::clone(&self.shared), current, hash));
        }
        if revision > 0 && revision < compacted {
            return Err(Refusal::Compacted.into());
        }
        if revision > current {
            return Err(Refusal::FutureRevision.into());
        }
        let at = if revision == 0 { current } else { revision };
        Ok(HashRead::new(Arc::clone(&self.shared), at, compacted, current))
    }

    /// Begins to hash all there is, the control tables too, as etcd's `Hash` does.
    pub fn hash_everything(&self, control: &Control) -> HashRead {
        let state = self.shared.read();
        let (current, compacted) = (state.revision, state.compact_revision);
        HashRead::new(Arc::clone(&self.shared), current, compacted, current)
            .of_everything(buckets::around_keys(control, compacted))
    }

    /// Hashes the store as of `revision` in one go.
    pub fn hash_now(&self, revision: i64) -> Result<KeyValueHash, Error> {
        let mut read = self.hash(revision)?;
        while !read.step()? {}
        Ok(read.finish().1)
    }

    fn range_pinned(&self, request: &RangeRequest, at: i64) -> Result<RangeOutcome, Error> {
        let query = RangeQuery::new(request)?;
        let read_at = if request.revision > 0 { request.revision } else { at };
        let mut read = {
            let state = self.shared.read();
            RangeRead::new(query, read_at, at, &state.index)
        };
        while !read.is_collected() {
            let segments = {
                let state = self.shared.read();
                read.collect(&state.index, CHUNK_KEYS);
                self.shared.log.snapshot()
            };
            read.fetch(&segments)?;
        }
        Ok(read.finish())
    }
}

/// A range being read chunk by chunk, at one revision.
///
/// Where stored keys make the answer just as they are, those of a long one are only found at first, and copied when
/// all are: then the answer's length is known, and it can be sent while it is made.
#[derive(Debug)]
pub struct RangeReading {
    view: ReadView,
    read: RangeRead,
    /// Chunks found and not yet copied, with the segments they lie in.
    found: VecDeque<(Segments, Vec<Location>)>,
    /// Until all keys are found; segments can be read without.
    pin: Option<Pin>,
}

impl RangeReading {
    /// Goes on with the next chunk; true once all keys are found. Between calls the caller may let others run.
    pub fn step(&mut self) -> Result<bool, Error> {
        if self.read.is_collected() {
            return Ok(true);
        }
        let segments = {
            let state = self.view.shared.read();
            self.read.collect_up_to(&state.index, CHUNK_KEYS, CHUNK_BYTES);
            self.view.shared.log.snapshot()
        };
        self.settle(segments)?;
        Ok(self.read.is_collected())
    }

    /// Whether keys are still to be copied, with [`RangeReading::copy_next`] or by [`RangeReading::finish`].
    pub fn is_long(&self) -> bool {
        !self.found.is_empty()
    }

    /// What is known of the answer: all but the keys, once all are found.
    pub fn outcome(&self) -> &RangeOutcome {
        self.read.outcome()
    }

    /// Bytes of the keys that are still to be copied.
    pub fn copied_len(&self) -> usize {
        self.found.iter().map(|(_, places)| range::copied_len(places)).sum()
    }

    /// Appends the next keys to `out`, framed as in [`RangeOutcome::kvs`]: about 256 KiB, or less if they are short.
    /// False if those were the last.
    pub fn copy_next(&mut self, out: &mut Vec<u8>) -> Result<bool, Error> {
        if let Some((segments, places)) = self.found.pop_front() {
            range::copy(&segments, &places, out)?;
        }
        Ok(self.is_long())
    }

    /// The whole answer. All keys must be found.
    pub fn finish(mut self) -> Result<RangeOutcome, Error> {
        let mut kvs = std::mem::take(self.read.out());
        kvs.reserve_exact(self.copied_len());
        while self.copy_next(&mut kvs)? {}
        *self.read.out() = kvs;
        Ok(self.read.finish())
    }

    /// Keeps the chunk just collected for later, or reads it now if it is the whole range or has to be looked into.
    fn settle(&mut self, segments: Segments) -> Result<(), Error> {
        let is_whole = self.read.is_collected() && self.found.is_empty();
        match if is_whole { None } else { self.read.take_copied() } {
            Some(places) => self.found.push_back((segments, places)),
            None => self.read.fetch(&segments)?,
        }
        if self.read.is_collected() {
            self.pin = None;
        }
        Ok(())
    }
}
