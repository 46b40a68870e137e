//! Numbers that the system keeps about this process, under the names of Prometheus' Go library.

use std::fs;
use std::str::FromStr;

use prometheus::{Counter, Gauge, Registry};
use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

use super::register;

/// The gauges, in the order in which [`Process::observe`] sets them.
const GAUGES: [(&str, &str); 8] = [
    ("process_open_fds", "Number of open file descriptors."),
    ("process_max_fds", "Maximum number of open file descriptors."),
    ("process_virtual_memory_bytes", "Virtual memory size in bytes."),
    ("process_virtual_memory_max_bytes", "Maximum amount of virtual memory available in bytes."),
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
    network_received: Counter,
    network_sent: Counter,
}

impl Process {
    pub(super) fn new(registry: &Registry) -> Process {
        let gauge = |(name, help): (&str, &str)| {
            register(registry, Gauge::new(name, help).expect("the name is valid"))
        };
        let counter =
            |name: &str, help: &str| register(registry, Counter::new(name, help).expect("the name is valid"));
        Process {
            gauges: GAUGES.map(gauge),
            cpu_seconds: counter(
                "process_cpu_seconds_total",
                "Total user and system CPU time spent in seconds.",
            ),
            network_received: counter(
                "process_network_receive_bytes_total",
                "Number of bytes received by the process over the network.",
            ),
            network_sent: counter(
                "process_network_transmit_bytes_total",
                "Number of bytes sent by the process over the network.",
            ),
        }
    }

    /// Reads the current numbers. A number that the system does not report is zero.
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
            getrlimit(Resource::As).current.unwrap_or(u64::MAX) as f64,
            field(24) * page_size() as f64,
            boot_time() + field(22) / ticks,
            open,
            limit,
        ];
        for (gauge, value) in self.gauges.iter().zip(values) {
            gauge.set(value);
        }
        let (received, sent) =
            network_bytes(&fs::read_to_string("/proc/self/net/netstat").unwrap_or_default());
        for (counter, value) in [
            (&self.cpu_seconds, (field(14) + field(15)) / ticks),
            (&self.network_received, received),
            (&self.network_sent, sent),
        ] {
            counter.reset();
            counter.inc_by(value);
        }
    }
}

/// Bytes received and sent by the network namespace of the process, from the names and the values of `IpExt`.
fn network_bytes(netstat: &str) -> (f64, f64) {
    let mut lines = netstat.lines().filter_map(|line| line.strip_prefix("IpExt:"));
    let (names, values) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let value = |wanted: &str| {
        let mut pairs = names.split_whitespace().zip(values.split_whitespace());
        number_of(pairs.find(|(name, _)| *name == wanted).map(|(_, value)| value))
    };
    (value("InOctets"), value("OutOctets"))
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
