//! Writing a bbolt file front to back.
//!
//! Buckets come one after the other, their keys in ascending order. A leaf leaves as soon as it is full, and the branches
//! above it when they are; the root of all buckets comes last, where the [`Layout`] has put it.

use super::layout::{Layout, META_PAGES};
use super::meta::{Meta, NO_FREELIST};
use super::node::{NODE_ELEMENTS_MIN, Node, node_bytes};
use super::page::{IS_BUCKET, META, PageHeader};
use super::{KEY_LEN_MAX, VALUE_LEN_MAX};

/// The transaction that the file claims to end with. The first meta page belongs to it, the second to the one before.
const TRANSACTION: u64 = 2;

/// Bytes of unused pages that are written at a time.
const UNUSED_BYTES_MAX: u64 = 64 << 10;

/// A file being written. What is ready of it is taken with [`Writer::output`].
#[derive(Debug)]
pub struct Writer {
    layout: Layout,
    out: Vec<u8>,
    next_page: u64,
    bucket: Option<OpenBucket>,
    /// Names and values of the finished buckets.
    finished: Vec<(String, Vec<u8>)>,
    is_finished: bool,
}

/// The bucket that is being written.
#[derive(Debug)]
struct OpenBucket {
    name: String,
    /// The unfinished node of each level, leaves first.
    levels: Vec<Node>,
    last_key: Vec<u8>,
}

impl Writer {
    /// Begins a file that keeps within the bounds of `layout`.
    pub fn new(layout: Layout) -> Writer {
        let mut writer = Writer {
            out: Vec::new(),
            next_page: META_PAGES,
            bucket: None,
            finished: Vec::new(),
            is_finished: false,
            layout,
        };
        for id in 0..META_PAGES {
            writer.write_meta(id);
        }
        writer
    }

    /// Begins the next bucket and ends the one before. Names come in any order.
    ///
    /// # Panics
    /// If a bucket of that name was begun before.
    pub fn begin_bucket(&mut self, name: &str) {
        self.end_bucket();
        assert!(self.finished.iter().all(|(finished, _)| finished != name), "a bucket is written once");
        let (name, levels, last_key) = (name.to_owned(), vec![Node::default()], Vec::new());
        self.bucket = Some(OpenBucket { name, levels, last_key });
    }

    /// Adds a key to the bucket.
    ///
    /// # Panics
    /// If the key is empty, too long, or not greater than the one before; if the value is longer than
    /// [`VALUE_LEN_MAX`]; without a bucket; or when a node would not fit the layout.
    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        assert!((1..=KEY_LEN_MAX).contains(&key.len()), "bbolt keys have 1 byte to 32 KiB");
        assert!(value.len() <= VALUE_LEN_MAX, "a value is no longer than a message between members");
        let bucket = self.bucket.as_mut().expect("a bucket was begun");
        assert!(*bucket.last_key < *key, "the keys of a bucket ascend");
        bucket.last_key.clear();
        bucket.last_key.extend_from_slice(key);
        if bucket.levels[0].is_full(node_bytes(self.layout.page_size()), 1) {
            self.close_node(0);
        }
        self.levels()[0].push_value(key, value, 0);
    }

    /// Ends the last bucket and writes more of what follows it; true once the file is complete. Until then the caller
    /// takes the output and calls again.
    pub fn finish(&mut self) -> bool {
        self.end_bucket();
        let unused = self.layout.root_page() - self.next_page;
        if unused > 0 {
            let pages = unused.min(UNUSED_BYTES_MAX / self.layout.page_size());
            self.next_page += pages;
            self.pad_to(self.out.len() as u64 + pages * self.layout.page_size());
        } else if !self.is_finished {
            self.write_root();
            self.is_finished = true;
        }
        self.is_finished
    }

    /// What was written and not yet taken.
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    fn levels(&mut self) -> &mut Vec<Node> {
        &mut self.bucket.as_mut().expect("a bucket was begun").levels
    }

    /// Writes the node of a level and adds it to the level above.
    fn close_node(&mut self, level: usize) {
        let first_key = self.levels()[level].first_key().to_vec();
        let page = self.write_node(level);
        if self.levels().len() == level + 1 {
            self.levels().push(Node::default());
        }
        let full_bytes = node_bytes(self.layout.page_size());
        if self.levels()[level + 1].is_full(full_bytes, NODE_ELEMENTS_MIN) {
            self.close_node(level + 1);
        }
        self.levels()[level + 1].push_child(&first_key, page);
    }

    /// Writes the node of a level; returns its page.
    fn write_node(&mut self, level: usize) -> u64 {
        let mut node = std::mem::take(&mut self.levels()[level]);
        let pages = (node.len() as u64).div_ceil(self.layout.page_size());
        let page = self.next_page;
        self.write_pages(&mut node, page, pages);
        self.next_page += pages;
        assert!(self.next_page <= self.layout.root_page(), "the layout has room for all that is put");
        self.levels()[level] = node;
        page
    }

    /// Writes a node as `pages` pages from `page` on.
    fn write_pages(&mut self, node: &mut Node, page: u64, pages: u64) {
        assert!(node.len() as u64 <= pages * self.layout.page_size(), "the pages have room for the node");
        let overflow = u32::try_from(pages - 1).expect("a node has fewer than 2^32 pages");
        let end = self.out.len() as u64 + pages * self.layout.page_size();
        node.drain_to(&mut self.out, page, overflow);
        self.pad_to(end);
    }

    fn end_bucket(&mut self) {
        let Some(bucket) = &self.bucket else { return };
        let is_inline =
            bucket.levels.len() == 1 && bucket.levels[0].len() as u64 <= self.layout.inline_len_max();
        let value = if is_inline {
            let mut value = bucket_header(0);
            self.levels()[0].drain_to(&mut value, 0, 0);
            value
        } else {
            bucket_header(self.write_tree())
        };
        let bucket = self.bucket.take().expect("seen above");
        self.finished.push((bucket.name, value));
    }

    /// Writes the open nodes of all levels; returns the page of the topmost, which is the root.
    fn write_tree(&mut self) -> u64 {
        let mut level = 0;
        while level + 1 < self.levels().len() {
            self.close_node(level);
            level += 1;
        }
        self.write_node(level)
    }

    fn write_root(&mut self) {
        self.finished.sort_unstable();
        let mut root = Node::default();
        for (name, value) in self.finished.drain(..) {
            root.push_value(name.as_bytes(), &value, IS_BUCKET);
        }
        self.write_pages(&mut root, self.layout.root_page(), self.layout.root_pages());
    }

    fn write_meta(&mut self, id: u64) {
        let meta = Meta {
            page_size: u32::try_from(self.layout.page_size()).expect("pages have at most 64 KiB"),
            root: self.layout.root_page(),
            freelist: NO_FREELIST,
            pages: self.layout.pages(),
            transaction: TRANSACTION - id,
        };
        let end = self.out.len() as u64 + self.layout.page_size();
        self.out.extend_from_slice(&PageHeader { id, kind: META, count: 0, overflow: 0 }.encode());
        self.out.extend_from_slice(&meta.encode());
        self.pad_to(end);
    }

    /// Appends zeros until the output has `len` bytes.
    fn pad_to(&mut self, len: u64) {
        self.out.resize(usize::try_from(len).expect("the output is in memory"), 0);
    }
}

/// The value of a bucket whose root is this page; 0 if the page follows.
fn bucket_header(root: u64) -> Vec<u8> {
    [root.to_le_bytes(), [0; 8]].concat()
}
