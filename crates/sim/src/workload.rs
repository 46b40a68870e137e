//! What clients ask for, drawn at random.
//!
//! Keys have the shape of Kubernetes' keys. There are few, so that puts, deletes, ranges and compares often
//! concern the same key. Only requests that pass the checks of the API are made, since the store relies on
//! these checks: no key is put twice in a transaction, and no key is both put and deleted on one level.

use bytes::Bytes;
use node::LeaseQuery;
use proto::etcdserverpb::alarm_request::AlarmAction;
use proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use proto::etcdserverpb::request_op::Request as Op;
use proto::etcdserverpb::{
    AlarmMember, AlarmRequest, AlarmType, CompactionRequest, Compare, DeleteRangeRequest, LeaseGrantRequest,
    LeaseRevokeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
};
use store::{KeyRange, Request, Watch};

use crate::member;
use crate::model::Model;
use crate::random::Random;

/// Prefixes of keys, with how many keys each has.
const KINDS: [(&str, u64); 4] =
    [("/registry/pods/default/p", 8), ("/registry/pods/system/p", 5), ("/registry/leases/n", 4), ("k", 3)];
/// How many leases there are at most.
const LEASES: i64 = 9;
/// Seconds of a lease that outlives every run.
const LEASE_TTL_LONG_S: i64 = 1_000_000;
/// In how many cases of a hundred a command clears an alarm that is raised, so that most commands are carried
/// out.
const ALARM_CLEAR_PERCENT: u64 = 20;
/// Keys that are put and deleted together, where commands are to write much more than their own bytes.
const MANY_PREFIX: &str = "/many/k";
const MANY_KEYS: u64 = 40;
/// How deep transactions are nested at most.
const DEPTH_MAX: u64 = 2;

/// The state of the store, as far as clients know it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Horizon {
    /// The newest revision.
    pub(crate) revision: i64,
    /// The last compaction.
    pub(crate) compacted: i64,
    /// An alarm that is raised.
    pub(crate) alarm: Option<AlarmMember>,
}

impl Horizon {
    /// The state of the model.
    pub(crate) fn of(model: &Model) -> Horizon {
        Horizon { revision: model.revision(), compacted: model.compacted(), alarm: model.alarms().next() }
    }

    /// A revision that is probably readable.
    pub(crate) fn readable(self, random: &mut Random) -> i64 {
        random.between(self.compacted.clamp(1, self.revision), self.revision)
    }

    /// Any revision, readable or not.
    fn any(self, random: &mut Random) -> i64 {
        random.between((self.compacted - 3).max(0), self.revision + 2)
    }
}

/// A command.
///
/// With `writes_more`, some write many times their own bytes.
pub(crate) fn command(
    random: &mut Random,
    horizon: Horizon,
    value_len_max: u64,
    writes_more: bool,
) -> Request {
    if let Some(alarm) = horizon.alarm
        && random.percent(ALARM_CLEAR_PERCENT)
    {
        return clear(alarm);
    }
    if writes_more && random.percent(12) {
        return many_keys(random, value_len_max);
    }
    match random.below(100) {
        0..42 => {
            let key = key(random);
            Request::Put(put(random, key, value_len_max))
        }
        42..53 => Request::DeleteRange(delete(random)),
        53..59 => Request::LeaseGrant(grant(random)),
        59..62 => Request::LeaseRevoke(LeaseRevokeRequest { id: lease(random) }),
        62..92 => Request::Txn(Txn { random, value_len_max, free: keys() }.shuffled().txn(0)),
        92..99 => Request::Compact(compaction(random, horizon)),
        _ => Request::Alarm(alarm(random)),
    }
}

