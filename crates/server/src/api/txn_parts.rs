//! How many parts an encoded transaction has, counted before it is decoded.
//!
//! A part, a compare or an operation, can be two bytes long and takes more than a hundred in memory. Of
//! hostile requests only so many parts are decoded as a transaction may have.

use bytes::Buf;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use store::Refusal;

use super::{Api, Error};

/// Parts that a transaction may have, nested ones included, for each operation allowed in a list. etcd
/// counts lists alone, and so would decode any number.
const PARTS_PER_OP: usize = 128;
/// Transactions within transactions. The decoder takes messages 100 deep, and the log holds a transaction
/// one deeper than its request: what passes here can be read from the log again.
const NESTING_MAX: usize = 48;

/// Fields of `TxnRequest` that hold parts, and that of `RequestOp` that holds a transaction.
const COMPARE: u32 = 1;
const SUCCESS: u32 = 2;
const FAILURE: u32 = 3;
const REQUEST_TXN: u32 = 4;

impl Api {
    /// Refuses a transaction of too many parts, or too deep. Whatever is wrong with its bytes is left to the
    /// decoder.
    pub(crate) fn check_txn_parts(&self, txn: &[u8]) -> Result<(), Error> {
        let parts_max = self.settings.max_txn_ops.saturating_mul(PARTS_PER_OP);
        let mut left = parts_max;
        if count_txn(txn, &mut left, NESTING_MAX) { Ok(()) } else { Err(Refusal::TooManyOps.into()) }
    }
}

/// Takes the parts of a transaction from those left; false if there are not enough, or more than `nesting`
/// transactions within each other.
fn count_txn(txn: &[u8], left: &mut usize, nesting: usize) -> bool {
    messages_in(txn, &mut |field, message| match field {
        COMPARE => take_one(left),
        SUCCESS | FAILURE => take_one(left) && count_op(message, left, nesting),
        _ => true,
    })
}

fn count_op(op: &[u8], left: &mut usize, nesting: usize) -> bool {
    messages_in(op, &mut |field, message| {
        let is_flat = field != REQUEST_TXN;
        is_flat || nesting.checked_sub(1).is_some_and(|nesting| count_txn(message, left, nesting))
    })
}

fn take_one(left: &mut usize) -> bool {
    let is_any = *left > 0;
    *left = left.saturating_sub(1);
    is_any
}

/// Visits the fields that hold messages for as long as the visitor wants and the bytes are well formed;
/// false if it did not want to go on.
fn messages_in(mut bytes: &[u8], visit: &mut dyn FnMut(u32, &[u8]) -> bool) -> bool {
    while bytes.has_remaining() {
        let Ok((field, wire_type)) = decode_key(&mut bytes) else { return true };
        if wire_type != WireType::LengthDelimited {
            if skip_field(wire_type, field, &mut bytes, DecodeContext::default()).is_err() {
                return true;
            }
            continue;
        }
        let len = decode_varint(&mut bytes).ok().and_then(|len| usize::try_from(len).ok());
        let Some((message, rest)) = len.and_then(|len| bytes.split_at_checked(len)) else { return true };
        if !visit(field, message) {
            return false;
        }
        bytes = rest;
    }
    true
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use proto::etcdserverpb::request_op::Request as Op;
    use proto::etcdserverpb::{Compare, InternalRaftRequest, PutRequest, RequestOp, TxnRequest};

    use super::*;

    /// Parts of a transaction, as counted.
    fn parts(bytes: &[u8]) -> usize {
        let mut left = usize::MAX;
        assert!(count_txn(bytes, &mut left, NESTING_MAX));
        usize::MAX - left
    }

    fn nested(txn: TxnRequest) -> RequestOp {
        RequestOp { request: Some(Op::RequestTxn(txn)) }
    }

    #[test]
    fn parts_of_all_levels_and_branches_count() {
        let inner = TxnRequest {
            compare: vec![Compare::default(); 2],
            failure: vec![RequestOp::default(); 3],
            ..TxnRequest::default()
        };
        let outer = TxnRequest {
            compare: vec![Compare::default()],
            success: vec![nested(inner.clone()); 2],
            failure: vec![nested(inner)],
        };
        assert_eq!(parts(&outer.encode_to_vec()), 1 + 3 + 3 * 5);
    }

    #[test]
    fn memory_of_what_is_decoded_is_bounded_however_short_the_parts() {
        // Two bytes each: field 2, of no length.
        let hostile = [0x12, 0].repeat(1 << 20);
        let mut left = 128 * PARTS_PER_OP;
        assert!(!count_txn(&hostile, &mut left, NESTING_MAX));
        let part_len = size_of::<RequestOp>().max(size_of::<Compare>());
        // Vectors grow by doubling.
        assert!(2 * part_len * 128 * PARTS_PER_OP < 8 << 20, "a part takes {part_len} bytes");
    }

    /// A put in a transaction, in `n` more around it.
    fn deep(n: usize) -> TxnRequest {
        let put = RequestOp { request: Some(Op::RequestPut(PutRequest::default())) };
        let innermost = TxnRequest { success: vec![put], ..TxnRequest::default() };
        (0..n).fold(innermost, |txn, _| TxnRequest { success: vec![nested(txn)], ..TxnRequest::default() })
    }

    #[test]
    fn broken_bytes_are_left_to_the_decoder() {
        assert_eq!(parts(&[0x12, 0x7f]), 0);
        assert_eq!(parts(&[0xff; 20]), 0);
    }

    #[test]
    fn what_is_let_through_can_be_read_from_the_log() {
        let allowed = |n| count_txn(&deep(n).encode_to_vec(), &mut { usize::MAX }, NESTING_MAX);
        assert!(allowed(NESTING_MAX) && !allowed(NESTING_MAX + 1) && !allowed(1000));
        let command = |n| InternalRaftRequest { txn: Some(deep(n)), ..InternalRaftRequest::default() };
        let is_readable = |n| InternalRaftRequest::decode(&command(n).encode_to_vec()[..]).is_ok();
        assert!(is_readable(NESTING_MAX) && !is_readable(NESTING_MAX + 1), "it is the deepest there can be");
        // The request alone can be deeper: a member that let it into its log could not go on.
        assert!(TxnRequest::decode(&deep(NESTING_MAX + 1).encode_to_vec()[..]).is_ok());
    }
}
