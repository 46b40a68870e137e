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
//! | 28 | 4 | number of landmarks |
//! | 32 | | for each landmark: revision, main (8) and sub (4); offset (4) |
//! | | | for each record: its offset (4), its header behind the checksum (48), its key |
//!
//! Records stand in the order of their keys, those of one key in revision order: an index is built from several
//! sidecars by merging them, each read once from front to end.

use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use super::record::{HEADER_LEN, Header};
use super::segment::Segment;
use super::{Location, RecordMeta, Revision};
use crate::{Disk, Error};

const MAGIC: [u8; 8] = *b"FERRETIX";
const FORMAT: u32 = 2;
const SIDECAR_HEAD_LEN: usize = 32;
const LANDMARK_LEN: usize = 16;

/// A sidecar in memory.
#[derive(Debug)]
pub(super) struct Sidecar {
    segment: u32,
    bytes: Bytes,
}

impl Sidecar {
    /// The sidecar of `segment`: from its file if that is valid, else by reading the segment, checksums verified.
    pub(super) fn load(disk: &dyn Disk, segment: &Arc<Segment>) -> Result<Sidecar, Error> {
        match Sidecar::open(disk, segment) {
            Some(sidecar) => {
                segment.set_sidecar();
                segment.set_landmarks(sidecar.landmarks());
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
        for record in segment.walk() {
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
        Ok(Sidecar { segment: segment.id(), bytes: encode(segment, &records, &starts).into() })
    }

    /// Writes the sidecar beside `segment`, replacing what stands there, and makes its content durable.
    pub(super) fn save(&self, disk: &dyn Disk, segment: &Segment) -> Result<(), Error> {
        let path = path(segment);
        let mut created = disk.create(&path);
        if created.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AlreadyExists) {
            disk.remove(&path).map_err(Error::io("remove", &path))?;
            created = disk.create(&path);
        }
        let file = created.map_err(Error::io("create", &path))?;
        file.write_at(0, &self.bytes).map_err(Error::io("write", &path))?;
        file.sync().map_err(Error::io("sync", &path))?;
        segment.set_sidecar();
        Ok(())
    }

    /// Its records, in the order of their keys.
    pub(super) fn entries(self) -> Entries {
        let at = SIDECAR_HEAD_LEN + self.landmarks_len() * LANDMARK_LEN;
        Entries { segment: self.segment, bytes: self.bytes, at }
    }

    /// The sidecar as it stands on disk. `None` if it is missing, damaged or of another segment.
    fn open(disk: &dyn Disk, segment: &Segment) -> Option<Sidecar> {
        let file = disk.open(&path(segment)).ok()?;
        let bytes = file.view(0, usize::try_from(file.len().ok()?).ok()?).ok()?;
        let u32_at = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        let length = u64::from_le_bytes(*bytes.get(16..)?.first_chunk()?);
        let valid = bytes.starts_with(&MAGIC)
            && bytes.len() >= SIDECAR_HEAD_LEN
            && u32_at(8)? == crc32c::crc32c(&bytes[12..])
            && u32_at(12)? == FORMAT
            && length == segment.flushed()
            && u32_at(24)? == segment.id();
        valid.then_some(Sidecar { segment: segment.id(), bytes })
    }

    fn landmarks_len(&self) -> usize {
        u32::from_le_bytes(slice(&self.bytes, 28)) as usize
    }

    fn landmarks(&self) -> Vec<(Revision, u64)> {
        let bytes = &self.bytes[SIDECAR_HEAD_LEN..][..self.landmarks_len() * LANDMARK_LEN];
        let decode = |landmark: &[u8]| {
            let (main, sub) =
                (i64::from_le_bytes(slice(landmark, 0)), u32::from_le_bytes(slice(landmark, 8)));
            (Revision { main, sub }, u32::from_le_bytes(slice(landmark, 12)).into())
        };
        bytes.chunks_exact(LANDMARK_LEN).map(decode).collect()
    }
}

/// A sidecar's records, visited one after the other.
#[derive(Debug)]
pub(super) struct Entries {
    segment: u32,
    bytes: Bytes,
    /// Where the next one starts.
    at: usize,
}

impl Iterator for Entries {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        let header = Header::decode(self.bytes.get(self.at..)?)?;
        // An offset stands where a record has its checksum.
        let offset = u32::from_le_bytes(slice(&self.bytes, self.at));
        let key_start = self.at + HEADER_LEN;
        self.at = key_start + header.key_len();
        let at = Location { segment: self.segment, offset, len: header.len };
        Some(Entry { meta: header.meta, at, key: self.bytes.slice(key_start..self.at) })
    }
}

/// One record of a sidecar.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) meta: RecordMeta,
    pub(super) at: Location,
    /// Shares the sidecar's memory.
    pub(super) key: Bytes,
}

/// The file of a sidecar whose entries, in file order, begin at `starts` in `records`.
fn encode(segment: &Segment, records: &[u8], starts: &[usize]) -> Vec<u8> {
    let landmarks = segment.landmarks();
    let landmarks_len = u32::try_from(landmarks.len()).expect("a segment is shorter than 4 GiB");
    let mut bytes = Vec::with_capacity(SIDECAR_HEAD_LEN + landmarks.len() * LANDMARK_LEN + records.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&FORMAT.to_le_bytes());
    bytes.extend_from_slice(&segment.flushed().to_le_bytes());
    bytes.extend_from_slice(&segment.id().to_le_bytes());
    bytes.extend_from_slice(&landmarks_len.to_le_bytes());
    for (revision, offset) in landmarks {
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
    let key = |span: &Range<usize>| &records[span.start + HEADER_LEN..span.end];
    let spans: Vec<_> = starts.iter().zip(ends).map(|(&start, end)| start..end).collect();
    let common = spans.windows(2).map(|pair| common_len(key(&pair[0]), key(&pair[1]))).min().unwrap_or(0);
    // Most comparisons need no more than the eight bytes behind what all keys begin with.
    let head = |span: &Range<usize>| {
        let mut head = [0; 8];
        let rest = &key(span)[common..];
        let len = rest.len().min(8);
        head[..len].copy_from_slice(&rest[..len]);
        u64::from_be_bytes(head)
    };
    let mut ordered: Vec<_> = spans.into_iter().map(|span| (head(&span), span)).collect();
    ordered.sort_by(|(a_head, a), (b_head, b)| a_head.cmp(b_head).then_with(|| key(a).cmp(key(b))));
    ordered.into_iter().map(|(_, span)| span)
}

/// How many bytes two keys have in common before they differ.
fn common_len(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

fn slice<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    *bytes[at..].first_chunk().expect("the checksum of the sidecar was right, and we wrote it")
}

/// Where the sidecar of `segment` stands.
pub(super) fn path(segment: &Segment) -> PathBuf {
    segment.path().with_extension(super::SIDECAR_EXTENSION)
}
