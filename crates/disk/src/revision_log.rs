//! The revision log: every change the store holds, in revision order, and the only copy of values.
//!
//! Owns the segments of a directory: files of at most [`Options::segment_bytes`] (unless one record is longer), of
//! which only the last is appended to. One thread owns the [`RevisionLog`]; any number read through a [`LogReader`].
//! Slow work (making files, syncing, rewriting, removing) comes as job objects that run on another thread.
//!
//! Durability is the raft log's: a crash loses whatever no checkpoint lists, and the raft log brings it back. Hence
//! nothing behind a listed length is trusted, and records need no framing into batches.
//!
//! Invariants: revisions ascend through the log; flushed bytes never change; a record's checksum is verified each
//! time it is read from disk. The log does not know which records are live: its user says so.
//!
//! The format and the protocol of reclaiming space: `docs/revision-log.md`.

mod active_segment;
mod merge;
mod open_files;
mod prepare;
mod read_ahead;
mod reader;
mod reclaim;
mod record;
mod revision;
mod rewrite_choice;
mod scan;
mod segment;
mod segment_header;
mod segment_records;
mod sidecar;
mod size;
mod spares;
mod sync;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use proto::checkpointpb;

pub use self::prepare::{PrepareSegment, SpareSegment};
pub use self::read_ahead::RecordReader;
pub use self::reader::{LogReader, Segments};
pub use self::reclaim::{Moved, ReclaimPlan, Removal, Rewritten};
pub use self::record::{Location, RECORD_HEADER_LEN, RecordMeta};
pub use self::revision::Revision;
pub use self::scan::Scan;
pub use self::segment_records::Record;
pub use self::size::Size;
pub use self::sync::SyncJob;

use self::active_segment::ActiveSegment;
use self::open_files::{CACHED_FILES_MAX, OpenFiles};
use self::segment::Segment;
use self::segment_header::SEGMENT_HEADER_LEN;
use self::sync::SegmentToSync;
use crate::directory::{self, Directory};
use crate::{Disk, Error};

const SEGMENT_EXTENSION: &str = "seg";
const SIDECAR_EXTENSION: &str = "idx";

/// Full segments that are not durable yet, at most; each has its file open.
const UNSYNCED_SEGMENTS_MAX: usize = 4;

/// Files that a log has open at most: those read from, the unsynced ones, the one being written, three spare ones (one
/// of a usual length, one for a long command, one being made), the target of a rewrite, a sidecar being written, and the
/// directory.
pub(crate) const OPEN_FILES_MAX: usize = CACHED_FILES_MAX + UNSYNCED_SEGMENTS_MAX + 7;

/// Ids that a log opened beside another may use: enough for terabytes.
const IDS_RESERVED: u32 = 1 << 16;

/// How a log is laid out.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Bytes of a segment, below 4 GiB.
    pub segment_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options { segment_bytes: 64 << 20 }
    }
}

/// The writer of the log.
#[derive(Debug)]
pub struct RevisionLog {
    disk: Arc<dyn Disk>,
    dir: Directory,
    files: Arc<OpenFiles>,
    options: Options,
    /// Ids only grow while the log is open, so that a location never means another record.
    next_id: u32,
    /// Full segments in revision order.
    sealed: Vec<Arc<Segment>>,
    active: Option<ActiveSegment>,
    /// The next segments' files, made ahead of need.
    prepared: VecDeque<SpareSegment>,
    /// Whether the active segment is to be sealed once the next segment is at hand.
    is_active_to_seal: bool,
    /// Segments that a rewrite has replaced but an index may point to.
    replaced: Vec<Arc<Segment>>,
    /// Segments whose files go with the next checkpoint.
    retired: Vec<Arc<Segment>>,
    /// Revision of the last record appended since the log was opened.
    last: Option<Revision>,
    sync_failed: Arc<AtomicBool>,
    /// Bytes of the full segments, and of all live records.
    sealed_bytes: u64,
    live_bytes: u64,
    /// What readers see, published through `reader`.
    segments: Segments,
    reader: LogReader,
}

