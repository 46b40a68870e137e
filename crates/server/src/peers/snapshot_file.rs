//! A state that arrives from a peer, on its way into a file.
//!
//! It is written under a temporary name. Only a whole one, synced, gets its name `<index>.snap.db`; whatever breaks
//! off leaves nothing behind. What is left of a process that was killed is removed at the next start.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// How the names of unfinished files begin.
const UNFINISHED: &str = "tmp";

/// Tells apart the files of one process.
static NEXT_NUMBER: AtomicU64 = AtomicU64::new(0);

/// A file that is being written. Removed if it is dropped before it is finished.
#[derive(Debug)]
pub(crate) struct SnapshotFile {
    file: File,
    unfinished: PathBuf,
    finished: PathBuf,
    is_finished: bool,
}

impl SnapshotFile {
    /// Begins the file for the state of `index` in `dir`, which must exist.
    pub(crate) fn create(dir: &Path, index: u64) -> io::Result<SnapshotFile> {
        let number = NEXT_NUMBER.fetch_add(1, Ordering::Relaxed);
        let unfinished = dir.join(format!("{UNFINISHED}{index:016x}-{number}"));
        let file = File::create_new(&unfinished)?;
        let finished = dir.join(format!("{index:016x}.snap.db"));
        Ok(SnapshotFile { file, unfinished, finished, is_finished: false })
    }

    /// Appends bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// Makes the file durable under its name, which is the result. An older one of the same index is replaced.
    pub(crate) fn finish(mut self) -> io::Result<PathBuf> {
        self.file.sync_all()?;
        fs::rename(&self.unfinished, &self.finished)?;
        self.is_finished = true;
        let dir = self.finished.parent().unwrap_or(Path::new("."));
        File::open(dir)?.sync_all()?;
        Ok(self.finished.clone())
    }

    /// Removes what an earlier process did not finish in `dir`. No error if there is no such directory.
    pub(crate) fn remove_unfinished(dir: &Path) -> io::Result<()> {
        let entries = match fs::read_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

impl Drop for SnapshotFile {
    fn drop(&mut self) {
        if !self.is_finished {
            // What cannot be removed now is removed at the next start.
            let _ = fs::remove_file(&self.unfinished);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn only_a_whole_state_gets_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = SnapshotFile::create(dir.path(), 0x1f).unwrap();
        file.write(b"half").unwrap();
        drop(file);
        assert!(names(dir.path()).is_empty());
        let mut file = SnapshotFile::create(dir.path(), 0x1f).unwrap();
        file.write(b"wh").unwrap();
        file.write(b"ole").unwrap();
        let path = file.finish().unwrap();
        assert_eq!(names(dir.path()), ["000000000000001f.snap.db"]);
        assert_eq!(fs::read(path).unwrap(), b"whole");
    }

    #[test]
    fn what_a_killed_process_leaves_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("tmp1"), b"left over").unwrap();
        fs::write(dir.path().join("0000000000000001.snap.db"), b"whole").unwrap();
        SnapshotFile::remove_unfinished(dir.path()).unwrap();
        assert_eq!(names(dir.path()), ["0000000000000001.snap.db"]);
        SnapshotFile::remove_unfinished(&dir.path().join("none")).unwrap();
    }
}
