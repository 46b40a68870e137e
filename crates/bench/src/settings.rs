//! What one run does: the workload, its numbers, and how hard it presses.

use std::path::PathBuf;
use std::time::Duration;

use crate::error::Error;

/// The kinds of load: those up to [`Workload::LeaseKeepaliveOnce`] repeat an operation for a measured time, the
/// others are experiments that take their course once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Workload {
    /// Write one key.
    Put,
    /// Write one key inside a transaction without conditions.
    TxnPut,
    /// Create a key, or update it if nobody else has since it was last written.
    TxnUpdate,
    /// Read one key.
    Get,
    /// Read all keys, a page of them, or their count.
    Range,
    /// Read or write one key.
    Mixed,
    /// What a Kubernetes API server asks for: guarded updates, reads, lists, watches.
    Kubernetes,
    /// Write one key that many watch; an operation is one event delivered to one watcher.
    Watch,
    /// Write below one of many prefixes, each of which is watched; an operation is one event delivered.
    WatchPrefixes,
    /// Grant a lease.
    LeaseGrant,
    /// Renew a lease over one stream.
    LeaseKeepalive,
    /// Renew a lease, each time over a new stream.
    LeaseKeepaliveOnce,
    /// Watch from the first of many revisions.
    WatchCatchUp,
    /// Let many leases run out at once.
    LeaseExpiry,
    /// Compact many revisions while keys are written at a fixed rate.
    Compaction,
    /// Write and read among more and more keys.
    Keys,
    /// Write the same keys over and over, compacting in between.
    Overwrite,
    /// Open connections that do nothing.
    IdleConnections,
    /// Create watchers that see nothing.
    IdleWatchers,
    /// Kill the server over many keys and start it again.
    Restart,
    /// Leave the server alone.
    IdleServer,
    /// Kill the leader of a cluster again and again, and stop it.
    ClusterFailover,
    /// Write and sync at a fixed rate, without a server: what each durable put costs any server.
    BareSync,
    /// Answer over loopback at a fixed rate, with the least server there can be.
    BareEcho,
}

impl Workload {
    /// All of them, with the name and meaning given on the command line.
    pub(crate) const ALL: [(Self, &str, &str); 24] = [
        (Self::Put, "put", "write one key"),
        (Self::TxnPut, "txn-put", "write one key inside a transaction"),
        (Self::TxnUpdate, "txn-update", "create a key, or update it if its revision is the one last seen"),
        (Self::Get, "get", "read one key"),
        (Self::Range, "range", "read all keys, a page of them (--limit) or their count (--count-only)"),
        (Self::Mixed, "mixed", "read a key (--read-percent of the calls) or write it"),
        (Self::Kubernetes, "kubernetes", "guarded updates (79 %), reads (20), pages of 500 (1), --watchers"),
        (Self::Watch, "watch", "write one key that many watch; an operation is one event delivered"),
        (Self::WatchPrefixes, "watch-prefixes", "the same with a prefix for each watcher"),
        (Self::LeaseGrant, "lease-grant", "grant a lease"),
        (Self::LeaseKeepalive, "lease-keepalive", "renew a lease over one stream"),
        (Self::LeaseKeepaliveOnce, "lease-keepalive-once", "renew a lease, each time over a new stream"),
        (Self::WatchCatchUp, "watch-catch-up", "--watchers that start at the first of --revisions"),
        (Self::LeaseExpiry, "lease-expiry", "--leases with a key each that run out within the same second"),
        (Self::Compaction, "compaction", "the longest put while --revisions are compacted and hashed"),
        (Self::Keys, "keys", "the cost of a put and of a get as keys grow to --keys"),
        (
            Self::Overwrite,
            "overwrite",
            "space on disk as --keys are overwritten and compacted (`compare` only)",
        ),
        (Self::IdleConnections, "idle-connections", "memory of each of --connections"),
        (Self::IdleWatchers, "idle-watchers", "memory of each of --watchers"),
        (Self::Restart, "restart", "kill -9 over --keys, and the time until it serves (`compare` only)"),
        (Self::IdleServer, "idle-server", "processor time and wake-ups of a server that nobody calls"),
        (
            Self::ClusterFailover,
            "cluster-failover",
            "time without service after the leader is killed and after it is stopped (`compare` only)",
        ),
        (Self::BareSync, "bare-sync", "write and sync --rate times a second, without a server"),
        (Self::BareEcho, "bare-echo", "answer over loopback --rate times a second, one thread and no more"),
    ];

