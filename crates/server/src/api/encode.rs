//! Responses put together from stored bytes.
//!
//! Keys come out of the store as the protobuf bytes they are stored in, and are copied into the response as
//! they are (D5). Tags are those of `etcdserverpb`: every response has its header in field 1.

use bytes::Bytes;
use prost::Message;
use proto::wire::{message_field_len, put_int, put_message, put_message_head, put_uint};
use store::{DeleteOutcome, OpOutcome, PutOutcome, RangeOutcome, TxnOutcome};

const HEADER: u8 = 0x0a;
const HEADER_CLUSTER_ID: u8 = 0x08;
const HEADER_MEMBER_ID: u8 = 0x10;
const HEADER_REVISION: u8 = 0x18;
const HEADER_RAFT_TERM: u8 = 0x20;
const RANGE_MORE: u8 = 0x18;
const RANGE_COUNT: u8 = 0x20;
const STREAM_RANGE: u8 = 0x0a;
const KEEP_ALIVE_ID: u8 = 0x10;
const KEEP_ALIVE_TTL: u8 = 0x18;
const PUT_PREV_KV: u8 = 0x12;
const DELETE_DELETED: u8 = 0x10;
const DELETE_PREV_KVS: u8 = 0x1a;
const TXN_SUCCEEDED: u8 = 0x10;
const TXN_RESPONSES: u8 = 0x1a;
const OP_RANGE: u8 = 0x0a;
const OP_PUT: u8 = 0x12;
const OP_DELETE: u8 = 0x1a;
const OP_TXN: u8 = 0x22;

/// Keys are copied between what stands around them up to this length, in bytes: cheaper than memory of their own for
/// each of the three.
const JOINED_LEN_MAX: usize = 2048;

/// An encoded response message, in pieces to be sent one after the other.
#[derive(Debug, Clone)]
pub(crate) struct Encoded {
    pub(crate) chunks: Vec<Bytes>,
}

impl Encoded {
    /// A message in one piece.
    pub(super) fn message(message: &impl Message) -> Encoded {
        Encoded::one(message.encode_to_vec())
    }

    fn one(bytes: Vec<u8>) -> Encoded {
        Encoded { chunks: vec![bytes.into()] }
    }
}

/// What ends a range: whether the limit left keys out, and how many keys there are.
#[derive(Debug, Clone, Copy)]
pub(super) struct RangeTail {
    pub(super) more: bool,
    pub(super) count: i64,
}

impl RangeTail {
    fn of(outcome: &RangeOutcome) -> RangeTail {
        RangeTail { more: outcome.more, count: outcome.count }
    }
}

/// What a response says of the member that made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) cluster_id: u64,
    pub(crate) member_id: u64,
    pub(crate) revision: i64,
    pub(crate) raft_term: u64,
}