impl RevisionLog {
    /// Opens the log in `dir`, which is created if missing (its parent must be there, durably), as a checkpoint listed
    /// it; an empty list starts an empty log. Cuts segments back to their listed lengths and removes those not
    /// listed: they are of no use, since the raft log is replayed from the checkpoint on.
    ///
    /// [`Error::Missing`] if a listed segment is not there, [`Error::Corrupt`] if it is too short, another one or out
    /// of order. Records are not verified here but by [`RevisionLog::load`].
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        options: Options,
        listed: &[checkpointpb::Segment],
    ) -> Result<RevisionLog, Error> {
        directory::create(&*disk, dir)?;
        let files = Arc::new(OpenFiles::new(disk.clone()));
        let sealed = open_listed(&files, dir, listed)?;
        // Last, so that a list that turns out wrong costs no file.
        let next_id = remove_unlisted(&*disk, dir, listed)?;
        RevisionLog::of_segments(disk, dir, options, files, sealed, listed, next_id)
    }

    /// Opens another log in the directory of one that is in use: its segments are `listed`, and new ones have ids from
    /// `first_id` on, which [`RevisionLog::reserve_ids`] of that log has given. No file is removed.
    pub fn open_beside(
        disk: Arc<dyn Disk>,
        dir: &Path,
        options: Options,
        listed: &[checkpointpb::Segment],
        first_id: u32,
    ) -> Result<RevisionLog, Error> {
        let files = Arc::new(OpenFiles::new(disk.clone()));
        let sealed = open_listed(&files, dir, listed)?;
        let newest = sealed.iter().map(|segment| segment.id() + 1).max().unwrap_or(0);
        RevisionLog::of_segments(disk, dir, options, files, sealed, listed, newest.max(first_id))
    }

    fn of_segments(
        disk: Arc<dyn Disk>,
        dir: &Path,
        options: Options,
        files: Arc<OpenFiles>,
        mut sealed: Vec<Arc<Segment>>,
        listed: &[checkpointpb::Segment],
        next_id: u32,
    ) -> Result<RevisionLog, Error> {
        assert!(options.segment_bytes <= u32::MAX.into(), "locations hold offsets of 32 bits");
        let active = match listed.last() {
            Some(last) if !last.sealed => sealed
                .pop()
                .map(|segment| ActiveSegment::resume(segment, options.segment_bytes))
                .transpose()?,
            _ => None,
        };
        let segments = Segments::new(dir.to_path_buf(), Vec::new(), &[]);
        let mut log = RevisionLog {
            dir: Directory::open(&*disk, dir)?,
            disk,
            files,
            options,
            next_id,
            sealed,
            active,
            prepared: VecDeque::new(),
            is_active_to_seal: false,
            replaced: Vec::new(),
            retired: Vec::new(),
            last: None,
            sync_failed: Arc::default(),
            sealed_bytes: 0,
            live_bytes: 0,
            reader: LogReader::new(segments.clone()),
            segments,
        };
        log.publish();
        Ok(log)
    }

    /// Gives ids to a log that is opened beside this one.
    pub fn reserve_ids(&mut self) -> u32 {
        let first = self.next_id;
        self.next_id =
            first.checked_add(IDS_RESERVED).expect("fewer than 2^32 segments are made before a restart");
        first
    }

    /// Takes the place of `before`, whose directory this log shares: its readers read this log from now on, its segments
    /// are retired, and its spare files are kept. Snapshots taken of it before can still be read.
    pub fn succeed(&mut self, before: RevisionLog) {
        let RevisionLog { sealed, active, prepared, replaced, retired, next_id, reader, .. } = before;
        let active = active.map(|active| Arc::clone(active.segment()));
        self.retired.extend(sealed.into_iter().chain(active).chain(replaced).chain(retired));
        self.prepared.extend(prepared);
        self.next_id = self.next_id.max(next_id);
        self.reader = reader;
        self.publish();
    }

    /// Gives the log up: a job that removes its files.
    pub fn discard(self) -> Removal {
        let RevisionLog { sealed, active, replaced, retired, disk, .. } = self;
        let active = active.map(|active| Arc::clone(active.segment()));
        let segments = sealed.into_iter().chain(active).chain(replaced).chain(retired).collect();
        Removal { disk, segments }
    }

    /// Visits every record (key, header, location) in the order of keys, those of one key in revision order: from
    /// sidecars where they are valid, which leaves values unread, else from the segments, checksums verified. Meant
    /// for once after [`RevisionLog::open`], to build an index.
    pub fn load(&self, visit: &mut dyn FnMut(&[u8], &RecordMeta, Location)) -> Result<(), Error> {
        merge::visit(self.segments.log(), visit)
    }

    /// Appends a record; others can read it after [`RevisionLog::flush`]. Begins the next segment if it does not fit,
    /// making the file here if none was adopted. After an error nothing was appended, and the call may be repeated;
    /// [`Error::NoSpace`] never comes for records that [`RevisionLog::has_room_for`] has found room for.
    ///
    /// # Panics
    /// If the revision does not exceed the last one, or `key_value` is no `mvccpb.KeyValue` as prost encodes it.
    pub fn append(&mut self, meta: &RecordMeta, key_value: &[u8]) -> Result<Location, Error> {
        assert!(self.last.is_none_or(|last| last < meta.revision), "revisions ascend");
        let segment_len = active_segment::segment_len_for(key_value.len());
        let record_len = segment_len - SEGMENT_HEADER_LEN as u64;
        if self.active.as_ref().is_none_or(|active| active.room() < record_len) {
            self.begin_segment(meta.revision, segment_len)?;
        }
        let active = self.active.as_mut().expect("a segment was begun");
        let at = active.push(meta, key_value)?;
        self.last = Some(meta.revision);
        self.live_bytes += record_len;
        Ok(at)
    }

    /// Whether to append a `key_value` of this length writes to the disk, and so may take long.
    pub fn next_append_writes(&self, key_value_len: usize) -> bool {
        let record_len = active_segment::segment_len_for(key_value_len) - SEGMENT_HEADER_LEN as u64;
        self.active.as_ref().is_none_or(|active| active.room() < record_len || active.is_buffer_full())
    }

    /// Writes out what was appended, with one write. Readers may read it from now on; it is not durable. After an
    /// error the records are kept, and the call may be repeated.
    pub fn flush(&mut self) -> Result<(), Error> {
        self.active.as_mut().map_or(Ok(()), ActiveSegment::flush)
    }

    /// Reads one record, flushed or not; see [`Segments::read`].
    pub fn read(&self, at: Location) -> Result<Bytes, Error> {
        match self.active.as_ref().and_then(|active| active.buffered(at)) {
            Some(key_value) => Ok(key_value),
            None => self.segments.read(at),
        }
    }

    /// A handle for other threads.
    pub fn reader(&self) -> LogReader {
        self.reader.clone()
    }

    /// The segments for a checkpoint, in revision order, with what is flushed of them. They must not be listed
    /// before the [`SyncJob`] made at the same time has succeeded.
    pub fn segments(&self) -> Vec<checkpointpb::Segment> {
        let list = |to_sync: SegmentToSync| checkpointpb::Segment {
            id: to_sync.segment.id().into(),
            first_revision: to_sync.segment.first().main,
            length: to_sync.length,
            sealed: to_sync.sealed,
        };
        self.flushed_segments().map(list).collect()
    }

    /// A job that makes durable what [`RevisionLog::segments`] lists now.
    pub fn sync_job(&self) -> SyncJob {
        SyncJob {
            dir: self.dir.clone(),
            failed: self.sync_failed.clone(),
            segments: self.flushed_segments().collect(),
        }
    }

    /// Whether it is time to make the next segment's file: the current one is half full or to be sealed, and none
    /// was adopted.
    pub fn needs_next(&self) -> bool {
        let is_half_full = self.active_room() < self.options.segment_bytes / 2;
        self.prepared.is_empty() && (is_half_full || self.is_active_to_seal)
    }

    /// A job that makes the next segment's file. At most one may be under way.
    pub fn next_segment(&mut self) -> PrepareSegment {
        self.next_segment_of(self.options.segment_bytes)
    }

    /// Counts the record at `at` as dead. Ignored if its segment was replaced.
    pub fn mark_dead(&mut self, at: Location) {
        if let Some(segment) = self.segments.get(at.segment) {
            segment.sub_live(at.record_len());
            if self.replaced.iter().all(|replaced| replaced.id() != at.segment) {
                self.live_bytes = self.live_bytes.saturating_sub(at.record_len());
            }
        }
    }

    /// A run of sealed segments worth rewriting, if there is one: what must stay fits one segment, and either most of
    /// their bytes are dead, or they are many, or dead bytes exceed a quarter of the live ones in the whole log. Once
    /// all plans are carried out, the log takes five quarters of its live bytes, what the active segment wastes aside, and the
    /// number of segments is proportional to them. `thoroughly`, whatever frees anything is worth it. At most one
    /// plan may be under way.
    pub fn reclaim_candidate(&mut self, thoroughly: bool) -> Option<ReclaimPlan> {
        self.seal_wasteful_active();
        let (sealed, capacity) = (&self.sealed, self.options.segment_bytes);
        let wasteful = || rewrite_choice::choose_wasteful(sealed, capacity, thoroughly);
        let run = rewrite_choice::choose(sealed, capacity).or_else(wasteful)?;
        let earlier = self.sealed[..run.start].to_vec();
        let sources = self.sealed[run].to_vec();
        Some(ReclaimPlan { files: self.files.clone(), earlier, sources, target: self.next_segment() })
    }

    /// Has the segment being written sealed if there are dead records in it, so that it can be rewritten: by the
    /// first [`RevisionLog::reclaim_candidate`] that finds the next segment at hand. Its room may be promised, and a
    /// full disk would give no other.
    pub fn seal_active_when_possible(&mut self) {
        self.is_active_to_seal = self.active.as_ref().is_some_and(|active| active.segment().wasted() > 0);
    }

    /// Whether [`RevisionLog::seal_active_when_possible`] still waits for the next segment.
    pub fn is_active_to_seal(&self) -> bool {
        self.is_active_to_seal
    }

    /// Puts a rewritten segment in the place of its sources: checkpoints list it from now on, scans read it, and
    /// readers find both. The caller then moves its index to [`Rewritten::moved`], marking dead each new location of
    /// a record that the index does not hold.
    pub fn install(&mut self, rewritten: &Rewritten) {
        let sources = &rewritten.replaced;
        let first = sources.first().expect("a plan has sources").id();
        let start = self.sealed.iter().position(|segment| segment.id() == first);
        let start = start.expect("the sources of a plan are part of the log until it is installed");
        let old = self.sealed.splice(start..start + sources.len(), rewritten.segment.clone());
        self.replaced.extend(old);
        for later in &self.sealed[start + usize::from(rewritten.segment.is_some())..] {
            // What a record of the sources has pinned may go now.
            later.pin(0);
        }
        self.publish();
    }

    /// Takes the sources of an installed rewrite from the readers, once the index points to them no longer.
    /// Snapshots taken before can still read them.
    pub fn retire(&mut self, rewritten: &Rewritten) {
        let sources = &rewritten.replaced;
        let is_source = |segment: &Arc<Segment>| sources.iter().any(|source| source.id() == segment.id());
        self.retired.extend(self.replaced.extract_if(.., |segment| is_source(segment)));
        self.publish();
    }

    /// A job that removes the files of retired segments. `durable` is the list of the newest durable checkpoint:
    /// a crash would need what it names, so that stays.
    pub fn release(&mut self, durable: &[checkpointpb::Segment]) -> Removal {
        let is_listed = |id: u32| durable.iter().any(|listed| listed.id == u64::from(id));
        let is_list_ignored = crate::seeded_bug!("listed-segment-removed");
        let is_needed = |id: u32| is_listed(id) && !is_list_ignored;
        let segments = self.retired.extract_if(.., |segment| !is_needed(segment.id())).collect();
        Removal { disk: self.disk.clone(), segments }
    }

    /// Ends the segment being written, if the next one is at hand, so that it can be rewritten: where that was asked
    /// for, or where its dead bytes alone make the log too large.
    fn seal_wasteful_active(&mut self) {
        let is_wanted = self.is_active_to_seal || self.is_active_wasteful();
        let is_seal_too_soon = crate::seeded_bug!("segment-sealed-too-soon");
        let is_next_at_hand = !self.prepared.is_empty() || is_seal_too_soon;
        if is_next_at_hand
            && is_wanted
            && let Some(full) = self.active.take_if(|active| active.is_flushed())
        {
            self.is_active_to_seal = false;
            self.sealed.push(full.segment().clone());
            self.publish();
        }
    }

    /// Seals the active segment and begins a segment of at least `len` bytes.
    fn begin_segment(&mut self, first: Revision, len: u64) -> Result<(), Error> {
        assert!(len <= u32::MAX.into(), "a record is shorter than 4 GiB");
        self.flush()?;
        self.limit_unsynced()?;
        let mut next = match self.take_prepared(len) {
            Some(prepared) => prepared,
            None => self.next_segment().run()?,
        };
        if let Err(error) = next.grow(len) {
            self.prepared.push_front(next);
            return Err(error);
        }
        self.is_active_to_seal = false;
        if let Some(full) = self.active.replace(ActiveSegment::start(next, self.files.clone(), first)) {
            self.sealed.push(full.segment().clone());
        }
        self.publish();
        Ok(())
    }

    /// Syncs the oldest full segments that no job has come to: each keeps a file open until it is durable.
    fn limit_unsynced(&mut self) -> Result<(), Error> {
        let newest = self.sealed.iter().rev();
        let unsynced: Vec<_> = newest.take_while(|segment| segment.has_own_file()).cloned().collect();
        for segment in unsynced.iter().skip(UNSYNCED_SEGMENTS_MAX - 1) {
            let synced = segment.sync(segment.flushed());
            if synced.is_err() {
                self.sync_failed.store(true, Ordering::Release);
            }
            synced?;
            segment.close_own_file();
        }
        Ok(())
    }

    /// Lets readers see the segments as they are now.
    fn publish(&mut self) {
        let active = self.active.as_ref().map(ActiveSegment::segment);
        let log = self.sealed.iter().chain(active).cloned().collect();
        self.segments = Segments::new(self.dir.path().to_path_buf(), log, &self.replaced);
        self.reader.publish(self.segments.clone());
        self.measure();
    }

    fn flushed_segments(&self) -> impl Iterator<Item = SegmentToSync> + '_ {
        let sealed = self.sealed.iter().map(|segment| (segment, true));
        let active = self.active.iter().map(|active| (active.segment(), false));
        let with_length = |(segment, sealed): (&Arc<Segment>, bool)| SegmentToSync {
            segment: segment.clone(),
            length: segment.flushed(),
            sealed,
        };
        sealed.chain(active).map(with_length).filter(|to_sync| to_sync.length > 0)
    }

    fn active_room(&self) -> u64 {
        self.active.as_ref().map_or(0, ActiveSegment::room)
    }
}

