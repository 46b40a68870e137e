//! Getting back the space of dead records: a run of adjacent segments is rewritten as one that holds the survivors.
//!
//! Rewriting needs no help from the writer and runs on any thread; the old segments stay readable until the index
//! points to the new one. See `docs/revision-log.md` for the order of the steps.
//!
//! Invariant: whatever is rewritten, an index built from the log and compacted again is the same. Hence a tombstone
//! stays, though the index has dropped it, while an older record of its key lies in front of the run: without it a
//! restart would bring the deleted key back.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::active_segment::ActiveSegment;
use super::open_files::OpenFiles;
use super::prepare::PrepareSegment;
use super::read_ahead::ReadAhead;
use super::segment::Segment;
use super::segment_header::SEGMENT_HEADER_LEN;
use super::sidecar::{Entries, Sidecar};
use super::sync;
use super::{Location, Revision};
use crate::{Disk, Error};

/// Bytes copied between two syncs.
const SYNC_BYTES: u64 = 4 << 20;

/// Which segments to rewrite, and where to.
#[derive(Debug)]
pub struct ReclaimPlan {
    pub(super) files: Arc<OpenFiles>,
    /// The segments before the sources.
    pub(super) earlier: Vec<Arc<Segment>>,
    /// Adjacent, in revision order.
    pub(super) sources: Vec<Arc<Segment>>,
    pub(super) target: PrepareSegment,
}

impl ReclaimPlan {
    /// Copies the records that `keep` wants, given key and revision, into a new segment and makes its content
    /// durable. `keep` must want every record that an index may still read. Runs on any thread; at most one plan of
    /// a log may be under way.
    ///
    /// An error leaves the log as it is; after one that [`Error::may_be_retried`] another plan may succeed later.
    pub fn run(self, keep: &dyn Fn(&[u8], Revision) -> bool) -> Result<Rewritten, Error> {
        for source in &self.sources {
            // Else it would keep its file open until it is removed.
            source.sync(source.flushed())?;
            source.close_own_file();
        }
        let (survivors, pinned) = self.survivors(keep)?;
        let mut rewritten = Rewritten { segment: None, replaced: self.sources, moved: Moved::default() };
        let Some(&Survivor { revision: first, .. }) = survivors.first() else { return Ok(rewritten) };
        let records_len: u64 = survivors.iter().map(|survivor| survivor.at.record_len()).sum();
        let target =
            PrepareSegment { capacity: SEGMENT_HEADER_LEN as u64 + records_len, ..self.target }.run()?;
        let path = target.path.clone();
        let active = ActiveSegment::start(target, self.files.clone(), first);
        let copied = copy_and_seal(&survivors, &rewritten.replaced, active);
        let (segment, sidecar) = copied.inspect_err(|_| {
            // Gives back the space; if that fails too, the file goes as an orphan at the next start.
            let _ = self.files.disk().remove(&path);
        })?;
        segment.close_own_file();
        segment.pin(pinned);
        rewritten.moved = Moved { entries: Some(sidecar.entries()) };
        rewritten.segment = Some(segment);
        Ok(rewritten)
    }

    /// The records to copy, and how many bytes of them are tombstones that only the log still needs.
    fn survivors(&self, keep: &dyn Fn(&[u8], Revision) -> bool) -> Result<(Vec<Survivor>, u64), Error> {
        let mut survivors = Vec::new();
        // The newest of each key covers those before it.
        let mut dropped_tombstones = BTreeMap::new();
        for (source, segment) in self.sources.iter().enumerate() {
            for entry in Sidecar::load(segment)?.entries() {
                let entry = entry?;
                let survivor = Survivor { source, revision: entry.meta.revision, at: entry.at };
                if keep(&entry.key, entry.meta.revision) {
                    survivors.push(survivor);
                } else if entry.meta.tombstone {
                    dropped_tombstones.insert(entry.key, survivor);
                }
            }
        }
        let needed = self.needed(dropped_tombstones)?;
        let pinned = needed.iter().map(|survivor| survivor.at.record_len()).sum();
        if !crate::seeded_bug!("tombstone-lost") {
            survivors.extend(needed);
        }
        survivors.sort_unstable_by_key(|survivor| survivor.revision);
        Ok((survivors, pinned))
    }

