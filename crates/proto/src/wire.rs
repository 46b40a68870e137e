//! Writes protobuf fields by hand, where a message is built from bytes that are already encoded.
//!
//! Tags are those of fields 1 to 15, which take one byte: field number times eight, plus the wire type (0
//! number, 2 bytes).

use prost::encoding::{encode_varint, encoded_len_varint};

/// Appends a number field; zero is left out. Negative numbers take ten bytes, as in Go.
pub fn put_int(out: &mut Vec<u8>, tag: u8, value: i64) {
    put_uint(out, tag, value.cast_unsigned());
}

/// Appends a number field; zero is left out.
pub fn put_uint(out: &mut Vec<u8>, tag: u8, value: u64) {
    if value != 0 {
        out.push(tag);
        encode_varint(value, out);
    }
}

/// Appends a bytes or string field; an empty one is left out.
pub fn put_bytes(out: &mut Vec<u8>, tag: u8, value: &[u8]) {
    if !value.is_empty() {
        put_message(out, tag, value);
    }
}

/// Appends a message field that is present, whatever its length.
pub fn put_message(out: &mut Vec<u8>, tag: u8, message: &[u8]) {
    put_message_head(out, tag, message.len());
    out.extend_from_slice(message);
}

/// Appends the tag and the length of a message field of `len` bytes.
pub fn put_message_head(out: &mut Vec<u8>, tag: u8, len: usize) {
    out.push(tag);
    encode_varint(len as u64, out);
}

/// Bytes that [`put_message`] appends for a message of `len` bytes.
pub fn message_field_len(len: usize) -> usize {
    1 + encoded_len_varint(len as u64) + len
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::etcdserverpb::{ResponseHeader, WatchResponse};

    #[test]
    fn fields_are_written_as_prost_writes_them() {
        let header = ResponseHeader { cluster_id: u64::MAX, member_id: 0, revision: -1, raft_term: 7 };
        let mut ours = Vec::new();
        put_uint(&mut ours, 0x08, header.cluster_id);
        put_uint(&mut ours, 0x10, header.member_id);
        put_int(&mut ours, 0x18, header.revision);
        put_uint(&mut ours, 0x20, header.raft_term);
        assert_eq!(ours, header.encode_to_vec());

        let response =
            WatchResponse { header: Some(header), cancel_reason: "no".into(), ..WatchResponse::default() };
        let mut outer = Vec::new();
        put_message(&mut outer, 0x0a, &ours);
        assert_eq!(outer.len(), message_field_len(ours.len()));
        put_bytes(&mut outer, 0x32, b"no");
        put_bytes(&mut outer, 0x3a, b"");
        assert_eq!(outer, response.encode_to_vec());
    }
}
