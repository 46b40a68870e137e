//! Whose log a directory holds, told without reading the log.

use std::io;
use std::path::Path;

use super::decode::Reader;
use super::replay::Replay;
use super::{Metadata, file_name};
use crate::error::Error;
use crate::files::Disk;

/// Bytes read of a file: its first two records, a checksum and the metadata, are far shorter.
const HEAD_BYTES: u64 = 4096;

/// The member and the cluster whose log lies in `dir`; `None` if there is no log, or no such directory. Reads the
/// beginning of the newest file alone.
///
/// Fails with [`Error::Corrupt`] if that file does not begin as each file of a log does.
pub fn read_metadata(disk: &dyn Disk, dir: &Path) -> Result<Option<Metadata>, Error> {
    let files = match file_name::list(disk, dir) {
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
        files => files?,
    };
    let Some(newest) = files.last() else { return Ok(None) };
    let path = dir.join(newest.to_string());
    let file = disk.open(&path).map_err(Error::io("open", &path))?;
    let len = file.len().map_err(Error::io("measure", &path))?.min(HEAD_BYTES);
    let mut head = vec![0; len as usize];
    file.read_at(0, &mut head).map_err(Error::io("read", &path))?;

    let corrupt = |offset: usize, expected| Error::corrupt(&path, offset as u64, expected);
    let expected = "the records that begin a log file: a checksum and the metadata";
    let mut reader = Reader::new(&head, None).map_err(|_| corrupt(0, expected))?;
    let offset = reader.offset();
    let record = reader.next().map_err(|_| corrupt(offset, expected))?;
    let mut replay = Replay::new(0);
    replay.head(record).map_err(|_| corrupt(offset, expected))?;
    Ok(replay.metadata)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::Wal;
    use super::*;
    use crate::sim::SimDisk;

    const DIR: &str = "/data/wal";
    const METADATA: Metadata = Metadata { member_id: 7, cluster_id: 9 };

    #[test]
    fn log_says_whose_it_is() {
        let disk = SimDisk::new(1);
        let dir = Path::new(DIR);
        disk.create_dir(dir.parent().unwrap()).unwrap();
        assert_eq!(read_metadata(&disk, dir).unwrap(), None, "no directory");
        disk.create_dir(dir).unwrap();
        assert_eq!(read_metadata(&disk, dir).unwrap(), None, "no log");
        drop(Wal::create_sized(Arc::new(disk.clone()), dir, METADATA, 8192).unwrap());
        assert_eq!(read_metadata(&disk, dir).unwrap(), Some(METADATA));
    }

    #[test]
    fn log_is_created_beside_what_is_no_log() {
        let disk = SimDisk::new(1);
        let dir = Path::new(DIR);
        disk.create_dir(&dir.join("lost+found")).unwrap();
        let create = || Wal::create_sized(Arc::new(disk.clone()), dir, METADATA, 8192);
        drop(create().unwrap());
        assert!(matches!(create(), Err(Error::Io { .. })), "there is a log now");
        assert_eq!(disk.list(dir).unwrap(), ["0000000000000000-0000000000000000.wal", "lost+found"]);
    }

    #[test]
    fn file_that_begins_otherwise_is_damaged() {
        let disk = SimDisk::new(1);
        let dir = Path::new(DIR);
        disk.create_dir(dir).unwrap();
        let file = disk.create(&dir.join("0000000000000000-0000000000000000.wal")).unwrap();
        assert!(matches!(read_metadata(&disk, dir), Err(Error::Corrupt { .. })), "empty");
        file.write_at(0, &[7; 100]).unwrap();
        assert!(matches!(read_metadata(&disk, dir), Err(Error::Corrupt { .. })), "of something else");
    }
}
