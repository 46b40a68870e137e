//! Reading the store from any thread.
//!
//! A view is cheap to clone and always shows the newest committed state. Nothing here waits for the writer
//! longer than one batch, and nothing here keeps the writer waiting longer than one chunk.

use std::sync::Arc;

use bytes::Bytes;
use disk::revision_log::{Scan, Segments};
use proto::etcdserverpb::request_op::Request as Op;
use proto::etcdserverpb::{RangeRequest, RequestOp, TxnRequest};

use super::compare::Comparison;
use super::hash::HashRead;
use super::range::{CHUNK_BYTES, CHUNK_KEYS, RangeQuery, RangeRead};
use super::source::{SharedSource, Source};
use super::txn::{branch, check_op_revision};
use super::{KeyValueHash, Operations, Pin, Shared};
use crate::buckets;
use crate::outcome::{ANSWER_LEN_MAX, OpOutcome, RangeOutcome, TxnOutcome};
use crate::{Control, Error, Refusal, work};

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
            read.collect(&state.index, &mut { CHUNK_KEYS }, usize::MAX, CHUNK_BYTES);
        }
        // Taken under the lock: every location found lies in these segments.
        let segments = self.shared.log.snapshot();
        let pin = if read.is_collected() { None } else { Some(Pin::new(&self.shared, &state, at)) };
        drop(state);
        read.fetch(segments)?;
        Ok(RangeReading { view: self.clone(), read, pin })
    }

    /// Begins a transaction of ranges only: compares and reads see one revision of the store.
    pub fn txn_reading<'r>(&self, request: &'r TxnRequest) -> TxnReading<'r> {
        let state = self.shared.read();
        // Its ranges may name any revision from the compacted one on.
        let (at, compacted) = (state.revision, state.compact_revision);
        let pin = Pin::new(&self.shared, &state, compacted);
        drop(state);
        let stage = TxnStage::Comparing(Comparison::new(&request.compare, at));
        TxnReading { view: self.clone(), request, at, compacted, stage, pin }
    }

    /// Runs a transaction of ranges only in one go.
    pub fn txn(&self, request: &TxnRequest) -> Result<TxnOutcome, Error> {
        let mut reading = self.txn_reading(request);
        while !reading.step()? {}
        Ok(reading.finish())
    }

    /// A key as of `revision`, as `mvccpb.KeyValue` bytes; `None` if it did not exist then or that history
    /// is gone.
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

    /// Whether the store, or an export of it, still needs this change of this key.
    pub fn holds(&self, key: &[u8], revision: disk::Revision) -> bool {
        let state = self.shared.read();
        state.index.has(key, revision) || state.holds.has(revision)
    }

    /// How often the whole state was replaced.
    pub(crate) fn generation(&self) -> u64 {
        self.shared.read().generation
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
            return Ok(HashRead::known(current, hash));
        }
        if revision > 0 && revision < compacted {
            return Err(Refusal::Compacted.into());
        }
        if revision > current {
            return Err(Refusal::FutureRevision.into());
        }
        let at = if revision == 0 { current } else { revision };
        Ok(HashRead::new(&self.shared, &state, at))
    }

    /// The hashes of the newest compactions since the start, the newest first.
    pub fn compaction_hashes(&self) -> Vec<KeyValueHash> {
        self.shared.hashes().newest_first()
    }

    /// Begins to hash all there is, the control tables too, as etcd's `Hash` does.
    pub fn hash_everything(&self, control: &Control) -> HashRead {
        let state = self.shared.read();
        let around = buckets::around_keys(control, state.compact_revision);
        HashRead::of_everything(&self.shared, &state, around)
    }

    /// Hashes the store as of `revision` in one go.
    pub fn hash_now(&self, revision: i64) -> Result<KeyValueHash, Error> {
        let mut read = self.hash(revision)?;
        while !read.step()? {}
        Ok(read.finish().1)
    }
}

/// A range being read chunk by chunk, at one revision.
///
/// The keys of a long one are only found at first, and copied when all are: then the answer's length is
/// known, and it can be sent while it is made.
#[derive(Debug)]
pub struct RangeReading {
    view: ReadView,
    read: RangeRead<Segments>,
    /// Until all keys are found; segments can be read without.
    pin: Option<Pin>,
}

impl RangeReading {
    /// Does a bounded piece of work; true once all keys are found and in order. Between calls the caller may
    /// let others run.
    pub fn step(&mut self) -> Result<bool, Error> {
        if !self.read.is_complete() {
            self.read.step(&mut SharedSource::new(&self.view.shared))?;
            self.pin.as_ref().map_or(Ok(()), Pin::check)?;
        }
        if self.read.is_collected() {
            self.pin = None;
        }
        Ok(self.read.is_complete())
    }

