//! A sequential read of the log, as a watcher that catches up needs it.

use super::Revision;
use super::reader::Segments;
use super::segment::Segment;
use super::segment_records::{Record, SegmentRecords};
use crate::Error;

/// The records of the log from a revision on, in revision order, up to what is flushed when it gets there. Segments
/// begun after the scan are not part of it. After an error it ends for good.
///
/// Records that compaction dropped may or may not be among them: they go when their segment is rewritten.
#[derive(Debug)]
pub struct Scan {
    segments: Segments,
    from: Revision,
    records: Option<SegmentRecords>,
    /// Index of the segment behind the one walked.
    next: usize,
}

impl Scan {
    pub(super) fn new(segments: Segments, from: Revision) -> Scan {
        // The last segment that begins at or before `from` is the first that can hold it.
        let start = segments.log().partition_point(|segment| segment.first() <= from).saturating_sub(1);
        let records = segments.log().get(start).map(|segment| segment.records_from(from));
        Scan { segments, from, records, next: start + 1 }
    }
}

impl Iterator for Scan {
    type Item = Result<Record, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.records.as_mut()?.next() {
                Some(Ok(record)) if record.meta.revision < self.from => {}
                Some(Ok(record)) => return Some(Ok(record)),
                Some(Err(error)) => {
                    self.records = None;
                    return Some(Err(error));
                }
                None => {
                    self.records = self.segments.log().get(self.next).map(Segment::records);
                    self.next += 1;
                }
            }
        }
    }
}
