//! Reading segments in file order through a buffer of its own.
//!
//! The mapping that single records are read through stays resident once touched. Whoever reads a segment from end to
//! end (sealing, hashing, rewriting, catching up a watcher) would make the whole log count as this process's memory,
//! so it reads ahead into a buffer of its own instead.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use super::Location;
use super::reader::{self, Segments};
use super::record::RECORD_HEADER_LEN;
use super::segment::Segment;
use crate::Error;

/// Bytes read at a time, unless one record is longer.
const READ_AHEAD_BYTES: u64 = 64 << 10;

/// Some bytes of one segment.
#[derive(Debug, Default)]
pub(super) struct ReadAhead {
    segment: u32,
    start: u64,
    bytes: Bytes,
}

impl ReadAhead {
    /// Shows `len` bytes of `segment` at `offset`. If they have to be read, so is what follows them up to `end`, as
    /// far as the buffer goes; `end` must be flushed and not before `offset + len`.
    pub(super) fn show(
        &mut self,
        segment: &Segment,
        offset: u64,
        len: usize,
        end: u64,
    ) -> Result<&[u8], Error> {
        let span = self.span(segment, offset, len, end)?;
        Ok(&self.bytes[span])
    }

    /// [`ReadAhead::show`] for bytes that are kept: they keep the whole buffer.
    pub(super) fn share(
        &mut self,
        segment: &Segment,
        offset: u64,
        len: usize,
        end: u64,
    ) -> Result<Bytes, Error> {
        let span = self.span(segment, offset, len, end)?;
        Ok(self.bytes.slice(span))
    }

    fn span(&mut self, segment: &Segment, offset: u64, len: usize, end: u64) -> Result<Range<usize>, Error> {
        let window_end = self.start + self.bytes.len() as u64;
        let is_inside = self.segment == segment.id() && offset >= self.start;
        if !is_inside || offset + len as u64 > window_end {
            let ahead = (end - offset).min(READ_AHEAD_BYTES.max(len as u64));
            let ahead = usize::try_from(ahead).expect("a segment fits the address space");
            self.bytes = segment.copy(offset, ahead)?;
            (self.segment, self.start) = (segment.id(), offset);
        }
        let start = usize::try_from(offset - self.start).expect("within the buffer");
        Ok(start..start + len)
    }
}

/// Reads many records, best in the order of their files. Holds the segments it covers, so that they stay readable
/// whatever is reclaimed meanwhile.
#[derive(Debug, Default)]
pub struct RecordReader {
    dir: PathBuf,
    segments: BTreeMap<u32, Arc<Segment>>,
    read_ahead: ReadAhead,
}

impl RecordReader {
    /// Takes in the segments of a snapshot: from now on every location that can be read there can be read here.
    pub fn cover(&mut self, snapshot: &Segments) {
        snapshot.dir().clone_into(&mut self.dir);
        for segment in snapshot.all() {
            self.segments.entry(segment.id()).or_insert_with(|| segment.clone());
        }
    }

    /// The `mvccpb.KeyValue` at `at`, its checksum verified; errors as of [`Segments::read`].
    pub fn read(&mut self, at: Location) -> Result<&[u8], Error> {
        match self.segments.get(&at.segment) {
            Some(segment) => Ok(&segment.record_through(&mut self.read_ahead, at)?[RECORD_HEADER_LEN..]),
            None => Err(reader::no_segment(&self.dir, at)),
        }
    }
}