    /// Whether there are keys to be copied, with [`RangeReading::copy_next`] or by [`RangeReading::finish`],
    /// in more than one piece.
    pub fn is_long(&self) -> bool {
        self.read.is_long()
    }

    /// What is known of the answer: all but the keys, once all are found.
    pub fn outcome(&self) -> &RangeOutcome {
        self.read.outcome()
    }

    /// Bytes of the keys found so far and not yet copied, as fields of an answer: of all once all are found.
    /// It does not shrink before that, so an answer that is too long can be refused before it is complete.
    pub fn kvs_len(&self) -> u64 {
        self.read.kvs_len()
    }

    /// Appends the next keys to `out`, framed as in [`RangeOutcome::kvs`]: about 256 KiB, or less if they
    /// are short. False if those were the last.
    pub fn copy_next(&mut self, out: &mut Vec<u8>) -> Result<bool, Error> {
        self.read.copy_next(out)?;
        Ok(self.read.has_uncopied())
    }

    /// The whole answer. All keys must be found.
    pub fn finish(self) -> Result<RangeOutcome, Error> {
        Ok(self.read.finish(ANSWER_LEN_MAX)?)
    }
}

/// A transaction of ranges only, being read step by step at one revision.
#[derive(Debug)]
pub struct TxnReading<'r> {
    view: ReadView,
    request: &'r TxnRequest,
    at: i64,
    compacted: i64,
    stage: TxnStage<'r>,
    pin: Pin,
}

#[derive(Debug)]
enum TxnStage<'r> {
    Comparing(Comparison<'r>),
    Reading(Box<TxnRanges<'r>>),
}

/// The ranges of the branch taken, read one after the other.
#[derive(Debug)]
struct TxnRanges<'r> {
    ops: std::slice::Iter<'r, RequestOp>,
    read: Option<RangeRead<Segments>>,
    /// Bytes of the keys in `outcome`, and of those left out of it.
    outcome_len: u64,
    outcome: TxnOutcome,
}

impl TxnReading<'_> {
    /// Does a bounded piece of work; true once the outcome is known. Between calls the caller may let others
    /// run.
    pub fn step(&mut self) -> Result<bool, Error> {
        let is_known = self.step_unchecked()?;
        self.pin.check()?;
        Ok(is_known)
    }

    fn step_unchecked(&mut self) -> Result<bool, Error> {
        let mut source = SharedSource::new(&self.view.shared);
        match &mut self.stage {
            TxnStage::Comparing(comparison) => {
                if let Some(succeeded) = comparison.step(&mut source)? {
                    let ops = branch(self.request, succeeded);
                    self.view.shared.reads.txn(ops.len());
                    let outcome = TxnOutcome { revision: self.at, succeeded, results: Vec::new() };
                    let ops = ops.iter();
                    let ranges = TxnRanges { ops, read: None, outcome_len: 0, outcome };
                    self.stage = TxnStage::Reading(Box::new(ranges));
                }
                Ok(false)
            }
            TxnStage::Reading(ranges) => ranges.step(self.at, self.compacted, &mut source),
        }
    }

    /// The outcome, once it is known.
    pub fn finish(self) -> TxnOutcome {
        match self.stage {
            TxnStage::Reading(ranges) => ranges.outcome,
            TxnStage::Comparing(_) => panic!("a transaction is finished only when complete"),
        }
    }
}

impl TxnRanges<'_> {
    fn step(&mut self, at: i64, compacted: i64, source: &mut SharedSource<'_>) -> Result<bool, Error> {
        match &mut self.read {
            None => {
                let Some(op) = self.ops.next() else { return Ok(true) };
                let Some(Op::RequestRange(request)) = &op.request else {
                    return Err(Refusal::KeyNotFound.into());
                };
                self.read = Some(begin_range(request, at, compacted, source)?);
            }
            Some(read) if !read.is_complete() => read.step(source)?,
            Some(_) => {}
        }
        if let Some(read) = self.read.take_if(|read| read.is_complete()) {
            let room = ANSWER_LEN_MAX.saturating_sub(self.outcome_len);
            self.outcome_len = self.outcome_len.saturating_add(read.kvs_len());
            self.outcome.results.push(OpOutcome::Range(read.finish(room)?));
        }
        Ok(false)
    }
}

fn begin_range(
    request: &RangeRequest,
    at: i64,
    compacted: i64,
    source: &mut SharedSource<'_>,
) -> Result<RangeRead<Segments>, Error> {
    check_op_revision(request.revision, at, compacted)?;
    let query = RangeQuery::new(request)?;
    let read_at = if request.revision > 0 { request.revision } else { at };
    Ok(source.look(|index, _| RangeRead::new(query, read_at, at, index)))
}
