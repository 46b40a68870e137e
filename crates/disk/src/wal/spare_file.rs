//! Files of the log before they are part of it: used again, or zero-filled ahead of use, off the thread that writes.
//!
//! Zeros are written, not only allocated, so that a later sync of records writes no metadata, and so that a sector
//! no record reached reads as zero, by which a torn tail is known. A file that the log has released has been written
//! from end to end: it is kept for use again, which costs nothing; [`super::active_file`] sees to the zeros.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::directory::remove_if_there;
use crate::error::Error;
use crate::files::{Disk, File};

/// Name of a prepared file; `.tmp` is what etcd ignores in a log directory.
pub(super) const PREPARED_NAME: &str = "0.tmp";
/// Name of a file that the log makes itself because none was prepared in time. A job may be preparing one at this moment: they must not meet.
const HURRIED_NAME: &str = "1.tmp";
/// Zeros written at a time.
const CHUNK_BYTES: u64 = 1 << 20;

/// A job that makes the log's next file; run it on any thread.
#[derive(Debug)]
pub struct PrepareFile {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    len: u64,
}

/// A file that is ready to become the log's next.
#[derive(Debug)]
pub struct SpareFile {
    pub(super) file: Arc<dyn File>,
    pub(super) path: PathBuf,
    pub(super) len: u64,
    /// Whether it holds zeros; otherwise anything.
    pub(super) is_zero: bool,
}

impl PrepareFile {
    pub(super) fn new(disk: Arc<dyn Disk>, dir: &Path, len: u64) -> PrepareFile {
        PrepareFile { disk, path: dir.join(PREPARED_NAME), len }
    }

    /// The same for a file that cannot wait.
    pub(super) fn hurried(disk: Arc<dyn Disk>, dir: &Path, len: u64) -> PrepareFile {
        PrepareFile { disk, path: dir.join(HURRIED_NAME), len }
    }

    /// Writes and syncs the file, replacing what an earlier job left. On an error nothing is left; after
    /// [`Error::NoSpace`] a retry is safe once there is room.
    pub fn run(&self) -> Result<SpareFile, Error> {
        let file = create(&*self.disk, &self.path, self.len).inspect_err(|_| {
            // The error that matters is the one that led here; a rest of the file is replaced by the next job.
            let _ = self.disk.remove(&self.path);
        })?;
        Ok(SpareFile { file, path: self.path.clone(), len: self.len, is_zero: true })
    }
}

/// Opens a file that the log has released for use again.
pub(super) fn reopen(disk: &dyn Disk, path: PathBuf) -> Result<SpareFile, Error> {
    let file = disk.open(&path).map_err(Error::io("open", &path))?;
    let len = file.len().map_err(Error::io("measure", &path))?;
    Ok(SpareFile { file, path, len, is_zero: false })
}

/// Creates `path` holding `len` durable zeros, in place of any file of that name.
pub(super) fn create(disk: &dyn Disk, path: &Path, len: u64) -> Result<Arc<dyn File>, Error> {
    remove_if_there(disk, path)?;
    let file = disk.create(path).map_err(Error::io("create", path))?;
    fill_with_zeros(&*file, 0, len).map_err(Error::io("zero-fill", path))?;
    file.sync().map_err(Error::io("sync", path))?;
    Ok(file)
}

/// Writes zeros from `start` to `end`.
pub(super) fn fill_with_zeros(file: &dyn File, start: u64, end: u64) -> io::Result<()> {
    let zeros = vec![0; CHUNK_BYTES.min(end.saturating_sub(start)) as usize];
    let mut at = start;
    while at < end {
        let n = CHUNK_BYTES.min(end - at);
        file.write_at(at, &zeros[..n as usize])?;
        at += n;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::SimDisk;

    fn job(disk: &SimDisk, len: u64) -> PrepareFile {
        PrepareFile::new(Arc::new(disk.clone()), Path::new("/"), len)
    }

    #[test]
    fn a_prepared_file_is_long_and_zero() {
        let disk = SimDisk::new(1);
        let prepared = job(&disk, 3 * CHUNK_BYTES + 5).run().unwrap();
        assert_eq!(prepared.file.len().unwrap(), 3 * CHUNK_BYTES + 5);
        assert_eq!(disk.ops().written_bytes, 3 * CHUNK_BYTES + 5);
    }

    #[test]
    fn what_an_earlier_job_left_is_replaced() {
        let disk = SimDisk::new(1);
        disk.create(&Path::new("/").join(PREPARED_NAME)).unwrap().write_at(0, &[7; 9000]).unwrap();
        let prepared = job(&disk, 4096).run().unwrap();
        assert_eq!(prepared.file.read(0, 4096).unwrap(), vec![0; 4096]);
        assert_eq!(prepared.file.len().unwrap(), 4096);
    }

    #[test]
    fn a_full_disk_leaves_nothing_behind() {
        let disk = SimDisk::new(1);
        disk.set_capacity(Some(CHUNK_BYTES + 1));
        assert!(matches!(job(&disk, 2 * CHUNK_BYTES).run(), Err(Error::NoSpace { .. })));
        assert!(disk.list(Path::new("/")).unwrap().is_empty());
    }
}
