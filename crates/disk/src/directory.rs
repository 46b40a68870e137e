//! Directories: making them, and making durable the names in them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::Error;
use crate::files::{Dir, Disk};

/// An open directory that knows its path.
#[derive(Debug, Clone)]
pub(crate) struct Directory {
    path: PathBuf,
    handle: Arc<dyn Dir>,
}

impl Directory {
    /// Opens a directory that exists.
    pub(crate) fn open(disk: &dyn Disk, path: &Path) -> Result<Directory, Error> {
        let handle = disk.open_dir(path).map_err(Error::io("open", path))?;
        Ok(Directory { path: path.to_path_buf(), handle })
    }

    /// Makes the names in it durable. Never an [`Error::NoSpace`]: a sync that failed is final, since it is unknown
    /// which names a loss of power would leave.
    pub(crate) fn sync(&self) -> Result<(), Error> {
        self.handle.sync().map_err(Error::fatal("sync", &self.path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Creates `dir` and its parents where they are missing, and makes the names of all of them durable: also of those
/// that an earlier process has created and had not made durable when it was killed.
pub(crate) fn create(disk: &dyn Disk, dir: &Path) -> Result<(), Error> {
    disk.create_dir(dir).map_err(Error::io("create", dir))?;
    sync_name(disk, dir)
}

/// Makes the name of `path` durable, and those of the directories that hold it.
pub(crate) fn sync_name(disk: &dyn Disk, path: &Path) -> Result<(), Error> {
    let Some(parent) = path.parent() else { return Ok(()) };
    Directory::open(disk, parent)?.sync()?;
    for ancestor in parent.ancestors().skip(1) {
        match disk.sync_dir(ancestor) {
            Ok(()) => {}
            Err(error) if is_of_others(error.kind()) => break,
            Err(error) => return Err(Error::fatal("sync", ancestor)(error)),
        }
    }
    Ok(())
}

/// Whether a directory that fails like this cannot have been changed by this program: it may not be opened, or it lies
/// on a file system that cannot be written, or whose directories need no sync.
fn is_of_others(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, ReadOnlyFilesystem, Unsupported};
    matches!(kind, PermissionDenied | InvalidInput | Unsupported | ReadOnlyFilesystem)
}

/// Removes a file, if it is there.
pub(crate) fn remove_if_there(disk: &dyn Disk, path: &Path) -> Result<(), Error> {
    match disk.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SimDisk;

    #[test]
    fn a_directory_made_by_a_process_that_was_killed_is_made_durable_by_the_next() {
        let dir = Path::new("/a/b/c");
        for seed in 0..20 {
            let disk = SimDisk::new(seed);
            disk.create_dir(dir).unwrap();
            disk.kill();
            create(&disk, dir).unwrap();
            disk.crash();
            assert!(disk.list(dir).is_ok(), "seed {seed}");
        }
    }
}
