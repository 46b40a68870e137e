//! The operating system's file system.
//!
//! Directories are made for the owner alone (0700), files too (0600).

use std::any::Any;
use std::fs;
use std::io::{self, IoSlice};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FallocateFlags, FlockOperation};
use rustix::io::{Errno, ReadWriteFlags};

use crate::files::{Dir, Disk, File};
use crate::mapping::Mapping;

/// Zeros written at a time where the file system cannot allocate.
const ZEROS: &[u8] = &[0; 64 * 1024];

/// The disk of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        RealFile::open(path, options().create_new(true))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        RealFile::open(path, &options())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort_unstable();
        Ok(names)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
    }

    fn open_dir(&self, dir: &Path) -> io::Result<Arc<dyn Dir>> {
        let handle = fs::File::open(dir)?;
        if !handle.metadata()?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Arc::new(RealDir { handle }))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Any + Send>> {
        let file = options().create(true).open(path)?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Box::new(file))
    }
}

/// An open directory.
#[derive(Debug)]
struct RealDir {
    handle: fs::File,
}

impl Dir for RealDir {
    fn sync(&self) -> io::Result<()> {
        self.handle.sync_all()
    }
}

/// An open file.
#[derive(Debug)]
struct RealFile {
    file: fs::File,
    path: PathBuf,
}

impl RealFile {
    fn open(path: &Path, options: &fs::OpenOptions) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(RealFile { file: options.open(path)?, path: path.to_path_buf() }))
    }
}

impl File for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_all_at(data, offset)
    }

    fn write_at_synced(&self, mut offset: u64, mut data: &[u8]) -> io::Result<()> {
        // One system call in place of two: a sixth less processor time than a write and an fdatasync.
        while !data.is_empty() {
            let slice = [IoSlice::new(data)];
            match rustix::io::pwritev2(&self.file, &slice, offset, ReadWriteFlags::DSYNC) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(len) => {
                    offset += len as u64;
                    data = &data[len..];
                }
                Err(Errno::INTR) => {}
                Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                    self.write_at(offset, data)?;
                    return self.sync();
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        // fdatasync: it writes the length too when a read depends on it, but not the time stamps.
        self.file.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), 0, len) {
            Err(rustix::io::Errno::OPNOTSUPP) => fill_with_zeros(&self.file, len),
            result => Ok(result?),
        }
    }

    fn map(&self) -> io::Result<Option<Mapping>> {
        Mapping::new(&self.file, self.len()?, &self.path).map(Some)
    }
}

fn options() -> fs::OpenOptions {
    let mut options = fs::OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

/// Extends `file` to `len` by writing, which allocates on every file system.
fn fill_with_zeros(file: &fs::File, len: u64) -> io::Result<()> {
    let mut at = file.metadata()?.len();
    while at < len {
        let n = ZEROS.len().min(usize::try_from(len - at).unwrap_or(usize::MAX));
        file.write_all_at(&ZEROS[..n], at)?;
        at += n as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn files_and_directories_belong_to_the_owner_alone() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("a/b");
        RealDisk.create_dir(&dir).unwrap();
        RealDisk.create(&dir.join("f")).unwrap();
        assert_eq!((mode(&root.path().join("a")), mode(&dir), mode(&dir.join("f"))), (0o700, 0o700, 0o600));
    }

    #[test]
    fn creating_a_file_twice_fails_and_opening_a_missing_one_too() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("f");
        assert_eq!(RealDisk.open(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
        RealDisk.create(&path).unwrap();
        assert_eq!(RealDisk.create(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }

    #[test]
    fn reserved_bytes_read_as_zeros_and_reserving_never_shrinks() {
        let root = tempfile::tempdir().unwrap();
        let file = RealDisk.create(&root.path().join("f")).unwrap();
        file.write_at(0, b"head").unwrap();
        file.reserve(10_000).unwrap();
        file.reserve(5).unwrap();
        assert_eq!(file.len().unwrap(), 10_000);
        let mut head = [1; 8];
        file.read_at(0, &mut head).unwrap();
        assert_eq!(&head, b"head\0\0\0\0");
    }

    #[test]
    fn zeros_stand_in_where_the_file_system_cannot_allocate() {
        let root = tempfile::tempdir().unwrap();
        let file = options().create_new(true).open(root.path().join("f")).unwrap();
        file.write_all_at(b"head", 0).unwrap();
        fill_with_zeros(&file, 200_000).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 200_000);
        let mut head = [1; 5];
        file.read_exact_at(&mut head, 0).unwrap();
        assert_eq!(&head, b"head\0");
    }

    #[test]
    fn a_lock_is_exclusive_until_its_guard_is_dropped() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("lock");
        let guard = RealDisk.lock(&path).unwrap();
        assert_eq!(RealDisk.lock(&path).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(guard);
        RealDisk.lock(&path).unwrap();
    }
}
