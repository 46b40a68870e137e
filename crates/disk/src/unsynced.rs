//! A disk that never waits: nothing is made durable, the system writes things back when it likes.
//!
//! For tests and for those who say `--unsafe-no-fsync`: a killed process loses nothing, a power failure may lose
//! or tear anything.

use std::any::Any;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::files::{Dir, Disk, File};
use crate::mapping::Mapping;

/// Another disk without its syncs.
#[derive(Debug, Clone, Copy, Default)]
pub struct UnsyncedDisk<D>(pub D);

impl<D: Disk> Disk for UnsyncedDisk<D> {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(UnsyncedFile(self.0.create(path)?)))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(UnsyncedFile(self.0.open(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.0.list(dir)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.create_dir(dir)
    }

    fn open_dir(&self, dir: &Path) -> io::Result<Arc<dyn Dir>> {
        Ok(Arc::new(UnsyncedDir(self.0.open_dir(dir)?)))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Any + Send>> {
        self.0.lock(path)
    }
}

#[derive(Debug)]
struct UnsyncedDir(
    #[expect(dead_code, reason = "held as any handle is, so that as many are open")] Arc<dyn Dir>,
);

impl Dir for UnsyncedDir {
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
struct UnsyncedFile(Arc<dyn File>);

impl File for UnsyncedFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, buf)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, data)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        self.0.reserve(len)
    }

    fn map(&self) -> io::Result<Option<Mapping>> {
        self.0.map()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::SimDisk;

    #[test]
    fn nothing_is_synced_and_everything_else_passes_through() {
        let disk = UnsyncedDisk(SimDisk::new(1));
        let dir = Path::new("/d");
        disk.create_dir(dir).unwrap();
        let file = disk.create(&dir.join("f")).unwrap();
        file.write_at(0, b"abc").unwrap();
        let n_effects = disk.0.ops().effects();
        file.sync().unwrap();
        disk.sync_dir(dir).unwrap();
        assert_eq!(disk.0.ops().effects(), n_effects, "nothing reached the disk below");
        let mut read = [0; 2];
        file.read_at(1, &mut read).unwrap();
        assert_eq!(&read, b"bc");
        assert_eq!(disk.list(dir).unwrap(), ["f"]);
    }
}