    /// Finds a workload by its name.
    pub(crate) fn named(name: &str) -> Result<Self, Error> {
        let found = Self::ALL.iter().find(|(_, known, _)| *known == name);
        found.map(|(workload, ..)| *workload).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|(_, known, _)| *known).collect();
            Error::Usage(format!("unknown workload `{name}`; there are {}", known.join(", ")))
        })
    }

    /// The name given on the command line.
    pub(crate) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(known, ..)| *known == self).map_or("", |(_, name, _)| name)
    }

    /// Whether it repeats an operation until its time is over.
    pub(crate) fn is_steady(self) -> bool {
        !matches!(
            self,
            Self::WatchCatchUp
                | Self::LeaseExpiry
                | Self::Compaction
                | Self::Keys
                | Self::Overwrite
                | Self::IdleConnections
                | Self::IdleWatchers
                | Self::Restart
                | Self::IdleServer
                | Self::ClusterFailover
        ) && !self.is_bare()
    }

    /// Whether it measures the system without any etcd.
    pub(crate) fn is_bare(self) -> bool {
        matches!(self, Self::BareSync | Self::BareEcho)
    }

    /// Whether the keys must exist before the first operation.
    pub(crate) fn reads(self) -> bool {
        matches!(self, Self::Get | Self::Range | Self::Mixed | Self::Kubernetes)
    }
}

/// In which order keys are touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyOrder {
    /// One after the other, over and over.
    Sequential,
    /// Uniformly at random, from a fixed seed.
    Random,
    /// Always the first.
    One,
}

impl KeyOrder {
    /// Finds an order by its name on the command line.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "sequential" => Some(Self::Sequential),
            "random" => Some(Self::Random),
            "one" => Some(Self::One),
            _ => None,
        }
    }
}

/// What a member is to its cluster. The only member of a cluster leads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The member that decides the order of commands.
    Leader,
    /// Any other one.
    Follower,
}

/// Everything that defines a run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settings {
    /// What is done.
    pub(crate) workload: Workload,
    /// The server, as `host:port`.
    pub(crate) endpoint: String,
    /// TCP connections, spread over the threads.
    pub(crate) connections: usize,
    /// Calls in flight on each connection; of watchers, the streams that share them.
    pub(crate) streams: usize,
    /// Threads of the generator, each with a runtime of its own.
    pub(crate) threads: usize,
    /// Operations a second, started on time whether or not earlier ones have ended; without it each
    /// call follows the answer to the one before. Of watched keys it counts puts.
    pub(crate) rate: Option<f64>,
    /// Number of distinct keys.
    pub(crate) keys: u64,
    /// In which order they are touched.
    pub(crate) key_order: KeyOrder,
    /// Length of each value.
    pub(crate) value_bytes: usize,
    /// Read what the member has, without asking the cluster.
    pub(crate) serializable: bool,
    /// Keys a range returns at most; 0 means all.
    pub(crate) limit: u64,
    /// A range returns the number of keys only.
    pub(crate) count_only: bool,
    /// Of a hundred calls of a mixed load, how many read.
    pub(crate) read_percent: u64,
    /// Watchers, over all connections.
    pub(crate) watchers: usize,
    /// Puts that may be ahead of their deliveries, on average over the watchers.
    pub(crate) puts_ahead: usize,
    /// Puts, each a revision of its own, before an experiment on history.
    pub(crate) revisions: u64,
    /// Leases that run out.
    pub(crate) leases: u64,
    /// Time before the measured time, under the same load.
    pub(crate) warmup: Duration,
    /// The measured time.
    pub(crate) duration: Duration,
    /// The processes whose CPU and memory are read and added up: those of all members.
    pub(crate) server_pids: Vec<u32>,
    /// Members of the cluster that `bench compare` starts.
    pub(crate) members: usize,
    /// Which of them is called.
    pub(crate) called: Role,
    /// How often a leader is killed, and how often one is stopped.
    pub(crate) kills: usize,
    /// The processors for a thread that stands in for a server; none: all.
    pub(crate) server_cores: Vec<usize>,
    /// Where files are written without a server; the system's directory for temporary files if not given.
    pub(crate) dir: Option<PathBuf>,
    /// Report as JSON.
    pub(crate) json: bool,
}

impl Settings {
    /// The defaults of `workload`.
    pub(crate) fn of(workload: Workload) -> Self {
        let (connections, streams) = match workload {
            Workload::Range => (2, 2),
            Workload::Watch | Workload::WatchPrefixes => (8, 1),
            Workload::Kubernetes | Workload::Compaction | Workload::LeaseExpiry => (8, 8),
            Workload::WatchCatchUp => (4, 1),
            Workload::IdleConnections => (2000, 1),
            Workload::IdleWatchers => (10, 1),
            _ => (8, 32),
        };
        Self {
            workload,
            endpoint: "127.0.0.1:2379".to_owned(),
            connections,
            streams,
            threads: 1,
            rate: match workload {
                Workload::Compaction | Workload::LeaseExpiry => Some(1000.0),
                _ => workload.is_bare().then_some(1000.0),
            },
            keys: match workload {
                Workload::Range | Workload::Kubernetes => 10_000,
                Workload::Restart | Workload::Keys | Workload::Overwrite => 1_000_000,
                _ => 100_000,
            },
            key_order: KeyOrder::Random,
            value_bytes: match workload {
                Workload::Kubernetes | Workload::Restart | Workload::Overwrite => 1024,
                Workload::Keys => 64,
                _ => 256,
            },
            serializable: false,
            limit: 0,
            count_only: false,
            read_percent: 90,
            watchers: match workload {
                Workload::Kubernetes => 100,
                Workload::WatchCatchUp => 4,
                Workload::IdleWatchers => 100_000,
                _ => 1000,
            },
            puts_ahead: if workload == Workload::WatchPrefixes { 64 } else { 4 },
            revisions: 1_000_000,
            leases: 1_000_000,
            warmup: Duration::from_secs(2),
            duration: Duration::from_secs(10),
            server_pids: Vec::new(),
            members: if workload == Workload::ClusterFailover { 3 } else { 1 },
            called: Role::Leader,
            kills: 10,
            server_cores: Vec::new(),
            dir: None,
            json: false,
        }
    }

