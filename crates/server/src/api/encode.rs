//! Responses put together from stored bytes.
//!
//! Keys come out of the store as the protobuf bytes they are stored in, and are copied into the response as
//! they are (D5). Tags are those of `etcdserverpb`: every response has its header in field 1.

use bytes::Bytes;
use prost::Message;
use prost::encoding::encoded_len_varint;
use proto::wire::{message_field_len, put_int, put_message, put_message_head, put_uint};
use store::{DeleteOutcome, OpOutcome, PutOutcome, RangeOutcome, TxnOutcome};

use crate::grpc::{SENT_LEN_MAX, TooLong};

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

/// Keys are copied between what stands around them up to this length, in bytes: cheaper than memory of their
/// own for each of the three.
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

    /// Bytes of all pieces.
    pub(super) fn len(&self) -> usize {
        self.chunks.iter().map(Bytes::len).sum()
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
    pub(super) fn delete_response(&self, outcome: &DeleteOutcome) -> Result<Encoded, TooLong> {
        let len = delete_len(outcome);
        let mut out = self.start_within(len, SENT_LEN_MAX)?;
        out.reserve_exact(len);
        delete_body(&mut out, outcome);
        Ok(Encoded::one(out))
    }

    /// A `RangeResponse`; many keys are a piece of their own.
    pub(super) fn range_response(&self, outcome: RangeOutcome) -> Result<Encoded, TooLong> {
        let len = saturating_len(outcome.kvs_len()).saturating_add(range_tail_len(RangeTail::of(&outcome)));
        let mut out = self.start_within(len, SENT_LEN_MAX)?;
        if outcome.kvs.len() > JOINED_LEN_MAX {
            let (head, tail) = self.around_range(&outcome);
            return Ok(Encoded { chunks: vec![head.into(), outcome.kvs, tail.into()] });
        }
        out.reserve_exact(len);
        out.extend_from_slice(&outcome.kvs);
        range_tail(&mut out, RangeTail::of(&outcome));
        Ok(Encoded::one(out))
    }

    /// What stands before and behind the keys of a `RangeResponse`.
    pub(super) fn around_range(&self, outcome: &RangeOutcome) -> (Vec<u8>, Vec<u8>) {
        let mut tail = Vec::with_capacity(16);
        range_tail(&mut tail, RangeTail::of(outcome));
        (self.start(0), tail)
    }

    /// A `RangeStreamResponse` with these keys, framed as in a `RangeResponse`; the last one with what is
    /// told of all of them.
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

    /// A `TxnResponse`; many keys of a range are a piece of their own.
    pub(super) fn txn_response(&self, outcome: &TxnOutcome) -> Result<Encoded, TooLong> {
        let mut lens = OpLens::default();
        let len = lens.measure_txn(outcome);
        let mut pieces = Pieces { done: Vec::new(), last: self.start_within(len, SENT_LEN_MAX)? };
        pieces.last.reserve(len.min(JOINED_LEN_MAX));
        txn_body(&mut pieces, outcome, &mut lens.0.into_iter());
        Ok(pieces.finish())
    }

    /// The beginning of a response with `len` bytes behind its header, if that is not longer than `len_max`
    /// bytes: so nothing is copied for an answer that cannot be sent.
    fn start_within(&self, len: usize, len_max: usize) -> Result<Vec<u8>, TooLong> {
        let out = self.start(0);
        TooLong::check(out.len().saturating_add(len), len_max)?;
        Ok(out)
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

/// A length in memory. One that has no place in a `usize` is too long to be sent anyway.
fn saturating_len(len: u64) -> usize {
    usize::try_from(len).unwrap_or(usize::MAX)
}

/// Bytes that [`delete_body`] appends, and those of the keys that the outcome leaves out because no answer can hold them.
fn delete_len(outcome: &DeleteOutcome) -> usize {
    saturating_len(outcome.prev_len()).saturating_add(uint_field_len(outcome.deleted.cast_unsigned()))
}

fn delete_body(out: &mut Vec<u8>, outcome: &DeleteOutcome) {
    put_int(out, DELETE_DELETED, outcome.deleted);
    for prev in &outcome.prev {
        put_message(out, DELETE_PREV_KVS, prev);
    }
}

/// Bytes that [`range_tail`] appends.
fn range_tail_len(tail: RangeTail) -> usize {
    uint_field_len(tail.more.into()) + uint_field_len(tail.count.cast_unsigned())
}

fn range_tail(out: &mut Vec<u8>, tail: RangeTail) {
    put_uint(out, RANGE_MORE, tail.more.into());
    put_int(out, RANGE_COUNT, tail.count);
}

/// Lengths of the responses of all operations of a transaction, nested ones included, in the order in which
/// they are written: each stands before its response, which is written once and not moved.
#[derive(Default)]
struct OpLens(Vec<usize>);

impl OpLens {
    /// Bytes of a transaction's response behind its header.
    fn measure_txn(&mut self, outcome: &TxnOutcome) -> usize {
        let results = outcome.results.iter().map(|result| {
            let at = self.0.len();
            self.0.push(0);
            let len = self.measure_op(result);
            self.0[at] = len;
            nested_len(nested_len(len))
        });
        results.fold(uint_field_len(outcome.succeeded.into()), usize::saturating_add)
    }

    fn measure_op(&mut self, result: &OpOutcome) -> usize {
        match result {
            OpOutcome::Range(range) => {
                let around_len = revision_len(range.revision) + range_tail_len(RangeTail::of(range));
                saturating_len(range.kvs_len()).saturating_add(around_len)
            }
            OpOutcome::Put(put) => {
                let prev = put.prev.as_ref().map_or(0, |prev| message_field_len(prev.len()));
                revision_len(put.revision) + prev
            }
            OpOutcome::Delete(delete) => delete_len(delete).saturating_add(revision_len(delete.revision)),
            OpOutcome::Txn(txn) => self.measure_txn(txn).saturating_add(message_field_len(0)),
        }
    }
}

/// [`message_field_len`] of a message that may be longer than any that can be sent.
fn nested_len(len: usize) -> usize {
    if len > SENT_LEN_MAX { len } else { message_field_len(len) }
}

/// A response that is being written: small parts are copied together, many keys are shared.
struct Pieces {
    done: Vec<Bytes>,
    last: Vec<u8>,
}

impl Pieces {
    fn push(&mut self, kvs: &Bytes) {
        if kvs.len() <= JOINED_LEN_MAX {
            return self.last.extend_from_slice(kvs);
        }
        self.done.push(std::mem::take(&mut self.last).into());
        self.done.push(kvs.clone());
    }

    fn finish(mut self) -> Encoded {
        if !self.last.is_empty() {
            self.done.push(self.last.into());
        }
        Encoded { chunks: self.done }
    }
}

/// Appends a transaction's response behind its header. `lens` are those of its operations, as [`OpLens`] has
/// them.
fn txn_body(out: &mut Pieces, outcome: &TxnOutcome, lens: &mut dyn Iterator<Item = usize>) {
    put_uint(&mut out.last, TXN_SUCCEEDED, outcome.succeeded.into());
    for result in &outcome.results {
        let len = lens.next().unwrap_or_default();
        put_message_head(&mut out.last, TXN_RESPONSES, message_field_len(len));
        put_message_head(&mut out.last, op_tag(result), len);
        op_response(out, result, lens);
    }
}

fn op_tag(result: &OpOutcome) -> u8 {
    match result {
        OpOutcome::Range(_) => OP_RANGE,
        OpOutcome::Put(_) => OP_PUT,
        OpOutcome::Delete(_) => OP_DELETE,
        OpOutcome::Txn(_) => OP_TXN,
    }
}

/// Appends the response of one operation. Its header tells the revision alone; that of a nested transaction
/// is empty.
fn op_response(out: &mut Pieces, result: &OpOutcome, lens: &mut dyn Iterator<Item = usize>) {
    match result {
        OpOutcome::Range(range) => {
            put_revision(&mut out.last, range.revision);
            out.push(&range.kvs);
            range_tail(&mut out.last, RangeTail::of(range));
        }
        OpOutcome::Put(put) => {
            put_revision(&mut out.last, put.revision);
            put_body(&mut out.last, put);
        }
        OpOutcome::Delete(delete) => {
            put_revision(&mut out.last, delete.revision);
            delete_body(&mut out.last, delete);
        }
        OpOutcome::Txn(txn) => {
            put_message(&mut out.last, HEADER, &[]);
            txn_body(out, txn, lens);
        }
    }
}

fn put_revision(out: &mut Vec<u8>, revision: i64) {
    put_message_head(out, HEADER, uint_field_len(revision.cast_unsigned()));
    put_int(out, HEADER_REVISION, revision);
}

/// Bytes that [`put_revision`] appends.
fn revision_len(revision: i64) -> usize {
    message_field_len(uint_field_len(revision.cast_unsigned()))
}

/// Bytes of a number field; zero is left out.
fn uint_field_len(value: u64) -> usize {
    if value == 0 { 0 } else { 1 + encoded_len_varint(value) }
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
        RangeOutcome { revision: 299, kvs: kvs.into(), len: 2, more: true, count: 7, omitted_len: 0 }
    }

    fn bytes(encoded: &Encoded) -> Vec<u8> {
        encoded.chunks.concat()
    }

    #[test]
    fn responses_equal_the_generated_encoding() {
        let put = PutOutcome { revision: 300, prev: Some(stored("a")) };
        let expected = PutResponse { header: header(), prev_kv: Some(kv("a")) };
        assert_eq!(bytes(&HEADER.put_response(&put)), expected.encode_to_vec());

        let delete =
            DeleteOutcome { revision: 300, deleted: 2, prev: vec![stored("a"), stored("b")], omitted_len: 0 };
        let expected = DeleteRangeResponse { header: header(), deleted: 2, prev_kvs: vec![kv("a"), kv("b")] };
        assert_eq!(bytes(&HEADER.delete_response(&delete).unwrap()), expected.encode_to_vec());

        let expected = RangeResponse { header: header(), kvs: vec![kv("a"), kv("b")], more: true, count: 7 };
        assert_eq!(bytes(&HEADER.range_response(range()).unwrap()), expected.encode_to_vec());

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
            OpOutcome::Delete(DeleteOutcome { revision: 300, ..DeleteOutcome::default() }),
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
        assert_eq!(bytes(&HEADER.txn_response(&outcome).unwrap()), expected.encode_to_vec());
    }

    #[test]
    fn a_deep_transaction_is_measured_and_written_once() {
        let kvs: Bytes = vec![0x12; JOINED_LEN_MAX + 1].into();
        let range = RangeOutcome { kvs: kvs.clone(), ..range() };
        let innermost = TxnOutcome { revision: 300, succeeded: true, results: vec![OpOutcome::Range(range)] };
        let outcome = (0..40).fold(innermost, |txn, _| {
            let put = OpOutcome::Put(PutOutcome { revision: 300, prev: Some(stored("a")) });
            TxnOutcome { revision: 300, succeeded: true, results: vec![OpOutcome::Txn(txn), put] }
        });
        let encoded = HEADER.txn_response(&outcome).unwrap();
        assert!(encoded.chunks.iter().any(|chunk| chunk.as_ptr() == kvs.as_ptr()), "the keys are not copied");
        let (head, kvs_and_tail) = encoded.chunks.split_at(1);
        let len = kvs_and_tail.iter().map(Bytes::len).sum::<usize>();
        assert_eq!(OpLens::default().measure_txn(&outcome), head[0].len() - HEADER.start(0).len() + len);
    }

    #[test]
    fn answers_too_long_to_send_are_found_out_by_their_lengths() {
        // Gigabytes that are one piece of memory: copying them would take the memory that they pretend to
        // be.
        let megabyte = Bytes::from(vec![7; 1 << 20]);
        let delete = DeleteOutcome {
            revision: 300,
            deleted: 4400,
            prev: vec![megabyte.clone(); 4400],
            omitted_len: 0,
        };
        let error = HEADER.delete_response(&delete).unwrap_err();
        assert!(error.len > 4400 << 20 && error.len_max == SENT_LEN_MAX);

        let range = RangeOutcome { kvs: megabyte, ..range() };
        let results = vec![OpOutcome::Delete(delete), OpOutcome::Range(range)];
        let nested = TxnOutcome { revision: 300, succeeded: true, results };
        let outcome = TxnOutcome { revision: 300, succeeded: true, results: vec![OpOutcome::Txn(nested)] };
        assert!(HEADER.txn_response(&outcome).unwrap_err().len > 4401 << 20);
    }

    #[test]
    fn keys_that_an_outcome_leaves_out_count_for_the_length() {
        let deleted =
            DeleteOutcome { omitted_len: u64::MAX, prev: vec![stored("a")], ..DeleteOutcome::default() };
        assert!(HEADER.delete_response(&deleted).is_err());
        let left_out = || RangeOutcome { kvs: Bytes::new(), omitted_len: 1 << 31, ..range() };
        assert!(HEADER.range_response(left_out()).is_err());
        for result in [OpOutcome::Delete(deleted), OpOutcome::Range(left_out())] {
            let inner = TxnOutcome { revision: 300, succeeded: true, results: vec![result] };
            let outcome = TxnOutcome { revision: 300, succeeded: true, results: vec![OpOutcome::Txn(inner)] };
            assert!(HEADER.txn_response(&outcome).is_err());
        }
    }

    #[test]
    fn an_answer_of_the_longest_length_is_sent() {
        let header_len = HEADER.start(0).len();
        assert!(HEADER.start_within(100 - header_len, 100).is_ok());
        assert_eq!(HEADER.start_within(101 - header_len, 100), Err(TooLong { len: 101, len_max: 100 }));
    }
}
