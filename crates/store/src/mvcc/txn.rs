//! The write transaction: puts, deletes and nested transactions that share one main revision.
//!
//! Owns nothing; borrows the index, the revision log and the leases for the time of one command. Each change appends one
//! record, points the index at it, hangs the key on its lease and notes one event. The main revision is the store's plus one, taken only if
//! something changes; sub revisions count the changes in order. A transaction is checked whole against the
//! state before it, then executed without a way to fail but a broken disk: nothing is ever half done.

use std::cmp::Ordering;
use std::ops::ControlFlow;

use bytes::Bytes;
use disk::{Location, RecordMeta, Revision, RevisionLog};
use proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use proto::etcdserverpb::request_op::Request as Op;
use proto::etcdserverpb::{Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest};
use proto::mvccpb;

use super::index::{Found, Index, Newest, Place};
use super::key_value::{self, KeyValue};
use super::operations::Operations;
use super::range::{RangeQuery, RangeRead, Records};
use crate::key_range::KeyRange;
use crate::lease::LeaseTable;
use crate::outcome::{DeleteOutcome, OpOutcome, PutOutcome, RangeOutcome, TxnOutcome};
use crate::watch::Event;
use crate::{Error, Refusal};

impl Records for RevisionLog {
    fn read(&self, at: Location) -> Result<Bytes, disk::Error> {
        RevisionLog::read(self, at)
    }
}

/// One command's changes under way.
pub(crate) struct WriteTxn<'a> {
    index: &'a mut Index,
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
}

impl<'a> WriteTxn<'a> {
    /// Begins on a store at a revision and last compaction. Events are made only if somebody watches; `scratch` is
    /// used for its memory.
    pub(super) fn new(
        index: &'a mut Index,
        log: &'a mut RevisionLog,
        leases: &'a mut LeaseTable,
        scratch: &'a mut Vec<u8>,
        (revision, compact_revision): (i64, i64),
        wants_events: bool,
    ) -> WriteTxn<'a> {
        let (operations, events) = (Operations::default(), Vec::new());
        WriteTxn {
            index,
            log,
            leases,
            revision,
            compact_revision,
            changes: 0,
            operations,
            events,
            wants_events,
            scratch,
        }
    }

    /// The revision of the store as seen from inside: one more once something has changed.
    pub(super) fn revision(&self) -> i64 {
        self.revision + i64::from(self.changes > 0)
    }

    /// Ends it: the revision of the store from now on, the events to tell, and what was done.
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
        let doomed = self.live_keys(&range);
        let mut prev = Vec::new();
        for (key, location) in &doomed {
            if request.prev_kv {
                prev.push(self.log.read(*location)?);
            }
            self.append_tombstone(key)?;
            self.leases.attach(key, 0);
        }
        Ok(DeleteOutcome { revision: self.revision(), deleted: doomed.len() as i64, prev })
    }

    /// Ends a lease and deletes its keys, in key order. Returns the revision of the store.
    pub(crate) fn revoke_lease(&mut self, id: i64) -> Result<i64, Error> {
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

    fn check_put(&self, request: &PutRequest) -> Result<(), Error> {
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
        let found = self.index.find(&request.key).filter(|(newest, _)| !newest.tombstone);
        let old = found.map(|(n, _)| (n.create_revision, n.version, n.location));
        let needs_old = request.prev_kv || request.ignore_value || request.ignore_lease;
        let prev = match old {
            Some((.., location)) if needs_old => Some(self.log.read(location)?),
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
        Ok(PutOutcome { revision: self.revision(), prev: prev.filter(|_| request.prev_kv) })
    }

    fn append_tombstone(&mut self, key: &[u8]) -> Result<(), Error> {
        self.append(key, &KeyValue { key, ..KeyValue::default() }, true, None)
    }

    /// Writes one change: record, index, event; the lease is the caller's to see to. `place` is where the index has the
    /// key, if that is known.
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
        let location = self.log.append(&meta, self.scratch)?;
        let newest = Newest { revision, tombstone, create_revision, version, location };
        self.index.put_at(place, key, newest);
        if self.wants_events {
            self.events.push(Event::new(key, &meta, self.scratch));
        }
        self.changes += if disk::seeded_bug!("sub-revision-counted-twice") { 2 } else { 1 };
        Ok(())
    }

    fn newest_live(&self, key: &[u8]) -> Option<Newest> {
        self.index.newest(key).filter(|newest| !newest.tombstone)
    }

    fn live_keys(&self, range: &KeyRange) -> Vec<(Bytes, Location)> {
        if range.is_single() {
            let newest = self.newest_live(range.start());
            return newest.map(|n| (Bytes::copy_from_slice(range.start()), n.location)).into_iter().collect();
        }
        let mut keys = Vec::new();
        self.index.range(range, i64::MAX, None, &mut |key, found| {
            keys.push((Bytes::copy_from_slice(key), found.location));
            ControlFlow::Continue(())
        });
        keys
    }

    /// Evaluates the compares of `request` and of the transactions nested on the path taken, depth first, all
    /// against the state before the transaction; notes for each whether they hold.
    fn decide(&self, request: &TxnRequest, path: &mut Vec<bool>) -> Result<(), Error> {
        let succeeded = all_hold(&request.compare, self.revision, self.index, self.log)?;
        path.push(succeeded);
        for op in branch(request, succeeded) {
            if let Some(Op::RequestTxn(nested)) = &op.request {
                self.decide(nested, path)?;
            }
        }
        Ok(())
    }

    /// Checks the operations on the path taken against the state before the transaction.
    fn check_txn(&self, request: &TxnRequest, path: &mut dyn Iterator<Item = bool>) -> Result<(), Error> {
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
        let mut read = RangeRead::new(query, at, self.revision(), self.index);
        while !read.is_collected() {
            read.collect(self.index, usize::MAX);
            read.fetch(self.log)?;
        }
        Ok(read.finish())
    }
}

