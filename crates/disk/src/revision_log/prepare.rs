//! The next segment's file, made ahead of need by whatever thread has the time.
//!
//! Space is reserved, not filled with zeros: segments are synced at checkpoints only, so the metadata that such a
//! sync writes weighs less than writing each byte twice.

use std::path::PathBuf;
use std::sync::Arc;

use super::segment_header::SEGMENT_HEADER_LEN;
use crate::{Disk, Error, File};

/// A job that makes the file of the next segment.
#[derive(Debug)]
pub struct PrepareSegment {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) path: PathBuf,
    pub(super) id: u32,
    /// Bytes to reserve.
    pub(super) capacity: u64,
}

impl PrepareSegment {
    /// Creates the file and reserves its space. Nothing is left behind on an error; [`Error::NoSpace`] is worth
    /// another job once there is room.
    pub fn run(self) -> Result<SpareSegment, Error> {
        let file = self.disk.create(&self.path).map_err(Error::io("create", &self.path))?;
        if let Err(source) = file.reserve(self.capacity) {
            // What cannot be removed now goes as an orphan at the next start.
            let _ = self.disk.remove(&self.path);
            return Err(Error::io("reserve space for", &self.path)(source));
        }
        Ok(SpareSegment { id: self.id, path: self.path, file, capacity: self.capacity })
    }
}

/// An empty segment file with its space reserved.
#[derive(Debug)]
pub struct SpareSegment {
    pub(super) id: u32,
    pub(super) path: PathBuf,
    pub(super) file: Arc<dyn File>,
    /// Bytes it has space for.
    pub(super) capacity: u64,
}

impl SpareSegment {
    /// Bytes of records that it has space for.
    pub(super) fn room(&self) -> u64 {
        self.capacity.saturating_sub(SEGMENT_HEADER_LEN as u64)
    }

    /// Makes it hold at least `capacity` bytes.
    pub(super) fn grow(&mut self, capacity: u64) -> Result<(), Error> {
        if self.capacity < capacity {
            self.file.reserve(capacity).map_err(Error::io("reserve space for", &self.path))?;
            self.capacity = capacity;
        }
        Ok(())
    }
}
