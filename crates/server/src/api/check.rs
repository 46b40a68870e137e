//! What is wrong with a request by itself, before anything is looked up.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proto::etcdserverpb::request_op::Request as Op;
use proto::etcdserverpb::{DeleteRangeRequest, PutRequest, RequestOp, TxnRequest};
use store::{RangeQuery, Refusal};

/// Checks a put.
pub(super) fn put(request: &PutRequest) -> Result<(), Refusal> {
    if request.key.is_empty() {
        return Err(Refusal::EmptyKey);
    }
    if request.ignore_value && !request.value.is_empty() {
        return Err(Refusal::ValueProvided);
    }
    if request.ignore_lease && request.lease != 0 {
        return Err(Refusal::LeaseProvided);
    }
    Ok(())
}

/// Checks a delete.
pub(super) fn delete_range(request: &DeleteRangeRequest) -> Result<(), Refusal> {
    if request.key.is_empty() { Err(Refusal::EmptyKey) } else { Ok(()) }
}

/// Checks a transaction with all it nests, both branches.
pub(super) fn txn(request: &TxnRequest, max_ops: usize) -> Result<(), Refusal> {
    txn_shape(request, max_ops)?;
    Changes::of(&request.success)?;
    Changes::of(&request.failure)?;
    Ok(())
}

/// A nested transaction has what its parent's longest list leaves of the allowance.
fn txn_shape(request: &TxnRequest, max_ops: usize) -> Result<(), Refusal> {
    let ops = request.compare.len().max(request.success.len()).max(request.failure.len());
    let left = max_ops.checked_sub(ops).ok_or(Refusal::TooManyOps)?;
    if request.compare.iter().any(|compare| compare.key.is_empty()) {
        return Err(Refusal::EmptyKey);
    }
    request.success.iter().chain(&request.failure).try_for_each(|op| op_shape(op, left))
}

fn op_shape(op: &RequestOp, max_ops: usize) -> Result<(), Refusal> {
    match &op.request {
        Some(Op::RequestRange(range)) => RangeQuery::new(range).map(|_| ()),
        Some(Op::RequestPut(request)) => put(request),
        Some(Op::RequestDeleteRange(request)) => delete_range(request),
        Some(Op::RequestTxn(nested)) => txn_shape(nested, max_ops),
        None => Err(Refusal::KeyNotFound),
    }
}

/// The keys that a list of operations puts and deletes.
///
/// No key may be put twice, or put and deleted, in one list: except that a nested transaction may delete
/// again what an earlier one put, and that the two branches of one nested transaction exclude each other.
/// These are etcd's rules, quirks included: a `range_end` of one zero byte is taken literally here, so that
/// a delete of everything from a key on collides with nothing.
#[derive(Default)]
struct Changes {
    puts: BTreeSet<Bytes>,
    deletes: Ranges,
}

/// A set of keys, as the ranges that they make: start, and the end behind it. The ranges do not touch, so that a key
/// is looked up in one of them, however many were added.
#[derive(Default)]
struct Ranges(BTreeMap<Bytes, Bytes>);

impl Ranges {
    /// Adds the keys of a request.
    fn add(&mut self, key: &Bytes, range_end: &Bytes) {
        let (start, end) =
            (key.clone(), if range_end.is_empty() { successor(key) } else { range_end.clone() });
        if start < end {
            self.add_range(start, end);
        }
    }

    fn add_all(&mut self, other: Ranges) {
        other.0.into_iter().for_each(|(start, end)| self.add_range(start, end));
    }

    /// Adds a range that is not empty, and joins it with those that it touches: each of them is gone then, so that all
    /// additions together take no more steps than there are.
    fn add_range(&mut self, mut start: Bytes, mut end: Bytes) {
        while let Some((other_start, other_end)) = self.0.range::<Bytes, _>(..=&end).next_back()
            && *other_end >= start
        {
            let other_start = other_start.clone();
            if let Some(other_end) = self.0.remove(&other_start) {
                end = end.max(other_end);
            }
            start = start.min(other_start);
        }
        self.0.insert(start, end);
    }

