//! Getting back the space of dead records: a run of adjacent segments is rewritten as one that holds the survivors.
//!
//! Rewriting needs no help from the writer and runs on any thread; the old segments stay readable until the index
//! points to the new one. See `docs/revision-log.md` for the order of the steps.

use std::sync::Arc;

use bytes::Bytes;

use super::head::HEAD_LEN;
use super::prepare::PrepareSegment;
use super::segment::Segment;
use super::sidecar::Sidecar;
use super::sync;
use super::tail::Tail;
use super::{Location, Revision};
use crate::{Disk, Error};

/// So many adjacent segments whose live bytes fit one are merged even if little of them is dead. Four such segments
/// always hold more than one segment's worth of live bytes, which bounds their number.
const MERGE_LEN: usize = 4;

/// Which segments to rewrite, and where to.
#[derive(Debug)]
pub struct ReclaimPlan {
    pub(super) disk: Arc<dyn Disk>,
    /// Adjacent, in revision order.
    pub(super) sources: Vec<Arc<Segment>>,
    pub(super) target: PrepareSegment,
}

impl ReclaimPlan {
    /// Copies the records that `keep` wants, given key and revision, into a new segment and makes its content
    /// durable. `keep` must want every record that an index may still read. Runs on any thread; at most one plan of
    /// a log may be under way.
    ///
    /// An error leaves the log as it is; after [`Error::NoSpace`] another plan may succeed later.
    pub fn run(self, keep: &dyn Fn(&[u8], Revision) -> bool) -> Result<Rewritten, Error> {
        let survivors = self.survivors(keep)?;
        let mut rewritten = Rewritten { segment: None, replaced: self.sources, moved: Vec::new() };
        let Some(&Survivor { revision: first, .. }) = survivors.first() else { return Ok(rewritten) };
        let records_len: u64 = survivors.iter().map(|survivor| survivor.at.record_len()).sum();
        let target = PrepareSegment { capacity: HEAD_LEN as u64 + records_len, ..self.target }.run()?;
        let path = target.path.clone();
        let copied = copy(&survivors, &rewritten.replaced, Tail::start(target, first))
            .and_then(|segment| Ok((sync::seal(&*self.disk, &segment)?, segment)));
        let (sidecar, segment) = copied.inspect_err(|_| {
            // Gives back the space; if that fails too, the file goes as an orphan at the next start.
            let _ = self.disk.remove(&path);
        })?;
        rewritten.moved = sidecar.entries().map(|entry| (entry.key, entry.meta.revision, entry.at)).collect();
        rewritten.segment = Some(segment);
        Ok(rewritten)
    }

    fn survivors(&self, keep: &dyn Fn(&[u8], Revision) -> bool) -> Result<Vec<Survivor>, Error> {
        let mut survivors = Vec::new();
        for (source, segment) in self.sources.iter().enumerate() {
            let sidecar = Sidecar::load(&*self.disk, segment)?;
            let kept = sidecar.entries().filter(|entry| keep(&entry.key, entry.meta.revision));
            survivors.extend(kept.map(|entry| Survivor {
                source,
                revision: entry.meta.revision,
                at: entry.at,
            }));
        }
        Ok(survivors)
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

fn copy(survivors: &[Survivor], sources: &[Arc<Segment>], mut to: Tail) -> Result<Arc<Segment>, Error> {
    for survivor in survivors {
        to.push_copy(survivor.revision, &sources[survivor.source].read_record(survivor.at)?)?;
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
    /// The survivors in revision order: key, revision, and where they lie now.
    pub moved: Vec<(Bytes, Revision, Location)>,
}

/// A job that removes the files of segments that are part of the log no longer.
#[derive(Debug)]
pub struct Removal {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) segments: Vec<Arc<Segment>>,
}

impl Removal {
    /// Removes the files. Views of them stay valid; the space is free when the last is dropped. What an error
    /// leaves behind goes at the next start.
    pub fn run(self) -> Result<(), Error> {
        for segment in &self.segments {
            let sidecar = super::sidecar::path(segment);
            if segment.has_sidecar() {
                self.disk.remove(&sidecar).map_err(Error::io("remove", &sidecar))?;
            }
            self.disk.remove(segment.path()).map_err(Error::io("remove", segment.path()))?;
        }
        Ok(())
    }
}

/// The run of adjacent segments most worth rewriting into one of `capacity` bytes, as a range of `sealed`.
///
/// Worth is dead bytes less live ones: what is freed less what is copied. It is positive just when the live share is
/// under a half. Without such a run, [`MERGE_LEN`] adjacent ones that fit one segment do.
pub(super) fn choose(sealed: &[Arc<Segment>], capacity: u64) -> Option<std::ops::Range<usize>> {
    let budget = capacity.saturating_sub(HEAD_LEN as u64);
    let mut best = None;
    let mut best_worth = 0;
    let mut merge = None;
    for start in 0..sealed.len() {
        let (mut live, mut worth) = (0, 0);
        for (i, segment) in sealed[start..].iter().enumerate() {
            live += segment.live();
            worth += segment.flushed().cast_signed() - 2 * segment.live().cast_signed();
            if live > budget {
                break;
            }
            if worth > best_worth {
                (best, best_worth) = (Some(start..start + i + 1), worth);
            }
            if merge.is_none() && i + 1 == MERGE_LEN {
                merge = Some(start..start + MERGE_LEN);
            }
        }
    }
    best.or(merge)
}
