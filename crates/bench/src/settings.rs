//! What one run does: the workload, its numbers, and how hard it presses.

use std::time::Duration;

use crate::error::Error;

/// The kinds of load, by the request that is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Workload {
    /// Write one key.
    Put,
    /// Write one key inside a transaction without conditions.
    TxnPut,
    /// Read one key.
    Get,
    /// Read all keys, a page of them, or their count.
    Range,
    /// Write one key that many watch; an operation is one event delivered to one watcher.
    Watch,
}

impl Workload {
    /// All of them, with the name and meaning given on the command line.
    pub(crate) const ALL: [(Self, &str, &str); 5] = [
        (Self::Put, "put", "write one key"),
        (Self::TxnPut, "txn-put", "write one key inside a transaction"),
        (Self::Get, "get", "read one key"),
        (Self::Range, "range", "read all keys, a page of them (--limit) or their count (--count-only)"),
        (Self::Watch, "watch", "write one key that many watch; an operation is one event delivered"),
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

    /// Whether the keys must exist before the first operation.
    pub(crate) fn reads(self) -> bool {
        matches!(self, Self::Get | Self::Range)
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

/// Everything that defines a run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settings {
    /// The request that is repeated.
    pub(crate) workload: Workload,
    /// The server, as `host:port`.
    pub(crate) endpoint: String,
    /// TCP connections, spread over the threads.
    pub(crate) connections: usize,
    /// Calls in flight on each connection; for `watch`, the streams that share its watchers.
    pub(crate) streams: usize,
    /// Threads of the generator, each with a runtime of its own.
    pub(crate) threads: usize,
    /// Operations a second, started on time whether or not earlier ones have ended; without it each
    /// call follows the answer to the one before. For `watch` it counts puts.
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
    /// Watchers of the one key.
    pub(crate) watchers: usize,
    /// Puts that may be ahead of their deliveries, on average over the watchers.
    pub(crate) puts_ahead: usize,
    /// Time before the measured time, under the same load.
    pub(crate) warmup: Duration,
    /// The measured time.
    pub(crate) duration: Duration,
    /// The process whose CPU and memory are read.
    pub(crate) server_pid: Option<u32>,
    /// Report as JSON.
    pub(crate) json: bool,
}

impl Settings {
    /// The defaults of `workload`.
    pub(crate) fn of(workload: Workload) -> Self {
        let (connections, streams, keys) = match workload {
            Workload::Put | Workload::TxnPut | Workload::Get => (8, 32, 100_000),
            Workload::Range => (2, 2, 10_000),
            Workload::Watch => (8, 1, 1),
        };
        Self {
            workload,
            endpoint: "127.0.0.1:2379".to_owned(),
            connections,
            streams,
            threads: 1,
            rate: None,
            keys,
            key_order: KeyOrder::Random,
            value_bytes: 256,
            serializable: false,
            limit: 0,
            count_only: false,
            watchers: 1000,
            puts_ahead: 4,
            warmup: Duration::from_secs(2),
            duration: Duration::from_secs(10),
            server_pid: None,
            json: false,
        }
    }

    /// Refuses numbers that contradict each other.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let refuse = |text: &str| Err(Error::Usage(text.to_owned()));
        if self.threads > self.connections {
            return refuse("each of --threads needs a connection of its own");
        }
        if self.workload == Workload::Watch && self.value_bytes < 8 {
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
        assert!(text.contains("unknown workload `delete`; there are put, txn-put, get"), "{text}");
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
}
