//! The write transaction: puts, deletes and nested transactions that share one main revision.
//!
//! Owns nothing; borrows the index, the revision log and the leases for the time of one command. Each change
//! appends one record, points the index at it, attaches the key to its lease and notes one event. The main
//! revision is the store's plus one, taken only if something changes; sub revisions count the changes in
//! order. A transaction is checked whole against the state before it, then executed without a way to fail
//! but a broken disk: nothing is ever half done.
//!
//! The lock of the index is held for a bounded number of steps at a time, and never while the disk is read
//! or written. Readers in between see the store without this command, since they read at the revision
//! published.

use std::ops::ControlFlow;

use bytes::Bytes;
use disk::{Location, RecordMeta, Revision, RevisionLog};
use proto::etcdserverpb::request_op::Request as Op;
use proto::etcdserverpb::{DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest};
use proto::wire::message_field_len;

use super::State;
use super::compare::all_hold;
use super::index::{Newest, Place};
use super::key_value::{self, KeyValue};
use super::operations::Operations;
use super::range::{RangeQuery, RangeRead};
use super::source::{Source, WriterSource};
use crate::key_range::KeyRange;
use crate::lease::LeaseTable;
use crate::outcome::{ANSWER_LEN_MAX, DeleteOutcome, OpOutcome, PutOutcome, RangeOutcome, TxnOutcome};
use crate::stepped_lock::SteppedWriter;
use crate::watch::Event;
use crate::{Error, Refusal};

/// Bytes of a record whose encoding takes about as long as a step in the index.
const BYTES_PER_STEP: usize = 4096;

/// One command's changes under way.
pub(crate) struct WriteTxn<'a, 's> {
    state: &'a mut SteppedWriter<'s, State>,
    log: &'a mut RevisionLog,
    leases: &'a mut LeaseTable,
    /// Revision and last compaction of the store before this transaction.
    revision: i64,
    compact_revision: i64,
    changes: u32,
    operations: Operations,
    events: Vec<Event>,
    wants_events: bool,
    scratch: &'a mut Vec<u8>,
    /// Bytes of the keys that the outcome holds.
    outcome_len: u64,
}

impl<'a, 's> WriteTxn<'a, 's> {
    /// Begins on a store at a revision and last compaction. Events are made only if somebody watches;
    /// `scratch` is used for its memory.
    pub(super) fn new(
        state: &'a mut SteppedWriter<'s, State>,
        log: &'a mut RevisionLog,
        leases: &'a mut LeaseTable,
        scratch: &'a mut Vec<u8>,
        (revision, compact_revision): (i64, i64),
        wants_events: bool,
    ) -> WriteTxn<'a, 's> {
        WriteTxn {
            state,
            log,
            leases,
            revision,
            compact_revision,
            changes: 0,
            operations: Operations::default(),
            events: Vec::new(),
            wants_events,
            scratch,
            outcome_len: 0,
        }
    }

    /// The revision of the store as seen from inside: one more once something has changed.
    pub(super) fn revision(&self) -> i64 {
        self.revision + i64::from(self.changes > 0)
    }

    /// Ends the transaction. Returns the revision of the store from now on, the events, and the operations
    /// counted.
    pub(super) fn finish(self) -> (i64, Vec<Event>, Operations) {
        (self.revision(), self.events, self.operations.as_txn())
    }

    /// Checks and executes one put.
    pub(crate) fn put(&mut self, request: &PutRequest) -> Result<PutOutcome, Error> {
        self.check_put(request)?;
        self.execute_put(request)
    }