    /// Refuses numbers that contradict each other.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let refuse = |text: &str| Err(Error::Usage(text.to_owned()));
        if self.threads > self.connections {
            return refuse("each of --threads needs a connection of its own");
        }
        let stamped = matches!(self.workload, Workload::Watch | Workload::WatchPrefixes);
        if stamped && self.value_bytes < 8 {
            return refuse("--value-bytes of a watched key must hold a time stamp of 8 bytes");
        }
        Ok(())
    }

    /// Keys that one range returns.
    pub(crate) fn range_len(&self) -> u64 {
        match (self.count_only, self.limit) {
            (true, _) => 0,
            (false, 0) => self.keys,
            (false, limit) => limit.min(self.keys),
        }
    }

    /// The process to observe, where it is one alone.
    ///
    /// # Errors
    /// If none was named: an experiment on memory has nothing to say then.
    pub(crate) fn observed_pid(&self) -> Result<u32, Error> {
        let first = self.server_pids.first().copied();
        first.ok_or_else(|| Error::Usage(format!("{} needs --server-pid", self.workload.name())))
    }

    /// One line that says what was run, with the numbers that shape the result.
    pub(crate) fn describe(&self) -> String {
        let mut line = format!(
            "{}: {} connections x {} streams, {} keys, values of {} B",
            self.workload.name(),
            self.connections,
            self.streams,
            self.keys,
            self.value_bytes
        );
        match self.workload {
            Workload::Range => line += &format!(", {} values each", self.range_len()),
            Workload::Mixed => line += &format!(", {} % reads", self.read_percent),
            Workload::Kubernetes
            | Workload::Watch
            | Workload::WatchPrefixes
            | Workload::WatchCatchUp
            | Workload::IdleWatchers => line += &format!(", {} watchers", self.watchers),
            Workload::LeaseExpiry => line += &format!(", {} leases", self.leases),
            Workload::Compaction => line += &format!(", {} revisions", self.revisions),
            _ => {}
        }
        if self.workload.reads() && self.serializable {
            line += ", serializable";
        }
        if self.members > 1 {
            line += &format!(", {} members", self.members);
        }
        match self.rate {
            Some(rate) => line + &format!(", open loop {rate}/s"),
            None if self.workload.is_steady() => line + ", closed loop",
            None => line,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_workload_is_found_by_its_name() {
        for (workload, name, _) in Workload::ALL {
            assert_eq!(Workload::named(name).unwrap(), workload);
            assert_eq!(workload.name(), name);
        }
    }

    #[test]
    fn an_unknown_workload_is_refused_with_the_known_ones() {
        let text = Workload::named("delete").unwrap_err().to_string();
        assert!(text.contains("unknown workload `delete`; there are put, txn-put, txn-update"), "{text}");
    }

    #[test]
    fn a_thread_without_a_connection_is_refused() {
        let settings = Settings { threads: 9, ..Settings::of(Workload::Put) };
        assert!(settings.check().is_err());
    }

    #[test]
    fn a_page_is_never_longer_than_the_keys() {
        let range = Settings { keys: 100, ..Settings::of(Workload::Range) };
        assert_eq!(range.range_len(), 100);
        assert_eq!(Settings { limit: 500, ..range.clone() }.range_len(), 100);
        assert_eq!(Settings { limit: 10, ..range.clone() }.range_len(), 10);
        assert_eq!(Settings { count_only: true, ..range }.range_len(), 0);
    }

    #[test]
    fn the_description_tells_what_shapes_the_workload() {
        let page = Settings { limit: 500, serializable: true, ..Settings::of(Workload::Range) };
        assert!(page.describe().ends_with(", 500 values each, serializable, closed loop"));
        let watch = Settings { rate: Some(50.0), ..Settings::of(Workload::Watch) };
        assert!(watch.describe().ends_with(", 1000 watchers, open loop 50/s"));
    }
}
