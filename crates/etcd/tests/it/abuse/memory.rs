//! What a server holds in memory, as the system counts it.

use std::fmt;
use std::fs;

use crate::server::Server;

/// Resident memory of a server, now and when it was first looked at.
pub(super) struct Memory {
    pid: u32,
    before_kib: usize,
}

impl Memory {
    /// Remembers what the server holds now.
    pub(super) fn of(server: &Server) -> Memory {
        let pid = server.pid();
        // Begins to count the most that it holds anew.
        fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
        Memory { pid, before_kib: field_kib(pid, "VmRSS:") }
    }

    /// What it holds more than then, in bytes.
    pub(super) fn growth(&self) -> usize {
        field_kib(self.pid, "VmRSS:").saturating_sub(self.before_kib) << 10
    }

    /// The most that it has held at any time more than then, in MiB.
    pub(super) fn growth_mib(&self) -> usize {
        field_kib(self.pid, "VmHWM:").saturating_sub(self.before_kib) >> 10
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |kib: usize| kib >> 10;
        let (now, most) = (field_kib(self.pid, "VmRSS:"), field_kib(self.pid, "VmHWM:"));
        write!(f, "{} MiB before, {} MiB now, {} MiB at most", mib(self.before_kib), mib(now), mib(most))
    }
}

fn field_kib(pid: u32, name: &str) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("the system counts it");
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
