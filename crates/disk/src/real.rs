//! The operating system's file system.
//!
//! Directories are made for the owner alone (0700), files too (0600). Views share one mapping per file, so that
//! reading a record costs neither a system call nor a copy.

use std::any::Any;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use bytes::Bytes;
use memmap2::Mmap;
use rustix::fs::{FallocateFlags, FlockOperation};

use crate::files::{Dir, Disk, File};

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

/// An open file and, once something was viewed, its mapping.
#[derive(Debug)]
struct RealFile {
    /// Shared with the mappings, so that it is known whether any of them is left.
    file: Arc<fs::File>,
    /// The first mapping that was made: read without so much as an atomic count, which readers on several
    /// processors would fight over. Segments are mapped at their full length, so it mostly stays the only one.
    first: OnceLock<Bytes>,
    mapping: RwLock<Bytes>,
}

/// A mapping of a file, for as long as something is viewed through it.
struct Mapping {
    bytes: Mmap,
    _file: Arc<fs::File>,
}

impl AsRef<[u8]> for Mapping {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl RealFile {
    fn open(path: &Path, options: &fs::OpenOptions) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(RealFile {
            file: Arc::new(options.open(path)?),
            first: OnceLock::new(),
            mapping: RwLock::default(),
        }))
    }

    /// Maps the whole file as long as it is now; views handed out before keep the mapping they came from.
    #[expect(
        unsafe_code,
        reason = "a mapping is the only way to read a record without a copy or a system call"
    )]
    fn map(&self, end: usize) -> io::Result<Bytes> {
        if self.file.metadata()?.len() < end as u64 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // SAFETY: `File::view` makes its caller promise that viewed bytes are never overwritten, and the data
        // directory's lock keeps other processes away. A file that shrinks below a view would end the process with
        // a signal, not give a wrong answer; no caller cuts a file below what it has views of.
        let bytes = unsafe { Mmap::map(&*self.file)? };
        let mapping = Bytes::from_owner(Mapping { bytes, _file: Arc::clone(&self.file) });
        *self.mapping.write().unwrap_or_else(PoisonError::into_inner) = mapping.clone();
        let _ = self.first.set(mapping.clone());
        Ok(mapping)
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

    fn sync(&self) -> io::Result<()> {
        // fdatasync: it writes the length too when a read depends on it, but not the time stamps.
        self.file.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        *self.mapping.write().unwrap_or_else(PoisonError::into_inner) = Bytes::new();
        self.file.set_len(len)
    }

    fn cut_unviewed(&mut self, len: u64) -> io::Result<bool> {
        (self.first, self.mapping) = Default::default();
        match Arc::get_mut(&mut self.file) {
            Some(file) => file.set_len(len).map(|()| true),
            None => Ok(false),
        }
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), 0, len) {
            Err(rustix::io::Errno::OPNOTSUPP) => fill_with_zeros(&self.file, len),
            result => Ok(result?),
        }
    }

    fn mapped(&self, offset: u64, len: usize) -> Option<&[u8]> {
        let start = usize::try_from(offset).ok()?;
        self.first.get()?.get(start..start.checked_add(len)?)
    }

    fn view(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let end = start.checked_add(len).ok_or(io::ErrorKind::UnexpectedEof)?;
        {
            let mapping = self.mapping.read().unwrap_or_else(PoisonError::into_inner);
            if end <= mapping.len() {
                return Ok(mapping.slice(start..end));
            }
        }
        Ok(self.map(end)?.slice(start..end))
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
        assert_eq!(&file.view(0, 8).unwrap()[..], b"head\0\0\0\0");
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
    fn a_view_outlives_growth_removal_and_its_file() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("f");
        let file = RealDisk.create(&path).unwrap();
        file.write_at(0, b"first").unwrap();
        let first = file.view(0, 5).unwrap();
        file.write_at(100_000, b"second").unwrap();
        let second = file.view(100_000, 6).unwrap();
        assert_eq!(file.view(100_000, 7).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        RealDisk.remove(&path).unwrap();
        drop(file);
        assert_eq!((&first[..], &second[..]), (&b"first"[..], &b"second"[..]));
    }

    #[test]
    fn a_file_is_cut_only_while_nothing_is_viewed() {
        let root = tempfile::tempdir().unwrap();
        let mut file = RealDisk.create(&root.path().join("f")).unwrap();
        file.write_at(0, b"first").unwrap();
        let first = file.view(0, 5).unwrap();
        file.write_at(100_000, b"second").unwrap();
        file.view(100_000, 6).unwrap();
        let file = Arc::get_mut(&mut file).unwrap();
        assert!(!file.cut_unviewed(0).unwrap(), "a view through an older mapping counts");
        assert_eq!(&first[..], b"first");
        drop(first);
        assert!(file.cut_unviewed(7).unwrap());
        assert_eq!((file.len().unwrap(), &file.view(0, 5).unwrap()[..]), (7, &b"first"[..]));
    }

    #[test]
    fn a_mapping_shows_what_was_written_after_it_was_made() {
        let root = tempfile::tempdir().unwrap();
        let file = RealDisk.create(&root.path().join("f")).unwrap();
        file.reserve(8192).unwrap();
        assert_eq!(file.mapped(0, 4), None, "no view was asked for");
        file.view(0, 4).unwrap();
        assert_eq!(file.mapped(0, 4).unwrap(), [0; 4]);
        file.write_at(4096, b"later").unwrap();
        assert_eq!(file.mapped(4096, 5).unwrap(), b"later");
        file.write_at(8192, b"beyond").unwrap();
        assert_eq!(file.mapped(8192, 6), None);
        assert_eq!(file.view(8192, 6).unwrap(), "beyond");
        assert_eq!(file.view(8192, 7).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
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
