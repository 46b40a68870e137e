//! What a command costs in space, as etcd counts it, and whether that is all that it writes.

use proto::etcdserverpb::request_op::Request as Op;
use proto::etcdserverpb::{PutRequest, RequestOp, TxnRequest};

use crate::Request;

/// Bytes counted for a put beside its key and value.
const PUT_OVERHEAD: u64 = 256;
/// Bytes counted for a lease.
const LEASE: u64 = 64;

/// Bytes a command may add to the store: a put its key, value and 256 more, a transaction the more expensive
/// of its branches, a lease 64, everything else nothing. A command that costs nothing is let through when
/// there is no space.
pub fn cost(request: &Request) -> u64 {
    match request {
        Request::Put(put) => put_cost(put),
        Request::Txn(txn) => txn_cost(txn),
        Request::LeaseGrant(_) => LEASE,
        _ => 0,
    }
}

/// Whether a command may write more than its own bytes, depending on what the store holds.
pub fn writes_more_than_given(request: &Request) -> bool {
    match request {
        Request::Put(put) => put.ignore_value,
        Request::DeleteRange(delete) => !delete.range_end.is_empty(),
        Request::Txn(txn) => txn_writes_more(txn),
        Request::LeaseRevoke(_) => true,
        _ => false,
    }
}

fn txn_writes_more(txn: &TxnRequest) -> bool {
    txn.success.iter().chain(&txn.failure).any(|op| match &op.request {
        Some(Op::RequestPut(put)) => put.ignore_value,
        Some(Op::RequestDeleteRange(delete)) => !delete.range_end.is_empty(),
        Some(Op::RequestTxn(nested)) => txn_writes_more(nested),
        _ => false,
    })
}

fn put_cost(put: &PutRequest) -> u64 {
    PUT_OVERHEAD + put.key.len() as u64 + put.value.len() as u64
}

fn txn_cost(txn: &TxnRequest) -> u64 {
    branch_cost(&txn.success).max(branch_cost(&txn.failure))
}

fn branch_cost(ops: &[RequestOp]) -> u64 {
    let cost = |op: &RequestOp| match &op.request {
        Some(Op::RequestPut(put)) => put_cost(put),
        Some(Op::RequestTxn(txn)) => txn_cost(txn),
        _ => 0,
    };
    ops.iter().map(cost).sum()
}

#[cfg(test)]
mod tests {
    use proto::etcdserverpb::{CompactionRequest, DeleteRangeRequest};

    use super::*;

    fn put(value: &'static str) -> PutRequest {
        PutRequest { key: "k".into(), value: value.into(), ..PutRequest::default() }
    }

    fn op(request: Op) -> RequestOp {
        RequestOp { request: Some(request) }
    }

    #[test]
    fn a_put_costs_its_bytes_and_256() {
        assert_eq!(cost(&Request::Put(put("abc"))), 260);
    }

    #[test]
    fn a_transaction_costs_its_more_expensive_branch() {
        let nested = TxnRequest { failure: vec![op(Op::RequestPut(put("abc")))], ..TxnRequest::default() };
        let txn = TxnRequest {
            success: vec![op(Op::RequestDeleteRange(DeleteRangeRequest::default()))],
            failure: vec![op(Op::RequestPut(put(""))), op(Op::RequestTxn(nested))],
            ..TxnRequest::default()
        };
        assert_eq!(cost(&Request::Txn(txn)), 257 + 260);
    }

    #[test]
    fn deletes_and_compactions_cost_nothing() {
        assert_eq!(cost(&Request::DeleteRange(DeleteRangeRequest::default())), 0);
        assert_eq!(cost(&Request::Compact(CompactionRequest::default())), 0);
    }
}
