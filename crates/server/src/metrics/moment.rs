//! Numbers of the moment: looked up when somebody reads the metrics, by whoever knows them.

use prometheus::{Gauge, IntGaugeVec, Registry};

use super::{gauges, register};

/// Each gauge with its help text, which is etcd's.
const GAUGES: [(&str, &str); 13] = [
    ("etcd_debugging_mvcc_compact_revision", "The revision of the last compaction in store."),
    ("etcd_debugging_mvcc_current_revision", "The current revision of store."),
    ("etcd_debugging_mvcc_keys_total", "Total number of keys."),
    ("etcd_debugging_mvcc_watcher_total", "Total number of watchers."),
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

/// The gauges.
#[derive(Debug)]
pub(crate) struct Moment {
    gauges: Vec<(&'static str, Gauge)>,
    cluster_version: IntGaugeVec,
}

impl Moment {
    pub(super) fn new(registry: &Registry) -> Moment {
        let gauge = |(name, help): (&'static str, &str)| {
            (name, register(registry, Gauge::new(name, help).expect("the name is valid")))
        };
        Moment {
            gauges: GAUGES.map(gauge).into(),
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

    /// Sets the version that the cluster has decided on, without its patch level.
    pub(crate) fn set_cluster_version(&self, version: &str) {
        self.cluster_version.reset();
        self.cluster_version.with_label_values(&[version]).set(1);
    }
}
