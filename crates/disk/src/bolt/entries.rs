//! Walking through the keys of one bucket, from the first to the last.

use bytes::Bytes;

use super::page::{BRANCH, Content, ELEMENT_LEN, Element, HEADER_LEN, IS_BUCKET};
use super::reader::{Bucket, NodeHead, Reader};
use super::{KEY_LEN_MAX, VALUE_LEN_MAX};
use crate::Error;

/// Nodes above a leaf at most. A tree of a file that is not malicious has fewer than ten levels.
const DEPTH_MAX: usize = 64;

/// The keys of a bucket; ends for good after an error.
#[derive(Debug)]
pub struct Entries<'r> {
    pub(super) reader: &'r mut Reader,
    pub(super) walk: Option<Walk>,
}

/// A key with its value. Both may share memory with others of the same node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Bytes,
    /// The value.
    pub value: Bytes,
    /// The page of the node, for messages about the content.
    pub page: u64,
}

impl Entries<'_> {
    /// An error about the content of a page.
    pub fn corrupt(&self, page: u64, expected: String) -> Error {
        self.reader.corrupt(page, expected)
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<Entry, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.walk.as_mut()?.next(self.reader);
        let entry = next.and_then(|entry| match entry {
            Some(entry) if entry.flags & IS_BUCKET != 0 => {
                Err(self.reader.corrupt(entry.page, "a key with a value, where a bucket stands"))
            }
            entry => Ok(entry.map(|RawEntry { key, value, page, .. }| Entry { key, value, page })),
        });
        if !matches!(entry, Ok(Some(_))) {
            self.walk = None;
        }
        entry.transpose()
    }
}

/// An entry of a leaf.
#[derive(Debug)]
pub(super) struct RawEntry {
    pub(super) key: Bytes,
    pub(super) value: Bytes,
    pub(super) flags: u32,
    pub(super) page: u64,
}

/// The place of a walk.
#[derive(Debug)]
pub(super) struct Walk {
    /// The nodes from the root down to the current leaf.
    path: Vec<OpenNode>,
    /// The last key that was passed, of a leaf or of a branch. The next is greater, or is the first key below a branch
    /// and may be equal to that of the branch.
    last_key: Bytes,
    may_be_equal: bool,
}

/// A node being walked through.
#[derive(Debug)]
struct OpenNode {
    head: NodeHead,
    elements: Bytes,
    /// Elements that were visited.
    visited: u16,
    /// Where the data of the last one ended. Those that follow must not overlap it, which bounds what is read.
    data_end: u64,
}

impl Walk {
    pub(super) fn new(reader: &mut Reader, bucket: &Bucket) -> Result<Walk, Error> {
        let head =
            if bucket.root == 0 { reader.inline_node(bucket)? } else { reader.open_node(bucket.root)? };
        let mut walk = Walk { path: Vec::new(), last_key: Bytes::new(), may_be_equal: true };
        walk.push(reader, head)?;
        Ok(walk)
    }

    /// The next entry; `None` after the last.
    pub(super) fn next(&mut self, reader: &mut Reader) -> Result<Option<RawEntry>, Error> {
        while let Some(node) = self.path.last_mut() {
            if node.visited == node.head.count {
                self.path.pop();
                continue;
            }
            let element = node.next_element();
            let is_branch = node.head.kind == BRANCH;
            let start = node.data_start(reader, &element)?;
            let key = reader.node_bytes(&node.head, start, element.key_len as usize)?;
            let page = node.head.page;
            let value_start = start + u64::from(element.key_len);
            let value = reader.node_bytes(&node.head, value_start, element.value_len() as usize)?;
            self.check_order(reader, page, &key, is_branch)?;
            match element.content {
                Content::Child(child) => {
                    let head = reader.open_node(child)?;
                    self.push(reader, head)?;
                }
                Content::Value { flags, .. } => return Ok(Some(RawEntry { key, value, flags, page })),
            }
        }
        Ok(None)
    }

    fn push(&mut self, reader: &mut Reader, head: NodeHead) -> Result<(), Error> {
        if self.path.len() > DEPTH_MAX {
            return Err(reader.corrupt(head.page, format!("a tree of at most {DEPTH_MAX} levels")));
        }
        // A copy: what was read ahead with the elements is not kept as long as they are.
        let elements = Bytes::copy_from_slice(&reader.elements(&head)?);
        let data_end = head.elements_end();
        self.path.push(OpenNode { head, elements, visited: 0, data_end });
        Ok(())
    }

    fn check_order(&mut self, reader: &Reader, page: u64, key: &[u8], is_branch: bool) -> Result<(), Error> {
        let is_in_order = *self.last_key < *key || (self.may_be_equal && *self.last_key == *key);
        if !is_in_order {
            return Err(reader.corrupt(page, "keys in ascending order"));
        }
        self.last_key = Bytes::copy_from_slice(key);
        self.may_be_equal = is_branch;
        Ok(())
    }
}

impl OpenNode {
    fn next_element(&mut self) -> Element {
        let start = usize::from(self.visited) * ELEMENT_LEN;
        self.visited += 1;
        let bytes = self.elements[start..].first_chunk().expect("a node has the elements that it counts");
        Element::decode(bytes, self.head.kind)
    }

    /// Where key and value of the element that was visited last begin, from the start of the node. Checks that they lie
    /// within it, behind those before.
    fn data_start(&mut self, reader: &Reader, element: &Element) -> Result<u64, Error> {
        let page = self.head.page;
        if !(1..=KEY_LEN_MAX).contains(&(element.key_len as usize)) {
            return Err(reader.corrupt(page, format!("a key of 1 to {KEY_LEN_MAX} bytes")));
        }
        if element.value_len() as usize > VALUE_LEN_MAX {
            return Err(reader.corrupt(page, format!("a value of at most {VALUE_LEN_MAX} bytes")));
        }
        let element_start = (HEADER_LEN + usize::from(self.visited - 1) * ELEMENT_LEN) as u64;
        let start = element_start + u64::from(element.distance);
        let end = start + u64::from(element.key_len) + u64::from(element.value_len());
        if start < self.data_end || end > self.head.len {
            return Err(reader.corrupt(page, "keys and values that follow each other within their node"));
        }
        self.data_end = end;
        Ok(start)
    }
}