impl Header {
    /// Appends the header as field 1 of a response.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        // At most 44 bytes, so that the length is one.
        out.extend([HEADER, 0]);
        let start = out.len();
        put_uint(out, HEADER_CLUSTER_ID, self.cluster_id);
        put_uint(out, HEADER_MEMBER_ID, self.member_id);
        put_int(out, HEADER_REVISION, self.revision);
        put_uint(out, HEADER_RAFT_TERM, self.raft_term);
        out[start - 1] = (out.len() - start) as u8;
    }

    fn start(&self, capacity: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + capacity);
        self.put(&mut out);
        out
    }

    /// A `PutResponse`.
    pub(super) fn put_response(&self, outcome: &PutOutcome) -> Encoded {
        let mut out = self.start(outcome.prev.as_ref().map_or(0, Bytes::len));
        put_body(&mut out, outcome);
        Encoded::one(out)
    }

    /// A `DeleteRangeResponse`.
    pub(super) fn delete_response(&self, outcome: &DeleteOutcome) -> Encoded {
        let mut out = self.start(outcome.prev.iter().map(|kv| message_field_len(kv.len())).sum());
        delete_body(&mut out, outcome);
        Encoded::one(out)
    }

    /// A `RangeResponse`; many keys are a piece of their own.
    pub(super) fn range_response(&self, outcome: RangeOutcome) -> Encoded {
        if outcome.kvs.len() > JOINED_LEN_MAX {
            let (head, tail) = self.around_range(&outcome);
            return Encoded { chunks: vec![head.into(), outcome.kvs, tail.into()] };
        }
        let mut out = self.start(outcome.kvs.len());
        out.extend_from_slice(&outcome.kvs);
        range_tail(&mut out, RangeTail::of(&outcome));
        Encoded::one(out)
    }

    /// What stands before and behind the keys of a `RangeResponse`.
    pub(super) fn around_range(&self, outcome: &RangeOutcome) -> (Vec<u8>, Vec<u8>) {
        let mut tail = Vec::with_capacity(16);
        range_tail(&mut tail, RangeTail::of(outcome));
        (self.start(0), tail)
    }

    /// A `RangeStreamResponse` with these keys, framed as in a `RangeResponse`; the last one with what is told of
    /// all of them.
    pub(super) fn range_chunk(&self, kvs: Bytes, last: Option<RangeTail>) -> Encoded {
        let (mut head, mut tail) = (Vec::new(), Vec::new());
        if let Some(last) = last {
            self.put(&mut head);
            range_tail(&mut tail, last);
        }
        let mut frame = Vec::with_capacity(6 + head.len());
        put_message_head(&mut frame, STREAM_RANGE, head.len() + kvs.len() + tail.len());
        frame.append(&mut head);
        Encoded { chunks: vec![frame.into(), kvs, tail.into()] }
    }

    /// A `TxnResponse`.
    pub(super) fn txn_response(&self, outcome: &TxnOutcome) -> Encoded {
        let mut out = self.start(64);
        txn_body(&mut out, outcome);
        Encoded::one(out)
    }

    /// A `LeaseKeepAliveResponse`.
    pub(super) fn put_keep_alive(&self, out: &mut Vec<u8>, id: i64, ttl_s: i64) {
        self.put(out);
        put_int(out, KEEP_ALIVE_ID, id);
        put_int(out, KEEP_ALIVE_TTL, ttl_s);
    }

    /// A response that is its header.
    pub(super) fn bare_response(&self) -> Encoded {
        Encoded::one(self.start(0))
    }
}

fn put_body(out: &mut Vec<u8>, outcome: &PutOutcome) {
    if let Some(prev) = &outcome.prev {
        put_message(out, PUT_PREV_KV, prev);
    }
}

fn delete_body(out: &mut Vec<u8>, outcome: &DeleteOutcome) {
    put_int(out, DELETE_DELETED, outcome.deleted);
    for prev in &outcome.prev {
        put_message(out, DELETE_PREV_KVS, prev);
    }
}

fn range_tail(out: &mut Vec<u8>, tail: RangeTail) {
    put_uint(out, RANGE_MORE, tail.more.into());
    put_int(out, RANGE_COUNT, tail.count);
}

fn txn_body(out: &mut Vec<u8>, outcome: &TxnOutcome) {
    put_uint(out, TXN_SUCCEEDED, outcome.succeeded.into());
    for result in &outcome.results {
        let (tag, response) = op_response(result);
        put_message_head(out, TXN_RESPONSES, message_field_len(response.len()));
        put_message(out, tag, &response);
    }
}

/// The response of one operation, and the tag of its kind. Its header tells the revision alone; that of a
/// nested transaction is empty.
fn op_response(result: &OpOutcome) -> (u8, Vec<u8>) {
    let mut out = Vec::new();
    let tag = match result {
        OpOutcome::Range(range) => {
            out.reserve(range.kvs.len() + 32);
            put_revision(&mut out, range.revision);
            out.extend_from_slice(&range.kvs);
            range_tail(&mut out, RangeTail::of(range));
            OP_RANGE
        }
        OpOutcome::Put(put) => {
            put_revision(&mut out, put.revision);
            put_body(&mut out, put);
            OP_PUT
        }
        OpOutcome::Delete(delete) => {
            put_revision(&mut out, delete.revision);
            delete_body(&mut out, delete);
            OP_DELETE
        }
        OpOutcome::Txn(txn) => {
            put_message(&mut out, HEADER, &[]);
            txn_body(&mut out, txn);
            OP_TXN
        }
    };
    (tag, out)
}

fn put_revision(out: &mut Vec<u8>, revision: i64) {
    let mut header = Vec::with_capacity(11);
    put_int(&mut header, HEADER_REVISION, revision);
    put_message(out, HEADER, &header);
}

#[cfg(test)]
mod tests {
    use proto::etcdserverpb::{
        DeleteRangeResponse, LeaseKeepAliveResponse, PutResponse, RangeResponse, RangeStreamResponse,
        ResponseHeader, ResponseOp, TxnResponse, response_op::Response,
    };
    use proto::mvccpb::KeyValue;

