//! Everything that can go wrong on disk.
//!
//! Lack of space and lack of file descriptors are kept apart from every other failure, because the member survives
//! them. Everything else stops the member, so each sentence must tell an operator which file to look at.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why an operation on the data directory failed.
#[derive(Debug)]
pub enum Error {
    /// The operating system refused; after a failed write or sync the file must not be used any more.
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was attempted, as a verb: "sync".
        op: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The disk or the quota is full. Nothing was changed and a retry is safe once there is room.
    NoSpace {
        /// The file that could not grow.
        path: PathBuf,
    },
    /// The process or the machine has no file descriptor left. Nothing was changed and a retry is safe once other files
    /// or connections are closed.
    NoDescriptor {
        /// The file that could not be opened.
        path: PathBuf,
    },
    /// Bytes of a file cannot be read: the medium or the file system failed.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Where the read began, in bytes.
        offset: u64,
        /// What the system said.
        source: io::Error,
    },
    /// The write-ahead log ends before the last entry that a checkpoint contains, and so was durable once.
    EndsEarly {
        /// The last file of the log.
        path: PathBuf,
        /// Where its good records end, in bytes.
        offset: u64,
        /// Index of the last entry there is.
        last_index: u64,
        /// Index up to which entries must be there.
        needed_index: u64,
    },
    /// A file does not hold what was once written to it.
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where in it, in bytes.
        offset: u64,
        /// What should have been there.
        expected: Cow<'static, str>,
    },
    /// A file that must exist is not there.
    Missing {
        /// The directory that should hold it.
        dir: PathBuf,
        /// Which file, in words.
        expected: String,
    },
    /// Another process uses the data directory.
    Locked {
        /// The lock file.
        path: PathBuf,
        /// The process that holds it, if it left its number.
        pid: Option<u32>,
    },
    /// The data directory was written by another implementation of etcd; nothing in it was touched.
    ForeignData {
        /// The file that gives it away.
        path: PathBuf,
    },
    /// An earlier write or sync of this log failed, so what it holds is unknown until it is opened again.
    Failed {
        /// The log's directory.
        path: PathBuf,
    },
}

impl Error {
    /// Turns the system's error into ours: `file.sync().map_err(Error::io("sync", path))`.
    pub(crate) fn io(op: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Error::NoSpace { path: path.to_path_buf() }
            }
            _ if is_out_of_descriptors(&source) => Error::NoDescriptor { path: path.to_path_buf() },
            _ => Error::Io { path: path.to_path_buf(), op, source },
        }
    }

    /// Reading at `offset` of `path` failed.
    pub(crate) fn read(path: &Path, offset: u64) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Unreadable { path: path.to_path_buf(), offset, source }
    }

    /// Whether nothing was changed, and the same call may succeed later: the disk was full, or no file descriptor was
    /// left.
    pub fn may_be_retried(&self) -> bool {
        matches!(self, Error::NoSpace { .. } | Error::NoDescriptor { .. })
    }

    /// Like [`Error::io`] where a full disk is no excuse: the call must not be repeated, since what the file holds is
    /// unknown.
    pub(crate) fn fatal(op: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io { path: path.to_path_buf(), op, source }
    }

    /// Bytes at `offset` of `path` are not what was written.
    pub(crate) fn corrupt(path: &Path, offset: u64, expected: impl Into<Cow<'static, str>>) -> Error {
        Error::Corrupt { path: path.to_path_buf(), offset, expected: expected.into() }
    }
}

/// EMFILE: this process has too many files open; ENFILE: the machine has.
pub(crate) fn is_out_of_descriptors(error: &io::Error) -> bool {
    let errno = rustix::io::Errno::from_io_error(error);
    errno == Some(rustix::io::Errno::MFILE) || errno == Some(rustix::io::Errno::NFILE)
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Io { path, op, source } => write!(f, "cannot {op} {}: {source}", path.display()),
            Error::NoSpace { path } => write!(f, "no space left on the disk that holds {}", path.display()),
            Error::NoDescriptor { path } => write!(
                f,
                "cannot open {}: no file descriptor is left; raise the limit of open files (ulimit -n)",
                path.display()
            ),
            Error::Unreadable { path, offset, source } => {
                write!(f, "cannot read {} at byte {offset}: {source}", path.display())
            }
            Error::EndsEarly { path, offset, last_index, needed_index } => write!(
                f,
                "{} ends at byte {offset} with entry {last_index}: expected entries up to {needed_index}, \
                 which the checkpoint contains",
                path.display()
            ),
            Error::Corrupt { path, offset, expected } => {
                write!(f, "{} is corrupt at byte {offset}: expected {expected}", path.display())
            }
            Error::Missing { dir, expected } => write!(f, "{} lacks {expected}", dir.display()),
            Error::Locked { path, pid: Some(pid) } => {
                write!(f, "{} is locked: process {pid} is using this data directory", path.display())
            }
            Error::Locked { path, pid: None } => {
                write!(f, "{} is locked: another process is using this data directory", path.display())
            }
            Error::ForeignData { path } => write!(
                f,
                "{} was written by another etcd: this version cannot import it yet and has not touched it; \
                 start with an empty data directory or run the etcd that wrote it",
                path.display()
            ),
            Error::Failed { path } => write!(
                f,
                "an earlier write or sync in {} failed: restart the member once the disk is sound",
                path.display()
            ),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } | Error::Unreadable { source, .. } => Some(source),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_and_a_full_quota_are_no_space() {
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
            let error = Error::io("write", Path::new("/d/f"))(kind.into());
            assert!(matches!(error, Error::NoSpace { .. }), "{error}");
        }
    }

    #[test]
    fn a_lack_of_file_descriptors_may_be_retried() {
        for errno in [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE] {
            let error = Error::io("open", Path::new("/d/f"))(errno.into());
            assert!(matches!(error, Error::NoDescriptor { .. }) && error.may_be_retried(), "{error}");
        }
    }

    #[test]
    fn other_failures_name_the_operation_and_the_file() {
        let error = Error::io("sync", Path::new("/d/f"))(io::Error::other("device gone"));
        assert_eq!(error.to_string(), "cannot sync /d/f: device gone");
    }

    #[test]
    fn corruption_names_file_offset_and_expectation() {
        let error = Error::corrupt(Path::new("/d/f"), 512, "a record of type 1 to 5");
        assert_eq!(error.to_string(), "/d/f is corrupt at byte 512: expected a record of type 1 to 5");
    }
}
