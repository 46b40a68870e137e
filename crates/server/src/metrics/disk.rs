//! Numbers of writing to the disk.

use std::sync::Arc;

use prometheus::{IntGauge, Registry};

use super::times::Times;
use super::{exponential, gauge, times};

/// What is written, and how long that takes.
#[derive(Debug)]
pub(crate) struct DiskMetrics {
    /// Of a batch of log records, its write and its sync.
    pub(crate) wal_write: Arc<Times>,
    pub(crate) wal_fsync: Arc<Times>,
    /// Bytes written to the log since the start.
    pub(crate) wal_bytes: IntGauge,
    /// Of a checkpoint: what comes closest to the commit of etcd's database.
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
