//! Requests of every kind, drawn at random: valid ones, and those that etcd refuses.
//!
//! Keys, leases and revisions are few, so that requests meet each other all the time. Left out is what crashes
//! etcd, and in old releases what later ones answer otherwise; each place says so.

use bytes::Bytes;
use fastrand::Rng;
use prost::Message;
use proto::etcdserverpb::compare::TargetUnion;
use proto::etcdserverpb::request_op::Request as Op;
use proto::etcdserverpb::{
    CompactionRequest, Compare, DeleteRangeRequest, HashKvRequest, LeaseGrantRequest, LeaseLeasesRequest,
    LeaseRevokeRequest, LeaseTimeToLiveRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
    WatchCreateRequest,
};

/// Keys that may exist. etcd sorts up to twelve answers stably, more of them in no particular order.
const KEYS: [&[u8]; 12] =
    [b"a", b"a\0", b"aa", b"ab", b"b", b"b/1", b"b/2", b"b/3", b"c", b"\0", b"\xff", b"\xff\xff"];
/// Leases that may exist. They are granted for longer than a conversation takes.
const LEASES: [i64; 6] = [1, 2, 3, 77, -5, i64::MIN];
const LEASE_TTL_S: i64 = 3600;
/// How deep transactions are nested.
const DEPTH_MAX: usize = 2;
/// A value that makes a request larger than etcd takes.
const TOO_LARGE: usize = 1_600_000;

/// A method with its encoded request.
pub(crate) struct Call {
    pub(crate) method: &'static str,
    pub(crate) request: Vec<u8>,
}

/// Makes requests of one conversation.
pub(crate) struct Requests {
    pub(crate) random: Rng,
    /// Whether the peer is older than 3.7.
    pub(crate) is_old: bool,
    /// The newest revision that was answered.
    pub(crate) revision: i64,
    /// The last compaction that was taken.
    pub(crate) compacted: i64,
}

impl Requests {
    /// The next call that has one answer, or a stream of them that ends by itself.
    pub(crate) fn call(&mut self) -> Call {
        match self.random.usize(..100) {
            0..30 => call("/etcdserverpb.KV/Put", &self.put()),
            30..50 => call("/etcdserverpb.KV/Range", &self.range()),
            50..54 if !self.is_old => call("/etcdserverpb.KV/RangeStream", &self.range_stream()),
            50..60 => call("/etcdserverpb.KV/DeleteRange", &self.delete(true)),
            60..82 => call("/etcdserverpb.KV/Txn", &self.txn(0)),
            82..96 => self.lease_call(),
            // Old releases hash other tombstones.
            96..99 if !self.is_old => call("/etcdserverpb.Maintenance/HashKV", &self.hash()),
            99 => call("/etcdserverpb.KV/Compact", &self.compaction()),
            _ => call("/etcdserverpb.KV/Range", &self.range()),
        }
    }

    fn lease_call(&mut self) -> Call {
        let id = self.lease();
        match self.random.usize(..10) {
            0..4 => {
                let ttl = if self.percent(5) { 9_000_000_001 } else { LEASE_TTL_S };
                call("/etcdserverpb.Lease/LeaseGrant", &LeaseGrantRequest { ttl, id })
            }
            4..7 => call("/etcdserverpb.Lease/LeaseRevoke", &LeaseRevokeRequest { id }),
            7..9 => {
                let request = LeaseTimeToLiveRequest { id, keys: self.percent(60) };
                call("/etcdserverpb.Lease/LeaseTimeToLive", &request)
            }
            _ => call("/etcdserverpb.Lease/LeaseLeases", &LeaseLeasesRequest {}),
        }
    }

    /// A lease that may exist, or cannot.
    pub(crate) fn lease(&mut self) -> i64 {
        if self.percent(10) { 4711 } else { LEASES[self.random.usize(..LEASES.len())] }
    }

