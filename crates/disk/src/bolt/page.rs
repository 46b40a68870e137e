//! Pages: their headers, and the elements of a node.
//!
//! | offset | bytes | field of the header |
//! |---|---|---|
//! | 0 | 8 | page id |
//! | 8 | 2 | kind: 1 branch, 2 leaf, 4 meta, 16 freelist |
//! | 10 | 2 | number of elements |
//! | 12 | 4 | further pages that belong to this one |
//!
//! The elements of a node follow, 16 bytes each, then keys and values in the order of the elements.
//!
//! | offset | bytes | element of a branch | element of a leaf |
//! |---|---|---|---|
//! | 0 | 4 | distance from here to the key | 1: the value is a bucket |
//! | 4 | 4 | length of the key | distance from here to the key |
//! | 8 | 4 | page id of the child | length of the key |
//! | 12 | 4 | … | length of the value |

/// Length of a page's header, and of an element.
pub(super) const HEADER_LEN: usize = 16;
pub(super) const ELEMENT_LEN: usize = 16;

/// Kinds of pages.
pub(super) const BRANCH: u16 = 1;
pub(super) const LEAF: u16 = 2;
pub(super) const META: u16 = 4;
pub(super) const FREELIST: u16 = 16;

/// Flag of a leaf's element whose value is a bucket.
pub(super) const IS_BUCKET: u32 = 1;

/// The header of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PageHeader {
    pub(super) id: u64,
    pub(super) kind: u16,
    pub(super) count: u16,
    pub(super) overflow: u32,
}

impl PageHeader {
    pub(super) fn decode(bytes: &[u8; HEADER_LEN]) -> PageHeader {
        PageHeader {
            id: u64_at(bytes, 0),
            kind: u16::from_le_bytes([bytes[8], bytes[9]]),
            count: u16::from_le_bytes([bytes[10], bytes[11]]),
            overflow: u32_at(bytes, 12),
        }
    }

    pub(super) fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[..8].copy_from_slice(&self.id.to_le_bytes());
        bytes[8..10].copy_from_slice(&self.kind.to_le_bytes());
        bytes[10..12].copy_from_slice(&self.count.to_le_bytes());
        bytes[12..].copy_from_slice(&self.overflow.to_le_bytes());
        bytes
    }
}

/// An element of a branch or of a leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Element {
    /// Distance from the start of the element to its key, bytes.
    pub(super) distance: u32,
    pub(super) key_len: u32,
    pub(super) content: Content,
}

/// What an element says of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// In a branch: the page of the keys from this one on.
    Child(u64),
    /// In a leaf: the flags, and the length of the value, which follows the key.
    Value { flags: u32, len: u32 },
}

impl Element {
    /// Decodes an element of a node of this `kind`, a branch or a leaf.
    pub(super) fn decode(bytes: &[u8; ELEMENT_LEN], kind: u16) -> Element {
        if kind == BRANCH {
            let content = Content::Child(u64_at(bytes, 8));
            Element { distance: u32_at(bytes, 0), key_len: u32_at(bytes, 4), content }
        } else {
            let content = Content::Value { flags: u32_at(bytes, 0), len: u32_at(bytes, 12) };
            Element { distance: u32_at(bytes, 4), key_len: u32_at(bytes, 8), content }
        }
    }

    pub(super) fn encode(&self) -> [u8; ELEMENT_LEN] {
        let mut bytes = [0; ELEMENT_LEN];
        match self.content {
            Content::Child(page) => {
                bytes[..4].copy_from_slice(&self.distance.to_le_bytes());
                bytes[4..8].copy_from_slice(&self.key_len.to_le_bytes());
                bytes[8..].copy_from_slice(&page.to_le_bytes());
            }
            Content::Value { flags, len } => {
                bytes[..4].copy_from_slice(&flags.to_le_bytes());
                bytes[4..8].copy_from_slice(&self.distance.to_le_bytes());
                bytes[8..12].copy_from_slice(&self.key_len.to_le_bytes());
                bytes[12..].copy_from_slice(&len.to_le_bytes());
            }
        }
        bytes
    }

    /// Length of the value behind the key, bytes; 0 in a branch.
    pub(super) fn value_len(&self) -> u32 {
        match self.content {
            Content::Child(_) => 0,
            Content::Value { len, .. } => len,
        }
    }
}

fn u64_at(bytes: &[u8; 16], at: usize) -> u64 {
    u64::from_le_bytes(*bytes[at..].first_chunk().expect("the field lies within the 16 bytes"))
}

fn u32_at(bytes: &[u8; 16], at: usize) -> u32 {
    u32::from_le_bytes(*bytes[at..].first_chunk().expect("the field lies within the 16 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoding_gives_back_what_was_encoded() {
        let header = PageHeader { id: 1 << 40, kind: LEAF, count: 9, overflow: 7 };
        assert_eq!(PageHeader::decode(&header.encode()), header);
        let child = Element { distance: 32, key_len: 5, content: Content::Child(1 << 33) };
        assert_eq!(Element::decode(&child.encode(), BRANCH), child);
        let value =
            Element { distance: 32, key_len: 5, content: Content::Value { flags: IS_BUCKET, len: 6 } };
        assert_eq!(Element::decode(&value.encode(), LEAF), value);
    }
}
