//! How long a file will be, told before its first byte is written.
//!
//! A [`super::Writer`] writes front to back, and the first page must say where the root lies and how many pages there
//! are. The layout therefore reserves pages for the most that each bucket may hold, and puts the root behind them.
//! Pages that turn out not to be needed stay unused: a file without a freelist may have such, and whoever opens it takes
//! those that nothing refers to as free.
//!
//! Nodes are filled to [`node_bytes`] before the next one begins, whatever the order of the lengths. So the number of
//! nodes follows from the sum of the lengths alone, and a node wastes less than its last page.

use super::node::{NODE_ELEMENTS_MIN, node_bytes};
use super::page::{ELEMENT_LEN, HEADER_LEN};
use super::{KEY_LEN_MAX, PAGE_SIZE_MAX, PAGE_SIZE_MIN};

/// Pages before the first node.
pub(super) const META_PAGES: u64 = 2;

/// Length of what stands before an inline bucket's page, and of the whole value of another bucket.
pub(super) const BUCKET_HEADER_LEN: usize = 16;

/// The most that a bucket may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BucketBound {
    /// Number of keys.
    pub items: u64,
    /// Bytes of all keys and values together.
    pub bytes: u64,
    /// Bytes of the longest key.
    pub key_len_max: usize,
}

impl BucketBound {
    /// Adds a key and its value.
    pub fn add(&mut self, key_len: usize, value_len: usize) {
        self.items += 1;
        self.bytes += (key_len + value_len) as u64;
        self.key_len_max = self.key_len_max.max(key_len);
    }
}

/// The plan of a file.
#[derive(Debug, Clone)]
pub struct Layout {
    page_size: u64,
    /// Pages reserved for the nodes of buckets.
    node_pages: u64,
    /// Bytes of the root node.
    root_bytes: u64,
}

impl Layout {
    /// Plans a file without buckets, of pages of `page_size` bytes.
    ///
    /// # Panics
    /// If that is not a power of two between 1 KiB and 64 KiB.
    pub fn new(page_size: u64) -> Layout {
        let is_usable = page_size.is_power_of_two() && (PAGE_SIZE_MIN..=PAGE_SIZE_MAX).contains(&page_size);
        assert!(is_usable, "bbolt pages have 1 KiB to 64 KiB");
        Layout { page_size, node_pages: 0, root_bytes: HEADER_LEN as u64 }
    }

    /// Plans a bucket.
    pub fn add_bucket(&mut self, name: &str, bound: &BucketBound) {
        assert!(bound.key_len_max <= KEY_LEN_MAX, "bbolt keys have at most 32 KiB");
        let leaf_bytes = bound.bytes + bound.items * ELEMENT_LEN as u64;
        let inline_max = self.inline_len_max();
        let inline_len = HEADER_LEN as u64 + leaf_bytes;
        if inline_len > inline_max {
            self.node_pages += self.tree_pages(leaf_bytes, bound.items, bound.key_len_max);
        }
        let value_len = BUCKET_HEADER_LEN as u64 + inline_len.min(inline_max);
        self.root_bytes += (ELEMENT_LEN + name.len()) as u64 + value_len;
    }

    /// Length of the file, bytes.
    pub fn file_len(&self) -> u64 {
        self.pages() * self.page_size
    }

    pub(super) fn page_size(&self) -> u64 {
        self.page_size
    }

    /// Number of pages.
    pub(super) fn pages(&self) -> u64 {
        self.root_page() + self.root_pages()
    }

    /// Where the root lies: behind everything else.
    pub(super) fn root_page(&self) -> u64 {
        META_PAGES + self.node_pages
    }

    /// Pages of the root, which is a single node.
    pub(super) fn root_pages(&self) -> u64 {
        self.root_bytes.div_ceil(self.page_size)
    }

    /// Longest page of a bucket that is written into the root instead of a page of its own: bbolt's rule.
    pub(super) fn inline_len_max(&self) -> u64 {
        self.page_size / 4
    }

    /// Pages of a tree whose leaves have so many bytes of elements, keys and values.
    fn tree_pages(&self, leaf_bytes: u64, items: u64, key_len_max: usize) -> u64 {
        let mut nodes = self.nodes_max(leaf_bytes, items, 1);
        let mut pages = self.nodes_pages(leaf_bytes, nodes);
        while nodes > 1 {
            let branch_bytes = nodes * (ELEMENT_LEN + key_len_max) as u64;
            nodes = self.nodes_max(branch_bytes, nodes, NODE_ELEMENTS_MIN);
            pages += self.nodes_pages(branch_bytes, nodes);
        }
        pages
    }

    /// Pages of so many nodes with so many bytes in all besides their headers.
    fn nodes_pages(&self, bytes: u64, nodes: u64) -> u64 {
        // The last page of each node may be nearly empty.
        (bytes + nodes * HEADER_LEN as u64) / self.page_size + nodes
    }

    /// The most nodes that so many elements with so many bytes in all are spread over. A node is followed by another only
    /// when it has [`node_bytes`] and `elements_min` elements.
    fn nodes_max(&self, bytes: u64, elements: u64, elements_min: usize) -> u64 {
        let by_bytes = bytes.saturating_sub(1) / node_bytes(self.page_size) as u64;
        let by_elements = elements.saturating_sub(1) / elements_min as u64;
        1 + by_bytes.min(by_elements)
    }
}
