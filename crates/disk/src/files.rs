//! What the project asks of a file system, as two traits: the real one and the simulated one implement them.
//!
//! Paths are absolute. Nothing here is durable by itself: bytes become durable with [`File::sync`], names
//! (creation, rename, removal) with [`Dir::sync`] on the directory that holds them.

use std::any::Any;
use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::mapping::Mapping;

/// A file system.
pub trait Disk: Debug + Send + Sync {
    /// Creates an empty file for reading and writing. Fails with `AlreadyExists` if the name is taken.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>>;

    /// Opens an existing file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>>;

    /// Renames a file, replacing what stood at `to`, atomically.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file. Handles to it stay usable.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Names of the files and directories in `dir`, sorted.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Creates a directory and its parents, accessible to the owner alone. Succeeds if it exists.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// Opens an existing directory, to make its names durable. Whoever does so again and again keeps the handle: a sync
    /// then needs no further file descriptor, of which there may be none left.
    fn open_dir(&self, dir: &Path) -> io::Result<Arc<dyn Dir>>;

    /// Makes the names in `dir` durable, through a handle of its own.
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.open_dir(dir)?.sync()
    }

    /// Takes an exclusive lock on `path` (created if missing) that ends when the guard is dropped or the
    /// process ends. `WouldBlock` if another process holds it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Any + Send>>;
}

/// An open directory. It stays the same directory when it is renamed.
pub trait Dir: Debug + Send + Sync {
    /// Makes the names in the directory durable. An error is final, as that of [`File::sync`] is.
    fn sync(&self) -> io::Result<()>;
}

/// An open file. Offsets and lengths are bytes.
pub trait File: Debug + Send + Sync {
    /// Current length.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file holds no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fills `buf` from `offset`; `UnexpectedEof` if the file ends before.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()>;

    /// The `len` bytes at `offset`; `UnexpectedEof` if the file ends before.
    fn read(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        self.read_at(offset, &mut bytes)?;
        Ok(bytes)
    }

    /// Writes all of `data` at `offset`, growing the file as needed.
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()>;

    /// Makes the content and length durable. An error is final: the caller must not retry, since the
    /// kernel may have dropped the dirty pages.
    fn sync(&self) -> io::Result<()>;

    /// [`File::write_at`], and these bytes are durable afterwards; others that were written before need not be. An
    /// error is final, as that of [`File::sync`].
    fn write_at_synced(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.write_at(offset, data)?;
        self.sync()
    }

    /// Cuts or extends (with zeros) to `len`.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Allocates blocks up to `len` and extends the file to it (reads as zeros), so that later writes below `len` do
    /// not fail for want of space.
    fn reserve(&self, len: u64) -> io::Result<()>;

    /// Maps the file as long as it is now, so that its bytes can be copied without a system call. `None` where the
    /// platform has nothing faster than [`File::read_at`]. The mapping needs no file descriptor.
    fn map(&self) -> io::Result<Option<Mapping>> {
        Ok(None)
    }
}