    /// Deletes a key or a range.
    pub(crate) fn delete_range(&mut self, request: &DeleteRangeRequest) -> Result<DeleteOutcome, Error> {
        let range = KeyRange::new(request.key.clone(), request.range_end.clone());
        self.operations.deletes += 1;
        let mut outcome = DeleteOutcome::default();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let keys;
            (keys, after) = self.live_keys(&range, after.as_deref());
            for (key, location) in keys {
                if request.prev_kv {
                    self.note_deleted(location, &mut outcome)?;
                }
                outcome.deleted += 1;
                self.append_tombstone(&key)?;
                self.leases.attach(&key, 0);
            }
            if after.is_none() {
                outcome.revision = self.revision();
                return Ok(outcome);
            }
        }
    }

    /// Takes the record of a key that is about to be deleted into the outcome, as long as an answer can hold
    /// it.
    fn note_deleted(&mut self, location: Location, outcome: &mut DeleteOutcome) -> Result<(), Error> {
        let len = message_field_len(location.len as usize) as u64;
        if self.has_room_for(len) {
            outcome.prev.push(self.read(location)?);
        } else {
            outcome.omitted_len = outcome.omitted_len.saturating_add(len);
        }
        Ok(())
    }

    /// Counts bytes of keys for the outcome; false if they make it longer than any answer.
    fn has_room_for(&mut self, len: u64) -> bool {
        self.outcome_len = self.outcome_len.saturating_add(len);
        self.outcome_len <= ANSWER_LEN_MAX
    }

    /// Reads a record, without the lock of the index.
    fn read(&mut self, location: Location) -> Result<Bytes, Error> {
        self.state.release();
        Ok(self.log.read(location)?)
    }

    /// Ends a lease and deletes its keys, in key order. Returns the revision of the store.
    pub(crate) fn revoke_lease(&mut self, id: i64) -> Result<i64, Error> {
        self.state.release();
        for key in self.leases.revoke(id)? {
            self.operations.deletes += 1;
            self.append_tombstone(&key)?;
        }
        Ok(self.revision())
    }

    /// Checks and executes a transaction with all it nests.
    pub(crate) fn txn(&mut self, request: &TxnRequest) -> Result<TxnOutcome, Error> {
        let mut path = Vec::new();
        self.decide(request, &mut path)?;
        self.check_txn(request, &mut path.iter().copied())?;
        self.execute_txn(request, &mut path.into_iter())
    }

    fn check_put(&mut self, request: &PutRequest) -> Result<(), Error> {
        if request.lease != 0 && self.leases.term(request.lease).is_none() {
            return Err(Refusal::LeaseNotFound.into());
        }
        let needs_key = request.ignore_value || request.ignore_lease;
        if needs_key && self.newest_live(&request.key).is_none() {
            return Err(Refusal::KeyNotFound.into());
        }
        Ok(())
    }

    fn execute_put(&mut self, request: &PutRequest) -> Result<PutOutcome, Error> {
        self.operations.puts += 1;
        self.operations.put_bytes += (request.key.len() + request.value.len()) as u64;
        let found = self.state.get().index.find(&request.key).filter(|(newest, _)| !newest.tombstone);
        self.state.spend(1);
        let old = found.map(|(n, _)| (n.create_revision, n.version, n.location));
        let needs_old = request.prev_kv || request.ignore_value || request.ignore_lease;
        let prev = match old {
            Some((.., location)) if needs_old => Some(self.read(location)?),
            _ => None,
        };
        let kept =
            prev.as_ref().filter(|_| request.ignore_value || request.ignore_lease).map(key_value::decode);
        let main = self.revision + 1;
        let (create_revision, version) = old.map_or((main, 1), |(create, version, _)| (create, version + 1));
        let kv = KeyValue {
            key: &request.key,
            create_revision,
            mod_revision: main,
            version,
            value: match &kept {
                Some(kept) if request.ignore_value => &kept.value,
                _ => &request.value,
            },
            lease: match &kept {
                Some(kept) if request.ignore_lease => kept.lease,
                _ => request.lease,
            },
        };
        self.append(&request.key, &kv, false, found.map(|(_, place)| place))?;
        self.leases.attach(&request.key, kv.lease);
        let prev = prev.filter(|_| request.prev_kv);
        self.outcome_len += prev.as_ref().map_or(0, |prev| message_field_len(prev.len()) as u64);
        Ok(PutOutcome { revision: self.revision(), prev })
    }

    fn append_tombstone(&mut self, key: &[u8]) -> Result<(), Error> {
        self.append(key, &KeyValue { key, ..KeyValue::default() }, true, None)
    }

    /// Writes one change: record, index, event; the lease is the caller's to see to. `place` is where the
    /// index has the key, if that is known.
    fn append(
        &mut self,
        key: &[u8],
        kv: &KeyValue<'_>,
        tombstone: bool,
        place: Option<Place>,
    ) -> Result<(), Error> {
        let revision = Revision { main: self.revision + 1, sub: self.changes };
        let (create_revision, version) = (kv.create_revision, kv.version);
        let meta = RecordMeta { revision, tombstone, create_revision, version, lease: kv.lease };
        self.scratch.clear();
        kv.encode(self.scratch);
        if self.log.next_append_writes(self.scratch.len()) {
            self.state.release();
        }
        let location = self.log.append(&meta, self.scratch)?;
        let newest = Newest { revision, tombstone, create_revision, version, location };
        self.state.get().index.put_at(place, key, newest);
        // One for the index, one for the lease.
        self.state.spend(2 + self.scratch.len() / BYTES_PER_STEP);
        if self.wants_events {
            self.events.push(Event::new(key, &meta, self.scratch));
        }
        self.changes += if disk::seeded_bug!("sub-revision-counted-twice") { 2 } else { 1 };
        Ok(())
    }

    fn newest_live(&mut self, key: &[u8]) -> Option<Newest> {
        let newest = self.state.get().index.newest(key).filter(|newest| !newest.tombstone);
        self.state.spend(1);
        newest
    }

    /// Some of the keys in a range that exist now, those after the key `after` if it is given, with the
    /// places of their records; and the key to go on after, unless those were the last.
    fn live_keys(
        &mut self,
        range: &KeyRange,
        after: Option<&[u8]>,
    ) -> (Vec<(Bytes, Location)>, Option<Vec<u8>>) {
        let mut keys = Vec::new();
        let after = self.source().look(|index, steps| {
            index.range(range, i64::MAX, after, steps, &mut |key, found| {
                keys.push((Bytes::copy_from_slice(key), found.location));
                ControlFlow::Continue(())
            })
        });
        (keys, after)
    }

    fn source(&mut self) -> WriterSource<'_, 's> {
        WriterSource { state: self.state, log: self.log }
    }

    /// Evaluates the compares of `request` and of the transactions nested on the path taken, depth first,
    /// all against the state before the transaction; notes for each whether they hold.
    fn decide(&mut self, request: &TxnRequest, path: &mut Vec<bool>) -> Result<(), Error> {
        let at = self.revision;
        let succeeded = all_hold(&request.compare, at, &mut self.source())?;
        path.push(succeeded);
        for op in branch(request, succeeded) {
            if let Some(Op::RequestTxn(nested)) = &op.request {
                self.decide(nested, path)?;
            }
        }
        Ok(())
    }

    /// Checks the operations on the path taken against the state before the transaction.
    fn check_txn(&mut self, request: &TxnRequest, path: &mut dyn Iterator<Item = bool>) -> Result<(), Error> {
        let succeeded = path.next().expect("one decision was noted for each transaction");
        for op in branch(request, succeeded) {
            match &op.request {
                Some(Op::RequestRange(range)) => self.check_range(range)?,
                Some(Op::RequestPut(put)) => self.check_put(put)?,
                Some(Op::RequestTxn(nested)) => self.check_txn(nested, path)?,
                Some(Op::RequestDeleteRange(_)) => {}
                None => return Err(Refusal::KeyNotFound.into()),
            }
        }
        Ok(())
    }

    /// Unlike a plain range, one in a transaction may refuse a negative revision as compacted.
    fn check_range(&self, range: &RangeRequest) -> Result<(), Error> {
        RangeQuery::new(range)?;
        check_op_revision(range.revision, self.revision, self.compact_revision)?;
        Ok(())
    }

    fn execute_txn(
        &mut self,
        request: &TxnRequest,
        path: &mut dyn Iterator<Item = bool>,
    ) -> Result<TxnOutcome, Error> {
        let succeeded = path.next().expect("one decision was noted for each transaction");
        let mut results = Vec::with_capacity(branch(request, succeeded).len());
        for op in branch(request, succeeded) {
            results.push(match &op.request {
                Some(Op::RequestRange(range)) => OpOutcome::Range(self.range(range)?),
                Some(Op::RequestPut(put)) => OpOutcome::Put(self.execute_put(put)?),
                Some(Op::RequestDeleteRange(delete)) => OpOutcome::Delete(self.delete_range(delete)?),
                Some(Op::RequestTxn(nested)) => OpOutcome::Txn(self.execute_txn(nested, path)?),
                None => unreachable!("check_txn refuses an operation without a request"),
            });
        }
        Ok(TxnOutcome { revision: self.revision(), succeeded, results })
    }

    /// A range inside a transaction sees what the transaction has written before it.
    fn range(&mut self, request: &RangeRequest) -> Result<RangeOutcome, Error> {
        self.operations.ranges += 1;
        let query = RangeQuery::new(request)?;
        let at = if request.revision > 0 { request.revision } else { self.revision() };
        let current = self.revision();
        let room = ANSWER_LEN_MAX.saturating_sub(self.outcome_len);
        let mut source = self.source();
        let mut read = source.look(|index, _| RangeRead::new(query, at, current, index));
        while !read.is_complete() {
            read.step(&mut source)?;
        }
        let len = read.kvs_len();
        let outcome = read.finish(room)?;
        self.outcome_len = self.outcome_len.saturating_add(len);
        Ok(outcome)
    }
}

/// The operations of the branch taken.
pub(super) fn branch(request: &TxnRequest, succeeded: bool) -> &[RequestOp] {
    if succeeded { &request.success } else { &request.failure }
}

/// The rule for the revision of a range inside a transaction. As nothing compacted counts as compacted at
/// -1, a negative revision is refused, unless it is -1 of a store that never was.
pub(super) fn check_op_revision(revision: i64, current: i64, compacted: i64) -> Result<(), Refusal> {
    if revision > current {
        Err(Refusal::FutureRevision)
    } else if revision != 0 && revision < compacted {
        Err(Refusal::Compacted)
    } else {
        Ok(())
    }
}
