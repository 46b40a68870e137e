//! One segment: a file of records in revision order, shared by the writer and any number of readers.
//!
//! Owns the file and three counters: how far readers may read, how far the bytes are durable, how many are live.
//! Only the log's writer (see [`super::active_segment`]) adds bytes. Flushed bytes never change, so they are read without a lock:
//! single records are copied out of a mapping, longer stretches are read through the few files that the log has open.
//! The segment holds its own file open only while bytes of it are not durable.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::{Buf, Bytes};

use super::open_files::OpenFiles;
use super::read_ahead::ReadAhead;
use super::record::{self, RECORD_HEADER_LEN};
use super::segment_header::{SEGMENT_HEADER_LEN, SegmentHeader};
use super::segment_records::SegmentRecords;
use super::{Location, Revision};
use crate::mapping::Mapping;
use crate::{Error, File};

/// Distance between two entries of the sparse index, bytes: what a scan reads in vain at most.
const SPARSE_INDEX_STEP_BYTES: u64 = 64 << 10;

/// Bytes of a removed file given back at a time. A device may be busy for some milliseconds with discarding them, for
/// which the syncs of the write-ahead log wait.
const GIVEN_BACK_BYTES_MAX: u64 = 16 << 20;

/// A segment of the revision log.
#[derive(Debug)]
pub(super) struct Segment {
    header: SegmentHeader,
    path: PathBuf,
    /// Through which it is read when it has no file of its own.
    files: Arc<OpenFiles>,
    /// Its own file, while it is written and until it is durable; and after its name was removed, for those who still
    /// read it, if it cannot be mapped.
    own_file: Mutex<Option<Arc<dyn File>>>,
    /// Whether its name is removed, or is about to be: then a file of its own is never closed. Changed under the lock of
    /// `own_file`.
    is_removed: AtomicBool,
    /// Made at the first read; none where the disk has no mappings.
    mapping: OnceLock<Option<Mapping>>,
    /// Bytes that were written, the header included. Readers stay below.
    flushed: AtomicU64,
    /// Bytes that survive a crash.
    synced: AtomicU64,
    /// Bytes of records that the index points to. Changed by the writer alone.
    live: AtomicU64,
    /// Bytes of records that are not live but would survive a rewrite, as far as known.
    pinned: AtomicU64,
    /// Whether a valid sidecar stands beside it.
    has_sidecar: AtomicBool,
    /// Some records' revisions and offsets, ascending.
    sparse_index: Mutex<Vec<(Revision, u64)>>,
}

impl Segment {
    /// A segment whose file is still empty.
    pub(super) fn new(
        path: PathBuf,
        file: Arc<dyn File>,
        files: Arc<OpenFiles>,
        header: SegmentHeader,
    ) -> Segment {
        Segment { own_file: Mutex::new(Some(file)), ..Segment::closed(path, files, header) }
    }

    /// A segment without a file of its own.
    fn closed(path: PathBuf, files: Arc<OpenFiles>, header: SegmentHeader) -> Segment {
        Segment {
            header,
            path,
            files,
            own_file: Mutex::default(),
            is_removed: AtomicBool::new(false),
            mapping: OnceLock::new(),
            flushed: AtomicU64::new(0),
            synced: AtomicU64::new(0),
            live: AtomicU64::new(0),
            pinned: AtomicU64::new(0),
            has_sidecar: AtomicBool::new(false),
            sparse_index: Mutex::default(),
        }
    }