/// Where segment `id` stands.
fn segment_path(dir: &Path, id: u32) -> PathBuf {
    dir.join(format!("{id:016x}.{SEGMENT_EXTENSION}"))
}

/// Opens the listed segments, checking that they follow each other.
fn open_listed(
    files: &Arc<OpenFiles>,
    dir: &Path,
    listed: &[checkpointpb::Segment],
) -> Result<Vec<Arc<Segment>>, Error> {
    let mut segments: Vec<Arc<Segment>> = Vec::with_capacity(listed.len());
    for (i, entry) in listed.iter().enumerate() {
        let id = u32::try_from(entry.id).map_err(|_| Error::corrupt(dir, 0, "segment ids below 2^32"))?;
        let segment = Segment::open(files, segment_path(dir, id), id, entry.length)?;
        let in_order = segments.last().is_none_or(|before| before.first() < segment.first());
        if !in_order || segment.first().main != entry.first_revision {
            let expected = format!("first revision {} as listed, in ascending order", entry.first_revision);
            return Err(segment.corrupt(16, expected));
        }
        if !entry.sealed && i + 1 < listed.len() {
            return Err(segment.corrupt(0, "a sealed segment, as all but the last"));
        }
        segments.push(Arc::new(segment));
    }
    Ok(segments)
}