    use super::*;

    const HEADER: Header = Header { cluster_id: u64::MAX, member_id: 2, revision: 300, raft_term: 4 };

    fn header() -> Option<ResponseHeader> {
        Some(ResponseHeader { cluster_id: u64::MAX, member_id: 2, revision: 300, raft_term: 4 })
    }

    fn revision(revision: i64) -> Option<ResponseHeader> {
        Some(ResponseHeader { revision, ..ResponseHeader::default() })
    }

    fn kv(key: &'static str) -> KeyValue {
        KeyValue { key: key.into(), value: "v".into(), version: 1, ..KeyValue::default() }
    }

    fn stored(key: &'static str) -> Bytes {
        kv(key).encode_to_vec().into()
    }

    fn range() -> RangeOutcome {
        let mut kvs = Vec::new();
        put_message(&mut kvs, 0x12, &stored("a"));
        put_message(&mut kvs, 0x12, &stored("b"));
        RangeOutcome { revision: 299, kvs: kvs.into(), len: 2, more: true, count: 7 }
    }

    fn bytes(encoded: &Encoded) -> Vec<u8> {
        encoded.chunks.concat()
    }

    #[test]
    fn responses_equal_the_generated_encoding() {
        let put = PutOutcome { revision: 300, prev: Some(stored("a")) };
        let expected = PutResponse { header: header(), prev_kv: Some(kv("a")) };
        assert_eq!(bytes(&HEADER.put_response(&put)), expected.encode_to_vec());

        let delete = DeleteOutcome { revision: 300, deleted: 2, prev: vec![stored("a"), stored("b")] };
        let expected = DeleteRangeResponse { header: header(), deleted: 2, prev_kvs: vec![kv("a"), kv("b")] };
        assert_eq!(bytes(&HEADER.delete_response(&delete)), expected.encode_to_vec());

        let expected = RangeResponse { header: header(), kvs: vec![kv("a"), kv("b")], more: true, count: 7 };
        assert_eq!(bytes(&HEADER.range_response(range())), expected.encode_to_vec());

        let expected = LeaseKeepAliveResponse { header: header(), id: i64::MIN, ttl: 300 };
        let mut out = Vec::new();
        HEADER.put_keep_alive(&mut out, i64::MIN, 300);
        assert_eq!(out, expected.encode_to_vec());
    }

    #[test]
    fn only_the_last_chunk_tells_of_the_whole_range() {
        let chunk = |range| RangeStreamResponse { range_response: Some(range) }.encode_to_vec();
        let kvs = vec![kv("a"), kv("b")];
        let expected = RangeResponse { kvs: kvs.clone(), ..RangeResponse::default() };
        assert_eq!(bytes(&HEADER.range_chunk(range().kvs, None)), chunk(expected));
        let expected = RangeResponse { header: header(), kvs, more: true, count: 7 };
        let last = Some(RangeTail::of(&range()));
        assert_eq!(bytes(&HEADER.range_chunk(range().kvs, last)), chunk(expected));
    }

    #[test]
    fn a_transaction_nests_its_responses() {
        let nested = TxnOutcome { revision: 300, succeeded: false, results: vec![] };
        let results = vec![
            OpOutcome::Range(range()),
            OpOutcome::Put(PutOutcome { revision: 300, prev: None }),
            OpOutcome::Delete(DeleteOutcome { revision: 300, deleted: 0, prev: vec![] }),
            OpOutcome::Txn(nested),
        ];
        let outcome = TxnOutcome { revision: 300, succeeded: true, results };
        let responses = [
            Response::ResponseRange(RangeResponse {
                header: revision(299),
                kvs: vec![kv("a"), kv("b")],
                more: true,
                count: 7,
            }),
            Response::ResponsePut(PutResponse { header: revision(300), prev_kv: None }),
            Response::ResponseDeleteRange(DeleteRangeResponse {
                header: revision(300),
                ..DeleteRangeResponse::default()
            }),
            Response::ResponseTxn(TxnResponse {
                header: Some(ResponseHeader::default()),
                ..TxnResponse::default()
            }),
        ];
        let responses = responses.into_iter().map(|r| ResponseOp { response: Some(r) }).collect();
        let expected = TxnResponse { header: header(), succeeded: true, responses };
        assert_eq!(bytes(&HEADER.txn_response(&outcome)), expected.encode_to_vec());
    }
}
