//! Opening a log: reading its files, and mending the torn end that a loss of power leaves.
//!
//! Only the last file may be torn, and only bytes that were never durable are given up: they are copied to a file
//! named `.broken` and overwritten with zeros, which is durable before anything is appended. Damage is refused.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::decode::{Flaw, Reader};
use super::file_name::FileName;
use super::replay::Replay;
use super::segment;
use crate::error::Error;
use crate::files::{Disk, File};

/// A torn end that was cut off when the log was opened.
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

/// The file that records are appended to.
#[derive(Debug)]
pub(super) struct Tail {
    pub(super) path: PathBuf,
    pub(super) file: Arc<dyn File>,
    /// Where the next record goes.
    pub(super) offset: u64,
    /// Up to here the file has space on the disk.
    pub(super) allocated: u64,
}

/// Reads `files` in order into `replay`. Returns the last one, its end zero, and the checksum there.
pub(super) fn read(
    disk: &dyn Disk,
    dir: &Path,
    files: &[FileName],
    replay: &mut Replay,
) -> Result<(Tail, u32, Option<Repair>), Error> {
    // The checksum with which a later file begins is only known once the file before it was read.
    let mut chain = files.first().filter(|name| name.seq == 0).map(|_| 0);
    let mut last = None;
    for (i, name) in files.iter().enumerate() {
        let path = dir.join(name.to_string());
        let bytes = load(disk, &path)?;
        let (end, new_chain) = read_file(&path, &bytes, chain, i + 1 == files.len(), replay)?;
        chain = Some(new_chain);
        last = Some((path, bytes, end));
    }
    let (path, bytes, end) = last.expect("a log is read from at least one file");
    replay.finish().map_err(|expected| Error::corrupt(&path, end as u64, expected))?;
    let file = disk.open(&path).map_err(Error::io("open", &path))?;
    let allocated = bytes.len() as u64;
    let repair = mend(disk, dir, &path, &*file, bytes, end)?;
    let tail = Tail { path, file, offset: end as u64, allocated };
    Ok((tail, chain.expect("set with each file"), repair))
}

/// The bytes of a file, through a handle of their own: what it maps goes with them. A buffer as long as a log file
/// would stay with the allocator for the life of the process.
fn load(disk: &dyn Disk, path: &Path) -> Result<Bytes, Error> {
    let file = disk.open(path).map_err(Error::io("open", path))?;
    let len = file.len().map_err(Error::io("measure", path))? as usize;
    file.view(0, len).map_err(Error::io("read", path))
}

/// Reads one file to its end. Returns where that is, and the checksum there.
fn read_file(
    path: &Path,
    bytes: &[u8],
    chain: Option<u32>,
    is_last: bool,
    replay: &mut Replay,
) -> Result<(usize, u32), Error> {
    let corrupt = |offset: usize, expected| Error::corrupt(path, offset as u64, expected);
    let damage = |flaw| match flaw {
        Flaw::Damaged(expected) => expected,
        Flaw::Torn => "whole records: only the last file of a log may have a torn end".into(),
    };
    let mut reader = Reader::new(bytes, chain).map_err(|flaw| corrupt(0, damage(flaw)))?;
    let offset = reader.offset();
    let head = reader.next().map_err(|flaw| corrupt(offset, damage(flaw)))?;
    replay.head(head).map_err(|refusal| corrupt(offset, refusal))?;
    loop {
        let offset = reader.offset();
        match reader.next() {
            Ok(Some(record)) => replay.record(record).map_err(|refusal| corrupt(offset, refusal))?,
            Err(Flaw::Torn) if is_last => break,
            Err(flaw) => return Err(corrupt(offset, damage(flaw))),
            Ok(None) if is_last || bytes[offset..].iter().all(|&byte| byte == 0) => break,
            Ok(None) => return Err(corrupt(offset, damage(Flaw::Torn))),
        }
    }
    Ok((reader.offset(), reader.chain()))
}

/// Makes everything behind `end` zero and durable. The view `bytes` must not outlive what it shows.
fn mend(
    disk: &dyn Disk,
    dir: &Path,
    path: &Path,
    file: &dyn File,
    bytes: Bytes,
    end: usize,
) -> Result<Option<Repair>, Error> {
    let Some(last) = bytes[end..].iter().rposition(|&byte| byte != 0) else {
        return Ok(None);
    };
    if crate::seeded_bug!("torn-tail-kept") {
        return Ok(None);
    }
    let dirty_end = end + last + 1;
    let copy = keep_copy(disk, dir, path, &bytes[..dirty_end])?;
    drop(bytes);
    segment::fill_with_zeros(file, end as u64, dirty_end as u64).map_err(Error::io("zero", path))?;
    file.sync().map_err(Error::io("sync", path))?;
    Ok(Some(Repair { path: path.to_path_buf(), offset: end as u64, cut_bytes: last as u64 + 1, copy }))
}

/// Copies a torn file for the operator, as etcd does; a full disk must not keep the member from starting.
fn keep_copy(disk: &dyn Disk, dir: &Path, path: &Path, bytes: &[u8]) -> Result<Option<PathBuf>, Error> {
    let mut copy = path.to_path_buf();
    copy.add_extension("broken");
    match disk.remove(&copy) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(Error::io("remove", &copy)(error));
        }
        _ => {}
    }
    let file = disk.create(&copy).map_err(Error::io("create", &copy))?;
    match file.write_at(0, bytes).and_then(|()| file.sync()).map_err(Error::io("write", &copy)) {
        Ok(()) => disk.sync_dir(dir).map_err(Error::io("sync", dir)).map(|()| Some(copy)),
        Err(Error::NoSpace { .. }) => {
            disk.remove(&copy).map_err(Error::io("remove", &copy))?;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