/// Removes the files of segments that are not listed, for good: an id may be given again, and nothing of its former
/// bearer may come back. Returns an id greater than all seen.
fn remove_unlisted(disk: &dyn Disk, dir: &Path, listed: &[checkpointpb::Segment]) -> Result<u32, Error> {
    let mut newest = listed.iter().map(|segment| segment.id).max().unwrap_or(0);
    let mut removed = false;
    for name in disk.list(dir).map_err(Error::io("list", dir))? {
        let Some(id) = segment_of(&name) else { continue };
        newest = newest.max(id);
        if listed.iter().all(|segment| segment.id != id) {
            let path = dir.join(name);
            disk.remove(&path).map_err(Error::io("remove", &path))?;
            removed = true;
        }
    }
    if removed {
        Directory::open(disk, dir)?.sync()?;
    }
    u32::try_from(newest + 1).map_err(|_| Error::corrupt(dir, 0, "segment ids below 2^32"))
}

/// The segment that a file belongs to, as its segment or its sidecar.
fn segment_of(name: &str) -> Option<u64> {
    let (id, extension) = name.split_once('.')?;
    let is_ours = id.len() == 16 && [SEGMENT_EXTENSION, SIDECAR_EXTENSION].contains(&extension);
    is_ours.then(|| u64::from_str_radix(id, 16).ok()).flatten()
}
