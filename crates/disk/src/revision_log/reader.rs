//! Reading the revision log beside its writer.
//!
//! Owns the set of segments that readers know. The writer replaces the set as a whole; a reader that holds an older
//! one goes on with it, and the files it names stay readable even after they were removed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;

use super::scan::Scan;
use super::segment::Segment;
use super::{Location, Revision};
use crate::Error;

/// How far ahead of a record others are fetched: enough to keep memory busy, few enough to stay in the nearest cache.
const RECORDS_AHEAD: usize = 8;

/// Bytes of a record that are fetched ahead: those behind them the processor fetches by itself.
const FETCHED_BYTES_MAX: usize = 512;

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

    /// Reads the `mvccpb.KeyValue` at `at`, its checksum verified.
    ///
    /// [`Error::Corrupt`] if the bytes there are not a record, not flushed, or the segment is not in this set.
    pub fn read(&self, at: Location) -> Result<Bytes, Error> {
        self.segment_of(at)?.read(at)
    }

    /// Appends the `mvccpb.KeyValue`s at `places`, in this order, to `out`, each behind what `put_head` appends for its
    /// length. Ends at the first error; then nothing of that record is in `out`, but its head may be.
    ///
    /// Records lie scattered, so memory is made to fetch each while others before it are still looked at: else every
    /// one would be waited for.
    pub fn append_all(
        &self,
        places: &[Location],
        put_head: impl Fn(&mut Vec<u8>, usize),
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let mut ahead = places.iter();
        ahead.by_ref().take(RECORDS_AHEAD).for_each(|at| self.fetch(*at));
        for at in places {
            if let Some(next) = ahead.next() {
                self.fetch(*next);
            }
            put_head(out, at.len as usize);
            self.segment_of(*at)?.append_key_value(*at, out)?;
        }
        Ok(())
    }

    fn fetch(&self, at: Location) {
        if let Some(segment) = self.get(at.segment) {
            segment.fetch(at, FETCHED_BYTES_MAX);
        }
    }

    fn segment_of(&self, at: Location) -> Result<&Arc<Segment>, Error> {
        self.get(at.segment).ok_or_else(|| no_segment(&self.set.dir, at))
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
