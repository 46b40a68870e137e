//! The effects of transactions and the answers to them.

use std::cmp::Ordering;

use proto::etcdserverpb::compare::{CompareResult, TargetUnion};
use proto::etcdserverpb::request_op::Request as Op;
use proto::etcdserverpb::{Compare, RequestOp, TxnRequest};
use proto::mvccpb::KeyValue;
use store::{OpOutcome, Refusal, TxnOutcome};

use super::Model;

/// A transaction with its compares decided, nested ones too.
struct Decided<'a> {
    succeeded: bool,
    ops: Vec<(&'a Op, Option<Decided<'a>>)>,
}

impl Model {
    /// Decides all compares before anything else, checks what is to be done, and does it.
    pub(super) fn txn(&mut self, request: &TxnRequest) -> Result<TxnOutcome, Refusal> {
        let decided = self.decide(request);
        self.check(&decided)?;
        Ok(self.execute(&decided))
    }

    /// The answer to a transaction of ranges only.
    pub(crate) fn read_only_txn(&self, request: &TxnRequest) -> Result<TxnOutcome, Refusal> {
        let decided = self.decide(request);
        self.check(&decided)?;
        let results = decided.ops.iter().map(|(op, _)| match op {
            Op::RequestRange(range) => {
                OpOutcome::Range(self.range_at(range, self.op_revision(range.revision)))
            }
            other => unreachable!("{other:?} is no range"),
        });
        Ok(TxnOutcome { revision: self.revision, succeeded: decided.succeeded, results: results.collect() })
    }

    fn decide<'a>(&self, request: &'a TxnRequest) -> Decided<'a> {
        let succeeded = request.compare.iter().all(|compare| self.holds(compare));
        let taken = if succeeded { &request.success } else { &request.failure };
        let ops = taken.iter().map(|op| match inner(op) {
            op @ Op::RequestTxn(nested) => (op, Some(self.decide(nested))),
            op => (op, None),
        });
        Decided { succeeded, ops: ops.collect() }
    }

    fn check(&self, decided: &Decided<'_>) -> Result<(), Refusal> {
        for (op, nested) in &decided.ops {
            match op {
                Op::RequestRange(range) if range.revision > self.revision => {
                    return Err(Refusal::FutureRevision);
                }
                Op::RequestRange(range) if range.revision != 0 && range.revision < self.compacted.max(0) => {
                    return Err(Refusal::Compacted);
                }
                Op::RequestPut(put) => self.check_put(put)?,
                _ => {}
            }
            nested.as_ref().map_or(Ok(()), |nested| self.check(nested))?;
        }
        Ok(())
    }

    fn execute(&mut self, decided: &Decided<'_>) -> TxnOutcome {
        let mut results = Vec::new();
        for (op, nested) in &decided.ops {
            results.push(match (op, nested) {
                (Op::RequestTxn(_), Some(nested)) => OpOutcome::Txn(self.execute(nested)),
                (Op::RequestPut(put), _) => OpOutcome::Put(self.put(put)),
                (Op::RequestDeleteRange(delete), _) => OpOutcome::Delete(self.delete(delete)),
                (Op::RequestRange(range), _) => {
                    OpOutcome::Range(self.range_at(range, self.op_revision(range.revision)))
                }
                (Op::RequestTxn(_), None) => unreachable!("a nested transaction was decided"),
            });
        }
        TxnOutcome { revision: self.visible(), succeeded: decided.succeeded, results }
    }

    fn op_revision(&self, revision: i64) -> i64 {
        if revision > 0 { revision } else { self.visible() }
    }

    fn holds(&self, compare: &Compare) -> bool {
        let found = self.live(&compare.key, &compare.range_end, self.revision);
        let is_value = matches!(compare.target_union, Some(TargetUnion::Value(_)));
        if found.is_empty() {
            return !is_value && is_result(compare, order(compare, &KeyValue::default()));
        }
        found.into_iter().all(|kv| is_result(compare, order(compare, kv)))
    }
}

/// The kind of an operation. The workload makes no operation without one.
fn inner(op: &RequestOp) -> &Op {
    op.request.as_ref().expect("the workload gives every operation a request")
}

fn order(compare: &Compare, kv: &KeyValue) -> Ordering {
    match compare.target_union.as_ref().expect("the workload gives every compare an operand") {
        TargetUnion::Version(want) => kv.version.cmp(want),
        TargetUnion::CreateRevision(want) => kv.create_revision.cmp(want),
        TargetUnion::ModRevision(want) => kv.mod_revision.cmp(want),
        TargetUnion::Value(want) => kv.value.cmp(want),
        TargetUnion::Lease(want) => kv.lease.cmp(want),
    }
}

fn is_result(compare: &Compare, ordering: Ordering) -> bool {
    match compare.result() {
        CompareResult::Equal => ordering == Ordering::Equal,
        CompareResult::Greater => ordering == Ordering::Greater,
        CompareResult::Less => ordering == Ordering::Less,
        CompareResult::NotEqual => ordering != Ordering::Equal,
    }
}

#[cfg(test)]
mod tests {
    use proto::etcdserverpb::compare::CompareTarget;
    use proto::etcdserverpb::{PutRequest, RangeRequest};
    use store::Request;

    use super::*;

    fn put(key: &'static str) -> RequestOp {
        let put = PutRequest { key: key.into(), value: "v".into(), ..PutRequest::default() };
        RequestOp { request: Some(Op::RequestPut(put)) }
    }

    fn apply(model: &mut Model, txn: TxnRequest) -> Result<(), Refusal> {
        model.apply(&Request::Txn(txn)).map(|_| ())
    }

    /// Puts `then` if `key` does not exist.
    fn if_absent(key: &'static str, then: &'static str) -> TxnRequest {
        let compare = Compare {
            key: key.into(),
            target: CompareTarget::Version as i32,
            target_union: Some(TargetUnion::Version(0)),
            ..Compare::default()
        };
        TxnRequest { compare: vec![compare], success: vec![put(then)], ..TxnRequest::default() }
    }

    #[test]
    fn nested_compares_do_not_see_what_was_put_before() {
        let mut model = Model::new();
        let nested = RequestOp { request: Some(Op::RequestTxn(if_absent("a", "b"))) };
        apply(&mut model, TxnRequest { success: vec![put("a"), nested], ..TxnRequest::default() }).unwrap();
        assert!(model.at(b"b", 2).is_some(), "a did not exist before the transaction");
        apply(&mut model, if_absent("a", "c")).unwrap();
        assert!(model.at(b"c", i64::MAX).is_none());
        assert_eq!(model.revision(), 2);
    }

    #[test]
    fn a_refused_transaction_changes_nothing() {
        let mut model = Model::new();
        let future = RangeRequest { key: "a".into(), revision: 9, ..RangeRequest::default() };
        let range = RequestOp { request: Some(Op::RequestRange(future)) };
        let txn = TxnRequest { success: vec![put("a"), range], ..TxnRequest::default() };
        assert_eq!(apply(&mut model, txn), Err(Refusal::FutureRevision));
        assert_eq!(model.revision(), 1);
        assert!(model.at(b"a", i64::MAX).is_none());
    }
}