    /// Opens segment `id`, of which `length` bytes are durable, and cuts off what follows them. All bytes count as
    /// live.
    pub(super) fn open(
        files: &Arc<OpenFiles>,
        path: PathBuf,
        id: u32,
        length: u64,
    ) -> Result<Segment, Error> {
        let file = files.disk().open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => missing(&path),
            _ => Error::io("open", &path)(error),
        })?;
        let file_len = file.len().map_err(Error::io("measure", &path))?;
        if file_len < length {
            return Err(Error::corrupt(&path, file_len, format!("{length} bytes, as the checkpoint lists")));
        }
        if !(SEGMENT_HEADER_LEN as u64..=u32::MAX.into()).contains(&length) {
            let expected =
                format!("between {SEGMENT_HEADER_LEN} bytes and 4 GiB, where {length} bytes are listed");
            return Err(Error::corrupt(&path, 0, expected));
        }
        if file_len > length {
            file.set_len(length).map_err(Error::io("cut", &path))?;
        }
        let mut bytes = [0; SEGMENT_HEADER_LEN];
        file.read_at(0, &mut bytes).map_err(Error::read(&path, 0))?;
        let header =
            SegmentHeader::decode(&bytes).map_err(|(at, expected)| Error::corrupt(&path, at, expected))?;
        if header.id != id {
            return Err(Error::corrupt(&path, 12, format!("segment id {id}")));
        }
        let segment = Segment::closed(path, files.clone(), header);
        segment.flushed.store(length, Ordering::Release);
        segment.synced.store(length, Ordering::Release);
        segment.add_live(length - SEGMENT_HEADER_LEN as u64);
        Ok(segment)
    }

    /// Opens its own file, to be written again.
    pub(super) fn open_own_file(&self) -> Result<(), Error> {
        let file = self.files.disk().open(&self.path).map_err(Error::io("open", &self.path))?;
        *self.lock_own_file() = Some(file);
        Ok(())
    }

    /// Closes its own file, if all that was written is durable and the file can be opened again by its name.
    pub(super) fn close_own_file(&self) {
        let mut own_file = self.lock_own_file();
        let is_removed = self.is_removed.load(Ordering::Relaxed);
        if !is_removed && self.synced.load(Ordering::Acquire) >= self.flushed() {
            *own_file = None;
        }
    }

    /// Whether it has a file of its own open.
    pub(super) fn has_own_file(&self) -> bool {
        self.lock_own_file().is_some()
    }

    fn lock_own_file(&self) -> MutexGuard<'_, Option<Arc<dyn File>>> {
        self.own_file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with its file, be it its own or one of the log's.
    fn with_file<T>(&self, work: impl FnOnce(&dyn File) -> io::Result<T>) -> io::Result<T> {
        let own_file = self.lock_own_file().clone();
        match own_file {
            Some(file) => work(&*file),
            None => self.files.with(self.file_number(), &self.path, work),
        }
    }

    /// Its number among the log's open files.
    fn file_number(&self) -> u64 {
        u64::from(self.header.id) * 2
    }

    /// The number of its sidecar.
    pub(super) fn sidecar_number(&self) -> u64 {
        self.file_number() + 1
    }

    pub(super) fn files(&self) -> &Arc<OpenFiles> {
        &self.files
    }

    /// The mapping of its file, if it can have one.
    fn mapping(&self) -> Result<Option<&Mapping>, Error> {
        if let Some(mapping) = self.mapping.get() {
            return Ok(mapping.as_ref());
        }
        let mapping = self.with_file(|file| file.map()).map_err(Error::io("map", &self.path))?;
        Ok(self.mapping.get_or_init(|| mapping).as_ref())
    }

    pub(super) fn id(&self) -> u32 {
        self.header.id
    }

    /// Revision of the first record.
    pub(super) fn first(&self) -> Revision {
        self.header.first
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes that readers may read, the header included; 0 before the first flush.
    pub(super) fn flushed(&self) -> u64 {
        self.flushed.load(Ordering::Acquire)
    }

    /// Bytes of live records.
    pub(super) fn live(&self) -> u64 {
        self.live.load(Ordering::Relaxed)
    }

    pub(super) fn add_live(&self, bytes: u64) {
        self.live.store(self.live() + bytes, Ordering::Relaxed);
    }

    pub(super) fn sub_live(&self, bytes: u64) {
        self.live.store(self.live().saturating_sub(bytes), Ordering::Relaxed);
    }

    /// Bytes that would survive a rewrite.
    pub(super) fn kept(&self) -> u64 {
        self.live() + self.pinned.load(Ordering::Relaxed)
    }

    /// Bytes that a rewrite would give back.
    pub(super) fn wasted(&self) -> u64 {
        self.flushed().saturating_sub(SEGMENT_HEADER_LEN as u64 + self.kept())
    }

    /// Counts `bytes` as surviving a rewrite beside the live ones.
    pub(super) fn pin(&self, bytes: u64) {
        self.pinned.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn has_sidecar(&self) -> bool {
        self.has_sidecar.load(Ordering::Acquire)
    }

    pub(super) fn set_sidecar(&self) {
        self.has_sidecar.store(true, Ordering::Release);
    }

    /// Adds bytes behind the flushed ones and lets readers at them. Called by the writer alone.
    pub(super) fn write(&self, data: &[u8]) -> Result<(), Error> {
        let flushed = self.flushed();
        let written = self.with_file(|file| file.write_at(flushed, data));
        written.map_err(Error::io("write", &self.path))?;
        // One may have been left by an earlier process, in which this segment was sealed here.
        self.has_sidecar.store(false, Ordering::Release);
        self.flushed.store(flushed + data.len() as u64, Ordering::Release);
        Ok(())
    }

    /// Makes space for `len` bytes in all; does nothing if the file is as long.
    pub(super) fn reserve(&self, len: u64) -> Result<(), Error> {
        self.with_file(|file| file.reserve(len)).map_err(Error::io("reserve space for", &self.path))
    }

    /// Gives back the space behind `length`. The segment must not be written to any more.
    pub(super) fn trim(&self, length: u64) -> Result<(), Error> {
        let is_longer = |file: &dyn File| Ok(file.len()? > length);
        if self.with_file(is_longer).map_err(Error::io("measure", &self.path))? {
            self.with_file(|file| file.set_len(length)).map_err(Error::io("cut", &self.path))?;
        }
        Ok(())
    }

    /// Gives back most of the space of a file that is about to be removed, piece by piece, each synced by itself, so
    /// that no journal gathers them. Whoever calls this is the last to have the segment, so nobody reads it.
    pub(super) fn give_back(&mut self) -> Result<(), Error> {
        self.mapping = OnceLock::new();
        let mut len = self.with_file(|file| file.len()).map_err(Error::io("measure", &self.path))?;
        while len > GIVEN_BACK_BYTES_MAX {
            len -= GIVEN_BACK_BYTES_MAX;
            self.with_file(|file| file.set_len(len)).map_err(Error::io("cut", &self.path))?;
            self.with_file(|file| file.sync()).map_err(Error::fatal("sync", &self.path))?;
        }
        Ok(())
    }

    /// Makes it readable for those who still have it when its name is gone.
    pub(super) fn outlive_name(&self) -> Result<(), Error> {
        {
            let _own_file = self.lock_own_file();
            self.is_removed.store(true, Ordering::Relaxed);
        }
        if self.mapping()?.is_none() && !self.has_own_file() {
            self.open_own_file()?;
        }
        Ok(())
    }

    /// Removes the file. What was opened of it is closed.
    pub(super) fn remove(&self) -> Result<(), Error> {
        self.files.disk().remove(&self.path).map_err(Error::io("remove", &self.path))?;
        self.files.close(self.file_number());
        Ok(())
    }

    /// Makes the first `length` bytes durable; they must be flushed. Never an [`Error::NoSpace`], since a failed sync
    /// is final.
    pub(super) fn sync(&self, length: u64) -> Result<(), Error> {
        if self.synced.load(Ordering::Acquire) < length {
            self.with_file(|file| file.sync()).map_err(Error::fatal("sync", &self.path))?;
            self.synced.fetch_max(length, Ordering::AcqRel);
        }
        Ok(())
    }

    /// A copy of `len` flushed bytes at `offset`, which leaves the mapping alone while there is a file.
    pub(super) fn copy(&self, offset: u64, len: usize) -> Result<Bytes, Error> {
        let mut bytes = vec![0; len];
        match self.with_file(|file| file.read_at(offset, &mut bytes)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // Its name was removed, and before that it was made readable without.
                bytes.clear();
                self.append_to(offset, len, &mut bytes)?;
            }
            read => read.map_err(Error::read(&self.path, offset))?,
        }
        Ok(bytes.into())
    }

    /// Appends `len` flushed bytes at `offset` to `out`.
    fn append_to(&self, offset: u64, len: usize, out: &mut Vec<u8>) -> Result<(), Error> {
        if self.mapping()?.is_some_and(|mapping| mapping.append_to(offset, len, out)) {
            return Ok(());
        }
        let start = out.len();
        out.resize(start + len, 0);
        self.with_file(|file| file.read_at(offset, &mut out[start..]))
            .map_err(Error::read(&self.path, offset))
    }

    /// The record at `at` with its header, its checksum verified, read through `read_ahead`.
    pub(super) fn record_through<'w>(
        &self,
        read_ahead: &'w mut ReadAhead,
        at: Location,
    ) -> Result<&'w [u8], Error> {
        self.check_flushed(at)?;
        let len = RECORD_HEADER_LEN + at.len as usize;
        let record = read_ahead.show(self, at.offset.into(), len, self.flushed())?;
        if record::key_value(record, at).is_some() { Ok(record) } else { Err(self.not_a_record(at)) }
    }

    /// Makes memory fetch the first bytes of the record at `at`, `bytes_max` at most, if that can be had at once.
    pub(super) fn fetch(&self, at: Location, bytes_max: usize) {
        if let Some(Some(mapping)) = self.mapping.get()
            && at.end() <= self.flushed()
        {
            mapping.fetch(at.offset.into(), RECORD_HEADER_LEN + at.len as usize, bytes_max);
        }
    }

    fn check_flushed(&self, at: Location) -> Result<(), Error> {
        if at.end() <= self.flushed() {
            return Ok(());
        }
        let expected = format!("{} bytes of a record within {} bytes", at.record_len(), self.flushed());
        Err(self.corrupt(at.offset.into(), expected))
    }

    fn not_a_record(&self, at: Location) -> Error {
        self.corrupt(at.offset.into(), "a record that matches its checksum")
    }

    /// The `KeyValue` of the record at `at`, its checksum verified.
    pub(super) fn read(&self, at: Location) -> Result<Bytes, Error> {
        let mut record = Vec::new();
        self.read_into(at, &mut record)?;
        let mut key_value = Bytes::from(record);
        key_value.advance(RECORD_HEADER_LEN);
        Ok(key_value)
    }

    /// The same in `record`, whose content it replaces: the record with its header. Returns the `KeyValue`.
    pub(super) fn read_into<'r>(&self, at: Location, record: &'r mut Vec<u8>) -> Result<&'r [u8], Error> {
        self.check_flushed(at)?;
        record.clear();
        self.append_to(at.offset.into(), RECORD_HEADER_LEN + at.len as usize, record)?;
        record::key_value(record, at).ok_or_else(|| self.not_a_record(at))
    }

    /// Appends the `KeyValue` of the record at `at` to `out`. Its checksum is verified there, on the copy; after an error
    /// `out` is as before.
    pub(super) fn append_key_value(&self, at: Location, out: &mut Vec<u8>) -> Result<(), Error> {
        self.check_flushed(at)?;
        let (start, offset) = (out.len(), u64::from(at.offset));
        let mut header = [0; RECORD_HEADER_LEN];
        let is_copied = self.mapping()?.is_some_and(|mapping| {
            mapping.copy_to(offset, &mut header)
                && mapping.append_to(offset + RECORD_HEADER_LEN as u64, at.len as usize, out)
        });
        if !is_copied {
            out.extend_from_slice(self.read_into(at, &mut Vec::new())?);
            return Ok(());
        }
        if !record::is_record(&header, &out[start..], at) {
            out.truncate(start);
            return Err(self.not_a_record(at));
        }
        Ok(())
    }

    /// All flushed records.
    pub(super) fn records(self: &Arc<Self>) -> SegmentRecords {
        SegmentRecords::new(self.clone(), SEGMENT_HEADER_LEN as u64, self.flushed())
    }

    /// The flushed records from the last entry of the sparse index at or before `from` on.
    pub(super) fn records_from(self: &Arc<Self>, from: Revision) -> SegmentRecords {
        let sparse_index = self.sparse_index.lock().unwrap_or_else(PoisonError::into_inner);
        let before = sparse_index.partition_point(|&(revision, _)| revision <= from);
        let start = if before == 0 { SEGMENT_HEADER_LEN as u64 } else { sparse_index[before - 1].1 };
        SegmentRecords::new(self.clone(), start, self.flushed())
    }

    /// Remembers the record of `revision` at `offset` if the last one remembered is far enough away. Revisions must
    /// come in ascending order; those already passed are ignored.
    pub(super) fn note(&self, revision: Revision, offset: u64) {
        let mut sparse_index = self.sparse_index.lock().unwrap_or_else(PoisonError::into_inner);
        let next = sparse_index.last().map_or(SEGMENT_HEADER_LEN as u64, |&(_, offset)| offset)
            + SPARSE_INDEX_STEP_BYTES;
        if offset >= next {
            sparse_index.push((revision, offset));
        }
    }

    /// What [`Segment::note`] remembered.
    pub(super) fn sparse_index(&self) -> Vec<(Revision, u64)> {
        self.sparse_index.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes what [`Segment::sparse_index`] gave in a former life.
    pub(super) fn set_sparse_index(&self, sparse_index: Vec<(Revision, u64)>) {
        *self.sparse_index.lock().unwrap_or_else(PoisonError::into_inner) = sparse_index;
    }

    /// An error about the bytes at `offset`.
    pub(super) fn corrupt(&self, offset: u64, expected: impl Into<Cow<'static, str>>) -> Error {
        Error::corrupt(&self.path, offset, expected)
    }
}

/// The segment at `path` is not there.
fn missing(path: &Path) -> Error {
    let name = path.file_name().unwrap_or_default().display();
    let dir = path.parent().unwrap_or(path).to_path_buf();
    Error::Missing { dir, expected: format!("segment {name}, which the checkpoint lists") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::Disk;
    use crate::sim::SimDisk;

    #[test]
    fn a_large_file_is_given_back_piece_by_piece() {
        let disk = SimDisk::new(1);
        let path = Path::new("/f");
        let file = disk.create(path).unwrap();
        file.reserve(2 * GIVEN_BACK_BYTES_MAX + 5).unwrap();
        let header = SegmentHeader { id: 1, first: Revision { main: 2, sub: 0 } };
        let files = Arc::new(OpenFiles::new(Arc::new(disk.clone())));
        let mut segment = Segment::new(path.to_path_buf(), file, files, header);
        let before = disk.ops();
        segment.give_back().unwrap();
        let after = disk.ops();
        assert_eq!((after.resizes - before.resizes, after.syncs - before.syncs), (2, 2));
        assert_eq!(disk.used(), 5);
    }
}