/// A command about many keys: all are put on one lease, or one gets a long value, or all keep their values,
/// or all are deleted.
fn many_keys(random: &mut Random, value_len_max: u64) -> Request {
    let key = |i: u64| Bytes::from(format!("{MANY_PREFIX}{i:02}"));
    let all = |put: &dyn Fn(Bytes) -> PutRequest| {
        let success = (0..MANY_KEYS).map(|i| op(Op::RequestPut(put(key(i))))).collect();
        Request::Txn(TxnRequest { success, ..TxnRequest::default() })
    };
    match random.below(8) {
        0 => {
            let lease = lease(random);
            all(&|key| PutRequest { key, lease, value: "v".into(), ..PutRequest::default() })
        }
        1..5 => {
            let (key, value) = (key(random.below(MANY_KEYS)), vec![b'v'; value_len_max as usize].into());
            Request::Put(PutRequest { key, value, ..PutRequest::default() })
        }
        5 | 6 => all(&|key| PutRequest { key, ignore_value: true, ..PutRequest::default() }),
        _ => {
            let range_end = Bytes::from_static(b"/many/l");
            Request::DeleteRange(DeleteRangeRequest {
                key: MANY_PREFIX.into(),
                range_end,
                ..DeleteRangeRequest::default()
            })
        }
    }
}

/// Clears an alarm.
pub(crate) fn clear(alarm: AlarmMember) -> Request {
    let AlarmMember { member_id, alarm } = alarm;
    Request::Alarm(AlarmRequest { action: AlarmAction::Deactivate as i32, member_id, alarm })
}

/// A range.
pub(crate) fn range(random: &mut Random, horizon: Horizon) -> RangeRequest {
    let (key, range_end) = span(random);
    let mut request = RangeRequest { key, range_end, ..RangeRequest::default() };
    request.revision = match random.below(10) {
        0..4 => 0,
        4..9 => horizon.readable(random),
        _ => horizon.any(random),
    };
    if random.percent(30) {
        request.limit = random.between(-1, 6);
    }
    if random.percent(30) {
        request.sort_order = random.between(0, 2) as i32;
        request.sort_target = random.between(0, 4) as i32;
    }
    if random.percent(15) {
        request.min_mod_revision = horizon.any(random);
        request.max_create_revision = horizon.any(random);
    }
    if random.percent(10) {
        request.max_mod_revision = horizon.any(random);
        request.min_create_revision = horizon.any(random) / 2;
    }
    request.keys_only = random.percent(15);
    request.count_only = random.percent(10);
    request
}

/// A transaction of ranges only.
pub(crate) fn read_only_txn(random: &mut Random, horizon: Horizon) -> TxnRequest {
    let mut ranges = |n| (0..n).map(|_| op(Op::RequestRange(range(random, horizon)))).collect();
    let (success, failure) = (ranges(2), ranges(1));
    TxnRequest { compare: vec![compare(random)], success, failure }
}

/// A watch that begins before, at or after `horizon`.
pub(crate) fn watch(random: &mut Random, horizon: Horizon) -> Watch {
    let (key, range_end) = span(random);
    Watch {
        id: 0,
        range: KeyRange::new(key, range_end),
        start_revision: match random.below(4) {
            0 => 0,
            1 => horizon.revision + random.between(1, 9),
            2 => horizon.any(random),
            _ => horizon.readable(random),
        },
        no_put: random.percent(10),
        no_delete: random.percent(10),
        prev_kv: random.percent(40),
    }
}

fn keys() -> Vec<Bytes> {
    let of_kind = |(prefix, n)| (0..n).map(move |i| Bytes::from(format!("{prefix}{i}")));
    KINDS.into_iter().flat_map(of_kind).collect()
}

fn key(random: &mut Random) -> Bytes {
    let (prefix, n) = KINDS[random.index(KINDS.len())];
    format!("{prefix}{}", random.below(n)).into()
}

/// A key and a range end: one key, a prefix, some neighbours, a tail, or all.
fn span(random: &mut Random) -> (Bytes, Bytes) {
    match random.below(10) {
        0..3 => (key(random), Bytes::new()),
        3..5 => {
            let prefix = KINDS[random.index(KINDS.len())].0;
            let (last, front) = prefix.as_bytes().split_last().expect("a prefix is not empty");
            (prefix.into(), [front, &[last + 1]].concat().into())
        }
        5..7 => (key(random), key(random)),
        7 => (key(random), Bytes::from_static(b"\0")),
        _ => (Bytes::from_static(b"\0"), Bytes::from_static(b"\0")),
    }
}

