//! What a process has used, by the kernel's account, and which processors it may use.
//!
//! Readings are of the whole thread group: `/proc/PID/stat` adds up all its threads, those that have
//! ended included, in clock ticks of 10 ms.

use std::fs;
use std::time::Duration;

use rustix::param::clock_ticks_per_second;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::error::Error;

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
        let file = |name| {
            fs::read_to_string(format!("/proc/{pid}/{name}"))
                .map_err(|cause| Error::Process { pid, detail: format!("cannot read /proc: {cause}") })
        };
        let malformed = || Error::Process { pid, detail: "its /proc entry has another form".to_owned() };
        Ok(Self {
            cpu: parse_stat(&file("stat")?, clock_ticks_per_second()).ok_or_else(malformed)?,
            rss_bytes: parse_status(&file("status")?).ok_or_else(malformed)?,
        })
    }

    /// Reads this process.
    pub(crate) fn own() -> Result<Self, Error> {
        Self::of(std::process::id())
    }
}

/// The processors that this thread, and those it starts, may use.
pub(crate) fn allowed_cores() -> Result<Vec<usize>, Error> {
    let set = sched_getaffinity(None)
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

/// Finds `VmRSS`, which is given in KiB.
fn parse_status(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
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
    fn resident_memory_is_in_bytes() {
        assert_eq!(parse_status("VmPeak:\t 9 kB\nVmRSS:\t   12 kB\n"), Some(12 * 1024));
        assert_eq!(parse_status("VmPeak:\t 9 kB\n"), None);
    }

    #[test]
    fn own_reading_is_not_empty() {
        assert!(Reading::own().unwrap().rss_bytes > 0);
    }

    #[test]
    fn a_process_that_does_not_exist_is_an_error_that_names_it() {
        let error = Reading::of(u32::MAX).unwrap_err();
        assert!(error.to_string().starts_with("process 4294967295: cannot read /proc"));
    }

    #[test]
    fn a_pinned_thread_keeps_to_its_cores() {
        let first = allowed_cores().unwrap()[0];
        let seen = std::thread::spawn(move || pin(&[first]).and_then(|()| allowed_cores())).join().unwrap();
        assert_eq!(seen.unwrap(), [first]);
    }
}
