//! How many bytes of the revision log a command may take, before it is applied.
//!
//! A command can write more than its own bytes: a delete of many keys, the end of a lease with many keys, a put that
//! keeps the value that is there. What is told here is never too little, so that a member on a full disk can
//! wait with a command instead of failing in the middle of it.

use std::ops::ControlFlow;

use disk::revision_log::RECORD_HEADER_LEN;
use proto::etcdserverpb::request_op::Request as Op;
use proto::etcdserverpb::{DeleteRangeRequest, PutRequest, RequestOp, TxnRequest};

use super::Mvcc;
use crate::Request;
use crate::key_range::KeyRange;

/// Bytes that a field of a `KeyValue` takes beside its content: a tag and a length.
const FIELD_BYTES: u64 = 6;
/// Bytes of the four numbers of a `KeyValue`, at most.
const NUMBERS_BYTES: u64 = 4 * 11;

/// The most that commands, applied one after the other, write to the revision log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Footprint {
    /// Bytes of all records, headers included.
    pub bytes: u64,
    /// Bytes of the longest record.
    pub longest: u64,
}

impl Footprint {
    /// Room for a put, and for the tombstone of its key, which a later one of the commands may write.
    fn add_put(&mut self, key_len: u64, value_len: u64) {
        let tombstone = tombstone_len(key_len);
        let put = tombstone + FIELD_BYTES + value_len + NUMBERS_BYTES;
        self.bytes = self.bytes.saturating_add(put + tombstone);
        self.longest = self.longest.max(put);
    }

    fn add_tombstone(&mut self, key_len: u64) {
        let tombstone = tombstone_len(key_len);
        self.bytes = self.bytes.saturating_add(tombstone);
        self.longest = self.longest.max(tombstone);
    }

    /// The larger of two, in each respect.
    fn or(self, other: Footprint) -> Footprint {
        Footprint { bytes: self.bytes.max(other.bytes), longest: self.longest.max(other.longest) }
    }
}

fn tombstone_len(key_len: u64) -> u64 {
    RECORD_HEADER_LEN as u64 + FIELD_BYTES + key_len
}

impl Mvcc {
    /// The footprint of commands that have `before`, and then `request`. None of them is applied yet. Stops
    /// counting once there are more than `bytes_max`. Calls `pause` between pieces of work.
    pub(crate) fn footprint(
        &self,
        before: Footprint,
        request: &Request,
        bytes_max: u64,
        pause: &mut dyn FnMut(),
    ) -> Footprint {
        let mut count = Count { mvcc: self, bytes_max, pause };
        let mut sum = before;
        match request {
            Request::Put(put) => count.add_put(put, &mut sum),
            Request::DeleteRange(delete) => count.add_delete(delete, &mut sum),
            Request::Txn(txn) => sum = count.add_txn(txn, sum),
            Request::LeaseRevoke(revoke) => {
                self.leases.visit_keys(revoke.id, &mut |key| sum.add_tombstone(key.len() as u64));
            }
            _ => {}
        }
        sum
    }
}

/// A footprint being counted.
struct Count<'a> {
    mvcc: &'a Mvcc,
    bytes_max: u64,
    pause: &'a mut dyn FnMut(),
}

impl Count<'_> {
    fn add_put(&self, put: &PutRequest, sum: &mut Footprint) {
        let mut value_len = put.value.len() as u64;
        if put.ignore_value {
            // The value is that of the store, or of a command before.
            let newest = self.mvcc.shared.read().index.newest(&put.key);
            value_len = newest.map_or(0, |newest| newest.location.record_len()).max(sum.longest);
        }
        sum.add_put(put.key.len() as u64, value_len);
    }

    /// A tombstone for each key in the range. Keys that commands before put there have theirs counted already.
    fn add_delete(&mut self, delete: &DeleteRangeRequest, sum: &mut Footprint) {
        let range = KeyRange::new(delete.key.clone(), delete.range_end.clone());
        if range.is_single() {
            return sum.add_tombstone(delete.key.len() as u64);
        }
        let mut after: Option<Vec<u8>> = None;
        while sum.bytes <= self.bytes_max {
            let mut steps = super::STEPS_PER_HOLD;
            let mut visit = |key: &[u8], _| {
                sum.add_tombstone(key.len() as u64);
                ControlFlow::Continue(())
            };
            let state = self.mvcc.shared.read();
            after = state.index.range(&range, i64::MAX, after.as_deref(), &mut steps, &mut visit);
            drop(state);
            if after.is_none() {
                return;
            }
            (self.pause)();
        }
    }

    fn add_txn(&mut self, txn: &TxnRequest, before: Footprint) -> Footprint {
        let success = self.add_branch(&txn.success, before);
        success.or(self.add_branch(&txn.failure, before))
    }

    fn add_branch(&mut self, ops: &[RequestOp], before: Footprint) -> Footprint {
        let mut sum = before;
        for op in ops {
            match &op.request {
                Some(Op::RequestPut(put)) => self.add_put(put, &mut sum),
                Some(Op::RequestDeleteRange(delete)) => self.add_delete(delete, &mut sum),
                Some(Op::RequestTxn(nested)) => sum = self.add_txn(nested, sum),
                Some(Op::RequestRange(_)) | None => {}
            }
        }
        sum
    }
}
