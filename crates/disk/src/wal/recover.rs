//! Opening a log: reading its files, and repairing the torn tail that a loss of power leaves.
//!
//! Only the last file may be torn, and only bytes that were never durable are given up: they are copied to a file
//! named `.broken` and overwritten with zeros, which is durable before anything is appended. Damage is refused.

use std::path::{Path, PathBuf};

use proto::raftpb::Entry;

use super::active_file::ActiveFile;
use super::decode::{Flaw, Reader, SECTOR_BYTES};
use super::file_name::FileName;
use super::replay::Replay;
use super::spare_file;
use crate::directory::{Directory, remove_if_there};
use crate::error::Error;
use crate::files::{Disk, File};

/// Bytes of entries from which on they are given away, as far as they are committed.
const BATCH_BYTES: usize = 1 << 20;

/// A torn tail that was cut off when the log was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repair {
    /// The log file.
    pub path: PathBuf,
    /// Where its good records end, in bytes.
    pub offset: u64,
    /// Bytes cut off.
    pub cut_bytes: u64,
    /// Copy of the file as it was, unless the disk had no room for it.
    pub copy: Option<PathBuf>,
}

/// Who gets the committed entries of a log that is read, in order and a bounded number at a time.
pub(super) type Sink<'a, E> = &'a mut dyn FnMut(Vec<Entry>) -> Result<(), E>;

/// Where a log ends.
pub(super) struct End {
    /// The last file and its content.
    path: PathBuf,
    bytes: Vec<u8>,
    /// Where its good records end.
    offset: usize,
    is_torn: bool,
    /// The checksum there.
    chain: u32,
}

/// Reads `files` in order into `replay`, which gives away what is committed as it goes; checks all there is to check,
/// and changes nothing. One file at a time is in memory.
pub(super) fn read<E: From<Error>>(
    disk: &dyn Disk,
    dir: &Path,
    files: &[FileName],
    replay: &mut Replay,
    committed: Sink<'_, E>,
) -> Result<End, E> {
    // The checksum with which a later file begins is only known once the file before it was read.
    let mut chain = files.first().filter(|name| name.seq == 0).map(|_| 0);
    let mut last = None;
    for (i, name) in files.iter().enumerate() {
        let path = dir.join(name.to_string());
        let bytes = load(disk, &path)?;
        let is_last = i + 1 == files.len();
        let (offset, new_chain, is_torn) = read_file(&path, &bytes, chain, is_last, replay, committed)?;
        chain = Some(new_chain);
        last = Some(End { path, bytes, offset, is_torn, chain: new_chain });
    }
    let end = last.expect("a log is read from at least one file");
    replay.check_reach().map_err(|(last_index, needed_index)| Error::EndsEarly {
        path: end.path.clone(),
        offset: end.offset as u64,
        last_index,
        needed_index,
    })?;
    replay.finish().map_err(|expected| Error::corrupt(&end.path, end.offset as u64, expected))?;
    committed(replay.take_committed())?;
    Ok(end)
}

/// Makes the end of a log ready for appending: a torn tail is cut off. Returns the last file and the checksum there.
pub(super) fn resume(
    disk: &dyn Disk,
    dir: &Path,
    end: End,
) -> Result<(ActiveFile, u32, Option<Repair>), Error> {
    let End { path, bytes, offset, is_torn, chain } = end;
    let file = disk.open(&path).map_err(Error::io("open", &path))?;
    let allocated = bytes.len() as u64;
    let clean_to = if is_torn { allocated } else { clean_to(&bytes, offset) };
    let is_repair_skipped = crate::seeded_bug!("torn-tail-kept");
    let repair = if is_torn && !is_repair_skipped {
        Some(repair(disk, dir, &path, &*file, &bytes, offset)?)
    } else {
        // What a killed process wrote last reads as if it were durable.
        file.sync().map_err(Error::fatal("sync", &path))?;
        None
    };
    Ok((ActiveFile::new(path, file, offset as u64, clean_to, allocated), chain, repair))
}

