//! The meta page: where the tree of buckets begins, and how long the file is.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 4 | magic 0xED0CDAED |
//! | 4 | 4 | version, 2 |
//! | 8 | 4 | page size |
//! | 12 | 4 | flags, 0 |
//! | 16 | 8 | page of the root of the tree of buckets |
//! | 24 | 8 | sequence of that tree, 0 |
//! | 32 | 8 | page of the freelist; all ones if there is none |
//! | 40 | 8 | number of pages |
//! | 48 | 8 | transaction that wrote it |
//! | 56 | 8 | FNV-1a of the bytes before |
//!
//! It stands behind the header of pages 0 and 1. The valid one of the later transaction counts.

/// Length of a meta, bytes.
pub(super) const META_LEN: usize = 64;

/// The page of the freelist of a file without one.
pub(super) const NO_FREELIST: u64 = u64::MAX;

const MAGIC: u32 = 0xED0C_DAED;
const VERSION: u32 = 2;
const CHECKED_LEN: usize = 56;

/// A valid meta.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) page_size: u32,
    pub(super) root: u64,
    pub(super) freelist: u64,
    /// Number of pages: those from here on were never used.
    pub(super) pages: u64,
    pub(super) transaction: u64,
}

impl Meta {
    /// Reads a meta; `None` if it is damaged or none of bbolt's.
    pub(super) fn decode(bytes: &[u8; META_LEN]) -> Option<Meta> {
        let u32_at = |at: usize| u32::from_le_bytes(*bytes[at..].first_chunk().expect("a field of the meta"));
        let u64_at = |at: usize| u64::from_le_bytes(*bytes[at..].first_chunk().expect("a field of the meta"));
        let is_valid =
            u32_at(0) == MAGIC && u32_at(4) == VERSION && u64_at(CHECKED_LEN) == fnv1a(&bytes[..CHECKED_LEN]);
        is_valid.then(|| Meta {
            page_size: u32_at(8),
            root: u64_at(16),
            freelist: u64_at(32),
            pages: u64_at(40),
            transaction: u64_at(48),
        })
    }

    pub(super) fn encode(&self) -> [u8; META_LEN] {
        let mut bytes = [0; META_LEN];
        bytes[..4].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[4..8].copy_from_slice(&VERSION.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.page_size.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.root.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.freelist.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.pages.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.transaction.to_le_bytes());
        let checksum = fnv1a(&bytes[..CHECKED_LEN]);
        bytes[CHECKED_LEN..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }
}

/// The 64-bit FNV-1a hash.
fn fnv1a(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    const META: Meta = Meta { page_size: 4096, root: 9, freelist: NO_FREELIST, pages: 10, transaction: 2 };

    #[test]
    fn the_hash_is_the_published_one() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn decoding_gives_back_what_was_encoded() {
        assert_eq!(Meta::decode(&META.encode()), Some(META));
    }

    #[test]
    fn any_flipped_bit_is_noticed() {
        for bit in 0..META_LEN * 8 {
            let mut bytes = META.encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Meta::decode(&bytes), None, "bit {bit}");
        }
    }
}
