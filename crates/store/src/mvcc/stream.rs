//! A range handed out in chunks, to a reader who may take any time.
//!
//! Unlike a [`super::RangeReading`] it holds no pin: between chunks nothing waits for it, and a compaction that
//! passes its revision ends it. All chunks together are the range at one revision.

use bytes::Bytes;

use super::ReadView;
use super::range::{CHUNK_KEYS, RangeQuery, RangeRead};
use crate::{Error, Refusal};

/// A range being handed out.
#[derive(Debug)]
pub struct RangeStream {
    view: ReadView,
    read: RangeRead,
}

impl ReadView {
    /// Begins to hand out a range, in the order of its keys.
    ///
    /// Refused with [`Refusal::Compacted`] or [`Refusal::FutureRevision`].
    ///
    /// # Panics
    /// If the query is sorted or filtered: neither can be had in chunks.
    pub fn range_stream(&self, query: RangeQuery) -> Result<RangeStream, Error> {
        assert!(!query.is_sorted() && !query.is_filtered(), "a stream gives out keys as it finds them");
        let query = query.streamed();
        let state = self.shared.read();
        let at = query.resolve(state.revision, state.compact_revision)?;
        let read = RangeRead::new(query, at, state.revision, &state.index);
        drop(state);
        self.shared.reads.range();
        Ok(RangeStream { view: self.clone(), read })
    }
}

impl RangeStream {
    /// Adds keys to the chunk: at least one if any is left, at most `max_keys` and a thousand, and no more once
    /// about `max_bytes` were added. Returns how many.
    ///
    /// Refused with [`Refusal::Compacted`] if the revision has been compacted meanwhile.
    pub fn step(&mut self, max_keys: usize, max_bytes: usize) -> Result<usize, Error> {
        let max_keys = max_keys.min(CHUNK_KEYS).min(self.keys_left());
        if max_keys == 0 {
            return Ok(0);
        }
        let before = self.read.outcome().len;
        let segments = {
            let state = self.view.shared.read();
            if self.read.revision() < state.compact_revision {
                return Err(Refusal::Compacted.into());
            }
            self.read.collect_up_to(&state.index, max_keys, max_bytes as u64);
            self.view.shared.log.snapshot()
        };
        self.read.fetch(&segments)?;
        Ok(self.read.outcome().len - before)
    }

    /// Keys that have still to be handed out.
    pub fn keys_left(&self) -> usize {
        self.read.keys_wanted() - self.read.outcome().len
    }

    /// Bytes of the chunk so far.
    pub fn chunk_len(&mut self) -> usize {
        self.read.out().len()
    }

    /// Takes the chunk, its keys framed as field 2 (`kvs`) of a `RangeResponse`, and begins the next one.
    pub fn take_chunk(&mut self) -> Bytes {
        std::mem::take(self.read.out()).into()
    }

    /// Revision of the store when the range was asked for.
    pub fn revision(&self) -> i64 {
        self.read.outcome().revision
    }

    /// Number of keys in the range, whatever the limit says.
    pub fn count(&self) -> i64 {
        self.read.outcome().count
    }

    /// Whether the limit leaves keys out.
    pub fn more(&self) -> bool {
        let wanted = self.read.keys_wanted() as i64;
        0 < wanted && wanted < self.count()
    }
}
