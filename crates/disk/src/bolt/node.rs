//! A node that is being filled.

use super::page::{BRANCH, Content, ELEMENT_LEN, Element, HEADER_LEN, LEAF, PageHeader};

/// Pages of a full node, and bytes that it has at most before the last element is added.
const FULL_PAGES: usize = 15;
const NODE_BYTES_MAX: usize = 60 << 10;

/// Bytes of elements, keys and values from which on a node takes nothing more, where pages have `page_size` bytes. A node
/// of so many bytes and one more element is what the writer holds in memory for each level of a tree.
pub(super) fn node_bytes(page_size: u64) -> usize {
    usize::try_from(page_size).map_or(NODE_BYTES_MAX, |size| (FULL_PAGES * size).min(NODE_BYTES_MAX))
}

/// Elements that a branch has at least, unless it is the last of its level: else a level might not have fewer nodes than
/// the one below it.
pub(super) const NODE_ELEMENTS_MIN: usize = 2;

/// A leaf or a branch, in memory.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// Where each key begins in `data`, its length, and what belongs to it.
    elements: Vec<(usize, u32, Content)>,
    /// Keys and values.
    data: Vec<u8>,
}

impl Node {
    /// Adds a key with its value to a leaf.
    pub(super) fn push_value(&mut self, key: &[u8], value: &[u8], flags: u32) {
        let len = u32::try_from(value.len()).expect("a value is shorter than 4 GiB");
        self.push_key(key, Content::Value { flags, len });
        self.data.extend_from_slice(value);
    }

    /// Adds a child with its first key to a branch.
    pub(super) fn push_child(&mut self, key: &[u8], page: u64) {
        self.push_key(key, Content::Child(page));
    }

    fn push_key(&mut self, key: &[u8], content: Content) {
        let len = u32::try_from(key.len()).expect("a key is shorter than 4 GiB");
        self.elements.push((self.data.len(), len, content));
        self.data.extend_from_slice(key);
    }

    /// The first key; there must be one.
    pub(super) fn first_key(&self) -> &[u8] {
        let (start, len, _) = self.elements[0];
        &self.data[start..start + len as usize]
    }

    /// Whether the next element belongs into another node: this one has `bytes` and `elements_min` elements.
    pub(super) fn is_full(&self, bytes: usize, elements_min: usize) -> bool {
        self.elements.len() >= elements_min && self.len() - HEADER_LEN >= bytes
    }

    /// Bytes of the node, header included.
    pub(super) fn len(&self) -> usize {
        HEADER_LEN + self.elements.len() * ELEMENT_LEN + self.data.len()
    }

    /// Appends the node to `out`, as page `id` with `overflow` further ones, and empties it. What is missing of its last
    /// page is left to the caller.
    pub(super) fn drain_to(&mut self, out: &mut Vec<u8>, id: u64, overflow: u32) {
        let is_branch = matches!(self.elements.first(), Some((_, _, Content::Child(_))));
        let kind = if is_branch { BRANCH } else { LEAF };
        let count = u16::try_from(self.elements.len()).expect("a full node has some thousand elements");
        out.extend_from_slice(&PageHeader { id, kind, count, overflow }.encode());
        let data_start = self.elements.len() * ELEMENT_LEN;
        for (i, &(start, key_len, content)) in self.elements.iter().enumerate() {
            let distance = data_start + start - i * ELEMENT_LEN;
            let distance = u32::try_from(distance).expect("a node is shorter than 4 GiB");
            out.extend_from_slice(&Element { distance, key_len, content }.encode());
        }
        out.extend_from_slice(&self.data);
        self.elements.clear();
        self.data.clear();
        // One very long value must not keep its memory.
        self.data.shrink_to(2 * NODE_BYTES_MAX);
    }
}
