//! Reading a bbolt file of unknown origin.
//!
//! Nothing is believed that the file says: each number is checked before it is used as a place, a length or a count, and
//! no page is read twice, so that a file of pages which refer to each other in a circle ends in an error.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::entries::{Entries, RawEntry, Walk};
use super::layout::BUCKET_HEADER_LEN;
use super::meta::{META_LEN, Meta};
use super::page::{BRANCH, ELEMENT_LEN, HEADER_LEN, IS_BUCKET, LEAF, PageHeader};
use super::page_set::PageSet;
use super::{PAGE_SIZE_MAX, PAGE_SIZE_MIN};
use crate::{Error, File};

/// Pages of a file at most: 1 TiB of the usual size. One bit of memory is taken for each.
const PAGES_MAX: u64 = 1 << 28;

/// Buckets of a file at most. etcd has ten.
const BUCKETS_MAX: usize = 1024;

/// Bytes that are read at a time.
const WINDOW_BYTES: u64 = 64 << 10;

/// An open file.
#[derive(Debug)]
pub struct Reader {
    file: Arc<dyn File>,
    path: PathBuf,
    pub(super) meta: Meta,
    pub(super) seen: PageSet,
    /// Some bytes of the file, and where they begin.
    window: Bytes,
    window_start: u64,
}

/// A bucket of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// Its name.
    pub name: Bytes,
    /// The page of its root; 0 if `inline` is its only page.
    pub(super) root: u64,
    pub(super) inline: Bytes,
    /// The page that lists it.
    pub(super) page: u64,
}

/// The head of a node.
#[derive(Debug, Clone)]
pub(super) struct NodeHead {
    /// The page, for messages.
    pub(super) page: u64,
    /// Where the node begins in the file, or in `inline`.
    start: u64,
    /// Bytes of the node.
    pub(super) len: u64,
    pub(super) kind: u16,
    pub(super) count: u16,
    inline: Option<Bytes>,
}

impl Reader {
    /// Opens a file. `path` names it in errors. Reads no more than its meta pages.
    pub fn open(file: Arc<dyn File>, path: &Path) -> Result<Reader, Error> {
        let len = file.len().map_err(Error::io("measure", path))?;
        let meta = find_meta(&*file, path, len)?;
        let corrupt = |expected: String| Error::corrupt(path, 0, expected);
        let page_size = u64::from(meta.page_size);
        let file_pages = len / page_size;
        if !(2..=PAGES_MAX).contains(&meta.pages) {
            return Err(corrupt(format!("between 2 and {PAGES_MAX} pages, where {} are said", meta.pages)));
        }
        if meta.pages > file_pages {
            let expected = format!("{} pages, as the meta page says", meta.pages);
            return Err(Error::corrupt(path, file_pages * page_size, expected));
        }
        let mut seen = PageSet::new(meta.pages);
        seen.insert(0);
        seen.insert(1);
        let (window, window_start) = (Bytes::new(), 0);
        Ok(Reader { file, path: path.to_path_buf(), meta, seen, window, window_start })
    }

    /// Bytes of a page.
    pub fn page_size(&self) -> u64 {
        self.meta.page_size.into()
    }

    /// Bytes of the file that belong to the database.
    pub fn db_len(&self) -> u64 {
        self.meta.pages * self.page_size()
    }

    /// The buckets, in the order of their names. To be called once: each page can be read once.
    pub fn buckets(&mut self) -> Result<Vec<Bucket>, Error> {
        let root = self.meta.root;
        let mut walk = Walk::new(self, &Bucket::of_root(root))?;
        let mut buckets = Vec::new();
        while let Some(entry) = walk.next(self)? {
            if entry.flags & IS_BUCKET == 0 {
                return Err(self.corrupt(entry.page, "a tree of buckets, where a key with a value stands"));
            }
            if buckets.len() == BUCKETS_MAX {
                return Err(self.corrupt(entry.page, format!("at most {BUCKETS_MAX} buckets")));
            }
            buckets.push(self.bucket(entry)?);
        }
        Ok(buckets)
    }