    fn contains(&self, key: &Bytes) -> bool {
        self.0.range::<Bytes, _>(..=key).next_back().is_some_and(|(_, end)| key < end)
    }
}

/// The first key behind this one.
fn successor(key: &Bytes) -> Bytes {
    [key, &[0][..]].concat().into()
}

impl Changes {
    fn of(ops: &[RequestOp]) -> Result<Changes, Refusal> {
        let mut changes = Changes::default();
        for op in ops {
            if let Some(Op::RequestDeleteRange(delete)) = &op.request {
                changes.deletes.add(&delete.key, &delete.range_end);
            }
        }
        for op in ops {
            if let Some(Op::RequestTxn(nested)) = &op.request {
                changes.add_nested(nested)?;
            }
        }
        for op in ops {
            if let Some(Op::RequestPut(put)) = &op.request {
                changes.add_put(&put.key, &BTreeSet::new())?;
            }
        }
        Ok(changes)
    }

    fn add_nested(&mut self, nested: &TxnRequest) -> Result<(), Refusal> {
        let success = Changes::of(&nested.success)?;
        let failure = Changes::of(&nested.failure)?;
        for key in &success.puts {
            self.add_put(key, &BTreeSet::new())?;
        }
        for key in &failure.puts {
            self.add_put(key, &success.puts)?;
        }
        self.deletes.add_all(success.deletes);
        self.deletes.add_all(failure.deletes);
        Ok(())
    }

