//! Making the log durable before a checkpoint lists it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::segment::Segment;
use super::sidecar::Sidecar;
use crate::Error;
use crate::directory::Directory;

/// A job that makes durable what was flushed when it was made.
#[derive(Debug)]
pub struct SyncJob {
    pub(super) dir: Directory,
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
            return Err(Error::Failed { path: self.dir.path().to_path_buf() });
        }
        let result = self.sync();
        if result.is_err() {
            self.failed.store(true, Ordering::Release);
        }
        result
    }

    fn sync(&self) -> Result<(), Error> {
        for SegmentToSync { segment, length, sealed } in &self.segments {
            segment.sync(*length)?;
            if *sealed {
                finish(segment)?;
            }
        }
        self.dir.sync()
    }
}

/// Does for a sealed and durable segment what was not done yet. All of it only saves time or space, so a full disk or
/// a lack of file descriptors must not keep a checkpoint from being taken: the next job tries again.
fn finish(segment: &Arc<Segment>) -> Result<(), Error> {
    if !segment.has_sidecar() {
        match seal(segment).and_then(|sidecar| sidecar.save()) {
            Err(error) if !error.may_be_retried() => return Err(error),
            _ => {}
        }
    }
    segment.close_own_file();
    Ok(())
}

/// Makes a full segment durable, gives back the space behind its records and lists them.
pub(super) fn seal(segment: &Arc<Segment>) -> Result<Sidecar, Error> {
    segment.trim(segment.flushed())?;
    segment.sync(segment.flushed())?;
    Sidecar::build(segment)
}
