//! Where reads find keys and records: the writer inside its transaction, or any reader beside it.
//!
//! A read looks into the index under its lock for a bounded number of steps, and copies records without it.

use bytes::Bytes;
use disk::revision_log::Segments;
use disk::{Location, RevisionLog};
use proto::wire::{put_message, put_message_head};

use super::index::Index;
use super::range::CHUNK_KEYS;
use super::{Shared, State};
use crate::stepped_lock::SteppedWriter;

/// Where the bytes of a record come from.
pub(crate) trait Records {
    /// The `mvccpb.KeyValue` bytes of a record.
    fn read(&self, at: Location) -> Result<Bytes, disk::Error>;

    /// Appends those of many records to `out`, in the order of `places`, each as a field with `tag`.
    fn append_all(&self, places: &[Location], tag: u8, out: &mut Vec<u8>) -> Result<(), disk::Error> {
        for &at in places {
            put_message(out, tag, &self.read(at)?);
        }
        Ok(())
    }
}

impl Records for Segments {
    fn read(&self, at: Location) -> Result<Bytes, disk::Error> {
        Segments::read(self, at)
    }

    fn append_all(&self, places: &[Location], tag: u8, out: &mut Vec<u8>) -> Result<(), disk::Error> {
        Segments::append_all(self, places, |out, len| put_message_head(out, tag, len), out)
    }
}

impl Records for &RevisionLog {
    fn read(&self, at: Location) -> Result<Bytes, disk::Error> {
        RevisionLog::read(self, at)
    }
}

/// An index and the records it points to.
pub(super) trait Source {
    /// What records are read from.
    type Records: Records + Clone;

    /// Looks into the index under its lock, with `look`, which takes its steps from those it is given.
    fn look<T>(&mut self, look: impl FnOnce(&Index, &mut usize) -> T) -> T;

    /// What to read the records from that the last look has found. The lock is not held any more.
    fn records(&mut self) -> Self::Records;
}

/// The source of a reader beside the writer. What it needs must not be trimmed: it is pinned, or as new as
/// the look.
#[derive(Debug)]
pub(super) struct SharedSource<'a> {
    shared: &'a Shared,
    segments: Segments,
}

impl<'a> SharedSource<'a> {
    pub(super) fn new(shared: &'a Shared) -> Self {
        SharedSource { shared, segments: shared.log.snapshot() }
    }
}

impl Source for SharedSource<'_> {
    type Records = Segments;

    fn look<T>(&mut self, look: impl FnOnce(&Index, &mut usize) -> T) -> T {
        let state = self.shared.read();
        // Taken under the lock: every location that is found lies in these segments.
        self.segments = self.shared.log.snapshot();
        look(&state.index, &mut { CHUNK_KEYS })
    }

    fn records(&mut self) -> Segments {
        self.segments.clone()
    }
}

/// The source of the writer, which sees its own changes.
pub(super) struct WriterSource<'t, 'a> {
    pub(super) state: &'t mut SteppedWriter<'a, State>,
    pub(super) log: &'t RevisionLog,
}

impl<'t> Source for WriterSource<'t, '_> {
    type Records = &'t RevisionLog;

    fn look<T>(&mut self, look: impl FnOnce(&Index, &mut usize) -> T) -> T {
        let mut steps_left = CHUNK_KEYS;
        let found = look(&self.state.get().index, &mut steps_left);
        self.state.spend(1 + CHUNK_KEYS - steps_left);
        found
    }

    fn records(&mut self) -> &'t RevisionLog {
        self.state.release();
        self.log
    }
}
