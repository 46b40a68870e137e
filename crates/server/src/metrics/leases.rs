//! Metrics of leases.

use node::Note;
use prometheus::{Histogram, IntCounter, Registry};

use super::{exponential, histogram, register};

/// The metrics of leases.
#[derive(Debug)]
pub(crate) struct LeaseMetrics {
    granted: IntCounter,
    revoked: IntCounter,
    pub(crate) renewed: IntCounter,
    expired: IntCounter,
    ttl: Histogram,
}

impl LeaseMetrics {
    pub(super) fn new(registry: &Registry) -> LeaseMetrics {
        let counter = |name: &str, help: &str| {
            register(registry, IntCounter::new(name, help).expect("the name is valid"))
        };
        LeaseMetrics {
            granted: counter("etcd_debugging_lease_granted_total", "The total number of granted leases."),
            revoked: counter("etcd_debugging_lease_revoked_total", "The total number of revoked leases."),
            renewed: counter(
                "etcd_debugging_lease_renewed_total",
                "The number of renewed leases seen by the leader.",
            ),
            expired: counter(
                "etcd_debugging_server_lease_expired_total",
                "The total number of expired leases.",
            ),
            ttl: histogram(
                registry,
                "etcd_debugging_lease_ttl_total",
                "Bucketed histogram of lease TTLs.",
                exponential(1.0, 24),
            ),
        }
    }

    /// Counts a note, if it is about a lease.
    pub(crate) fn count(&self, note: &Note) {
        match note {
            Note::LeaseGranted { ttl_s } => {
                self.granted.inc();
                self.ttl.observe(*ttl_s as f64);
            }
            Note::LeaseRevoked { has_expired } => {
                self.revoked.inc();
                self.expired.inc_by(u64::from(*has_expired));
            }
            _ => {}
        }
    }
}
