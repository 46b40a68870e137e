//! The sidecar of a segment: headers and keys of its records without the values, so that a restart reads little.
//!
//! It is derived from its segment and never needed: one that is missing or damaged is made again from the segment.
//! All numbers are little-endian.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | magic `FERRETIX` |
//! | 8 | 4 | CRC-32C of everything behind it |
//! | 12 | 4 | format version, 2 |
//! | 16 | 8 | bytes of the segment it describes |
//! | 24 | 4 | segment id |
//! | 28 | 4 | number of entries of the sparse index |
//! | 32 | | for each entry of the sparse index: revision, main (8) and sub (4); offset (4) |
//! | | | for each record: its offset (4), its header behind the checksum (48), its key |
//!
//! Records stand in the order of their keys, those of one key in revision order: an index is built from several
//! sidecars by merging them, each read once from front to end.

use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use super::record::{RECORD_HEADER_LEN, RecordHeader};
use super::segment::Segment;
use super::{Location, RecordMeta, Revision};
use crate::directory::remove_if_there;
use crate::{Error, File};

const MAGIC: [u8; 8] = *b"FERRETIX";
const FORMAT: u32 = 2;
const SIDECAR_HEADER_LEN: usize = 32;
const SPARSE_ENTRY_LEN: usize = 16;
/// Where the bytes begin that the checksum covers.
const CHECKED_FROM: u64 = 12;

/// Bytes of a sidecar that are read at a time: what one takes of memory when many are merged.
const READ_BYTES: u64 = 64 << 10;

/// A valid sidecar.
#[derive(Debug)]
pub(super) struct Sidecar {
    segment: Arc<Segment>,
    /// The whole file, if it was made just now and does not stand on the disk.
    content: Option<Bytes>,
    sparse_index: Vec<(Revision, u64)>,
    /// Where the records lie, and their checksum.
    records: Range<u64>,
    records_crc: u32,
}

impl Sidecar {
    /// The sidecar of `segment`: from its file if that is valid, else by reading the segment, checksums verified.
    ///
    /// A file that cannot be read is an error: it tells of a disk that fails, other than one that is missing or holds
    /// something else.
    pub(super) fn load(segment: &Arc<Segment>) -> Result<Sidecar, Error> {
        match Sidecar::open(segment)? {
            Some(sidecar) => {
                segment.set_sidecar();
                segment.set_sparse_index(sidecar.sparse_index.clone());
                Ok(sidecar)
            }
            None => Sidecar::build(segment),
        }
    }

    /// Reads all flushed records of `segment`.
    pub(super) fn build(segment: &Arc<Segment>) -> Result<Sidecar, Error> {
        let mut last = None;
        let mut records = Vec::new();
        let mut starts = Vec::new();
        for record in segment.records() {
            let record = record?;
            let (revision, offset) = (record.meta.revision, record.at.offset);
            if last.is_some_and(|last| last >= revision) {
                return Err(segment.corrupt(offset.into(), "a greater revision than before"));
            }
            last = Some(revision);
            segment.note(revision, offset.into());
            starts.push(records.len());
            records.extend_from_slice(&offset.to_le_bytes());
            records.extend_from_slice(&record.header()[4..]);
            records.extend_from_slice(record.key());
        }
        let content = Bytes::from(encode(segment, &records, &starts));
        let records = (content.len() - records.len()) as u64..content.len() as u64;
        let records_crc = crc32c::crc32c(&content[records.start as usize..]);
        let sparse_index = segment.sparse_index();
        Ok(Sidecar { segment: segment.clone(), content: Some(content), sparse_index, records, records_crc })
    }

    /// Writes the sidecar, if it was made just now, beside its segment, replacing what stands there, and makes its
    /// content durable. An error that may be retried leaves nothing behind.
    pub(super) fn save(&self) -> Result<(), Error> {
        let Some(content) = &self.content else { return Ok(()) };
        let (path, disk) = (path(&self.segment), self.segment.files().disk());
        self.segment.files().close(self.segment.sidecar_number());
        remove_if_there(&**disk, &path)?;
        let file = disk.create(&path).map_err(Error::io("create", &path))?;
        let written = file.write_at(0, content).map_err(Error::io("write", &path));
        written.and_then(|()| file.sync().map_err(Error::io("sync", &path))).inspect_err(|_| {
            // The error that matters is the one that led here; what is left is replaced by the next attempt.
            let _ = disk.remove(&path);
        })?;
        self.segment.set_sidecar();
        Ok(())
    }

    /// [`Sidecar::save`] for a sealed segment, after which the file is read instead of what is in memory. If there is no
    /// room for it the memory must do.
    pub(super) fn saved(mut self) -> Result<Sidecar, Error> {
        match self.save() {
            Ok(()) => self.content = None,
            Err(error) if error.may_be_retried() => {}
            Err(error) => return Err(error),
        }
        Ok(self)
    }

