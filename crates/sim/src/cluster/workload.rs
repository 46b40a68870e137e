//! What applications do with etcd: registers, lists, transfers between keys, objects as Kubernetes keeps them.
//!
//! A client first looks at what it knows, which may be old, and then asks for a change that is carried out only if
//! nothing has changed since. Many clients concern the same few keys, so that some of these changes fail.

use bytes::Bytes;
use proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use proto::etcdserverpb::request_op::Request as Op;
use proto::etcdserverpb::{Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest};
use store::Request;

use crate::model::Model;
use crate::random::Random;
use crate::workload;

/// Keys of each pattern.
const KEYS: u64 = 3;
/// Bytes that a list has at most before it begins anew.
const LIST_LEN_MAX: usize = 200;

/// A command of one of the patterns, by a client that knows what `known` says.
pub(super) fn pattern(random: &mut Random, known: &Model) -> Request {
    match random.below(10) {
        0..3 => register(random, known),
        3..5 => list(random, known),
        5 | 6 => transfer(random, known),
        _ => object(random, known),
    }
}

/// Writes a register, or replaces its value if it is what the client knows.
fn register(random: &mut Random, known: &Model) -> Request {
    let key = key("register", random.below(KEYS));
    let value = number(random);
    if random.percent(40) {
        return Request::Put(PutRequest { key, value, prev_kv: random.percent(50), ..PutRequest::default() });
    }
    let before = known.at(&key, i64::MAX).map(|kv| kv.value.clone());
    let compare = match before {
        Some(value) => equal(&key, CompareTarget::Value, TargetUnion::Value(value)),
        None => equal(&key, CompareTarget::Version, TargetUnion::Version(0)),
    };
    Request::Txn(TxnRequest {
        compare: vec![compare],
        success: vec![put(&key, value, 0)],
        failure: vec![get(&key)],
    })
}

/// Adds an element to a list that has not changed.
fn list(random: &mut Random, known: &Model) -> Request {
    let key = key("list", random.below(KEYS));
    let (before, mod_revision) =
        known.at(&key, i64::MAX).map_or((Bytes::new(), 0), |kv| (kv.value.clone(), kv.mod_revision));
    let mut list = if before.len() < LIST_LEN_MAX { before.to_vec() } else { Vec::new() };
    list.extend_from_slice(&number(random));
    list.push(b',');
    let compare = vec![equal(&key, CompareTarget::Mod, TargetUnion::ModRevision(mod_revision))];
    Request::Txn(TxnRequest { compare, success: vec![put(&key, list.into(), 0)], failure: vec![get(&key)] })
}

/// Changes two keys together, if both are unchanged.
fn transfer(random: &mut Random, known: &Model) -> Request {
    let from = random.below(KEYS);
    let keys = [key("account", from), key("account", (from + 1) % KEYS)];
    let unchanged = |key: &Bytes| {
        let mod_revision = known.at(key, i64::MAX).map_or(0, |kv| kv.mod_revision);
        equal(key, CompareTarget::Mod, TargetUnion::ModRevision(mod_revision))
    };
    let compare = keys.iter().map(unchanged).collect();
    let success = keys.iter().map(|key| put(key, number(random), 0)).collect();
    Request::Txn(TxnRequest { compare, success, failure: keys.iter().map(get).collect() })
}

/// Creates, updates or deletes an object as the Kubernetes API server does.
fn object(random: &mut Random, known: &Model) -> Request {
    let key = Bytes::from(format!("/registry/pods/default/p{}", random.below(KEYS)));
    let mod_revision = known.at(&key, i64::MAX).map_or(0, |kv| kv.mod_revision);
    let compare = vec![equal(&key, CompareTarget::Mod, TargetUnion::ModRevision(mod_revision))];
    let success = if mod_revision > 0 && random.percent(25) {
        let delete = DeleteRangeRequest { key: key.clone(), ..DeleteRangeRequest::default() };
        workload::op(Op::RequestDeleteRange(delete))
    } else {
        let lease = if random.percent(20) { workload::lease(random) } else { 0 };
        put(&key, number(random), lease)
    };
    Request::Txn(TxnRequest { compare, success: vec![success], failure: vec![get(&key)] })
}

fn key(kind: &str, number: u64) -> Bytes {
    format!("{kind}{number}").into()
}

fn number(random: &mut Random) -> Bytes {
    random.below(1000).to_string().into()
}

fn equal(key: &Bytes, target: CompareTarget, operand: TargetUnion) -> Compare {
    Compare {
        result: CompareResult::Equal as i32,
        target: target as i32,
        key: key.clone(),
        range_end: Bytes::new(),
        target_union: Some(operand),
    }
}

fn put(key: &Bytes, value: Bytes, lease: i64) -> RequestOp {
    workload::op(Op::RequestPut(PutRequest { key: key.clone(), value, lease, ..PutRequest::default() }))
}

fn get(key: &Bytes) -> RequestOp {
    workload::op(Op::RequestRange(RangeRequest { key: key.clone(), ..RangeRequest::default() }))
}
