//! A bounded number of open files through which segments and sidecars are read.
//!
//! A log may have thousands of segments, a process may have a thousand file descriptors. So a segment that is not being
//! written has no file of its own: it is opened when it is read from end to end, and stays open until another file takes
//! its place. (Single records are read through mappings, which need no descriptor.)

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::is_out_of_descriptors;
use crate::{Disk, File};

/// Files open at a time.
pub(super) const CACHED_FILES_MAX: usize = 32;

/// The open files of one log.
#[derive(Debug)]
pub(super) struct OpenFiles {
    disk: Arc<dyn Disk>,
    /// A file has one place, that of its number modulo their count. A reader holds the lock of the place while it reads,
    /// so no more files are open than there are places.
    places: [Mutex<Option<OpenFile>>; CACHED_FILES_MAX],
}

#[derive(Debug)]
struct OpenFile {
    number: u64,
    file: Arc<dyn File>,
}

impl OpenFiles {
    pub(super) fn new(disk: Arc<dyn Disk>) -> OpenFiles {
        OpenFiles { disk, places: Default::default() }
    }

    pub(super) fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// Does something with the file at `path`, which has this number and no other file has.
    pub(super) fn with<T>(
        &self,
        number: u64,
        path: &Path,
        work: impl FnOnce(&dyn File) -> io::Result<T>,
    ) -> io::Result<T> {
        let place = &self.places[(number % CACHED_FILES_MAX as u64) as usize];
        let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = place.as_ref().filter(|open| open.number == number) {
            return work(&*open.file);
        }
        // Closed first, so that there is a descriptor for the next.
        *place = None;
        let file = match self.disk.open(path) {
            // There is one once another file is closed.
            Err(error) if is_out_of_descriptors(&error) && self.close_any() => self.disk.open(path)?,
            opened => opened?,
        };
        let done = work(&*file);
        *place = Some(OpenFile { number, file });
        done
    }

    /// Closes a file that nobody reads at this moment. False if there is none.
    fn close_any(&self) -> bool {
        let mut places = self.places.iter();
        places.any(|place| place.try_lock().is_ok_and(|mut place| place.take().is_some()))
    }

    /// Closes the file of this number, which is about to be removed or replaced.
    pub(super) fn close(&self, number: u64) {
        let place = &self.places[(number % CACHED_FILES_MAX as u64) as usize];
        let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
        if place.as_ref().is_some_and(|open| open.number == number) {
            *place = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SimDisk;

    #[test]
    fn a_file_stays_open_until_another_takes_its_place() {
        let disk = SimDisk::new(1);
        let path = Path::new("/f");
        disk.create(path).unwrap().write_at(0, b"content").unwrap();
        let files = OpenFiles::new(Arc::new(disk.clone()));
        let len = |number| files.with(number, path, |file| file.len());
        assert_eq!(len(5).unwrap(), 7);
        disk.remove(path).unwrap();
        assert_eq!(len(5).unwrap(), 7, "it was still open");
        let other = 5 + CACHED_FILES_MAX as u64;
        assert_eq!(len(other).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(len(5).unwrap_err().kind(), io::ErrorKind::NotFound, "its place was taken");
    }

    #[test]
    fn a_file_is_closed_on_request() {
        let disk = SimDisk::new(1);
        let path = Path::new("/f");
        disk.create(path).unwrap();
        let files = OpenFiles::new(Arc::new(disk.clone()));
        files.with(5, path, |file| file.len()).unwrap();
        files.close(5 + CACHED_FILES_MAX as u64);
        disk.remove(path).unwrap();
        files.with(5, path, |file| file.len()).unwrap();
        files.close(5);
        assert!(files.with(5, path, |file| file.len()).is_err());
    }
}
