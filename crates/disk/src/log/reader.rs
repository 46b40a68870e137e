//! Reading the revision log beside its writer.
//!
//! Owns the set of segments that readers know. The writer replaces the set as a whole; a reader that holds an older
//! one goes on with it, and the files it names stay readable even after they were removed.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;

use super::scan::Scan;
use super::segment::Segment;
use super::{Location, Revision, record};
use crate::Error;

/// How far ahead of a record others are asked for: enough to keep memory busy, few enough to stay in the nearest cache.
const RECORDS_AHEAD: usize = 8;

/// What memory gives at a time, in bytes, on most processors.
const CACHE_LINE: usize = 64;

/// Bytes of a record that are asked for: those behind them the processor fetches by itself.
const ASKED_BYTES_MAX: usize = 512;

/// A handle for reading the log from any thread; cheap to clone.
#[derive(Debug, Clone)]
pub struct LogReader {
    current: Arc<RwLock<Segments>>,
}

impl LogReader {
    pub(super) fn new(segments: Segments) -> LogReader {
        LogReader { current: Arc::new(RwLock::new(segments)) }
    }

    /// The segments as they are now. Every flushed location that an index holds now can be read through it for as
    /// long as it lives, whatever is reclaimed meanwhile; locations of segments begun later cannot.
    pub fn snapshot(&self) -> Segments {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads one record; see [`Segments::read`].
    pub fn read(&self, at: Location) -> Result<Bytes, Error> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).read(at)
    }

    /// The records from `from` on; see [`Scan`] for where it ends.
    pub fn scan(&self, from: Revision) -> Scan {
        Scan::new(self.snapshot(), from)
    }

    pub(super) fn publish(&self, segments: Segments) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = segments;
    }
}

/// A fixed set of segments: many reads without a lock for each. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Segments {
    set: Arc<SegmentSet>,
}

#[derive(Debug)]
struct SegmentSet {
    dir: PathBuf,
    /// The log, in revision order.
    log: Vec<Arc<Segment>>,
    /// Those of the log, and those replaced by a rewrite that an index may still point to.
    by_id: BTreeMap<u32, Arc<Segment>>,
}

impl Segments {
    pub(super) fn new(dir: PathBuf, log: Vec<Arc<Segment>>, replaced: &[Arc<Segment>]) -> Segments {
        let by_id = log.iter().chain(replaced).map(|segment| (segment.id(), segment.clone())).collect();
        Segments { set: Arc::new(SegmentSet { dir, log, by_id }) }
    }

    /// Reads the `mvccpb.KeyValue` at `at`, its checksum verified, without a copy where the disk allows.
    ///
    /// [`Error::Corrupt`] if the bytes there are not a record, not flushed, or the segment is not in this set.
    pub fn read(&self, at: Location) -> Result<Bytes, Error> {
        match self.get(at.segment) {
            Some(segment) => segment.read(at),
            None => Err(no_segment(&self.set.dir, at)),
        }
    }

    /// Shows the `mvccpb.KeyValue`s at `places`, in this order, to `visit`: [`Segments::read`] for bytes that are not
    /// kept. Ends at the first error.
    ///
    /// Records lie scattered, so each is asked for while others before it are still looked at: else every one would
    /// wait for memory.
    pub fn visit_all(&self, places: &[Location], visit: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
        let mut coming = [None; RECORDS_AHEAD];
        for (record, at) in coming.iter_mut().zip(places) {
            *record = self.ask_for(*at);
        }
        for (i, at) in places.iter().enumerate() {
            let next = places.get(i + RECORDS_AHEAD).and_then(|at| self.ask_for(*at));
            let record = std::mem::replace(&mut coming[i % RECORDS_AHEAD], next);
            match record.and_then(|bytes| record::key_value(bytes, *at)) {
                Some(key_value) => visit(key_value),
                None => visit(&self.read(*at)?),
            }
        }
        Ok(())
    }

    /// The record at `at`, unverified, if it can be had without a view; memory begins to fetch it.
    fn ask_for(&self, at: Location) -> Option<&[u8]> {
        let record = self.get(at.segment)?.mapped(at)?;
        for line in record[..record.len().min(ASKED_BYTES_MAX)].chunks(CACHE_LINE) {
            black_box(line[0]);
        }
        Some(record)
    }

    pub(super) fn get(&self, id: u32) -> Option<&Arc<Segment>> {
        self.set.by_id.get(&id)
    }

    pub(super) fn dir(&self) -> &Path {
        &self.set.dir
    }

    /// Every segment that can be read.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Segment>> {
        self.set.by_id.values()
    }

    /// The log, in revision order.
    pub(super) fn log(&self) -> &[Arc<Segment>] {
        &self.set.log
    }
}

/// `at` names a segment that is not there.
pub(super) fn no_segment(dir: &Path, at: Location) -> Error {
    let path = super::segment_path(dir, at.segment);
    Error::corrupt(&path, at.offset.into(), "a segment of the log")
}
