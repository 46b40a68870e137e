//! A record of the revision log: one change of one key, behind a header that can be read without parsing protobuf.
//!
//! All numbers are little-endian.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 4 | CRC-32C of everything behind it, the `KeyValue` included |
//! | 4 | 4 | length of the `KeyValue` |
//! | 8 | 8 | revision, main |
//! | 16 | 4 | revision, sub |
//! | 20 | 4 | length of the key |
//! | 24 | 8 | create revision |
//! | 32 | 8 | version |
//! | 40 | 8 | lease, 0 for none |
//! | 48 | 1 | flags: bit 0 tombstone |
//! | 49 | 1 | offset of the key within the `KeyValue` |
//! | 50 | 2 | zero |
//! | 52 | | the `mvccpb.KeyValue`, protobuf |

use std::ops::Range;

use super::Revision;

/// Length of a record's header, bytes.
pub const RECORD_HEADER_LEN: usize = 52;

const TOMBSTONE: u8 = 1;

/// Field 1 (`key`), length-delimited: the first byte of a `KeyValue` that has a key.
const KEY_TAG: u8 = 0x0a;

/// Where a record lies. Valid as long as its segment is part of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// Id of the segment.
    pub segment: u32,
    /// Offset of the record's header within the segment's file, bytes.
    pub offset: u32,
    /// Length of the `KeyValue` behind the header, bytes.
    pub len: u32,
}

impl Location {
    /// Where the record ends: the offset of the next one.
    pub(super) fn end(self) -> u64 {
        u64::from(self.offset) + self.record_len()
    }

    /// Length of the record with its header, bytes.
    pub fn record_len(self) -> u64 {
        RECORD_HEADER_LEN as u64 + u64::from(self.len)
    }
}

/// What a key index wants to know of a record besides its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RecordMeta {
    /// When the change was made.
    pub revision: Revision,
    /// Whether the change deleted the key. The `KeyValue` then holds the key alone.
    pub tombstone: bool,
    /// Main revision that created the key; 0 in a tombstone.
    pub create_revision: i64,
    /// How many puts the key has seen since its creation, this one included; 0 in a tombstone.
    pub version: i64,
    /// Lease the key is attached to, 0 for none.
    pub lease: i64,
}

/// A decoded header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecordHeader {
    crc: u32,
    /// Length of the `KeyValue`, bytes.
    pub(super) len: u32,
    pub(super) meta: RecordMeta,
    key_offset: u8,
    key_len: u32,
}

impl RecordHeader {
    /// Reads the first [`RECORD_HEADER_LEN`] bytes. `None` if there are fewer, or if the key lies outside the `KeyValue`.
    pub(super) fn decode(bytes: &[u8]) -> Option<RecordHeader> {
        let bytes = bytes.first_chunk::<RECORD_HEADER_LEN>()?;
        let u32_at = |at| u32::from_le_bytes(slice(bytes, at));
        let i64_at = |at| i64::from_le_bytes(slice(bytes, at));
        let header = RecordHeader {
            crc: u32_at(0),
            len: u32_at(4),
            meta: RecordMeta {
                revision: Revision { main: i64_at(8), sub: u32_at(16) },
                tombstone: bytes[48] & TOMBSTONE != 0,
                create_revision: i64_at(24),
                version: i64_at(32),
                lease: i64_at(40),
            },
            key_offset: bytes[49],
            key_len: u32_at(20),
        };
        let key_end = u64::from(header.key_offset) + u64::from(header.key_len);
        (key_end <= u64::from(header.len)).then_some(header)
    }

    /// Length of the record, header included, bytes.
    pub(super) fn record_len(&self) -> usize {
        RECORD_HEADER_LEN + self.len as usize
    }

    /// Length of the key, bytes.
    pub(super) fn key_len(&self) -> usize {
        self.key_len as usize
    }

    /// Where the key lies within the record.
    pub(super) fn key_span(&self) -> Range<usize> {
        let start = RECORD_HEADER_LEN + usize::from(self.key_offset);
        start..start + self.key_len()
    }

    /// Whether `record` (header and `KeyValue`) is what was written.
    pub(super) fn is_intact(&self, record: &[u8]) -> bool {
        crc32c::crc32c(&record[4..]) == self.crc
    }
}

/// The `KeyValue` of a record; `None` if `record` is not what was written at `at`.
pub(super) fn key_value(record: &[u8], at: Location) -> Option<&[u8]> {
    let header = RecordHeader::decode(record)?;
    (header.len == at.len && header.is_intact(record)).then(|| &record[RECORD_HEADER_LEN..])
}