    /// The keys of a bucket with their values, in the order of the keys. To be called once for each bucket.
    pub fn entries(&mut self, bucket: &Bucket) -> Result<Entries<'_>, Error> {
        let walk = Walk::new(self, bucket)?;
        Ok(Entries { reader: self, walk: Some(walk) })
    }

    /// An error about the content of a page.
    pub fn corrupt(&self, page: u64, expected: impl Into<Cow<'static, str>>) -> Error {
        let offset = page.saturating_mul(self.page_size());
        Error::corrupt(&self.path, offset, format!("{} (page {page})", expected.into()))
    }

    /// The bucket that an entry holds.
    pub(super) fn bucket(&self, entry: RawEntry) -> Result<Bucket, Error> {
        let RawEntry { key: name, value, page, .. } = entry;
        let Some(header) = value.first_chunk::<BUCKET_HEADER_LEN>() else {
            return Err(self.corrupt(page, "a bucket with a header of 16 bytes"));
        };
        let root = u64::from_le_bytes(*header.first_chunk().expect("the first half of the header"));
        let inline = value.slice(BUCKET_HEADER_LEN..);
        if value.len() as u64 > self.page_size() {
            return Err(self.corrupt(page, "an inline bucket that is shorter than a page"));
        }
        Ok(Bucket { name, root, inline, page })
    }

    /// Reads the head of the node at a page, which must not have been read before.
    pub(super) fn open_node(&mut self, page: u64) -> Result<NodeHead, Error> {
        let header = self.open_page(page)?;
        if ![BRANCH, LEAF].contains(&header.kind) {
            return Err(self.corrupt(page, "a branch or a leaf"));
        }
        let len = (u64::from(header.overflow) + 1) * self.page_size();
        let start = page * self.page_size();
        let (kind, count) = (header.kind, header.count);
        self.check_node(NodeHead { page, start, len, kind, count, inline: None })
    }

    /// Reads the header of a page and marks its pages as read.
    pub(super) fn open_page(&mut self, page: u64) -> Result<PageHeader, Error> {
        if page >= self.meta.pages {
            return Err(self.corrupt(page, format!("a page below {}", self.meta.pages)));
        }
        let mut header = [0; HEADER_LEN];
        self.read_at(page * self.page_size(), &mut header)?;
        let header = PageHeader::decode(&header);
        if header.id != page {
            return Err(self.corrupt(page, format!("the number of this page, where {} stands", header.id)));
        }
        let end = page + 1 + u64::from(header.overflow);
        if end > self.meta.pages {
            return Err(self.corrupt(page, format!("a page that ends before page {}", self.meta.pages)));
        }
        for part in page..end {
            if !self.seen.insert(part) {
                return Err(self.corrupt(part, "one reference to this page, where there are several"));
            }
        }
        Ok(header)
    }

    /// The only node of an inline bucket.
    pub(super) fn inline_node(&self, bucket: &Bucket) -> Result<NodeHead, Error> {
        let Some(header) = bucket.inline.first_chunk::<HEADER_LEN>() else {
            return Err(self.corrupt(bucket.page, "an inline bucket with the header of a page"));
        };
        let header = PageHeader::decode(header);
        if header.kind != LEAF || header.overflow != 0 {
            return Err(self.corrupt(bucket.page, "an inline bucket that is one leaf"));
        }
        let (kind, count, len) = (LEAF, header.count, bucket.inline.len() as u64);
        let inline = Some(bucket.inline.clone());
        self.check_node(NodeHead { page: bucket.page, start: 0, len, kind, count, inline })
    }

    fn check_node(&self, node: NodeHead) -> Result<NodeHead, Error> {
        if node.elements_end() > node.len {
            return Err(self.corrupt(node.page, "a node with room for its elements"));
        }
        if node.kind == BRANCH && node.count == 0 {
            return Err(self.corrupt(node.page, "a branch with children"));
        }
        Ok(node)
    }

    /// `len` bytes at `offset` of a node, within its length.
    pub(super) fn node_bytes(&mut self, node: &NodeHead, offset: u64, len: usize) -> Result<Bytes, Error> {
        debug_assert!(offset + len as u64 <= node.len, "the caller has checked the bounds");
        if let Some(inline) = &node.inline {
            let start = usize::try_from(offset).expect("within bytes in memory");
            return Ok(inline.slice(start..start + len));
        }
        let (start, end) = (node.start + offset, node.start + node.len);
        let is_inside =
            start >= self.window_start && start + len as u64 <= self.window_start + self.window.len() as u64;
        if !is_inside {
            let window_len = (end - start).min(WINDOW_BYTES.max(len as u64));
            let mut window = vec![0; usize::try_from(window_len).expect("a bounded number of bytes")];
            self.read_at(start, &mut window)?;
            (self.window, self.window_start) = (window.into(), start);
        }
        let start = usize::try_from(start - self.window_start).expect("within the window");
        Ok(self.window.slice(start..start + len))
    }

    /// All elements of a node: at most a megabyte.
    pub(super) fn elements(&mut self, node: &NodeHead) -> Result<Bytes, Error> {
        self.node_bytes(node, HEADER_LEN as u64, usize::from(node.count) * ELEMENT_LEN)
    }

    pub(super) fn read_at(&self, offset: u64, bytes: &mut [u8]) -> Result<(), Error> {
        self.file.read_at(offset, bytes).map_err(Error::read(&self.path, offset))
    }
}

