//! Metrics of writes to the disk.

use std::sync::Arc;

use prometheus::{IntGauge, Registry};

use super::times::Times;
use super::{exponential, gauge, times};

/// Bytes and times of writes.
#[derive(Debug)]
pub(crate) struct DiskMetrics {
    /// The write and the sync of a batch of WAL records.
    pub(crate) wal_write: Arc<Times>,
    pub(crate) wal_fsync: Arc<Times>,
    /// Bytes written to the WAL since the start.
    pub(crate) wal_bytes: IntGauge,
    /// The time of a checkpoint, which comes closest to a commit of etcd's database.
    pub(crate) checkpoint: Arc<Times>,
}

impl DiskMetrics {
    pub(super) fn new(registry: &Registry) -> DiskMetrics {
        let times = |name, help| times(registry, name, help, exponential(0.001, 14));
        DiskMetrics {
            wal_write: times(
                "etcd_disk_wal_write_duration_seconds",
                "The latency distributions of writes called by WAL.",
            ),
            wal_fsync: times(
                "etcd_disk_wal_fsync_duration_seconds",
                "The latency distributions of fsync called by WAL.",
            ),
            wal_bytes: gauge(
                registry,
                "etcd_disk_wal_write_bytes_total",
                "Total number of bytes written in WAL.",
            ),
            checkpoint: times(
                "etcd_disk_backend_commit_duration_seconds",
                "The latency distributions of commit called by backend.",
            ),
        }
    }
}
