//! The sidecar of a segment: headers and keys of its records without the values, so that a restart reads little.
//!
//! It is derived from its segment and never needed: one that is missing or damaged is made again from the segment.
//! All numbers are little-endian.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | magic `FERRETIX` |
//! | 8 | 4 | CRC-32C of everything behind it |
//! | 12 | 4 | format version, 1 |
//! | 16 | 8 | bytes of the segment it describes |
//! | 24 | 4 | segment id |
//! | 28 | | for each record in order: its header as in the segment, its key |
//!
//! Offsets are not stored, since records follow each other without gaps.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use super::head::HEAD_LEN;
use super::record::{HEADER_LEN, Header};
use super::segment::Segment;
use super::{Location, RecordMeta};
use crate::{Disk, Error};

const MAGIC: [u8; 8] = *b"FERRETIX";
const FORMAT: u32 = 1;
const SIDECAR_HEAD_LEN: usize = 28;

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
                Ok(sidecar)
            }
            None => Sidecar::build(segment),
        }
    }

    /// Reads all flushed records of `segment`.
    pub(super) fn build(segment: &Arc<Segment>) -> Result<Sidecar, Error> {
        let mut bytes = vec![0; SIDECAR_HEAD_LEN];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[12..16].copy_from_slice(&FORMAT.to_le_bytes());
        bytes[16..24].copy_from_slice(&segment.flushed().to_le_bytes());
        bytes[24..28].copy_from_slice(&segment.id().to_le_bytes());
        for record in segment.walk() {
            let record = record?;
            bytes.extend_from_slice(record.header());
            bytes.extend_from_slice(record.key());
        }
        let crc = crc32c::crc32c(&bytes[12..]);
        bytes[8..12].copy_from_slice(&crc.to_le_bytes());
        Ok(Sidecar { segment: segment.id(), bytes: bytes.into() })
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

    /// Its records in order.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry> + '_ {
        let mut at = SIDECAR_HEAD_LEN;
        let mut offset = HEAD_LEN as u64;
        std::iter::from_fn(move || {
            let header = Header::decode(&self.bytes[at..])?;
            let key_start = at + HEADER_LEN;
            at = key_start + header.key_len();
            let start = u32::try_from(offset).expect("a segment is shorter than 4 GiB");
            let location = Location { segment: self.segment, offset: start, len: header.len };
            offset = location.end();
            Some(Entry { meta: header.meta, at: location, key: self.bytes.slice(key_start..at) })
        })
    }

    /// The sidecar as it stands on disk. `None` if it is missing, damaged or of another segment.
    fn open(disk: &dyn Disk, segment: &Segment) -> Option<Sidecar> {
        let file = disk.open(&path(segment)).ok()?;
        let bytes = file.view(0, usize::try_from(file.len().ok()?).ok()?).ok()?;
        let u32_at = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        let length = u64::from_le_bytes(*bytes.get(16..)?.first_chunk()?);
        let valid = bytes.starts_with(&MAGIC)
            && u32_at(8)? == crc32c::crc32c(&bytes[12..])
            && u32_at(12)? == FORMAT
            && length == segment.flushed()
            && u32_at(24)? == segment.id();
        valid.then_some(Sidecar { segment: segment.id(), bytes })
    }
}

/// One record of a sidecar.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) meta: RecordMeta,
    pub(super) at: Location,
    pub(super) key: Bytes,
}

/// Where the sidecar of `segment` stands.
pub(super) fn path(segment: &Segment) -> PathBuf {
    segment.path().with_extension(super::SIDECAR_EXTENSION)
}