fn put(random: &mut Random, key: Bytes, value_len_max: u64) -> PutRequest {
    let ignore_value = random.percent(8);
    PutRequest {
        key,
        value: if ignore_value { Bytes::new() } else { value(random, value_len_max) },
        prev_kv: random.percent(30),
        ignore_value,
        ignore_lease: random.percent(4),
        lease: if random.percent(25) { lease(random) } else { 0 },
    }
}

fn value(random: &mut Random, len_max: u64) -> Bytes {
    let len = if random.percent(80) { random.below(24) } else { random.below(len_max) };
    let letter = b'a' + random.below(26) as u8;
    vec![letter; len as usize].into()
}

fn delete(random: &mut Random) -> DeleteRangeRequest {
    let (key, range_end) = match random.percent(70) {
        true => (key(random), Bytes::new()),
        false => span(random),
    };
    DeleteRangeRequest { key, range_end, prev_kv: random.percent(30) }
}

/// The ids of all leases there may be.
pub(crate) fn all_leases() -> impl Iterator<Item = i64> {
    1..=LEASES
}

/// A lease that may or may not exist.
pub(crate) fn lease(random: &mut Random) -> i64 {
    random.between(1, LEASES)
}

/// A question about leases.
pub(crate) fn lease_query(random: &mut Random) -> LeaseQuery {
    let id = lease(random);
    match random.below(10) {
        0..5 => LeaseQuery::Renew { id },
        5..7 => LeaseQuery::State { id },
        7 | 8 => LeaseQuery::Keys { id, after: None },
        _ => LeaseQuery::List { after: None },
    }
}

fn grant(random: &mut Random) -> LeaseGrantRequest {
    let ttl = random.weighted(&[(1, -1), (3, 3), (5, 8), (4, 20), (2, LEASE_TTL_LONG_S), (1, i64::MAX)]);
    LeaseGrantRequest { id: lease(random), ttl }
}

fn compaction(random: &mut Random, horizon: Horizon) -> CompactionRequest {
    let revision = match random.percent(85) {
        true => horizon.readable(random),
        false => horizon.any(random),
    };
    CompactionRequest { revision, physical: random.percent(40) }
}

fn alarm(random: &mut Random) -> AlarmRequest {
    let actions = [(2, AlarmAction::Get), (6, AlarmAction::Activate), (2, AlarmAction::Deactivate)];
    let kinds = [(1, AlarmType::None), (5, AlarmType::Nospace), (3, AlarmType::Corrupt)];
    AlarmRequest {
        action: random.weighted(&actions) as i32,
        member_id: random.weighted(&[(1, member::ID), (1, member::ID + 1)]),
        alarm: random.weighted(&kinds) as i32,
    }
}

fn compare(random: &mut Random) -> Compare {
    let (key, range_end) = if random.percent(80) { (key(random), Bytes::new()) } else { span(random) };
    let number = random.between(0, 3);
    let (target, operand) = match random.below(5) {
        0 => (CompareTarget::Version, TargetUnion::Version(number)),
        1 => (CompareTarget::Create, TargetUnion::CreateRevision(number * 7)),
        2 => (CompareTarget::Mod, TargetUnion::ModRevision(number * 9)),
        3 => (CompareTarget::Value, TargetUnion::Value(value(random, 3))),
        _ => (CompareTarget::Lease, TargetUnion::Lease(lease(random) * number.min(1))),
    };
    let results =
        [CompareResult::Equal, CompareResult::Greater, CompareResult::Less, CompareResult::NotEqual];
    Compare {
        result: results[random.index(results.len())] as i32,
        target: target as i32,
        key,
        range_end,
        target_union: Some(operand),
    }
}