    /// A watch of what comes next, or of the past.
    pub(crate) fn watch(&mut self) -> WatchCreateRequest {
        let start_revision = if self.percent(40) { 0 } else { self.revision().min(self.revision) };
        WatchCreateRequest { start_revision, prev_kv: self.percent(50), ..self.watch_ahead() }
    }

    /// A watch from now on, or from a revision to come. How far it is cannot be asked, so it does without values that
    /// a compaction may take away in the meantime.
    pub(crate) fn watch_ahead(&mut self) -> WatchCreateRequest {
        let (key, range_end) = self.span();
        let filters = (0..self.random.usize(..3)).map(|_| self.random.usize(..2) as i32).collect();
        WatchCreateRequest {
            key,
            range_end,
            start_revision: if self.percent(50) {
                0
            } else {
                self.revision + 1 + self.random.usize(..5) as i64
            },
            filters: if self.percent(20) { filters } else { Vec::new() },
            watch_id: if self.percent(20) { 1 + self.random.usize(..8) as i64 } else { 0 },
            fragment: self.percent(20),
            ..WatchCreateRequest::default()
        }
    }

    fn put(&mut self) -> PutRequest {
        let len = if self.percent(1) { TOO_LARGE } else { self.random.usize(..40) };
        let mut request = PutRequest {
            key: self.key(),
            value: vec![b'a' + self.random.usize(..4) as u8; len].into(),
            prev_kv: self.percent(30),
            ignore_value: self.percent(8),
            ignore_lease: self.percent(8),
            ..PutRequest::default()
        };
        if self.percent(25) {
            request.lease = self.lease();
        }
        if request.ignore_value && self.percent(80) {
            request.value = Bytes::new();
        }
        request
    }

    fn range(&mut self) -> RangeRequest {
        let (key, range_end) = self.span();
        let mut request = RangeRequest { key, range_end, ..RangeRequest::default() };
        if self.percent(40) {
            request.revision = self.revision();
        }
        if self.percent(40) {
            request.limit = self.random.usize(..8) as i64 - 1;
        }
        if self.percent(40) {
            request.sort_order = self.random.usize(..3) as i32;
            // What is equal comes in no particular order from old releases, who take any number for an order.
            request.sort_target = if self.is_old { 0 } else { self.random.usize(..5) as i32 };
        }
        if !self.is_old && self.percent(3) {
            request.sort_order = 3 + self.random.usize(..3) as i32;
        }
        if !self.is_old && self.percent(3) {
            request.sort_target = self.random.usize(..9) as i32 - 2;
        }
        if self.percent(20) {
            request.min_mod_revision = self.revision();
            request.max_create_revision = self.revision();
        }
        if self.percent(10) {
            request.max_mod_revision = self.revision();
            request.min_create_revision = self.revision() / 2;
        }
        // 3.7 answers them from its index and leaves out the lease.
        request.keys_only = !self.is_old && self.percent(15);
        request.count_only = self.percent(10);
        request.serializable = self.percent(20);
        request
    }

    /// Without an order etcd sorts each chunk by the target and goes on behind its last key, which may repeat or
    /// leave out keys; with a negative limit it sends all keys as one chunk. Ours keeps to the order of keys, and to
    /// chunks.
    fn range_stream(&mut self) -> RangeRequest {
        let mut request = self.range();
        request.limit = request.limit.max(0);
        if request.sort_order == 0 && request.sort_target > 0 {
            request.sort_target = 0;
        }
        request
    }

    /// Where etcd crashes, a transaction deletes all keys from one on and puts one of them again: there such a
    /// delete is not `open`.
    fn delete(&mut self, may_be_open: bool) -> DeleteRangeRequest {
        let (key, mut range_end) = if self.percent(50) { (self.key(), Bytes::new()) } else { self.span() };
        if !may_be_open && range_end == b"\0"[..] {
            range_end = Bytes::from_static(b"c");
        }
        DeleteRangeRequest { key, range_end, prev_kv: self.percent(40) }
    }