impl Bucket {
    /// The tree of the buckets, as if it were one.
    pub(super) fn of_root(root: u64) -> Bucket {
        Bucket { name: Bytes::new(), root, inline: Bytes::new(), page: 0 }
    }
}

impl NodeHead {
    /// Where the elements end and the keys may begin, from the start of the node.
    pub(super) fn elements_end(&self) -> u64 {
        (HEADER_LEN + usize::from(self.count) * ELEMENT_LEN) as u64
    }
}

/// The meta that counts: the valid one of the later transaction.
fn find_meta(file: &dyn File, path: &Path, len: u64) -> Result<Meta, Error> {
    let first = meta_at(file, path, len, 0)?;
    let second = match first {
        Some(meta) => meta_at(file, path, len, u64::from(meta.page_size))?,
        None => {
            // The size of the pages is known from the second meta alone, so it may stand at any of these places.
            let mut found = None;
            let mut page_size = PAGE_SIZE_MIN;
            while found.is_none() && page_size <= PAGE_SIZE_MAX {
                found = meta_at(file, path, len, page_size)?
                    .filter(|meta| u64::from(meta.page_size) == page_size);
                page_size *= 2;
            }
            found
        }
    };
    let same_size = |second: &Meta| first.is_none_or(|first| first.page_size == second.page_size);
    let newest = first.into_iter().chain(second.filter(same_size)).max_by_key(|meta| meta.transaction);
    newest.ok_or_else(|| Error::corrupt(path, 0, "a bbolt file with a valid meta page"))
}

/// The meta of the page at `offset`, if a valid one stands there.
fn meta_at(file: &dyn File, path: &Path, len: u64, offset: u64) -> Result<Option<Meta>, Error> {
    let start = offset + HEADER_LEN as u64;
    if start + META_LEN as u64 > len {
        return Ok(None);
    }
    let mut bytes = [0; META_LEN];
    file.read_at(start, &mut bytes).map_err(Error::read(path, start))?;
    let is_size_usable = |meta: &Meta| {
        let size = u64::from(meta.page_size);
        size.is_power_of_two() && (PAGE_SIZE_MIN..=PAGE_SIZE_MAX).contains(&size)
    };
    Ok(Meta::decode(&bytes).filter(is_size_usable))
}
