//! What a process has used, by the kernel's account, and which processors it may use.
//!
//! Readings are of the whole thread group: `/proc/PID/stat` adds up all its threads, those that have
//! ended included, in clock ticks of 10 ms.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use rustix::param::clock_ticks_per_second;
use rustix::process::{Pid, Resource, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::error::Error;

/// The unit in which the system counts the blocks of a file and the sectors of a device.
const BLOCK_BYTES: u64 = 512;

/// One reading of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reading {
    /// Processor time since its start, user and system together.
    pub(crate) cpu: Duration,
    /// Resident memory, in bytes.
    pub(crate) rss_bytes: u64,
}

impl Reading {
    /// Reads process `pid` now.
    pub(crate) fn of(pid: u32) -> Result<Self, Error> {
        let stat = read(pid, "stat", |stat| parse_stat(stat, clock_ticks_per_second()));
        Ok(Self { cpu: stat?, rss_bytes: read(pid, "status", |status| field(status, "VmRSS:"))? * 1024 })
    }

    /// Reads this process.
    pub(crate) fn own() -> Result<Self, Error> {
        Self::of(std::process::id())
    }
}

/// Bytes that the device under `dir` has written since the system started, all that was written to its files
/// until now among them. Nothing if no block device lies under it.
///
/// The account that the system keeps of a process is of no use for this: it charges a write of a few bytes with
/// the whole folio in the page cache, which may be a megabyte.
pub(crate) fn written_bytes(dir: &Path) -> io::Result<Option<u64>> {
    let dir = fs::File::open(dir)?;
    rustix::fs::syncfs(&dir)?;
    let device = dir.metadata()?.dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let stat = fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat")).ok();
    Ok(stat.and_then(|stat| parse_device_stat(&stat)))
}

/// Bytes that the files under `dir` take on the disk, holes and spare blocks as they are.
pub(crate) fn disk_bytes(dir: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        let (path, meta) = entry.and_then(|entry| Ok((entry.path(), entry.metadata()?)))?;
        bytes += if meta.is_dir() { disk_bytes(&path)? } else { meta.blocks() * BLOCK_BYTES };
    }
    Ok(bytes)
}

/// Allows this process, and those it starts, as many open files as the system lets it have.
pub(crate) fn allow_many_files() -> Result<(), Error> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit)
        .map_err(|cause| Error::System { what: "cannot raise the limit of open files", cause: cause.into() })
}

/// The processors that this thread, and those it starts, may use.
pub(crate) fn allowed_cores() -> Result<Vec<usize>, Error> {
    cores_of(None)
}

/// How many processors process `pid` may use.
pub(crate) fn core_count(pid: u32) -> Result<usize, Error> {
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
    Ok(cores_of(raw)?.len())
}

/// Runs `start`, which starts a process, so that the process keeps to `cores`; none means no restriction.
///
/// A process inherits the affinity of the thread that starts it, which is the one moment at which all its
/// threads can be pinned without a race.
pub(crate) fn on_cores<T>(cores: &[usize], start: impl FnOnce() -> T) -> Result<T, Error> {
    if cores.is_empty() {
        return Ok(start());
    }
    let own = allowed_cores()?;
    pin(cores)?;
    let started = start();
    pin(&own)?;
    Ok(started)
}

fn cores_of(pid: Option<Pid>) -> Result<Vec<usize>, Error> {
    let set = sched_getaffinity(pid)
        .map_err(|cause| Error::System { what: "cannot read the processor affinity", cause: cause.into() })?;
    Ok((0..CpuSet::MAX_CPU).filter(|&core| set.is_set(core)).collect())
}

/// Restricts this thread, and the threads and processes that it starts from now on, to `cores`.
pub(crate) fn pin(cores: &[usize]) -> Result<(), Error> {
    let mut set = CpuSet::new();
    cores.iter().for_each(|&core| set.set(core));
    sched_setaffinity(None, &set)
        .map_err(|cause| Error::System { what: "cannot set the processor affinity", cause: cause.into() })
}

/// Adds up `utime` and `stime`, fields 14 and 15. The name, field 2, may itself hold spaces and brackets.
fn parse_stat(stat: &str, ticks_per_second: u64) -> Option<Duration> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut times = after_name.split_ascii_whitespace().skip(11).map(str::parse::<u64>);
    let ticks = times.next()?.ok()? + times.next()?.ok()?;
    Some(Duration::from_nanos(ticks * (1_000_000_000 / ticks_per_second)))
}

/// Sectors written are the seventh number, in the same unit on every device.
fn parse_device_stat(stat: &str) -> Option<u64> {
    stat.split_ascii_whitespace().nth(6)?.parse::<u64>().ok().map(|sectors| sectors * BLOCK_BYTES)
}

/// The number after `name` on a line of its own.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// Reads file `name` of process `pid` under `/proc` and finds a value in it.
fn read<T>(pid: u32, name: &str, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, Error> {
    let text = fs::read_to_string(format!("/proc/{pid}/{name}"))
        .map_err(|cause| Error::Process { pid, detail: format!("cannot read /proc: {cause}") })?;
    parse(&text).ok_or_else(|| Error::Process { pid, detail: "its /proc entry has another form".to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_the_sum_of_user_and_system() {
        let stat = "42 (a ) b) S 1 42 42 0 -1 4194560 1000 0 0 0 250 50 7 8 20 0 9 0 100 1 2";
        assert_eq!(parse_stat(stat, 100), Some(Duration::from_secs(3)));
        assert_eq!(parse_stat("42 (etcd) S 1", 100), None);
    }

    #[test]
    fn a_field_is_found_by_its_name() {
        assert_eq!(field("VmPeak:\t 9 kB\nVmRSS:\t   12 kB\n", "VmRSS:"), Some(12));
        assert_eq!(field("VmPeak:\t 9 kB\n", "VmRSS:"), None);
    }

    #[test]
    fn a_device_counts_what_it_wrote_in_sectors() {
        assert_eq!(parse_device_stat("  1 2 3 4 5 6 7 8 9 10 11\n"), Some(7 * 512));
        assert_eq!(parse_device_stat("1 2 3"), None);
    }

    #[test]
    fn own_reading_is_not_empty() {
        assert!(Reading::own().unwrap().rss_bytes > 1 << 20);
        assert!(core_count(std::process::id()).unwrap() > 0);
    }

    #[test]
    fn a_process_that_does_not_exist_is_an_error_that_names_it() {
        let error = Reading::of(u32::MAX).unwrap_err();
        assert!(error.to_string().starts_with("process 4294967295: cannot read /proc"));
    }

    #[test]
    fn what_is_started_on_cores_keeps_to_them_and_the_starter_does_not() {
        let (own, first) = (allowed_cores().unwrap(), allowed_cores().unwrap()[0]);
        let seen = on_cores(&[first], || std::thread::spawn(allowed_cores).join().unwrap()).unwrap();
        assert_eq!(seen.unwrap(), [first]);
        assert_eq!(allowed_cores().unwrap(), own);
    }
}
