//! The first bytes of a segment: which one it is, so that no file can stand in for another.
//!
//! All numbers are little-endian.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | magic `FERRETSG` |
//! | 8 | 4 | format version, 1 |
//! | 12 | 4 | segment id |
//! | 16 | 8 | revision of the first record, main |
//! | 24 | 4 | revision of the first record, sub |
//! | 28 | 4 | CRC-32C of the bytes before |

use super::Revision;

/// Length of the header; where the first record starts.
pub(super) const SEGMENT_HEADER_LEN: usize = 32;

const MAGIC: [u8; 8] = *b"FERRETSG";
const FORMAT: u32 = 1;

/// The header of a segment file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) id: u32,
    /// Revision of the first record.
    pub(super) first: Revision,
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> [u8; SEGMENT_HEADER_LEN] {
        let mut bytes = [0; SEGMENT_HEADER_LEN];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.id.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.first.main.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.first.sub.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..28]);
        bytes[28..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Decodes a header; the error is an offset within it and what was expected there.
    pub(super) fn decode(bytes: &[u8; SEGMENT_HEADER_LEN]) -> Result<SegmentHeader, (u64, &'static str)> {
        let u32_at = |at: usize| u32::from_le_bytes(*bytes[at..].first_chunk().expect("within the header"));
        if bytes[..8] != MAGIC {
            return Err((0, "the magic FERRETSG of a segment"));
        }
        if u32_at(28) != crc32c::crc32c(&bytes[..28]) {
            return Err((0, "a segment header that matches its checksum"));
        }
        if u32_at(8) != FORMAT {
            return Err((8, "segment format 1"));
        }
        let main = i64::from_le_bytes(*bytes[16..].first_chunk().expect("within the header"));
        Ok(SegmentHeader { id: u32_at(12), first: Revision { main, sub: u32_at(24) } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: SegmentHeader = SegmentHeader { id: 7, first: Revision { main: 12, sub: 3 } };

    #[test]
    fn decoding_gives_back_what_was_encoded() {
        assert_eq!(SegmentHeader::decode(&HEAD.encode()), Ok(HEAD));
    }

    #[test]
    fn any_flipped_bit_is_noticed() {
        for bit in 0..SEGMENT_HEADER_LEN * 8 {
            let mut bytes = HEAD.encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::decode(&bytes).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn another_format_is_refused_by_name() {
        let mut bytes = HEAD.encode();
        bytes[8] = 2;
        let crc = crc32c::crc32c(&bytes[..28]);
        bytes[28..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(SegmentHeader::decode(&bytes), Err((8, "segment format 1")));
    }
}