/// Whether `header` and `key_value` together are what was written at `at`.
pub(super) fn is_record(header: &[u8; RECORD_HEADER_LEN], key_value: &[u8], at: Location) -> bool {
    RecordHeader::decode(header).is_some_and(|decoded| {
        let crc = crc32c::crc32c_append(crc32c::crc32c(&header[4..]), key_value);
        decoded.len == at.len && key_value.len() == at.len as usize && crc == decoded.crc
    })
}

/// Appends the record of `key_value` to `out`.
///
/// # Panics
/// If `key_value` is no `KeyValue` as prost encodes it, or longer than 4 GiB.
pub(super) fn encode(out: &mut Vec<u8>, meta: &RecordMeta, key_value: &[u8]) {
    let (key_offset, key_len) = find_key(key_value);
    let mut header = [0; RECORD_HEADER_LEN];
    let len = u32::try_from(key_value.len()).expect("a KeyValue is shorter than a segment");
    header[4..8].copy_from_slice(&len.to_le_bytes());
    header[8..16].copy_from_slice(&meta.revision.main.to_le_bytes());
    header[16..20].copy_from_slice(&meta.revision.sub.to_le_bytes());
    header[20..24].copy_from_slice(&key_len.to_le_bytes());
    header[24..32].copy_from_slice(&meta.create_revision.to_le_bytes());
    header[32..40].copy_from_slice(&meta.version.to_le_bytes());
    header[40..48].copy_from_slice(&meta.lease.to_le_bytes());
    header[48] = if meta.tombstone { TOMBSTONE } else { 0 };
    header[49] = key_offset;

    let start = out.len();
    out.extend_from_slice(&header);
    out.extend_from_slice(key_value);
    let crc = crc32c::crc32c(&out[start + 4..]);
    out[start..start + 4].copy_from_slice(&crc.to_le_bytes());
}

/// Offset and length of the key, which prost writes first; both 0 if there is none.
fn find_key(key_value: &[u8]) -> (u8, u32) {
    let Some((&KEY_TAG, mut rest)) = key_value.split_first() else { return (0, 0) };
    let len = prost::decode_length_delimiter(&mut rest).expect("a KeyValue starts with its key");
    assert!(len <= rest.len(), "a KeyValue contains its key");
    let offset = u8::try_from(key_value.len() - rest.len()).expect("a tag and a varint are at most 11 bytes");
    (offset, u32::try_from(len).expect("a key is shorter than a segment"))
}

fn slice<const N: usize>(bytes: &[u8; RECORD_HEADER_LEN], at: usize) -> [u8; N] {
    *bytes[at..].first_chunk().expect("fields lie within the header")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;
    use proto::mvccpb::KeyValue;

    use super::*;

    proptest! {
        #[test]
        fn decoding_gives_back_what_was_encoded(
            key in prop::collection::vec(any::<u8>(), 0..200),
            (main, sub, tombstone) in any::<(i64, u32, bool)>(),
            (create_revision, version, lease) in any::<(i64, i64, i64)>(),
        ) {
            let revision = Revision { main, sub };
            let meta = RecordMeta { revision, tombstone, create_revision, version, lease };
            let key_value = KeyValue { key: key.clone().into(), lease, ..Default::default() }.encode_to_vec();
            let mut record = Vec::new();
            encode(&mut record, &meta, &key_value);
            let header = RecordHeader::decode(&record).unwrap();
            prop_assert_eq!(header.meta, meta);
            prop_assert_eq!(&record[header.key_span()], &key[..]);
            prop_assert_eq!(&record[RECORD_HEADER_LEN..header.record_len()], &key_value[..]);
            prop_assert!(header.is_intact(&record));
        }
    }

    #[test]
    fn any_flipped_bit_is_noticed() {
        let key_value = KeyValue { key: "k".into(), value: "value".into(), ..Default::default() };
        let mut record = Vec::new();
        encode(&mut record, &RecordMeta::default(), &key_value.encode_to_vec());
        for bit in 0..record.len() * 8 {
            let mut damaged = record.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let intact = RecordHeader::decode(&damaged).is_some_and(|header| header.is_intact(&damaged));
            assert!(!intact, "bit {bit}");
        }
    }

    #[test]
    fn zeros_are_no_record() {
        let zeros = [0; RECORD_HEADER_LEN];
        assert!(!RecordHeader::decode(&zeros).unwrap().is_intact(&zeros));
    }
}
