//! The records of one segment in order, each verified.

use std::sync::Arc;

use bytes::Bytes;

use super::read_ahead::ReadAhead;
use super::record::{RECORD_HEADER_LEN, RecordHeader};
use super::segment::Segment;
use super::{Location, RecordMeta};
use crate::Error;

/// A record as read from the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What the header says.
    pub meta: RecordMeta,
    /// Where the record lies.
    pub at: Location,
    header: RecordHeader,
    bytes: Bytes,
}

impl Record {
    /// The key.
    pub fn key(&self) -> &[u8] {
        &self.bytes[self.header.key_span()]
    }

    /// The `mvccpb.KeyValue`, protobuf. It shares, and so keeps, what was read ahead with it.
    pub fn key_value(&self) -> Bytes {
        self.bytes.slice(RECORD_HEADER_LEN..)
    }

    /// The header as it stands in the file.
    pub(super) fn header(&self) -> &[u8] {
        &self.bytes[..RECORD_HEADER_LEN]
    }
}

/// An iterator over the records of one segment; ends for good after an error.
#[derive(Debug)]
pub(super) struct SegmentRecords {
    segment: Arc<Segment>,
    /// Offset of the next record.
    offset: u64,
    end: u64,
    read_ahead: ReadAhead,
}

impl SegmentRecords {
    /// The records that start at `offset` and end at `end`, both bounds of records.
    pub(super) fn new(segment: Arc<Segment>, offset: u64, end: u64) -> SegmentRecords {
        SegmentRecords { segment, offset, end, read_ahead: ReadAhead::default() }
    }

    fn step(&mut self) -> Result<Record, Error> {
        self.check_len(RECORD_HEADER_LEN)?;
        let header = RecordHeader::decode(self.read_ahead.show(
            &self.segment,
            self.offset,
            RECORD_HEADER_LEN,
            self.end,
        )?)
        .ok_or_else(|| self.segment.corrupt(self.offset, "the header of a record"))?;
        self.check_len(header.record_len())?;
        let bytes = self.read_ahead.share(&self.segment, self.offset, header.record_len(), self.end)?;
        if !header.is_intact(&bytes) {
            return Err(self.segment.corrupt(self.offset, "a record that matches its checksum"));
        }
        let offset = u32::try_from(self.offset).expect("a segment is shorter than 4 GiB");
        let at = Location { segment: self.segment.id(), offset, len: header.len };
        self.offset = at.end();
        Ok(Record { meta: header.meta, at, header, bytes })
    }

    /// Whether `len` more bytes are there.
    fn check_len(&self, len: usize) -> Result<(), Error> {
        if self.end - self.offset >= len as u64 {
            return Ok(());
        }
        let expected = format!("a record that ends before byte {}", self.end);
        Err(self.segment.corrupt(self.offset, expected))
    }
}

impl Iterator for SegmentRecords {
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
