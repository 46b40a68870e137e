//! Metrics of what members send each other.

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};

use super::{counters, exponential, gauges, histograms};

/// The families; each has a series for a peer once that is known.
#[derive(Debug)]
pub(crate) struct NetworkMetrics {
    active_peers: IntGaugeVec,
    disconnected_peers: IntCounterVec,
    sent_bytes: IntCounterVec,
    received_bytes: IntCounterVec,
    sent_failures: IntCounterVec,
    received_failures: IntCounterVec,
    round_trip_times: HistogramVec,
    snapshots_sent: SnapshotFamilies,
    snapshots_received: SnapshotFamilies,
}

/// The families of one direction of states.
#[derive(Debug)]
struct SnapshotFamilies {
    successes: IntCounterVec,
    failures: IntCounterVec,
    in_flight: IntGaugeVec,
    times: HistogramVec,
}

/// The numbers of one peer.
#[derive(Debug)]
pub(crate) struct PeerMetrics {
    pub(crate) active: IntGauge,
    pub(crate) disconnected: IntCounter,
    /// Bytes of messages, without what frames them.
    pub(crate) sent_bytes: IntCounter,
    pub(crate) received_bytes: IntCounter,
    pub(crate) sent_failures: IntCounter,
    pub(crate) received_failures: IntCounter,
    /// In seconds.
    pub(crate) round_trip_times: Histogram,
    pub(crate) snapshots_sent: SnapshotMetrics,
    pub(crate) snapshots_received: SnapshotMetrics,
}

/// States sent to a peer, or received from it.
#[derive(Debug)]
pub(crate) struct SnapshotMetrics {
    pub(crate) successes: IntCounter,
    pub(crate) failures: IntCounter,
    pub(crate) in_flight: IntGauge,
    /// In seconds.
    pub(crate) times: Histogram,
}

impl NetworkMetrics {
    pub(super) fn new(registry: &Registry) -> NetworkMetrics {
        let of_pair = ["Local", "Remote"];
        NetworkMetrics {
            active_peers: gauges(
                registry,
                "etcd_network_active_peers",
                "The current number of active peer connections.",
                &of_pair,
            ),
            disconnected_peers: counters(
                registry,
                "etcd_network_disconnected_peers_total",
                "The total number of disconnected peers.",
                &of_pair,
            ),
            sent_bytes: counters(
                registry,
                "etcd_network_peer_sent_bytes_total",
                "The total number of bytes sent to peers.",
                &["To"],
            ),
            received_bytes: counters(
                registry,
                "etcd_network_peer_received_bytes_total",
                "The total number of bytes received from peers.",
                &["From"],
            ),
            sent_failures: counters(
                registry,
                "etcd_network_peer_sent_failures_total",
                "The total number of send failures from peers.",
                &["To"],
            ),
            received_failures: counters(
                registry,
                "etcd_network_peer_received_failures_total",
                "The total number of receive failures from peers.",
                &["From"],
            ),
            round_trip_times: histograms(
                registry,
                "etcd_network_peer_round_trip_time_seconds",
                "Round-Trip-Time histogram between peers",
                exponential(0.0001, 16),
                &["To"],
            ),
            snapshots_sent: SnapshotFamilies::new(registry, "send", "To"),
            snapshots_received: SnapshotFamilies::new(registry, "receive", "From"),
        }
    }

    /// Counts bytes received from nobody: link heartbeats, and what senders that are no peers post. The series
    /// begins with the first of them, as in etcd.
    pub(crate) fn count_received_from_nobody(&self, bytes: u64) {
        self.received_bytes.with_label_values(&["0"]).inc_by(bytes);
    }

    /// The numbers of member `id`, as member `own_id` counts them.
    pub(crate) fn peer(&self, own_id: u64, id: u64) -> PeerMetrics {
        let (own, id) = (format!("{own_id:x}"), format!("{id:x}"));
        PeerMetrics {
            active: self.active_peers.with_label_values(&[&own, &id]),
            disconnected: self.disconnected_peers.with_label_values(&[&own, &id]),
            sent_bytes: self.sent_bytes.with_label_values(&[&id]),
            received_bytes: self.received_bytes.with_label_values(&[&id]),
            sent_failures: self.sent_failures.with_label_values(&[&id]),
            received_failures: self.received_failures.with_label_values(&[&id]),
            round_trip_times: self.round_trip_times.with_label_values(&[&id]),
            snapshots_sent: self.snapshots_sent.peer(&id),
            snapshots_received: self.snapshots_received.peer(&id),
        }
    }
}

impl SnapshotFamilies {
    fn new(registry: &Registry, verb: &str, label: &str) -> SnapshotFamilies {
        let name = |what: &str| format!("etcd_network_snapshot_{verb}_{what}");
        let help = |what: &str| format!("{what} of snapshots, {verb} side");
        SnapshotFamilies {
            successes: counters(registry, &name("success"), &help("Total number of successes"), &[label]),
            failures: counters(registry, &name("failures"), &help("Total number of failures"), &[label]),
            in_flight: gauges(registry, &name("inflights_total"), &help("Number in flight"), &[label]),
            times: histograms(
                registry,
                &name("total_duration_seconds"),
                &help("Total latency"),
                exponential(0.1, 10),
                &[label],
            ),
        }
    }

    fn peer(&self, id: &str) -> SnapshotMetrics {
        SnapshotMetrics {
            successes: self.successes.with_label_values(&[id]),
            failures: self.failures.with_label_values(&[id]),
            in_flight: self.in_flight.with_label_values(&[id]),
            times: self.times.with_label_values(&[id]),
        }
    }
}
