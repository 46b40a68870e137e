//! The records of one segment in order, each verified.

use std::sync::Arc;

use bytes::Bytes;

use super::record::{HEADER_LEN, Header};
use super::segment::Segment;
use super::{Location, RecordMeta};
use crate::Error;

/// Bytes looked at in one view. Where a view is a copy, this bounds the copy.
const WINDOW_BYTES: u64 = 256 << 10;

/// A record as read from the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What the header says.
    pub meta: RecordMeta,
    /// Where the record lies.
    pub at: Location,
    header: Header,
    bytes: Bytes,
}

impl Record {
    /// The key.
    pub fn key(&self) -> &[u8] {
        &self.bytes[self.header.key_span()]
    }

    /// The `mvccpb.KeyValue`, protobuf; shares the segment's memory.
    pub fn key_value(&self) -> Bytes {
        self.bytes.slice(HEADER_LEN..)
    }

    /// The header as it stands in the file.
    pub(super) fn header(&self) -> &[u8] {
        &self.bytes[..HEADER_LEN]
    }
}

/// An iterator over the records of one segment; ends for good after an error.
#[derive(Debug)]
pub(super) struct Walk {
    segment: Arc<Segment>,
    /// Offset of the next record.
    offset: u64,
    end: u64,
    /// Bytes of the file from `window_start` on.
    window: Bytes,
    window_start: u64,
}

impl Walk {
    /// The records that start at `offset` and end at `end`, both bounds of records.
    pub(super) fn new(segment: Arc<Segment>, offset: u64, end: u64) -> Walk {
        Walk { segment, offset, end, window: Bytes::new(), window_start: 0 }
    }

    fn step(&mut self) -> Result<Record, Error> {
        let header_bytes = self.bytes(HEADER_LEN)?;
        let header = Header::decode(&self.window[header_bytes])
            .ok_or_else(|| self.segment.corrupt(self.offset, "the header of a record"))?;
        let span = self.bytes(header.record_len())?;
        let bytes = self.window.slice(span);
        if !header.is_intact(&bytes) {
            return Err(self.segment.corrupt(self.offset, "a record that matches its checksum"));
        }
        let offset = u32::try_from(self.offset).expect("a segment is shorter than 4 GiB");
        let at = Location { segment: self.segment.id(), offset, len: header.len };
        self.offset = at.end();
        Ok(Record { meta: header.meta, at, header, bytes })
    }

    /// Where the `len` bytes of the next record lie within the window, which is moved if need be.
    fn bytes(&mut self, len: usize) -> Result<std::ops::Range<usize>, Error> {
        if self.end - self.offset < len as u64 {
            let expected = format!("a record that ends before byte {}", self.end);
            return Err(self.segment.corrupt(self.offset, expected));
        }
        let window_end = self.window_start + self.window.len() as u64;
        if self.offset + len as u64 > window_end {
            let window_len = (self.end - self.offset).min(WINDOW_BYTES.max(len as u64));
            let window_len = usize::try_from(window_len).expect("a segment fits the address space");
            self.window = self.segment.view(self.offset, window_len)?;
            self.window_start = self.offset;
        }
        let start = usize::try_from(self.offset - self.window_start).expect("within the window");
        Ok(start..start + len)
    }
}

impl Iterator for Walk {
    type Item = Result<Record, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.offset >= self.end {
            return None;
        }
        let record = self.step();
        if record.is_err() {
            self.offset = self.end;
        }
        Some(record)
    }
}
