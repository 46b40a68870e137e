//! Records as bytes: the writing half of the log's format.
//!
//! A frame is a length word, the protobuf message `walpb.Record`, and zeros up to a multiple of eight. The message is
//! written by hand, since its checksum stands before the data it covers and a batch of entries must cost one buffer
//! and no allocation.

use prost::bytes::BufMut;
use prost::encoding::{encode_varint, encoded_len_varint};
use proto::raftpb::Entry;

/// What a record holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Whose log this is; the second record of each file.
    Metadata = 1,
    /// One raft entry.
    Entry = 2,
    /// Term, vote and commit index.
    State = 3,
    /// The checksum of everything before; the first record of each file, without data.
    Crc = 4,
    /// A checkpoint that the member may start from.
    Snapshot = 5,
}

/// Length of the word before each record, in bytes.
pub(super) const LENGTH_BYTES: usize = 8;
/// Set in a length word's highest byte if padding follows; the three lowest bits of that byte say how much.
const PADDED: u64 = 0x80;
/// Longest encoding of an entry's fields before its data: four keys and four varints.
const ENTRY_HEAD_MAX: usize = 48;

// Field keys of `walpb.Record` and `raftpb.Entry`: field number and wire type.
pub(super) const RECORD_TYPE: u8 = 0x08;
pub(super) const RECORD_CRC: u8 = 0x10;
pub(super) const RECORD_DATA: u8 = 0x1a;
const ENTRY_TYPE: u8 = 0x08;
const ENTRY_TERM: u8 = 0x10;
const ENTRY_INDEX: u8 = 0x18;
const ENTRY_DATA: u8 = 0x22;

/// Appends the frame of one entry to `buffer`; `chain` is the rolling checksum.
pub(super) fn push_entry(buffer: &mut Vec<u8>, chain: &mut u32, entry: &Entry) {
    let mut head = [0; ENTRY_HEAD_MAX];
    let mut rest = &mut head[..];
    for (key, value) in
        [(ENTRY_TYPE, entry.r#type as u64), (ENTRY_TERM, entry.term), (ENTRY_INDEX, entry.index)]
    {
        if value != 0 {
            rest.put_u8(key);
            encode_varint(value, &mut rest);
        }
    }
    if !entry.data.is_empty() {
        rest.put_u8(ENTRY_DATA);
        encode_varint(entry.data.len() as u64, &mut rest);
    }
    let head_len = ENTRY_HEAD_MAX - rest.len();
    push_record(buffer, chain, Kind::Entry, [&head[..head_len], &entry.data]);
}

/// Appends the frame of one record whose data is both `parts` joined.
pub(super) fn push_record(buffer: &mut Vec<u8>, chain: &mut u32, kind: Kind, parts: [&[u8]; 2]) {
    for part in parts {
        *chain = crc32c::crc32c_append(*chain, part);
    }
    let data_len = parts[0].len() + parts[1].len();
    let mut len = 2 + 1 + encoded_len_varint(u64::from(*chain));
    if data_len > 0 {
        len += 1 + encoded_len_varint(data_len as u64) + data_len;
    }
    let padding = padding(len);
    buffer.reserve(LENGTH_BYTES + len + padding);
    buffer.put_u64_le(length_word(len));
    buffer.put_slice(&[RECORD_TYPE, kind as u8, RECORD_CRC]);
    encode_varint(u64::from(*chain), buffer);
    if data_len > 0 {
        buffer.put_u8(RECORD_DATA);
        encode_varint(data_len as u64, buffer);
        buffer.extend_from_slice(parts[0]);
        buffer.extend_from_slice(parts[1]);
    }
    buffer.put_bytes(0, padding);
}

/// The word before a record of `len` bytes.
pub(super) fn length_word(len: usize) -> u64 {
    let flags = match padding(len) {
        0 => 0,
        padding => PADDED | padding as u64,
    };
    flags << 56 | len as u64
}

/// Zeros after a record of `len` bytes, so that no length word crosses a sector of the disk.
pub(super) fn padding(len: usize) -> usize {
    len.wrapping_neg() % 8
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    #[test]
    fn length_words_carry_the_padding_in_the_highest_byte() {
        assert_eq!(length_word(16), 16);
        assert_eq!(length_word(15), 0x8100_0000_0000_000f);
        assert_eq!(length_word(9), 0x8700_0000_0000_0009);
    }

    #[test]
    fn an_entry_is_written_as_its_protobuf_message() {
        for (kind, term, index, data) in
            [(0, 1, 1, &b""[..]), (1, 300, 5, b"x"), (2, u64::MAX, u64::MAX, &[7; 500])]
        {
            let entry = Entry { r#type: kind, term, index, data: data.to_vec().into() };
            let (mut by_hand, mut by_prost) = (Vec::new(), Vec::new());
            push_entry(&mut by_hand, &mut 9, &entry);
            push_record(&mut by_prost, &mut 9, Kind::Entry, [&entry.encode_to_vec(), &[]]);
            assert_eq!(by_hand, by_prost);
            assert_eq!(by_hand.len() % 8, 0);
        }
    }

    #[test]
    fn the_chain_covers_the_data_of_every_record() {
        let mut chain = 0;
        let mut buffer = Vec::new();
        push_record(&mut buffer, &mut chain, Kind::Crc, [&[], &[]]);
        assert_eq!(chain, 0, "a record without data leaves the chain as it is");
        push_record(&mut buffer, &mut chain, Kind::Metadata, [b"one", b"two"]);
        push_record(&mut buffer, &mut chain, Kind::State, [b"three", b""]);
        assert_eq!(chain, crc32c::crc32c(b"onetwothree"));
    }
}
