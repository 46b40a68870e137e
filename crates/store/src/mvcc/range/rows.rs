//! The keys of a range that is sorted or filtered, until all are found and their order is known.
//!
//! A row holds what it is sorted by and where its record is, not the record. Each chunk found is sorted at
//! once; the sorted chunks are then merged some rows at a time, so that no step grows with the length of the
//! range.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};

use bytes::Bytes;
use disk::Location;
use proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use proto::mvccpb;

use crate::work;

/// A key that is part of the answer.
#[derive(Debug)]
struct Row {
    sort_key: SortKey,
    place: Placed,
}

/// What a row is sorted by; the field that does not matter is zero.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct SortKey {
    number: i64,
    value: Bytes,
}

/// Where the record of a row is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placed {
    pub(super) location: Location,
    /// Which of [`Rows::sources`] it is read from.
    source: u32,
    /// Length of the `mvccpb.KeyValue` in the answer.
    pub(super) len: u32,
}

/// The rows of one range. `R` is what records are read from.
#[derive(Debug)]
pub(super) struct Rows<R> {
    target: SortTarget,
    is_descending: bool,
    sources: Vec<R>,
    /// The chunks found, each sorted.
    chunks: Vec<std::vec::IntoIter<Row>>,
    /// How many rows there are.
    n_rows: usize,
    /// The next row of each chunk, once the merging has begun.
    next: BinaryHeap<Next>,
    /// Rows in their order, as far as they are merged and not yet taken.
    ordered: VecDeque<Placed>,
    /// How many rows were merged.
    n_merged: usize,
    /// Bytes of `ordered` as fields of an answer.
    fields_len: u64,
}

/// The next row of a chunk. The greatest one comes next in the answer.
#[derive(Debug)]
struct Next {
    row: Row,
    chunk: usize,
    is_descending: bool,
}

impl<R> Rows<R> {
    pub(super) fn new(target: SortTarget, order: SortOrder) -> Rows<R> {
        Rows {
            target,
            is_descending: order == SortOrder::Descend,
            sources: Vec::new(),
            chunks: Vec::new(),
            n_rows: 0,
            next: BinaryHeap::new(),
            ordered: VecDeque::new(),
            n_merged: 0,
            fields_len: 0,
        }
    }

    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.n_rows
    }

    /// Adds a chunk of keys, in the order of keys and behind those before: each with where its record is and
    /// the length that it has in the answer. They are read from `source`.
    pub(super) fn add_chunk(&mut self, source: R, keys: Vec<(mvccpb::KeyValue, Location, u32)>) {
        if keys.is_empty() {
            return;
        }
        let n_before = self.n_rows;
        let number =
            u32::try_from(self.sources.len()).expect("a chunk of a range has keys, which are in memory");
        let mut rows: Vec<Row> = Vec::with_capacity(keys.len());
        for (kv, location, len) in keys {
            let sort_key = self.sort_key(kv, n_before + rows.len());
            rows.push(Row { sort_key, place: Placed { location, source: number, len } });
        }
        // Stable, so that equal targets keep key order, whichever way is asked for.
        match self.is_descending {
            true => rows.sort_by(|a, b| b.sort_key.cmp(&a.sort_key)),
            false => rows.sort_by(|a, b| a.sort_key.cmp(&b.sort_key)),
        }
        self.n_rows += rows.len();
        self.sources.push(source);
        self.chunks.push(rows.into_iter());
    }

    fn sort_key(&self, kv: mvccpb::KeyValue, position: usize) -> SortKey {
        let number = match self.target {
            // They come in the order of keys.
            SortTarget::Key => position as i64,
            SortTarget::Version => kv.version,
            SortTarget::Create => kv.create_revision,
            SortTarget::Mod => kv.mod_revision,
            SortTarget::Value => return SortKey { number: 0, value: kv.value },
        };
        SortKey { number, value: Bytes::new() }
    }

    /// Merges up to `n_max` more rows, so that there are `limit` at most (0: all); `field_len` tells how
    /// long a field of an answer is for a value of a length. True once there are no more to merge.
    pub(super) fn merge(&mut self, n_max: usize, limit: usize, field_len: impl Fn(usize) -> usize) -> bool {
        let n_wanted = if limit == 0 { self.n_rows } else { self.n_rows.min(limit) };
        if self.n_merged == 0 {
            for chunk in 0..self.chunks.len() {
                self.advance(chunk);
            }
        }
        for _ in 0..n_max.min(n_wanted - self.n_merged) {
            let Some(Next { row, chunk, .. }) = self.next.pop() else { break };
            work::count(1);
            self.advance(chunk);
            self.ordered.push_back(row.place);
            self.fields_len += field_len(row.place.len as usize) as u64;
            self.n_merged += 1;
        }
        let is_done = self.n_merged == n_wanted;
        if is_done {
            self.next = BinaryHeap::new();
            self.chunks = Vec::new();
        }
        is_done
    }

    fn advance(&mut self, chunk: usize) {
        if let Some(row) = self.chunks[chunk].next() {
            self.next.push(Next { row, chunk, is_descending: self.is_descending });
        }
    }

    /// How many rows were merged and not yet taken.
    pub(super) fn n_ordered(&self) -> usize {
        self.ordered.len()
    }

    /// Bytes of the rows merged and not yet taken, as fields of an answer.
    pub(super) fn fields_len(&self) -> u64 {
        self.fields_len
    }

    /// Takes the next row, with what its record is read from.
    pub(super) fn take(&mut self, field_len: impl Fn(usize) -> usize) -> Option<(Placed, &R)> {
        let placed = self.ordered.pop_front()?;
        self.fields_len -= field_len(placed.len as usize) as u64;
        Some((placed, &self.sources[placed.source as usize]))
    }
}

impl Ord for Next {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_target = self.row.sort_key.cmp(&other.row.sort_key);
        let in_answer = if self.is_descending { by_target.reverse() } else { by_target };
        in_answer.then(self.chunk.cmp(&other.chunk)).reverse()
    }
}

impl PartialOrd for Next {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Next {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Next {}
