//! A range handed out in chunks, to a reader who may take any time.
//!
//! Unlike a [`super::RangeReading`] it holds no pin: between chunks nothing waits for it, and a compaction
//! that passes its revision ends it. All chunks together are the range at one revision.
//!
//! A range with a sort target is sorted before its first chunk, as that of a plain range is. (Without an
//! order etcd sorts each chunk of a stream by itself, and so loses keys of ranges longer than one.)

use bytes::Bytes;
use disk::revision_log::Segments;

use super::ReadView;
use super::range::{CHUNK_KEYS, RangeQuery, RangeRead};
use crate::{Error, Refusal};

/// A range being handed out.
#[derive(Debug)]
pub struct RangeStream {
    view: ReadView,
    read: RangeRead<Segments>,
    chunk: Vec<u8>,
    /// Keys handed out so far.
    n_keys: usize,
}

impl ReadView {
    /// Begins to hand out a range, in the order of its keys or of the sort target.
    ///
    /// Refused with [`Refusal::Compacted`] or [`Refusal::FutureRevision`].
    ///
    /// # Panics
    /// If the query asks for an order or filters: etcd refuses both.
    pub fn range_stream(&self, query: RangeQuery) -> Result<RangeStream, Error> {
        assert!(!query.is_sorted() && !query.is_filtered(), "orders and filters are refused before");
        let state = self.shared.read();
        let at = query.resolve(state.revision, state.compact_revision)?;
        let read = RangeRead::new(query, at, state.revision, &state.index);
        drop(state);
        self.shared.reads.range();
        Ok(RangeStream { view: self.clone(), read, chunk: Vec::new(), n_keys: 0 })
    }
}

impl RangeStream {
    /// Adds keys to the chunk: at most `max_keys` and a thousand, and no more once about `max_bytes` were
    /// added. Does a bounded amount of work, and may add none while it still looks for keys, sorts or
    /// counts. Returns how many.
    ///
    /// Refused with [`Refusal::Compacted`] if the revision has been compacted meanwhile.
    pub fn step(&mut self, max_keys: usize, max_bytes: usize) -> Result<usize, Error> {
        if self.is_done() {
            return Ok(0);
        }
        let max_keys = max_keys.min(CHUNK_KEYS);
        let max_bytes = u64::try_from(max_bytes).unwrap_or(u64::MAX);
        let is_in_key_order = self.read.is_in_key_order();
        let wanted = self.read.keys_wanted().unwrap_or(usize::MAX);
        let keys_max = if is_in_key_order { max_keys.min(wanted - self.n_keys) } else { CHUNK_KEYS };
        if !self.read.is_collected() {
            self.collect(keys_max, max_bytes)?;
        } else if !self.read.is_complete() {
            self.read.merge();
        }
        let mut n_added = 0;
        if is_in_key_order {
            n_added = self.read.outcome().len - self.n_keys;
            self.read.copy_all(&mut self.chunk)?;
        } else if self.read.is_complete() {
            n_added = self.read.copy_rows(&mut self.chunk, max_keys, max_bytes)?;
        }
        self.n_keys += n_added;
        Ok(n_added)
    }

    /// Looks for more keys.
    fn collect(&mut self, keys_max: usize, bytes_max: u64) -> Result<(), Error> {
        let segments = {
            let state = self.view.shared.read();
            if self.read.revision() < state.compact_revision {
                return Err(Refusal::Compacted.into());
            }
            self.read.collect(&state.index, &mut { CHUNK_KEYS }, keys_max, bytes_max);
            self.view.shared.log.snapshot()
        };
        Ok(self.read.fetch(segments)?)
    }

    /// Whether all keys have been handed out, and counted.
    pub fn is_done(&self) -> bool {
        let is_all_out = self.read.is_in_key_order() && self.read.keys_wanted() == Some(self.n_keys);
        is_all_out || (self.read.is_complete() && !self.read.has_uncopied())
    }

    /// Bytes of the chunk so far.
    pub fn chunk_len(&self) -> usize {
        self.chunk.len()
    }

    /// Takes the chunk, its keys framed as field 2 (`kvs`) of a `RangeResponse`, and begins the next one.
    pub fn take_chunk(&mut self) -> Bytes {
        std::mem::take(&mut self.chunk).into()
    }

    /// Revision of the store when the range was asked for.
    pub fn revision(&self) -> i64 {
        self.read.outcome().revision
    }

    /// Number of keys in the range, whatever the limit says. Known when the stream is done.
    pub fn count(&self) -> i64 {
        self.read.outcome().count
    }

    /// Whether the limit leaves keys out. Known when the stream is done.
    pub fn more(&self) -> bool {
        let is_counted_only = self.read.keys_wanted() == Some(0);
        !is_counted_only && (self.n_keys as i64) < self.count()
    }
}
