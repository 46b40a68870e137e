//! The data directory: where each file lives, and that one process at a time uses it.
//!
//! The layout is etcd's, so that an operator finds what they know, with two names that etcd ignores:
//!
//! ```text
//! <data-dir>/member/lock          held while a member runs; holds its process number
//! <data-dir>/member/wal/          the write-ahead log
//! <data-dir>/member/snap/         snapshots received or being sent
//! <data-dir>/member/log/          the revision log and its checkpoint
//! ```
//!
//! A directory that holds `member/snap/db` was written by etcd itself. It is refused and not touched, not even locked.

use std::any::Any;
use std::io;
use std::path::{Path, PathBuf};

use crate::directory;
use crate::error::Error;
use crate::files::Disk;

/// A data directory that this process has locked; the lock ends when this is dropped.
#[derive(Debug)]
pub struct DataDir {
    member: PathBuf,
    _lock: Box<dyn Any + Send>,
}

impl DataDir {
    /// Creates what is missing of the directory at `root` and locks it, leaving `pid`, the number of this process, for
    /// whoever comes second. Durable when it returns, with every directory that holds it.
    ///
    /// Fails with [`Error::ForeignData`] if etcd wrote it, and with [`Error::Locked`] if another process uses it.
    pub fn open(disk: &dyn Disk, root: &Path, pid: u32) -> Result<DataDir, Error> {
        let member = root.join("member");
        let backend = member.join("snap").join("db");
        match disk.open(&backend) {
            Ok(_) => return Err(Error::ForeignData { path: backend }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io("open", &backend)(error)),
        }
        disk.create_dir(&member).map_err(Error::io("create", &member))?;
        let lock = take_lock(disk, &member.join("lock"), pid)?;
        for dir in ["snap", "log"].map(|name| member.join(name)) {
            disk.create_dir(&dir).map_err(Error::io("create", &dir))?;
        }
        // On each start: an earlier process may have created them and been killed before it came to this.
        directory::sync_name(disk, &member.join("log"))?;
        Ok(DataDir { member, _lock: lock })
    }

    /// The write-ahead log's directory; not created here, since its existence says that the member was bootstrapped.
    pub fn wal(&self) -> PathBuf {
        self.member.join("wal")
    }

    /// The directory of snapshots received or being sent.
    pub fn snap(&self) -> PathBuf {
        self.member.join("snap")
    }

    /// The directory of the revision log and its checkpoint.
    pub fn log(&self) -> PathBuf {
        self.member.join("log")
    }
}

fn take_lock(disk: &dyn Disk, path: &Path, pid: u32) -> Result<Box<dyn Any + Send>, Error> {
    let guard = match disk.lock(path) {
        Ok(guard) => guard,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            return Err(Error::Locked { path: path.to_path_buf(), pid: holder(disk, path) });
        }
        Err(error) => return Err(Error::io("lock", path)(error)),
    };
    let file = disk.open(path).map_err(Error::io("open", path))?;
    file.set_len(0)
        .and_then(|()| file.write_at(0, format!("{pid}\n").as_bytes()))
        .map_err(Error::io("write", path))?;
    Ok(guard)
}

/// The process that holds the lock, if it has come to writing its number.
fn holder(disk: &dyn Disk, path: &Path) -> Option<u32> {
    let file = disk.open(path).ok()?;
    let mut text = vec![0; usize::try_from(file.len().ok()?).ok()?];
    file.read_at(0, &mut text).ok()?;
    std::str::from_utf8(&text).ok()?.trim_end().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::SimDisk;

    const ROOT: &str = "/var/lib/etcd";

    fn open(disk: &SimDisk, pid: u32) -> Result<DataDir, Error> {
        DataDir::open(disk, Path::new(ROOT), pid)
    }

    #[test]
    fn a_new_directory_gets_everything_but_a_log() {
        let disk = SimDisk::new(1);
        let dir = open(&disk, 7).unwrap();
        assert_eq!(disk.list(Path::new("/var/lib/etcd/member")).unwrap(), ["lock", "log", "snap"]);
        assert_eq!(dir.wal(), Path::new("/var/lib/etcd/member/wal"));
        for present in [dir.snap(), dir.log()] {
            assert!(disk.list(&present).unwrap().is_empty());
        }
    }

    #[test]
    fn a_second_process_is_refused_and_told_of_the_first() {
        let disk = SimDisk::new(1);
        let first = open(&disk, 4711).unwrap();
        let message = open(&disk, 12).unwrap_err().to_string();
        assert!(message.contains("process 4711 is using this data directory"), "{message}");
        drop(first);
        let _second = open(&disk, 12).unwrap();
        assert!(matches!(open(&disk, 13), Err(Error::Locked { pid: Some(12), .. })));
    }

    #[test]
    fn a_full_disk_is_reported_as_such() {
        let disk = SimDisk::new(1);
        disk.set_capacity(Some(0));
        assert!(matches!(open(&disk, 1), Err(Error::NoSpace { .. })));
    }

    #[test]
    fn a_directory_written_by_etcd_is_refused_and_not_touched() {
        let disk = SimDisk::new(1);
        let snap = Path::new("/var/lib/etcd/member/snap");
        disk.create_dir(snap).unwrap();
        disk.create(&snap.join("db")).unwrap();
        let before = disk.ops().effects();
        let message = open(&disk, 1).unwrap_err().to_string();
        assert!(message.contains("cannot import it yet and has not touched it"), "{message}");
        assert_eq!(disk.ops().effects(), before);
    }

    #[test]
    fn an_opened_directory_outlives_a_crash() {
        for seed in 0..20 {
            let disk = SimDisk::new(seed);
            drop(open(&disk, 1).unwrap());
            disk.crash();
            assert_eq!(disk.list(Path::new("/var/lib/etcd/member")).unwrap(), ["lock", "log", "snap"]);
        }
    }
}
