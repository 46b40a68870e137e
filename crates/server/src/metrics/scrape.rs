//! Gauges and counters that are set at each scrape, from values that other parts keep.

use prometheus::{Gauge, IntCounter, IntGaugeVec, Registry};

use super::{gauges, register};

/// Each gauge with its help text, which is etcd's.
const GAUGES: [(&str, &str); 18] = [
    ("etcd_debugging_auth_revision", "The current revision of auth store."),
    ("etcd_debugging_mvcc_compact_revision", "The revision of the last compaction in store."),
    ("etcd_debugging_mvcc_current_revision", "The current revision of store."),
    ("etcd_debugging_mvcc_keys_total", "Total number of keys."),
    ("etcd_debugging_mvcc_slow_watcher_total", "Total number of unsynced slow watchers."),
    ("etcd_debugging_mvcc_total_put_size_in_bytes", "The total size of put kv pairs seen by this member."),
    ("etcd_debugging_mvcc_watch_stream_total", "Total number of watch streams."),
    ("etcd_debugging_mvcc_watcher_total", "Total number of watchers."),
    ("etcd_mvcc_db_open_read_transactions", "The number of currently open read transactions"),
    (
        "etcd_mvcc_db_total_size_in_bytes",
        "Total size of the underlying database physically allocated in bytes.",
    ),
    (
        "etcd_mvcc_db_total_size_in_use_in_bytes",
        "Total size of the underlying database logically in use in bytes.",
    ),
    ("etcd_server_has_leader", "Whether or not a leader exists. 1 is existence, 0 is not."),
    ("etcd_server_is_leader", "Whether or not this member is a leader. 1 if is, 0 otherwise."),
    ("etcd_server_is_learner", "Whether or not this member is a learner. 1 if is, 0 otherwise."),
    ("etcd_server_proposals_applied_total", "The total number of consensus proposals applied."),
    ("etcd_server_proposals_committed_total", "The total number of consensus proposals committed."),
    ("etcd_server_quota_backend_bytes", "Current backend storage quota size in bytes."),
    (
        "etcd_server_snapshot_apply_in_progress_total",
        "1 if the server is applying the incoming snapshot. 0 if none.",
    ),
];

/// Each counter that another part counts, with its help text.
const COUNTERS: [(&str, &str); 5] = [
    ("etcd_debugging_mvcc_db_compaction_keys_total", "Total number of db keys compacted."),
    ("etcd_mvcc_delete_total", "Total number of deletes seen by this member."),
    ("etcd_mvcc_put_total", "Total number of puts seen by this member."),
    ("etcd_mvcc_range_total", "Total number of ranges seen by this member."),
    ("etcd_mvcc_txn_total", "Total number of txns seen by this member."),
];

/// The numbers.
#[derive(Debug)]
pub(crate) struct ScrapeMetrics {
    gauges: Vec<(&'static str, Gauge)>,
    counters: Vec<(&'static str, IntCounter)>,
    cluster_version: IntGaugeVec,
    alarms: IntGaugeVec,
    known_peers: IntGaugeVec,
}

impl ScrapeMetrics {
    pub(super) fn new(registry: &Registry) -> ScrapeMetrics {
        let gauge = |(name, help): (&'static str, &str)| {
            (name, register(registry, Gauge::new(name, help).expect("the name is valid")))
        };
        let counter = |(name, help): (&'static str, &str)| {
            (name, register(registry, IntCounter::new(name, help).expect("the name is valid")))
        };
        ScrapeMetrics {
            gauges: GAUGES.map(gauge).into(),
            counters: COUNTERS.map(counter).into(),
            alarms: gauges(
                registry,
                "etcd_debugging_server_alarms",
                "Alarms for every member in cluster. 1 for 'server_id' label with current ID. 2 for 'alarm_type' \
                 label with type of this alarm",
                &["server_id", "alarm_type"],
            ),
            known_peers: gauges(
                registry,
                "etcd_network_known_peers",
                "The current number of known peers.",
                &["Local", "Remote"],
            ),
            cluster_version: gauges(
                registry,
                "etcd_cluster_version",
                "Which version is running. 1 for 'cluster_version' label with current cluster version",
                &["cluster_version"],
            ),
        }
    }

    /// Sets a gauge. Panics if there is none of that name.
    pub(crate) fn set(&self, name: &str, value: f64) {
        let (_, gauge) = self.gauges.iter().find(|(known, _)| *known == name).expect("a gauge of the table");
        gauge.set(value);
    }

    /// Sets a counter to its current value. Panics if there is none of that name.
    pub(crate) fn set_counter(&self, name: &str, value: u64) {
        let (_, counter) =
            self.counters.iter().find(|(known, _)| *known == name).expect("a counter of the table");
        counter.reset();
        counter.inc_by(value);
    }

    /// Sets the alarms that are raised, each by its member and kind.
    pub(crate) fn set_alarms(&self, raised: impl IntoIterator<Item = (u64, &'static str)>) {
        self.alarms.reset();
        for (member_id, kind) in raised {
            self.alarms.with_label_values(&[&format!("{member_id:x}"), kind]).set(1);
        }
    }

    /// Sets the members of the cluster, as this one knows them.
    pub(crate) fn set_known_peers(&self, local: u64, members: impl IntoIterator<Item = u64>) {
        let local = format!("{local:x}");
        self.known_peers.reset();
        for remote in members {
            self.known_peers.with_label_values(&[&local, &format!("{remote:x}")]).set(1);
        }
    }

    /// Sets the version that the cluster has decided on, without its patch level.
    pub(crate) fn set_cluster_version(&self, version: &str) {
        self.cluster_version.reset();
        self.cluster_version.with_label_values(&[version]).set(1);
    }
}
