//! What a process has used, by the kernel's account, and which processors it may use.
//!
//! Readings are of the whole thread group. `/proc/PID/stat` adds up all its threads, those that have ended
//! included, in clock ticks of 10 ms; `/proc/PID/task/*/schedstat` has nanoseconds, of the threads that live.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use rustix::param::clock_ticks_per_second;
use rustix::process::{Pid, Resource, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

use crate::error::Error;

/// The unit in which the system counts the blocks of a file and the sectors of a device.
const BLOCK_BYTES: u64 = 512;

/// One reading of a process, or of several added up.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reading {
    /// Processor time since its start, user and system together.
    pub(crate) cpu: Duration,
    /// Context switches of its threads since they started.
    pub(crate) switches: Switches,
    /// Resident memory, in bytes.
    pub(crate) rss_bytes: u64,
}

/// Context switches of threads, added up.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Switches {
    /// A thread had to wait for something. Each is followed by one wake-up.
    pub(crate) voluntary: u64,
    /// A thread could have gone on, and another one ran instead.
    pub(crate) involuntary: u64,
}

impl Switches {
    /// Those that the `status` file of a thread tells.
    fn parse(status: &str) -> Self {
        Self {
            voluntary: field(status, "voluntary_ctxt_switches:").unwrap_or_default(),
            involuntary: field(status, "nonvoluntary_ctxt_switches:").unwrap_or_default(),
        }
    }

    /// How many there have been since `before`. The counts of a thread that has ended since are lost.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            voluntary: self.voluntary.saturating_sub(before.voluntary),
            involuntary: self.involuntary.saturating_sub(before.involuntary),
        }
    }

    /// Of both kinds.
    pub(crate) fn all(self) -> u64 {
        self.voluntary + self.involuntary
    }
}

impl Reading {
    /// Reads process `pid` now.
    pub(crate) fn of(pid: u32) -> Result<Self, Error> {
        let ticks = read(pid, "stat", |stat| parse_stat(stat, clock_ticks_per_second()))?;
        let rss_bytes = read(pid, "status", |status| field(status, "VmRSS:"))? * 1024;
        let (cpu, switches) = of_threads(pid)?;
        // Either may be short of the truth: the first by a tick, the second by the threads that have ended.
        Ok(Self { cpu: ticks.max(cpu), switches, rss_bytes })
    }

    /// Reads all of `pids` and adds them up; `None` if there are none.
    pub(crate) fn of_all(pids: &[u32]) -> Result<Option<Self>, Error> {
        let Some((&first, others)) = pids.split_first() else { return Ok(None) };
        let mut sum = Self::of(first)?;
        for &pid in others {
            let one = Self::of(pid)?;
            sum.cpu += one.cpu;
            sum.switches.voluntary += one.switches.voluntary;
            sum.switches.involuntary += one.switches.involuntary;
            sum.rss_bytes += one.rss_bytes;
        }
        Ok(Some(sum))
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

/// Bytes that all processes of this machine have sent over loopback since the system started, the headers of TCP
/// and IP included. `None` if there is no such account.
pub(crate) fn loopback_bytes() -> Option<u64> {
    parse_loopback(&fs::read_to_string("/proc/self/net/dev").ok()?)
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

/// What one thread has used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ThreadReading {
    /// Processor time since its start.
    pub(crate) cpu: Duration,
    /// Its context switches.
    pub(crate) switches: Switches,
}

impl ThreadReading {
    /// Reads this thread now.
    pub(crate) fn now() -> io::Result<Self> {
        let cpu = clock_gettime(ClockId::ThreadCPUTime);
        let cpu = Duration::new(cpu.tv_sec as u64, cpu.tv_nsec as u32);
        Ok(Self { cpu, switches: Switches::parse(&fs::read_to_string("/proc/thread-self/status")?) })
    }
}

/// Processor time and context switches of the threads of process `pid` that live.
fn of_threads(pid: u32) -> Result<(Duration, Switches), Error> {
    let no_list = |cause| Error::Process { pid, detail: format!("cannot list its threads: {cause}") };
    let (mut cpu, mut switches) = (Duration::ZERO, Switches::default());
    for thread in fs::read_dir(format!("/proc/{pid}/task")).map_err(no_list)? {
        let path = thread.map_err(no_list)?.path();
        // A thread that has ended since the list was made has no files any more.
        let read = |name: &str| fs::read_to_string(path.join(name)).unwrap_or_default();
        cpu += parse_schedstat(&read("schedstat")).unwrap_or_default();
        let of_thread = Switches::parse(&read("status"));
        switches.voluntary += of_thread.voluntary;
        switches.involuntary += of_thread.involuntary;
    }
    Ok((cpu, switches))
}

/// The first number is the time on a processor, in nanoseconds.
fn parse_schedstat(schedstat: &str) -> Option<Duration> {
    schedstat.split_ascii_whitespace().next()?.parse().ok().map(Duration::from_nanos)
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

/// Bytes sent are the ninth number behind the name of the interface.
fn parse_loopback(dev: &str) -> Option<u64> {
    let numbers = dev.lines().find_map(|line| line.trim_start().strip_prefix("lo:"))?;
    numbers.split_ascii_whitespace().nth(8)?.parse().ok()
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
    fn the_time_of_a_thread_comes_first_in_its_schedstat() {
        assert_eq!(parse_schedstat("1500 7 3\n"), Some(Duration::from_nanos(1500)));
        assert_eq!(parse_schedstat(""), None);
    }

    #[test]
    fn a_thread_that_waits_is_counted_as_a_voluntary_switch() {
        let before = Reading::own().unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        let (answer, answered) = std::sync::mpsc::channel();
        let waiter = std::thread::spawn(move || {
            while told.recv().is_ok() {
                answer.send(Reading::own().unwrap().switches).unwrap();
            }
        });
        let mut after = before.switches;
        for _ in 0..20 {
            tell.send(()).unwrap();
            after = answered.recv().unwrap();
        }
        drop(tell);
        waiter.join().unwrap();
        let switches = after.since(before.switches);
        assert!(switches.voluntary > 0 && switches.all() >= switches.voluntary, "{switches:?}");
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
    fn loopback_is_told_from_other_interfaces() {
        let dev = "face |bytes\n  eth0: 1 2 3 4 5 6 7 8 9 10\n    lo: 11 2 3 4 5 6 7 8 19 10\n";
        assert_eq!(parse_loopback(dev), Some(19));
        assert_eq!(parse_loopback("  eth0: 1 2 3 4 5 6 7 8 9 10\n"), None);
    }

    #[test]
    fn several_processes_are_added_up() {
        let own = std::process::id();
        assert_eq!(Reading::of_all(&[]).unwrap(), None);
        let once = Reading::own().unwrap();
        let twice = Reading::of_all(&[own, own]).unwrap().unwrap();
        assert!(twice.cpu >= 2 * once.cpu && twice.switches.all() >= 2 * once.switches.all());
        assert!(Reading::of_all(&[own, u32::MAX]).is_err());
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