/// The operations of the branch taken.
pub(super) fn branch(request: &TxnRequest, succeeded: bool) -> &[RequestOp] {
    if succeeded { &request.success } else { &request.failure }
}

/// The rule for the revision of a range inside a transaction. As nothing compacted counts as compacted at -1, a
/// negative revision is refused, unless it is -1 of a store that never was.
pub(super) fn check_op_revision(revision: i64, current: i64, compacted: i64) -> Result<(), Refusal> {
    if revision > current {
        Err(Refusal::FutureRevision)
    } else if revision != 0 && revision < compacted {
        Err(Refusal::Compacted)
    } else {
        Ok(())
    }
}

/// Whether all compares hold at revision `at`.
pub(super) fn all_hold(
    compares: &[Compare],
    at: i64,
    index: &Index,
    records: &impl Records,
) -> Result<bool, Error> {
    for compare in compares {
        if !holds(compare, at, index, records)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A compare over a range must hold for every key in it. Where there is no key, a compare of values fails and
/// any other one is made against zeros.
fn holds(compare: &Compare, at: i64, index: &Index, records: &impl Records) -> Result<bool, Error> {
    let range = KeyRange::new(compare.key.clone(), compare.range_end.clone());
    if range.is_single() {
        let found = index.at(range.start(), at);
        let kv = found.map(|found| compared(compare, found, records)).transpose()?;
        return Ok(holds_for(compare, kv.as_ref()));
    }
    let mut found = Vec::new();
    index.range(&range, at, None, &mut |_, f| {
        found.push(f.location);
        ControlFlow::Continue(())
    });
    if found.is_empty() {
        return Ok(holds_for(compare, None));
    }
    for location in found {
        if !holds_for(compare, Some(&key_value::decode(&records.read(location)?))) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What a compare needs of a key: the record only if the index does not know it.
fn compared(compare: &Compare, found: Found, records: &impl Records) -> Result<mvccpb::KeyValue, Error> {
    let in_record = [CompareTarget::Value as i32, CompareTarget::Lease as i32].contains(&compare.target);
    match found.generation {
        Some((create_revision, version)) if !in_record => {
            let mod_revision = found.revision.main;
            Ok(mvccpb::KeyValue { create_revision, mod_revision, version, ..mvccpb::KeyValue::default() })
        }
        _ => Ok(key_value::decode(&records.read(found.location)?)),
    }
}

fn holds_for(compare: &Compare, kv: Option<&mvccpb::KeyValue>) -> bool {
    let is_value = compare.target == CompareTarget::Value as i32;
    let absent = mvccpb::KeyValue::default();
    let kv = match kv {
        None if is_value => return false,
        other => other.unwrap_or(&absent),
    };
    let ordering = order(compare, kv);
    match CompareResult::try_from(compare.result) {
        Ok(CompareResult::Equal) => ordering == Ordering::Equal,
        Ok(CompareResult::NotEqual) => ordering != Ordering::Equal,
        Ok(CompareResult::Greater) => ordering == Ordering::Greater,
        Ok(CompareResult::Less) => ordering == Ordering::Less,
        Err(_) => true,
    }
}

/// How the key's field stands to the operand; an operand of another kind than the target counts as zero, an
/// unknown target as equal.
fn order(compare: &Compare, kv: &mvccpb::KeyValue) -> Ordering {
    let operand = compare.target_union.as_ref();
    let number = |have: i64, want: Option<i64>| have.cmp(&want.unwrap_or(0));
    match CompareTarget::try_from(compare.target) {
        Ok(CompareTarget::Value) => match operand {
            Some(TargetUnion::Value(want)) => kv.value.cmp(want),
            _ => kv.value.cmp(&Bytes::new()),
        },
        Ok(CompareTarget::Version) => number(
            kv.version,
            operand.and_then(|o| if let TargetUnion::Version(v) = o { Some(*v) } else { None }),
        ),
        Ok(CompareTarget::Create) => number(
            kv.create_revision,
            operand.and_then(|o| if let TargetUnion::CreateRevision(v) = o { Some(*v) } else { None }),
        ),
        Ok(CompareTarget::Mod) => number(
            kv.mod_revision,
            operand.and_then(|o| if let TargetUnion::ModRevision(v) = o { Some(*v) } else { None }),
        ),
        Ok(CompareTarget::Lease) => number(
            kv.lease,
            operand.and_then(|o| if let TargetUnion::Lease(v) = o { Some(*v) } else { None }),
        ),
        Err(_) => Ordering::Equal,
    }
}