    /// Its records, in the order of their keys.
    pub(super) fn entries(self) -> Entries {
        let Sidecar { segment, content, records, records_crc, .. } = self;
        let at = records.start;
        let chunk_start = if content.is_some() { 0 } else { at };
        let chunk = content.unwrap_or_default();
        let (read_to, crc) = if chunk.is_empty() { (at, 0) } else { (records.end, records_crc) };
        Entries { segment, at, end: records.end, chunk, chunk_start, read_to, crc, records_crc }
    }

    /// The sidecar as it stands on disk. `None` if it is missing, damaged or of another segment.
    fn open(segment: &Arc<Segment>) -> Result<Option<Sidecar>, Error> {
        let path = path(segment);
        let verified = segment.files().with(segment.sidecar_number(), &path, |file| verify(file, segment));
        match verified {
            Ok(sidecar) => Ok(sidecar),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("read", &path)(error)),
        }
    }
}

/// Reads a whole sidecar, piece by piece. `None` if it is not one of `segment`.
fn verify(file: &dyn File, segment: &Arc<Segment>) -> io::Result<Option<Sidecar>> {
    let len = file.len()?;
    if len < SIDECAR_HEADER_LEN as u64 {
        return Ok(None);
    }
    let mut header = [0; SIDECAR_HEADER_LEN];
    file.read_at(0, &mut header)?;
    let u32_at = |at: usize| u32::from_le_bytes(slice(&header, at));
    let is_ours = header.starts_with(&MAGIC)
        && u32_at(12) == FORMAT
        && u64::from_le_bytes(slice(&header, 16)) == segment.flushed()
        && u32_at(24) == segment.id();
    let sparse_index_len = u64::from(u32_at(28)) * SPARSE_ENTRY_LEN as u64;
    let records = SIDECAR_HEADER_LEN as u64 + sparse_index_len..len;
    // The sparse index takes memory: no more than the file has.
    if !is_ours || records.start > len {
        return Ok(None);
    }
    let mut sparse_index = vec![0; sparse_index_len as usize];
    file.read_at(SIDECAR_HEADER_LEN as u64, &mut sparse_index)?;
    let checked = [&header[CHECKED_FROM as usize..], &sparse_index];
    let mut crc = checked.iter().fold(0, |crc, bytes| crc32c::crc32c_append(crc, bytes));
    let mut records_crc = 0;
    let mut at = records.start;
    let mut piece = Vec::new();
    while at < len {
        piece.resize(READ_BYTES.min(len - at) as usize, 0);
        file.read_at(at, &mut piece)?;
        crc = crc32c::crc32c_append(crc, &piece);
        records_crc = crc32c::crc32c_append(records_crc, &piece);
        at += piece.len() as u64;
    }
    let sparse_index = sparse_index.chunks_exact(SPARSE_ENTRY_LEN).map(decode_sparse_entry).collect();
    let sidecar = Sidecar { segment: segment.clone(), content: None, sparse_index, records, records_crc };
    Ok((crc == u32_at(8)).then_some(sidecar))
}

fn decode_sparse_entry(bytes: &[u8]) -> (Revision, u64) {
    let main = i64::from_le_bytes(slice(bytes, 0));
    let sub = u32::from_le_bytes(slice(bytes, 8));
    (Revision { main, sub }, u32::from_le_bytes(slice(bytes, 12)).into())
}

/// A sidecar's records, visited one after the other; ends for good after an error.
#[derive(Debug)]
pub(super) struct Entries {
    segment: Arc<Segment>,
    /// Where the next one starts, and where the last one ends.
    at: u64,
    end: u64,
    /// Some of the file's bytes, and where they begin.
    chunk: Bytes,
    chunk_start: u64,
    /// What was read so far, and its checksum. It is verified a second time, since it is read a second time.
    read_to: u64,
    crc: u32,
    records_crc: u32,
}

impl Entries {
    fn step(&mut self) -> Result<Entry, Error> {
        let header = self.bytes(RECORD_HEADER_LEN as u64)?;
        // An offset stands where a record has its checksum.
        let offset = u32::from_le_bytes(slice(&header, 0));
        let header = RecordHeader::decode(&header).ok_or_else(|| self.damaged())?;
        let entry_len = (RECORD_HEADER_LEN + header.key_len()) as u64;
        let key = self.bytes(entry_len)?.slice(RECORD_HEADER_LEN..);
        self.at += entry_len;
        if self.at == self.end && self.crc != self.records_crc {
            return Err(self.damaged());
        }
        let at = Location { segment: self.segment.id(), offset, len: header.len };
        Ok(Entry { meta: header.meta, at, key })
    }

