//! The file that records are appended to, and the zeros in front of them.
//!
//! What a reader makes of a torn tail rests on zeros: a batch is written over zeros that are durable, so a sector that
//! did not reach the disk reads as zero. A new file is full of them. A file that is used again is full of old
//! records; there each write brings the zeros for the next one, and what does not fit them goes in two steps.
//!
//! ```text
//!            offset           clean_to                         allocated
//!   records  | durable zeros  | old records, perhaps zeros     |
//!            [ batch .................. ][ zeros ]
//!              2. then this   1. this is written and synced
//! ```
//!
//! Until the second step the log ends at the offset; from then on the batch is as on a new file.
//!
//! Invariants: the bytes from the offset to `clean_to` are zero and durable, whatever a crash leaves; they are at least
//! the rest of a sector, or the file is full.

use std::path::PathBuf;
use std::sync::Arc;

use super::decode::SECTOR_BYTES;
use super::spare_file::SpareFile;
use crate::error::Error;
use crate::files::File;

/// What the file system writes at a time: zeros up to the end of a page cost nothing. At most an eighth of a file, so
/// that small ones, as tests have, meet the same cases.
const PAGE_BYTES_MAX: u64 = 4096;

/// The last file of a log.
#[derive(Debug)]
pub(super) struct ActiveFile {
    pub(super) path: PathBuf,
    pub(super) file: Arc<dyn File>,
    /// Where the next record goes.
    pub(super) offset: u64,
    /// Up to here the file has space on the disk.
    pub(super) allocated: u64,
    /// Up to here what is behind the offset is zero, for good.
    clean_to: u64,
    /// The same after the next sync.
    zeroed_to: u64,
    is_synced: bool,
}

impl ActiveFile {
    /// Goes on at `offset` of a file of `allocated` bytes with durable zeros up to `clean_to`.
    pub(super) fn new(
        path: PathBuf,
        file: Arc<dyn File>,
        offset: u64,
        clean_to: u64,
        allocated: u64,
    ) -> ActiveFile {
        ActiveFile { path, file, offset, allocated, clean_to, zeroed_to: clean_to, is_synced: true }
    }

    /// Begins a file.
    pub(super) fn start(prepared: SpareFile) -> ActiveFile {
        let clean_to = if prepared.is_zero { prepared.len } else { 0 };
        ActiveFile::new(prepared.path, prepared.file, 0, clean_to, prepared.len)
    }

    /// Gives the file back, to be begun again later.
    pub(super) fn into_spare(self) -> SpareFile {
        SpareFile { file: self.file, path: self.path, len: self.allocated, is_zero: false }
    }

    /// Writes `records`, whole frames, which it may lengthen with zeros. Durable after [`ActiveFile::sync`], which has
    /// nothing left to do if `is_sync_next` and all before is durable: then both are one system call. After
    /// [`Error::NoSpace`] nothing has changed; any other error is final.
    pub(super) fn write(&mut self, records: &mut Vec<u8>, is_sync_next: bool) -> Result<(), Error> {
        let end = self.offset + records.len() as u64;
        self.reserve(end)?;
        let zeros_end = self.zeros_end(end);
        records.resize((zeros_end - self.offset) as usize, 0);
        self.zeroed_to = self.zeroed_to.max(zeros_end);
        let is_split_skipped = crate::seeded_bug!("written-over-old-records");
        let is_clean = end < self.clean_to || self.clean_to == self.allocated || is_split_skipped;
        let split = if is_clean { records.len() } else { (self.clean_to - self.offset) as usize };
        let (first, rest) = records.split_at(split);
        if !rest.is_empty() {
            self.write_at(self.offset + split as u64, rest)?;
        }
        if !is_clean {
            // Without a rest the zeros that end the log came with an earlier batch, and that may not be durable.
            self.sync()?;
        }
        if !first.is_empty() && is_sync_next && self.is_synced {
            self.write_at_synced(self.offset, first)?;
        } else if !first.is_empty() {
            self.write_at(self.offset, first)?;
        }
        self.offset = end;
        Ok(())
    }

    /// Makes everything written durable. An error is final.
    pub(super) fn sync(&mut self) -> Result<(), Error> {
        if !self.is_synced {
            self.file.sync().map_err(Error::fatal("sync", &self.path))?;
            self.clean_to = self.zeroed_to;
            self.is_synced = true;
        }
        Ok(())
    }

    /// Gives back the space behind the records and makes the file durable as it is.
    pub(super) fn seal(&mut self) -> Result<(), Error> {
        if self.offset < self.allocated {
            self.file.set_len(self.offset).map_err(Error::io("cut", &self.path))?;
            self.allocated = self.offset;
            self.clean_to = self.offset;
            self.zeroed_to = self.offset;
            self.is_synced = false;
        }
        self.sync()
    }

    /// Makes space up to `end`. What is added reads as zero.
    fn reserve(&mut self, end: u64) -> Result<(), Error> {
        if end <= self.allocated {
            return Ok(());
        }
        self.file.reserve(end).map_err(Error::io("extend", &self.path))?;
        for zeros_end in [&mut self.clean_to, &mut self.zeroed_to] {
            if *zeros_end == self.allocated {
                *zeros_end = end;
            }
        }
        self.allocated = end;
        Ok(())
    }

    /// Where the zeros behind records that end at `end` are to end: a quarter of a page behind them at least, so that
    /// most small batches are written in one step.
    fn zeros_end(&self, end: u64) -> u64 {
        let page = PAGE_BYTES_MAX.min((self.allocated / 8).next_multiple_of(SECTOR_BYTES as u64));
        let enough = end + page / 4;
        if enough <= self.zeroed_to { end } else { enough.next_multiple_of(page).min(self.allocated) }
    }

    fn write_at_synced(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_at_synced(offset, bytes).map_err(Error::fatal("write and sync", &self.path))?;
        self.clean_to = self.zeroed_to;
        Ok(())
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        self.is_synced = false;
        self.file.write_at(offset, bytes).map_err(Error::fatal("write", &self.path))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::files::Disk;
    use crate::sim::SimDisk;

    const OLD: u8 = 7;
    const NEW: u8 = 9;

    /// A file of old records with one sector of durable zeros in front.
    fn used(disk: &SimDisk) -> ActiveFile {
        let (path, len) = (Path::new("/f"), 8192);
        let file = disk.create(path).unwrap();
        file.write_at(0, &vec![OLD; len]).unwrap();
        file.write_at(0, &[0; SECTOR_BYTES]).unwrap();
        file.sync().unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        ActiveFile::new(path.into(), file, 0, SECTOR_BYTES as u64, len as u64)
    }

    #[test]
    fn records_that_just_fill_the_zeros_wait_for_the_next_ones() {
        for seed in 0..100 {
            let disk = SimDisk::new(seed);
            let mut active = used(&disk);
            // The first brings zeros, the second ends where those begin.
            for len in [300, SECTOR_BYTES - 300] {
                active.write(&mut vec![NEW; len], false).unwrap();
            }
            disk.crash();
            let bytes = disk.open(Path::new("/f")).unwrap().read(0, 2 * SECTOR_BYTES).unwrap();
            let (records, behind) = bytes.split_at(SECTOR_BYTES);
            assert!(records.last() == Some(&0) || behind[0] == 0, "seed {seed}: the log has no end");
        }
    }
}