    /// Those tombstones whose key has a put in an earlier segment.
    fn needed(&self, mut tombstones: BTreeMap<Bytes, Survivor>) -> Result<Vec<Survivor>, Error> {
        let mut needed = Vec::new();
        for segment in &self.earlier {
            if tombstones.is_empty() {
                break;
            }
            for entry in Sidecar::load(segment)?.entries() {
                let entry = entry?;
                if !entry.meta.tombstone {
                    needed.extend(tombstones.remove(&entry.key));
                }
            }
        }
        Ok(needed)
    }
}

/// A record to copy.
#[derive(Debug)]
struct Survivor {
    /// Index of its segment among the sources.
    source: usize,
    revision: Revision,
    at: Location,
}

/// The survivors as a durable segment, with its sidecar.
fn copy_and_seal(
    survivors: &[Survivor],
    sources: &[Arc<Segment>],
    to: ActiveSegment,
) -> Result<(Arc<Segment>, Sidecar), Error> {
    let segment = copy(survivors, sources, to)?;
    let sidecar = sync::seal(&segment)?;
    match sidecar.save() {
        Err(error) if !error.may_be_retried() => Err(error),
        _ => Ok((segment, sidecar)),
    }
}

/// Syncs in pieces on the way, so that the disk always has time for the syncs that writers wait for.
fn copy(
    survivors: &[Survivor],
    sources: &[Arc<Segment>],
    mut to: ActiveSegment,
) -> Result<Arc<Segment>, Error> {
    let mut unsynced = 0;
    let mut read_ahead = ReadAhead::default();
    for survivor in survivors {
        let record = sources[survivor.source].record_through(&mut read_ahead, survivor.at)?;
        to.push_copy(survivor.revision, record)?;
        unsynced += survivor.at.record_len();
        if unsynced >= SYNC_BYTES {
            to.flush()?;
            to.segment().sync(to.segment().flushed())?;
            unsynced = 0;
        }
    }
    to.flush()?;
    Ok(to.segment().clone())
}

/// What a plan has made.
#[derive(Debug)]
pub struct Rewritten {
    /// None if nothing survived.
    pub(super) segment: Option<Arc<Segment>>,
    pub(super) replaced: Vec<Arc<Segment>>,
    /// Where the survivors lie now. Tombstones may be among them that the index has dropped.
    pub moved: Moved,
}

/// The records of a rewritten segment in the order of their keys: key, revision, place.
#[derive(Debug, Default)]
pub struct Moved {
    entries: Option<Entries>,
}

impl Iterator for Moved {
    type Item = (Bytes, Revision, Location);

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.entries.as_mut()?.next()?.expect("nothing is read: the sidecar is still in memory");
        Some((entry.key, entry.meta.revision, entry.at))
    }
}

/// A job that removes the files of segments that are part of the log no longer.
#[derive(Debug)]
pub struct Removal {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) segments: Vec<Arc<Segment>>,
}

impl Removal {
    /// Removes the files, large ones piece by piece. The segments that a reader still holds stay readable; their space
    /// is free when the last is dropped. What an error leaves behind goes at the next start.
    pub fn run(self) -> Result<(), Error> {
        for mut segment in self.segments {
            if segment.has_sidecar() {
                segment.files().close(segment.sidecar_number());
                let sidecar = super::sidecar::path(&segment);
                self.disk.remove(&sidecar).map_err(Error::io("remove", &sidecar))?;
            }
            match Arc::get_mut(&mut segment) {
                Some(segment) => segment.give_back()?,
                None => segment.outlive_name()?,
            }
            segment.remove()?;
        }
        Ok(())
    }
}
