//! Messages that clients and peers send: decoding must end in an error or in a message that survives
//! being encoded again.

use std::fmt::Debug;

use bytes::Bytes;
use prost::Message;
use proto::etcdserverpb::{
    Compare, DeleteRangeRequest, InternalRaftRequest, LeaseGrantRequest, PutRequest, RangeRequest, RequestOp,
    TxnRequest, WatchCreateRequest, WatchRequest, compare, request_op, watch_request,
};
use proto::raftpb;

/// What a client sends, and what an entry of the raft log carries.
pub fn request(data: &[u8]) {
    decode::<RangeRequest>(data);
    decode::<TxnRequest>(data);
    decode::<WatchRequest>(data);
    decode::<InternalRaftRequest>(data);
}

/// What a peer sends.
pub fn message(data: &[u8]) {
    decode::<raftpb::Message>(data);
    decode::<raftpb::ConfChange>(data);
    decode::<raftpb::ConfChangeV2>(data);
}

/// Decodes as the server does, from a shared buffer. A message that was accepted once must be accepted,
/// and mean the same, after it has gone through the WAL.
fn decode<M: Message + Default + PartialEq + Debug>(data: &[u8]) {
    let Ok(first) = M::decode(Bytes::copy_from_slice(data)) else { return };
    let encoded = first.encode_to_vec();
    assert_eq!(encoded.len(), first.encoded_len());
    let second = M::decode(Bytes::from(encoded)).expect("our own encoding can be decoded");
    assert_eq!(first, second);
}

pub(crate) fn request_seeds() -> Vec<Vec<u8>> {
    let range = RangeRequest {
        key: Bytes::from_static(b"key"),
        range_end: Bytes::from_static(b"kez"),
        limit: 500,
        revision: 7,
        ..RangeRequest::default()
    };
    let txn = nested_txn(3);
    let watch = WatchCreateRequest {
        key: Bytes::from_static(b"key"),
        start_revision: 5,
        filters: vec![0, 1],
        ..WatchCreateRequest::default()
    };
    let watch = WatchRequest { request_union: Some(watch_request::RequestUnion::CreateRequest(watch)) };
    let entry = InternalRaftRequest {
        id: 11,
        txn: Some(txn.clone()),
        lease_grant: Some(LeaseGrantRequest { ttl: 60, id: -1 }),
        ..InternalRaftRequest::default()
    };
    vec![range.encode_to_vec(), txn.encode_to_vec(), watch.encode_to_vec(), entry.encode_to_vec()]
}

/// A transaction with one of each operation, and others like it inside down to `depth`.
fn nested_txn(depth: usize) -> TxnRequest {
    let put = PutRequest {
        key: Bytes::from_static(b"key"),
        value: Bytes::from_static(&[b'v'; 300]),
        lease: 1,
        ..PutRequest::default()
    };
    let delete = DeleteRangeRequest { key: Bytes::from_static(b"other"), ..DeleteRangeRequest::default() };
    let mut success = vec![operation(request_op::Request::RequestPut(put))];
    if depth > 0 {
        success.push(operation(request_op::Request::RequestTxn(nested_txn(depth - 1))));
    }
    let compare = Compare {
        key: Bytes::from_static(b"key"),
        target_union: Some(compare::TargetUnion::ModRevision(3)),
        ..Compare::default()
    };
    let failure = vec![operation(request_op::Request::RequestDeleteRange(delete))];
    TxnRequest { compare: vec![compare], success, failure }
}

fn operation(request: request_op::Request) -> RequestOp {
    RequestOp { request: Some(request) }
}

pub(crate) fn message_seeds() -> Vec<Vec<u8>> {
    let entry =
        raftpb::Entry { term: 2, index: 9, data: Bytes::from_static(b"data"), ..raftpb::Entry::default() };
    let conf_state = raftpb::ConfState { voters: vec![1, 2, u64::MAX], ..raftpb::ConfState::default() };
    let metadata = raftpb::SnapshotMetadata { conf_state: Some(conf_state), index: 8, term: 2 };
    let append = raftpb::Message {
        to: 1,
        from: 2,
        term: 2,
        index: 8,
        entries: vec![entry; 3],
        commit: 8,
        ..raftpb::Message::default()
    };
    let snapshot = raftpb::Message {
        snapshot: Some(raftpb::Snapshot { data: Bytes::new(), metadata: Some(metadata) }),
        responses: vec![append.clone()],
        ..raftpb::Message::default()
    };
    let change = raftpb::ConfChange { id: 1, node_id: 2, ..raftpb::ConfChange::default() };
    vec![append.encode_to_vec(), snapshot.encode_to_vec(), change.encode_to_vec()]
}

#[cfg(test)]
mod tests {
    use prost::encoding::encode_varint;

    use super::*;

    /// Length-delimited fields of these tags in turn, each inside the one after it.
    fn nest(tags: &[u8], depth: usize) -> Vec<u8> {
        tags.iter().cycle().take(depth).fold(Vec::new(), |inner, &tag| {
            let mut outer = vec![tag];
            encode_varint(inner.len() as u64, &mut outer);
            outer.extend(inner);
            outer
        })
    }

    #[test]
    fn nesting_without_end_is_refused_and_spares_the_stack() {
        // Field 14 of a raft message is a list of raft messages.
        let responses = nest(&[14 << 3 | 2], 10_000);
        assert!(raftpb::Message::decode(responses.as_slice()).is_err());
        // Field 2 of a transaction is a list of operations, and field 4 of an operation a transaction.
        let transactions = nest(&[4 << 3 | 2, 2 << 3 | 2], 10_000);
        assert!(TxnRequest::decode(transactions.as_slice()).is_err());
    }

    #[test]
    fn a_length_beyond_the_input_reserves_no_memory() {
        // Field 1 claims almost 2⁶³ bytes.
        let data = [0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
        assert!(RangeRequest::decode(data.as_slice()).is_err());
        assert!(TxnRequest::decode(data.as_slice()).is_err());
    }
}
