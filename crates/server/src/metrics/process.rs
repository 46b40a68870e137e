//! Numbers that the system keeps of this process, under the names of Prometheus' Go library.

use std::fs;
use std::str::FromStr;

use prometheus::{Counter, Gauge, Registry};
use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

use super::register;

/// The gauges, in the order in which [`Process::observe`] sets them.
const GAUGES: [(&str, &str); 7] = [
    ("process_open_fds", "Number of open file descriptors."),
    ("process_max_fds", "Maximum number of open file descriptors."),
    ("process_virtual_memory_bytes", "Virtual memory size in bytes."),
    ("process_resident_memory_bytes", "Resident memory size in bytes."),
    ("process_start_time_seconds", "Start time of the process since unix epoch in seconds."),
    ("os_fd_used", "The number of used file descriptors."),
    ("os_fd_limit", "The file descriptor limit."),
];

/// The numbers of the process.
#[derive(Debug)]
pub(super) struct Process {
    gauges: [Gauge; GAUGES.len()],
    cpu_seconds: Counter,
}

impl Process {
    pub(super) fn new(registry: &Registry) -> Process {
        let gauge = |(name, help): (&str, &str)| {
            register(registry, Gauge::new(name, help).expect("the name is valid"))
        };
        let cpu_seconds =
            Counter::new("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.");
        Process {
            gauges: GAUGES.map(gauge),
            cpu_seconds: register(registry, cpu_seconds.expect("the name is valid")),
        }
    }

    /// Reads the numbers of this moment. What the system does not tell is zero.
    pub(super) fn observe(&self) {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // The second field is a name in parentheses, which may hold spaces; the third follows it.
        let fields: Vec<&str> =
            stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
        let field = |number: usize| number_of::<f64>(fields.get(number - 3).copied());
        let ticks = clock_ticks_per_second() as f64;
        let open = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count) as f64;
        let limit = getrlimit(Resource::Nofile).current.map_or(f64::INFINITY, |limit| limit as f64);
        let values = [
            open,
            limit,
            field(23),
            field(24) * page_size() as f64,
            boot_time() + field(22) / ticks,
            open,
            limit,
        ];
        for (gauge, value) in self.gauges.iter().zip(values) {
            gauge.set(value);
        }
        self.cpu_seconds.reset();
        self.cpu_seconds.inc_by((field(14) + field(15)) / ticks);
    }
}

/// Seconds since the epoch when the system started.
fn boot_time() -> f64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    number_of(stat.lines().find_map(|line| line.strip_prefix("btime ")))
}

fn number_of<T: FromStr + Default>(text: Option<&str>) -> T {
    text.and_then(|text| text.trim().parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    #[test]
    fn numbers_are_those_of_this_process() {
        let process = Process::new(&Registry::new());
        process.observe();
        let value =
            |name: &str| process.gauges[GAUGES.iter().position(|(known, _)| *known == name).unwrap()].get();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        let age = now - value("process_start_time_seconds");
        assert!((-2.0..3600.0).contains(&age), "{age}");
        assert!(value("process_open_fds") >= 3.0 && value("process_max_fds") > value("process_open_fds"));
        let resident = value("process_resident_memory_bytes");
        assert!(resident > 1e5 && resident < value("process_virtual_memory_bytes"), "{resident}");
    }
}
