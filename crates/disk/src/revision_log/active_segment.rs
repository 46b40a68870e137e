//! The end of the log: the segment being appended to, and the records that wait in the write buffer.
//!
//! Invariant: flushed bytes, then the buffer, are the segment from its header on, without a gap.

use std::sync::Arc;

use bytes::Bytes;

use super::open_files::OpenFiles;
use super::prepare::SpareSegment;
use super::record::{self, RECORD_HEADER_LEN};
use super::segment::Segment;
use super::segment_header::{SEGMENT_HEADER_LEN, SegmentHeader};
use super::{Location, RecordMeta, Revision};
use crate::Error;

/// Bytes that wait in the buffer at most, one record aside, before an append writes them out.
const BUFFER_BYTES_MAX: usize = 1 << 20;

/// A segment and its write buffer.
#[derive(Debug)]
pub(super) struct ActiveSegment {
    segment: Arc<Segment>,
    /// Bytes the file has space for.
    capacity: u64,
    buffer: Vec<u8>,
}

impl ActiveSegment {
    /// Starts a segment with its header in the buffer. Turns an empty file into a segment that `first` begins.
    pub(super) fn start(prepared: SpareSegment, files: Arc<OpenFiles>, first: Revision) -> ActiveSegment {
        let header = SegmentHeader { id: prepared.id, first };
        let segment = Arc::new(Segment::new(prepared.path, prepared.file, files, header));
        ActiveSegment { segment, capacity: prepared.capacity, buffer: header.encode().to_vec() }
    }

    /// Goes on with a segment that was written before. Its space is reserved up to `capacity` if there is room for
    /// that; if not, the segment simply takes nothing any more.
    pub(super) fn resume(segment: Arc<Segment>, capacity: u64) -> Result<ActiveSegment, Error> {
        segment.open_own_file()?;
        let capacity = match segment.reserve(capacity.max(segment.flushed())) {
            Ok(()) => capacity,
            Err(Error::NoSpace { .. }) => segment.flushed(),
            Err(error) => return Err(error),
        };
        Ok(ActiveSegment { segment, capacity, buffer: Vec::new() })
    }

    pub(super) fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    /// Whether nothing waits in the buffer.
    pub(super) fn is_flushed(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Whether the next append writes the buffer out.
    pub(super) fn is_buffer_full(&self) -> bool {
        self.buffer.len() >= BUFFER_BYTES_MAX
    }

    /// Bytes written or waiting, the header included.
    fn len(&self) -> u64 {
        self.segment.flushed() + self.buffer.len() as u64
    }

    /// Bytes that still fit.
    pub(super) fn room(&self) -> u64 {
        self.capacity.saturating_sub(self.len())
    }

    /// Appends a record that fits.
    pub(super) fn push(&mut self, meta: &RecordMeta, key_value: &[u8]) -> Result<Location, Error> {
        self.flush_if_full()?;
        let at = self.place(meta.revision, key_value.len());
        record::encode(&mut self.buffer, meta, key_value);
        Ok(at)
    }

    /// Appends a record of another segment, header included.
    pub(super) fn push_copy(&mut self, revision: Revision, record: &[u8]) -> Result<(), Error> {
        self.flush_if_full()?;
        self.place(revision, record.len() - RECORD_HEADER_LEN);
        self.buffer.extend_from_slice(record);
        Ok(())
    }

    /// Writes the buffer out. After an error it is kept, and the call may be repeated.
    pub(super) fn flush(&mut self) -> Result<(), Error> {
        if !self.buffer.is_empty() {
            self.segment.write(&self.buffer)?;
            self.buffer.clear();
        }
        Ok(())
    }

    /// The `KeyValue` at `at` if it still waits in the buffer.
    pub(super) fn buffered(&self, at: Location) -> Option<Bytes> {
        if at.segment != self.segment.id() {
            return None;
        }
        let start = u64::from(at.offset).checked_sub(self.segment.flushed())?;
        let start = usize::try_from(start).ok()? + RECORD_HEADER_LEN;
        self.buffer.get(start..start + at.len as usize).map(Bytes::copy_from_slice)
    }

    fn flush_if_full(&mut self) -> Result<(), Error> {
        if self.is_buffer_full() { self.flush() } else { Ok(()) }
    }

    /// Where the next record goes, counting it as live.
    fn place(&self, revision: Revision, len: usize) -> Location {
        let offset = u32::try_from(self.len()).expect("a segment is shorter than 4 GiB");
        let len = u32::try_from(len).expect("a record is shorter than a segment");
        let at = Location { segment: self.segment.id(), offset, len };
        assert!(at.end() <= self.capacity, "a record must fit its segment");
        self.segment.add_live(at.record_len());
        self.segment.note(revision, offset.into());
        at
    }
}

/// Bytes of a segment that holds one record of a `KeyValue` of `len` bytes.
pub(super) fn segment_len_for(len: usize) -> u64 {
    (SEGMENT_HEADER_LEN + RECORD_HEADER_LEN + len) as u64
}