/// The bytes of a file.
fn load(disk: &dyn Disk, path: &Path) -> Result<Vec<u8>, Error> {
    let file = disk.open(path).map_err(Error::io("open", path))?;
    let len = file.len().map_err(Error::io("measure", path))?;
    let too_long = |_| Error::corrupt(path, 0, "a file that fits the memory");
    let mut bytes = vec![0; usize::try_from(len).map_err(too_long)?];
    file.read_at(0, &mut bytes).map_err(Error::read(path, 0))?;
    Ok(bytes)
}

/// Reads one file to its end. Returns where that is, the checksum there, and whether the end is torn.
fn read_file<E: From<Error>>(
    path: &Path,
    bytes: &[u8],
    chain: Option<u32>,
    is_last: bool,
    replay: &mut Replay,
    committed: Sink<'_, E>,
) -> Result<(usize, u32, bool), E> {
    let corrupt = |offset: usize, expected| Error::corrupt(path, offset as u64, expected);
    let damage = |flaw| match flaw {
        Flaw::Damaged(expected) => expected,
        Flaw::Torn => "whole records: only the last file of a log may have a torn tail".into(),
    };
    let mut reader = Reader::new(bytes, chain).map_err(|flaw| corrupt(0, damage(flaw)))?;
    let offset = reader.offset();
    let head = reader.next().map_err(|flaw| corrupt(offset, damage(flaw)))?;
    replay.head(head).map_err(|refusal| corrupt(offset, refusal))?;
    let is_torn = loop {
        let offset = reader.offset();
        match reader.next() {
            Ok(Some(record)) => replay.record(record).map_err(|refusal| corrupt(offset, refusal))?,
            Err(Flaw::Torn) if is_last => break true,
            Err(flaw) => return Err(corrupt(offset, damage(flaw)).into()),
            Ok(None) if is_last || bytes[offset..].iter().all(|&byte| byte == 0) => break false,
            Ok(None) => return Err(corrupt(offset, damage(Flaw::Torn)).into()),
        }
        if replay.entries_bytes() >= BATCH_BYTES {
            committed(replay.take_committed())?;
        }
    };
    Ok((reader.offset(), reader.chain(), is_torn))
}

/// Where the zeros behind `end` end: at a sector, or with the file.
fn clean_to(bytes: &[u8], end: usize) -> u64 {
    let dirty = bytes[end..].iter().position(|&byte| byte != 0);
    dirty.map_or(bytes.len(), |at| (end + at) / SECTOR_BYTES * SECTOR_BYTES) as u64
}

/// Makes everything behind `end` zero and durable.
fn repair(
    disk: &dyn Disk,
    dir: &Path,
    path: &Path,
    file: &dyn File,
    bytes: &[u8],
    end: usize,
) -> Result<Repair, Error> {
    let dirty_end = bytes.iter().rposition(|&byte| byte != 0).map_or(end, |last| end.max(last + 1));
    let copy = keep_copy(disk, dir, path, &bytes[..dirty_end])?;
    spare_file::fill_with_zeros(file, end as u64, dirty_end as u64).map_err(Error::fatal("zero", path))?;
    file.sync().map_err(Error::fatal("sync", path))?;
    let (offset, cut_bytes) = (end as u64, (dirty_end - end) as u64);
    Ok(Repair { path: path.to_path_buf(), offset, cut_bytes, copy })
}

/// Copies a torn file for the operator, as etcd does; a full disk must not keep the member from starting.
fn keep_copy(disk: &dyn Disk, dir: &Path, path: &Path, bytes: &[u8]) -> Result<Option<PathBuf>, Error> {
    let mut copy = path.to_path_buf();
    copy.add_extension("broken");
    remove_if_there(disk, &copy)?;
    let file = disk.create(&copy).map_err(Error::io("create", &copy))?;
    match file.write_at(0, bytes).and_then(|()| file.sync()).map_err(Error::io("write", &copy)) {
        Ok(()) => Directory::open(disk, dir)?.sync().map(|()| Some(copy)),
        Err(Error::NoSpace { .. }) => {
            disk.remove(&copy).map_err(Error::io("remove", &copy))?;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
