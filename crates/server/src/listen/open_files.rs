//! The limit of open files, and what it leaves for connections.
//!
//! The soft limit is raised to the hard one when the process starts, as Go's runtime does it. From what is left when
//! everything has started, a reserve is kept for the files that the disk opens later: without one the member would
//! have to stop, while a client can wait.

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// Open files kept for the disk and everything else that is no connection; as many as etcd keeps.
const RESERVED_FILES: u64 = 150;

/// The rest is for log files, sockets that listen, and what the runtime opens.
const _: () = assert!(disk::OPEN_FILES_MAX as u64 <= RESERVED_FILES / 2);

/// A server that can take fewer connections says so when it starts.
const FEW_CONNECTIONS: u64 = 512;

/// Raises the soft limit to the hard one. Fails, with the two numbers, if even that is no more than the reserve.
pub(crate) fn raise_limit() -> Result<(), String> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Where the system refuses, the limit stays as it is and is judged as such.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    check(limit())
}

fn check(limit: u64) -> Result<(), String> {
    if limit > RESERVED_FILES {
        return Ok(());
    }
    Err(format!(
        "the limit of open files is too low: {limit}, of which {RESERVED_FILES} are kept for the disk, so that none is \
         left for clients; raise it, as with `ulimit -n`"
    ))
}

/// How many connections may be open at once: one at least. Warns if these are few.
pub(super) fn connections_max() -> u64 {
    let (limit, open) = (limit(), open_files());
    let connections = connections_of(limit, open);
    if connections < FEW_CONNECTIONS {
        warn!(
            limit,
            "open-files" = open,
            "reserved-files" = RESERVED_FILES,
            "max-connections" = connections,
            "the limit of open files is low: further connections wait until others are closed"
        );
    }
    connections
}

fn connections_of(limit: u64, open: u64) -> u64 {
    limit.saturating_sub(open).saturating_sub(RESERVED_FILES).max(1)
}

fn limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Files that this process has open; 0 where the system does not tell.
fn open_files() -> u64 {
    fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_must_be_more_than_the_reserve() {
        assert_eq!(check(RESERVED_FILES + 1), Ok(()));
        let error = check(RESERVED_FILES).unwrap_err();
        assert!(
            error.starts_with("the limit of open files is too low: 150, of which 150 are kept"),
            "{error}"
        );
    }

    #[test]
    fn connections_get_what_is_neither_open_nor_reserved() {
        assert_eq!(connections_of(1024, 24), 850);
        assert_eq!(connections_of(200, 60), 1, "one is always possible");
        assert_eq!(connections_of(u64::MAX, 24), u64::MAX - 174);
    }

    #[test]
    fn soft_limit_becomes_the_hard_one() {
        raise_limit().unwrap();
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        assert_eq!(current, maximum);
    }
}