    /// Adds a put; one of the keys in `excluded` may be there already.
    fn add_put(&mut self, key: &Bytes, excluded: &BTreeSet<Bytes>) -> Result<(), Refusal> {
        let is_put = self.puts.contains(key) && !excluded.contains(key);
        if is_put || self.deletes.contains(key) {
            return Err(Refusal::DuplicateKey);
        }
        self.puts.insert(key.clone());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proto::etcdserverpb::{Compare, RangeRequest};

    use super::*;

    fn put_op(key: &'static str) -> RequestOp {
        RequestOp { request: Some(Op::RequestPut(PutRequest { key: key.into(), ..PutRequest::default() })) }
    }

    fn delete_op(key: &'static str, range_end: &'static str) -> RequestOp {
        let request = DeleteRangeRequest { key: key.into(), range_end: range_end.into(), prev_kv: false };
        RequestOp { request: Some(Op::RequestDeleteRange(request)) }
    }

    fn txn_op(success: Vec<RequestOp>, failure: Vec<RequestOp>) -> RequestOp {
        RequestOp { request: Some(Op::RequestTxn(TxnRequest { compare: vec![], success, failure })) }
    }

    fn check(success: Vec<RequestOp>) -> Result<(), Refusal> {
        txn(&TxnRequest { success, ..TxnRequest::default() }, 128)
    }

    #[test]
    fn a_put_needs_a_key_and_does_not_both_ignore_and_give() {
        let good = PutRequest { key: "k".into(), ..PutRequest::default() };
        assert_eq!(put(&good), Ok(()));
        assert_eq!(put(&PutRequest::default()), Err(Refusal::EmptyKey));
        assert_eq!(
            put(&PutRequest { ignore_value: true, value: "v".into(), ..good.clone() }),
            Err(Refusal::ValueProvided)
        );
        assert_eq!(put(&PutRequest { ignore_lease: true, lease: 1, ..good }), Err(Refusal::LeaseProvided));
    }

    #[test]
    fn a_key_is_put_once_and_not_deleted_beside() {
        assert_eq!(check(vec![put_op("a"), put_op("b")]), Ok(()));
        assert_eq!(check(vec![put_op("a"), put_op("a")]), Err(Refusal::DuplicateKey));
        assert_eq!(check(vec![put_op("a"), delete_op("a", "")]), Err(Refusal::DuplicateKey));
        assert_eq!(check(vec![delete_op("a", "c"), put_op("b")]), Err(Refusal::DuplicateKey));
        assert_eq!(check(vec![delete_op("a", "c"), put_op("c")]), Ok(()));
        assert_eq!(check(vec![delete_op("a", "c"), delete_op("b", "d")]), Ok(()));
    }

    #[test]
    fn deleting_everything_from_a_key_on_collides_with_nothing() {
        assert_eq!(check(vec![delete_op("a", "\0"), put_op("b")]), Ok(()));
    }

    #[test]
    fn ranges_contain_what_was_added_and_join() {
        let keys: Vec<Bytes> =
            (b'a'..=b'h').flat_map(|c| [vec![c], vec![c, 0], vec![c, 1]]).map(Bytes::from).collect();
        let n = keys.len();
        // All pairs of ranges, and of ranges and single keys.
        for (first, second) in (0..n * n).flat_map(|at| [(at / n, at % n), (at % n, at / n)]) {
            let added = [(first, (first + 5) % n), (second, (second * 7) % n), (n - 1 - first, n)];
            let end = |at: usize| keys.get(at).cloned().unwrap_or_default();
            let mut ranges = Ranges::default();
            added.iter().for_each(|(start, to)| ranges.add(&keys[*start], &end(*to)));
            for key in &keys {
                let is_in = |(start, to): &(usize, usize)| match end(*to) {
                    to if to.is_empty() => *key == keys[*start],
                    to => keys[*start] <= *key && *key < to,
                };
                assert_eq!(ranges.contains(key), added.iter().any(is_in), "{added:?} {key:?}");
            }
            let bounds: Vec<_> = ranges.0.iter().flat_map(|(start, end)| [start, end]).collect();
            assert!(bounds.is_sorted_by(|a, b| a < b), "they do not touch: {bounds:?}");
        }
    }

    #[test]
    fn branches_of_a_nested_transaction_exclude_each_other() {
        assert_eq!(check(vec![txn_op(vec![put_op("a")], vec![put_op("a")])]), Ok(()));
        assert_eq!(check(vec![txn_op(vec![put_op("a")], vec![]), put_op("a")]), Err(Refusal::DuplicateKey));
        assert_eq!(
            check(vec![txn_op(vec![put_op("a")], vec![]), txn_op(vec![], vec![put_op("a")])]),
            Err(Refusal::DuplicateKey)
        );
    }

    #[test]
    fn only_a_later_nested_transaction_may_delete_what_was_put() {
        let (puts, deletes) = (txn_op(vec![put_op("a")], vec![]), txn_op(vec![delete_op("a", "")], vec![]));
        assert_eq!(check(vec![puts.clone(), deletes.clone()]), Ok(()));
        assert_eq!(check(vec![deletes, puts]), Err(Refusal::DuplicateKey));
    }

    #[test]
    fn a_nested_transaction_has_what_its_parent_leaves() {
        let nest = |parent: usize, child: usize| {
            let mut ops: Vec<_> = (1..parent).map(|_| delete_op("x", "")).collect();
            ops.push(txn_op((0..child).map(|_| delete_op("y", "")).collect(), vec![]));
            check(ops)
        };
        assert_eq!(nest(100, 28), Ok(()));
        assert_eq!(nest(100, 29), Err(Refusal::TooManyOps));
        assert_eq!(nest(129, 0), Err(Refusal::TooManyOps));
    }

    #[test]
    fn every_operation_is_checked_in_both_branches() {
        let bad_range = RequestOp { request: Some(Op::RequestRange(RangeRequest::default())) };
        let failure = TxnRequest { failure: vec![bad_range], ..TxnRequest::default() };
        assert_eq!(txn(&failure, 128), Err(Refusal::EmptyKey));
        assert_eq!(check(vec![RequestOp { request: None }]), Err(Refusal::KeyNotFound));
        let compare = TxnRequest { compare: vec![Compare::default()], ..TxnRequest::default() };
        assert_eq!(txn(&compare, 128), Err(Refusal::EmptyKey));
    }
}
