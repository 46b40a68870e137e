//! Metrics of maintenance: hashes, defragmentations, compactions.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus::{Gauge, Histogram, Registry};

use super::times::Times;
use super::{exponential, histogram, register, times};

/// Times of hashes and compactions.
#[derive(Debug)]
pub(crate) struct MaintenanceMetrics {
    /// Of `Hash`.
    pub(crate) hash: Arc<Times>,
    /// Of `HashKV`.
    pub(crate) hash_kv: Arc<Times>,
    /// Of `Defragment` calls, from request to answer.
    pub(crate) defragment: Arc<Times>,
    /// Of `Snapshot` calls, from request to the last message.
    pub(crate) snapshot: Arc<Times>,
    compaction_pause_ms: Histogram,
    compaction_ms: Histogram,
    last_compaction: Gauge,
}

impl MaintenanceMetrics {
    pub(super) fn new(registry: &Registry) -> MaintenanceMetrics {
        let last_compaction = Gauge::new(
            "etcd_debugging_mvcc_db_compaction_last",
            "The unix time of the last db compaction. Resets to 0 on start.",
        );
        MaintenanceMetrics {
            hash: times(
                registry,
                "etcd_mvcc_hash_duration_seconds",
                "The latency distribution of storage hash operation.",
                exponential(0.01, 15),
            ),
            hash_kv: times(
                registry,
                "etcd_mvcc_hash_rev_duration_seconds",
                "The latency distribution of storage hash by revision operation.",
                exponential(0.01, 15),
            ),
            defragment: times(
                registry,
                "etcd_disk_backend_defrag_duration_seconds",
                "The latency distribution of backend defragmentation.",
                exponential(0.1, 13),
            ),
            snapshot: times(
                registry,
                "etcd_disk_backend_snapshot_duration_seconds",
                "The latency distribution of backend snapshots.",
                exponential(0.01, 17),
            ),
            compaction_pause_ms: histogram(
                registry,
                "etcd_debugging_mvcc_index_compaction_pause_duration_milliseconds",
                "Bucketed histogram of index compaction pause duration.",
                exponential(0.5, 14),
            ),
            compaction_ms: histogram(
                registry,
                "etcd_debugging_mvcc_db_compaction_total_duration_milliseconds",
                "Bucketed histogram of db compaction total duration.",
                exponential(100.0, 14),
            ),
            last_compaction: register(registry, last_compaction.expect("the name is valid")),
        }
    }

    /// Counts the time for which a step of a compaction kept commands waiting.
    pub(crate) fn paused(&self, time: Duration) {
        self.compaction_pause_ms.observe(time.as_secs_f64() * 1e3);
    }

    /// Counts a compaction that has just ended, by the time it took.
    pub(crate) fn compacted(&self, time: Duration) {
        self.compaction_ms.observe(time.as_secs_f64() * 1e3);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.last_compaction.set(now.as_secs() as f64);
    }
}