    /// The next `len` bytes.
    fn bytes(&mut self, len: u64) -> Result<Bytes, Error> {
        if len > self.end - self.at {
            return Err(self.damaged());
        }
        if self.at + len > self.chunk_start + self.chunk.len() as u64 {
            self.read(len)?;
        }
        let start = (self.at - self.chunk_start) as usize;
        Ok(self.chunk.slice(start..start + len as usize))
    }

    /// Reads ahead from where the next record starts, `len` bytes at least.
    fn read(&mut self, len: u64) -> Result<(), Error> {
        let mut chunk = vec![0; READ_BYTES.max(len).min(self.end - self.at) as usize];
        let (path, at) = (path(&self.segment), self.at);
        let files = self.segment.files();
        let read = files.with(self.segment.sidecar_number(), &path, |file| file.read_at(at, &mut chunk));
        read.map_err(Error::read(&path, at))?;
        let known = (self.read_to - at) as usize;
        self.crc = crc32c::crc32c_append(self.crc, &chunk[known..]);
        self.read_to = at + chunk.len() as u64;
        self.chunk_start = at;
        self.chunk = chunk.into();
        Ok(())
    }

    fn damaged(&self) -> Error {
        Error::corrupt(&path(&self.segment), self.at, "what was read there a moment ago")
    }
}

impl Iterator for Entries {
    type Item = Result<Entry, Error>;

    fn next(&mut self) -> Option<Result<Entry, Error>> {
        if self.at >= self.end {
            return None;
        }
        let entry = self.step();
        if entry.is_err() {
            self.at = self.end;
        }
        Some(entry)
    }
}

/// One record of a sidecar.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) meta: RecordMeta,
    pub(super) at: Location,
    /// Shares the memory of those read with it.
    pub(super) key: Bytes,
}

/// The file of a sidecar whose entries, in file order, begin at `starts` in `records`.
fn encode(segment: &Segment, records: &[u8], starts: &[usize]) -> Vec<u8> {
    let sparse_index = segment.sparse_index();
    let sparse_index_len = u32::try_from(sparse_index.len()).expect("a segment is shorter than 4 GiB");
    let mut bytes =
        Vec::with_capacity(SIDECAR_HEADER_LEN + sparse_index.len() * SPARSE_ENTRY_LEN + records.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&FORMAT.to_le_bytes());
    bytes.extend_from_slice(&segment.flushed().to_le_bytes());
    bytes.extend_from_slice(&segment.id().to_le_bytes());
    bytes.extend_from_slice(&sparse_index_len.to_le_bytes());
    for (revision, offset) in sparse_index {
        let offset = u32::try_from(offset).expect("a segment is shorter than 4 GiB");
        bytes.extend_from_slice(&revision.main.to_le_bytes());
        bytes.extend_from_slice(&revision.sub.to_le_bytes());
        bytes.extend_from_slice(&offset.to_le_bytes());
    }
    for span in in_key_order(records, starts) {
        bytes.extend_from_slice(&records[span]);
    }
    let crc = crc32c::crc32c(&bytes[12..]);
    bytes[8..12].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// Where the entries that begin at `starts` lie in `records`, in the order of their keys; those of one key as they come.
fn in_key_order(records: &[u8], starts: &[usize]) -> impl Iterator<Item = Range<usize>> {
    let ends = starts.iter().skip(1).copied().chain([records.len()]);
    let key = |span: &Range<usize>| &records[span.start + RECORD_HEADER_LEN..span.end];
    let spans: Vec<_> = starts.iter().zip(ends).map(|(&start, end)| start..end).collect();
    let common = spans.windows(2).map(|pair| common_len(key(&pair[0]), key(&pair[1]))).min().unwrap_or(0);
    // Most comparisons need no more than the eight bytes behind what all keys begin with.
    let prefix = |span: &Range<usize>| {
        let mut prefix = [0; 8];
        let rest = &key(span)[common..];
        let len = rest.len().min(8);
        prefix[..len].copy_from_slice(&rest[..len]);
        u64::from_be_bytes(prefix)
    };
    let mut ordered: Vec<_> = spans.into_iter().map(|span| (prefix(&span), span)).collect();
    ordered.sort_by(|(a_prefix, a), (b_prefix, b)| a_prefix.cmp(b_prefix).then_with(|| key(a).cmp(key(b))));
    ordered.into_iter().map(|(_, span)| span)
}

/// How many bytes two keys have in common before they differ.
fn common_len(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

fn slice<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    *bytes[at..].first_chunk().expect("the fields of a header or a record lie within it")
}

/// Where the sidecar of `segment` stands.
pub(super) fn path(segment: &Segment) -> PathBuf {
    segment.path().with_extension(super::SIDECAR_EXTENSION)
}