/// An operation of a transaction.
pub(crate) fn op(request: Op) -> RequestOp {
    RequestOp { request: Some(request) }
}

/// A transaction being drawn, with the keys that it has not changed yet.
struct Txn<'a> {
    random: &'a mut Random,
    value_len_max: u64,
    free: Vec<Bytes>,
}

impl Txn<'_> {
    fn shuffled(mut self) -> Self {
        for i in (1..self.free.len()).rev() {
            self.free.swap(i, self.random.index(i + 1));
        }
        self
    }

    fn txn(&mut self, depth: u64) -> TxnRequest {
        let compare = (0..self.random.below(3)).map(|_| compare(self.random)).collect();
        TxnRequest { compare, success: self.ops(depth), failure: self.ops(depth) }
    }

    fn ops(&mut self, depth: u64) -> Vec<RequestOp> {
        (0..self.random.below(4)).flat_map(|_| self.op(depth)).collect()
    }

    fn op(&mut self, depth: u64) -> Vec<RequestOp> {
        let Some(key) = self.free.pop() else { return Vec::new() };
        match self.random.below(10) {
            0..5 => vec![op(Op::RequestPut(put(self.random, key, self.value_len_max)))],
            5 | 6 => vec![op(Op::RequestDeleteRange(self.delete(key)))],
            7 => vec![op(Op::RequestRange(self.range()))],
            8 if depth < DEPTH_MAX => vec![op(Op::RequestTxn(self.txn(depth + 1)))],
            _ if depth < DEPTH_MAX => self.put_then_delete(key),
            _ => Vec::new(),
        }
    }

    /// One key changed twice in one transaction: etcd lets that pass only in two nested ones, the put first.
    fn put_then_delete(&mut self, key: Bytes) -> Vec<RequestOp> {
        let nested = |request| {
            let txn = TxnRequest { success: vec![op(request)], ..TxnRequest::default() };
            op(Op::RequestTxn(txn))
        };
        let put = PutRequest { key: key.clone(), value: value(self.random, 24), ..PutRequest::default() };
        let delete = self.delete(key);
        vec![nested(Op::RequestPut(put)), nested(Op::RequestDeleteRange(delete))]
    }

    /// Deletes one key; or all from it on, which etcd takes for a conflict with no put, so that a key may be
    /// changed again.
    fn delete(&mut self, key: Bytes) -> DeleteRangeRequest {
        let range_end = if self.random.percent(10) { Bytes::from_static(b"\0") } else { Bytes::new() };
        DeleteRangeRequest { key, range_end, prev_kv: self.random.percent(40) }
    }

    fn range(&mut self) -> RangeRequest {
        let (key, range_end) = span(self.random);
        RangeRequest { key, range_end, limit: self.random.between(0, 4), ..RangeRequest::default() }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Keys put on all levels, in order.
    fn puts(txn: &TxnRequest, found: &mut Vec<Bytes>) {
        for op in txn.success.iter().chain(&txn.failure) {
            match &op.request {
                Some(Op::RequestPut(put)) => found.push(put.key.clone()),
                Some(Op::RequestTxn(nested)) => puts(nested, found),
                _ => {}
            }
        }
    }

    #[test]
    fn no_transaction_puts_a_key_twice() {
        let mut random = Random::new(1);
        let mut nested = 0;
        for _ in 0..2000 {
            let txn = Txn { random: &mut random, value_len_max: 9, free: keys() }.shuffled().txn(0);
            let mut found = Vec::new();
            puts(&txn, &mut found);
            assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), found.len(), "{txn:?}");
            nested += usize::from(txn.success.iter().any(|op| matches!(op.request, Some(Op::RequestTxn(_)))));
        }
        assert!(nested > 200, "{nested} are nested");
    }

    #[test]
    fn values_that_are_kept_are_not_given() {
        let mut random = Random::new(1);
        for _ in 0..1000 {
            let put = put(&mut random, "k".into(), 100);
            assert!(!put.ignore_value || put.value.is_empty(), "{put:?}");
        }
    }
}
