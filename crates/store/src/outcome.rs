//! The results of commands and reads, before they are encoded for a client.
//!
//! Stored keys appear as the bytes they are stored in; nothing is decoded to be encoded again.

use bytes::Bytes;
use proto::etcdserverpb::{AlarmMember, Member};
use proto::wire::message_field_len;

/// Bytes of the longest answer that gRPC can carry. An outcome that would make a longer one does not hold
/// the keys it is about, only how long they are.
pub const ANSWER_LEN_MAX: u64 = if cfg!(test) { 64 << 10 } else { i32::MAX as u64 };

/// The result of one applied command.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Of a put.
    Put(PutOutcome),
    /// Of a delete.
    Delete(DeleteOutcome),
    /// Of a transaction.
    Txn(TxnOutcome),
    /// Of a compaction; the revision of the store.
    Compact {
        /// Revision of the store.
        revision: i64,
    },
    /// Of the grant of a lease.
    LeaseGrant(LeaseGrantOutcome),
    /// Of the revocation of a lease, its keys gone with it.
    LeaseRevoke {
        /// Revision of the store.
        revision: i64,
    },
    /// Of a request about alarms: those it concerned.
    Alarms(Vec<AlarmMember>),
    /// Of a change of the members: all of them after it, by ascending id.
    Members(Vec<Member>),
    /// Of another change of the control tables, or of what is noted of leases.
    Control,
}

/// The result of a put.
#[derive(Debug, Clone, PartialEq)]
pub struct PutOutcome {
    /// The revision it made.
    pub revision: i64,
    /// The key before it, as `mvccpb.KeyValue` bytes, if asked for and there.
    pub prev: Option<Bytes>,
}

/// The result of a delete.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DeleteOutcome {
    /// The revision it made, or the current one if it deleted nothing.
    pub revision: i64,
    /// Number of keys deleted.
    pub deleted: i64,
    /// The deleted keys in key order, as `mvccpb.KeyValue` bytes, if asked for.
    pub prev: Vec<Bytes>,
    /// Bytes of deleted keys, as fields of an answer, that are left out of `prev`: with them the whole
    /// answer would be longer than [`ANSWER_LEN_MAX`].
    pub omitted_len: u64,
}

impl DeleteOutcome {
    /// Bytes of all deleted keys as fields of an answer, those left out included.
    pub fn prev_len(&self) -> u64 {
        let lens = self.prev.iter().map(|kv| message_field_len(kv.len()) as u64);
        lens.fold(self.omitted_len, u64::saturating_add)
    }
}

/// The result of the grant of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseGrantOutcome {
    /// Revision of the store, which it does not change.
    pub revision: i64,
    /// Seconds it was granted for.
    pub ttl_s: i64,
}

/// The result of a transaction or of one nested in it.
#[derive(Debug, Clone, PartialEq)]
pub struct TxnOutcome {
    /// Revision of the store after it. Not shown for a nested one.
    pub revision: i64,
    /// Whether all compares held.
    pub succeeded: bool,
    /// One result for each operation of the branch taken.
    pub results: Vec<OpOutcome>,
}

impl TxnOutcome {
    /// Bytes of all keys in it as fields of an answer, those left out and those of nested transactions
    /// included. The whole answer is longer by the fields around them: at most 64 bytes for each operation.
    pub fn keys_len(&self) -> u64 {
        let len = |result: &OpOutcome| match result {
            OpOutcome::Range(range) => range.kvs_len(),
            OpOutcome::Put(put) => put.prev.as_ref().map_or(0, |prev| message_field_len(prev.len()) as u64),
            OpOutcome::Delete(delete) => delete.prev_len(),
            OpOutcome::Txn(txn) => txn.keys_len(),
        };
        self.results.iter().map(len).fold(0, u64::saturating_add)
    }
}

/// The result of one operation of a transaction.
#[derive(Debug, Clone, PartialEq)]
pub enum OpOutcome {
    /// Of a range.
    Range(RangeOutcome),
    /// Of a put.
    Put(PutOutcome),
    /// Of a delete.
    Delete(DeleteOutcome),
    /// Of a nested transaction.
    Txn(TxnOutcome),
}

/// The result of a range.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RangeOutcome {
    /// Revision of the store when it was read.
    pub revision: i64,
    /// The keys found, each already framed as field 2 (`kvs`) of a `RangeResponse`.
    pub kvs: Bytes,
    /// Number of keys in `kvs`.
    pub len: usize,
    /// Whether the limit left keys out.
    pub more: bool,
    /// Number of keys in the range at the revision read, whatever limit and filters say.
    pub count: i64,
    /// Bytes of keys that are left out of `kvs`, all or none: with them the whole answer would be longer
    /// than [`ANSWER_LEN_MAX`].
    pub omitted_len: u64,
}

impl RangeOutcome {
    /// Bytes of all keys as fields of an answer, those left out included.
    pub fn kvs_len(&self) -> u64 {
        self.omitted_len.saturating_add(self.kvs.len() as u64)
    }
}