    fn txn(&mut self, depth: usize) -> TxnRequest {
        let n_compares = self.random.usize(..3);
        let compare = (0..n_compares).map(|_| self.compare()).collect();
        let success = self.ops(depth);
        let failure = self.ops(depth);
        let mut txn = TxnRequest { compare, success, failure };
        if self.percent(1) {
            let range = RequestOp { request: Some(Op::RequestRange(self.range())) };
            txn.failure = vec![range; 120 + self.random.usize(..20)];
        }
        txn
    }

    fn ops(&mut self, depth: usize) -> Vec<RequestOp> {
        let n = self.random.usize(..4);
        let ops = (0..n).map(|_| match self.random.usize(..20) {
            0..8 => Some(Op::RequestPut(self.put())),
            8..13 => Some(Op::RequestRange(self.range())),
            13..16 => Some(Op::RequestDeleteRange(self.delete(false))),
            16..19 if depth < DEPTH_MAX => Some(Op::RequestTxn(self.txn(depth + 1))),
            19 if self.percent(20) => None,
            _ => Some(Op::RequestRange(self.range())),
        });
        ops.map(|request| RequestOp { request }).collect()
    }

    fn compare(&mut self) -> Compare {
        let (key, range_end) = if self.percent(70) { (self.key(), Bytes::new()) } else { self.span() };
        let target = self.random.usize(..5) as i32;
        let number = if self.percent(40) { 0 } else { self.revision() };
        let union = match target {
            0 => TargetUnion::Version(number % 4),
            1 => TargetUnion::CreateRevision(number),
            2 => TargetUnion::ModRevision(number),
            3 => TargetUnion::Value(vec![b'a' + self.random.usize(..4) as u8; self.random.usize(..3)].into()),
            _ => TargetUnion::Lease(LEASES[self.random.usize(..LEASES.len())]),
        };
        let target_union = (!self.percent(5)).then_some(union);
        Compare { result: self.random.usize(..4) as i32, target, key, range_end, target_union }
    }

    /// The hash of the compacted revision is the compaction's own as soon as its job has ended, and another before. After
    /// a compaction at 0 that is so for a request of 0 too, which otherwise asks for the newest revision.
    fn hash(&mut self) -> HashKvRequest {
        let revision = self.revision();
        let newest = if revision == 0 { self.revision } else { revision };
        let is_of_compaction = [revision, newest].contains(&self.compacted);
        HashKvRequest { revision: if is_of_compaction { self.revision + 1 } else { revision } }
    }

    fn compaction(&mut self) -> CompactionRequest {
        CompactionRequest { revision: self.revision(), physical: self.percent(50) }
    }

    /// A key; seldom none.
    fn key(&mut self) -> Bytes {
        if self.percent(2) { Bytes::new() } else { Bytes::from_static(KEYS[self.random.usize(..KEYS.len())]) }
    }

    /// A key and the end of its range: none, another key even if it is before, or the end of all keys.
    fn span(&mut self) -> (Bytes, Bytes) {
        let end = match self.random.usize(..10) {
            0..2 => Bytes::new(),
            2..4 => Bytes::from_static(b"\0"),
            _ => self.key(),
        };
        (self.key(), end)
    }

    /// A revision: most likely readable, else zero, forgotten, to come or negative.
    fn revision(&mut self) -> i64 {
        let span = self.random.usize(..(self.revision - self.compacted.max(1) + 1) as usize) as i64;
        match self.random.usize(..20) {
            0..3 => 0,
            3 => self.revision + 1 + self.random.usize(..3) as i64,
            4 => self.compacted - self.random.usize(..3) as i64,
            // Old releases read at any negative revision.
            5 if !self.is_old => -1 - self.random.usize(..2) as i64,
            _ => self.revision - span,
        }
    }

    fn percent(&mut self, percent: usize) -> bool {
        self.random.usize(..100) < percent
    }
}

fn call(method: &'static str, request: &impl Message) -> Call {
    Call { method, request: request.encode_to_vec() }
}
