//! Making the log durable before a checkpoint lists it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::segment::Segment;
use super::sidecar::Sidecar;
use crate::{Disk, Error};

/// A job that makes durable what was flushed when it was made.
#[derive(Debug)]
pub struct SyncJob {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) dir: PathBuf,
    /// Set by the first failure of a job; shared by all jobs of a log.
    pub(super) failed: Arc<AtomicBool>,
    pub(super) segments: Vec<SegmentToSync>,
}

/// A segment as it was when the job was made.
#[derive(Debug)]
pub(super) struct SegmentToSync {
    pub(super) segment: Arc<Segment>,
    /// Bytes of it to make durable.
    pub(super) length: u64,
    pub(super) sealed: bool,
}

impl SyncJob {
    /// Syncs segments that grew, writes the sidecars that sealed segments lack, then syncs the directory. Only when
    /// it has returned `Ok` may a checkpoint list these segments.
    ///
    /// A failure is final: a kernel may drop what it could not write, so that a second sync would succeed without
    /// the bytes. Later jobs of the log then fail with [`Error::Failed`].
    pub fn run(self) -> Result<(), Error> {
        if self.failed.load(Ordering::Acquire) {
            return Err(Error::Failed { path: self.dir });
        }
        let result = self.sync();
        if result.is_err() {
            self.failed.store(true, Ordering::Release);
        }
        result
    }

    fn sync(&self) -> Result<(), Error> {
        for SegmentToSync { segment, length, sealed } in &self.segments {
            if *sealed && !segment.has_sidecar() {
                seal(&*self.disk, segment)?;
            } else {
                segment.sync(*length)?;
            }
        }
        self.disk.sync_dir(&self.dir).map_err(Error::fatal("sync", &self.dir))
    }
}

/// Makes a full segment durable, gives back the space behind its records and writes its sidecar, which is returned.
pub(super) fn seal(disk: &dyn Disk, segment: &Arc<Segment>) -> Result<Sidecar, Error> {
    segment.trim(segment.flushed())?;
    segment.sync(segment.flushed())?;
    let sidecar = Sidecar::build(segment)?;
    match sidecar.save(disk, segment) {
        // A sidecar only makes a restart faster, so a full disk must not keep a checkpoint from being taken. The
        // next job tries again.
        Ok(()) | Err(Error::NoSpace { .. }) => Ok(sidecar),
        Err(error) => Err(error),
    }
}
