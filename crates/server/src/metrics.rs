//! Numbers for Prometheus, under etcd's names.
//!
//! Counters on the path of a request are atomics that are looked up once. Observing a time costs two
//! additions. Numbers that other parts count anyway are read at each scrape. A metric of etcd exists here if
//! the thing that it counts exists. Those of bbolt and of Go's runtime do not.
//! `docs/http.md` has the list.

mod disk;
mod grpc;
mod leases;
mod maintenance;
mod network;
mod process;
mod requests;
mod scrape;
mod times;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use self::disk::DiskMetrics;
use self::grpc::GrpcMetrics;
pub(crate) use self::grpc::MethodMetrics;
use self::leases::LeaseMetrics;
use self::maintenance::MaintenanceMetrics;
pub(crate) use self::network::{NetworkMetrics, PeerMetrics};
use self::process::Process;
pub(crate) use self::requests::{ClientVersions, RequestMetrics};
pub(crate) use self::scrape::ScrapeMetrics;
use self::times::{Times, TimesFamily};
use crate::config::{ETCD_VERSION, FeatureGates};

/// The numbers of a server.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    scrape: ScrapeMetrics,
    process: Process,
    grpc: GrpcMetrics,
    /// Metrics of requests.
    pub(crate) requests: RequestMetrics,
    /// Metrics of leases.
    pub(crate) leases: LeaseMetrics,
    /// Metrics of maintenance.
    pub(crate) maintenance: MaintenanceMetrics,
    /// Metrics of writes to the disk.
    pub(crate) disk: DiskMetrics,
    /// Metrics of what members send each other.
    pub(crate) network: NetworkMetrics,
    /// Events sent to watchers.
    pub(crate) events: IntCounter,
    /// Changes of leader seen.
    pub(crate) leader_changes: IntCounter,
    /// Answers of `/health`.
    /// Learners that became voters by this member.
    pub(crate) promotions: IntCounter,
    /// Learners that did not, by the reason.
    pub(crate) failed_promotions: IntCounterVec,
    /// Heartbeats that this member, as the leader, sent late.
    pub(crate) late_heartbeats: IntCounter,
    pub(crate) health_success: IntCounter,
    pub(crate) health_failures: IntCounter,
    checks: IntGaugeVec,
    checks_total: IntCounterVec,
    scrapes: IntCounterVec,
    scrapes_in_flight: IntGauge,
    /// Locked while the numbers of a scrape are set and read.
    telling: Mutex<()>,
}

impl Metrics {
    /// All metrics, with value zero. `is_extensive` adds the handling times of gRPC methods.
    pub(crate) fn new(is_extensive: bool) -> Metrics {
        let registry = Registry::new();
        let counter = |name: &str, help: &str| {
            register(&registry, IntCounter::new(name, help).expect("the name is valid"))
        };
        register_constants(&registry);
        Metrics {
            scrape: ScrapeMetrics::new(&registry),
            process: Process::new(&registry),
            grpc: GrpcMetrics::new(&registry, is_extensive),
            requests: RequestMetrics::new(&registry),
            leases: LeaseMetrics::new(&registry),
            maintenance: MaintenanceMetrics::new(&registry),
            disk: DiskMetrics::new(&registry),
            network: NetworkMetrics::new(&registry),
            events: counter(
                "etcd_debugging_mvcc_events_total",
                "Total number of events sent by this member.",
            ),
            leader_changes: counter(
                "etcd_server_leader_changes_seen_total",
                "The number of leader changes seen.",
            ),
            promotions: counter(
                "etcd_server_learner_promote_successes",
                "The total number of successful learner promotions while this member is leader.",
            ),
            failed_promotions: counters(
                &registry,
                "etcd_server_learner_promote_failures",
                "The total number of failed learner promotions (likely learner not ready) while this member is leader.",
                &["Reason"],
            ),
            late_heartbeats: counter(
                "etcd_server_heartbeat_send_failures_total",
                "The total number of leader heartbeat send failures (likely overloaded from slow disk).",
            ),
            health_success: counter(
                "etcd_server_health_success",
                "The total number of successful health checks",
            ),
            health_failures: counter(
                "etcd_server_health_failures",
                "The total number of failed health checks",
            ),
            checks: gauges(
                &registry,
                "etcd_server_healthcheck",
                "The result of each kind of healthcheck.",
                &["type", "name"],
            ),
            checks_total: counters(
                &registry,
                "etcd_server_healthchecks_total",
                "The total number of each kind of healthcheck.",
                &["type", "name", "status"],
            ),
            scrapes: scrapes(&registry),
            scrapes_in_flight: gauge(
                &registry,
                "promhttp_metric_handler_requests_in_flight",
                "Current number of scrapes being served.",
            ),
            telling: Mutex::default(),
            registry,
        }
    }

    /// Sets the metrics that describe this server by their labels.
    pub(crate) fn introduce(&self, member_id: u64, gates: &FeatureGates) {
        let fact = |name: &str, help: &str, label: &str, value: &str| {
            gauges(&self.registry, name, help, &[label]).with_label_values(&[value]).set(1);
        };
        fact(
            "etcd_server_version",
            "Which version is running. 1 for 'server_version' label with current version.",
            "server_version",
            ETCD_VERSION,
        );
        let id = format!("{member_id:x}");
        fact(
            "etcd_server_id",
            "Server or member ID in hexadecimal format. 1 for 'server_id' label with current ID.",
            "server_id",
            &id,
        );
        let features = gauges(
            &self.registry,
            "etcd_server_feature_enabled",
            "Whether or not a feature is enabled. 1 is enabled, 0 is not.",
            &["name", "stage"],
        );
        for (name, stage, is_on) in gates.iter() {
            features.with_label_values(&[name, stage]).set(i64::from(is_on));
        }
    }

    /// The counters of a method. They are exposed from then on, with value zero.
    pub(crate) fn method(&self, service: &proto::Service, method: &proto::Method) -> MethodMetrics {
        self.grpc.method(service, method)
    }

    /// The gauges, to be set before [`Metrics::expose`].
    pub(crate) fn scrape(&self) -> &ScrapeMetrics {
        &self.scrape
    }

    /// Counts a health check.
    pub(crate) fn count_check(&self, kind: &str, name: &str, is_ok: bool) {
        let status = if is_ok { "success" } else { "error" };
        self.checks.with_label_values(&[kind, name]).set(i64::from(is_ok));
        self.checks_total.with_label_values(&[kind, name, status]).inc();
    }

    /// Counts a scrape as under way until the result is dropped. Scrapes wait for each other.
    pub(crate) fn count_scrape(&self) -> impl Drop + use<'_> {
        self.scrapes_in_flight.inc();
        Scrape { metrics: self, _turn: self.telling.lock().unwrap_or_else(PoisonError::into_inner) }
    }

    /// Everything in the Prometheus text format.
    pub(crate) fn expose(&self) -> String {
        self.process.observe();
        TextEncoder::new().encode_to_string(&self.registry.gather()).expect("names and labels are UTF-8")
    }
}

struct Scrape<'a> {
    metrics: &'a Metrics,
    _turn: MutexGuard<'a, ()>,
}

impl Drop for Scrape<'_> {
    fn drop(&mut self) {
        self.metrics.scrapes_in_flight.dec();
        self.metrics.scrapes.with_label_values(&["200"]).inc();
    }
}

fn scrapes(registry: &Registry) -> IntCounterVec {
    let scrapes = counters(
        registry,
        "promhttp_metric_handler_requests_total",
        "Total number of scrapes by HTTP status code.",
        &["code"],
    );
    for code in ["200", "500", "503"] {
        scrapes.with_label_values(&[code]);
    }
    scrapes
}

/// Metrics of what cannot happen here, or not to a lone member. They are zero, so that alert rules find them.
fn register_constants(registry: &Registry) {
    for (name, help) in [
        // Nothing is read ahead for a watcher.
        ("etcd_debugging_mvcc_pending_events_total", "Total number of pending events to be sent."),
        // Defragmentation stops nothing.
        (
            "etcd_disk_defrag_inflight",
            "Whether or not defrag is active on the member. 1 means active, 0 means not.",
        ),
    ] {
        gauge(registry, name, help);
    }
    for (name, help, bounds) in [
        (
            "etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds",
            "Bucketed histogram of db compaction pause duration.",
            exponential(1.0, 13),
        ),
        (
            "etcd_snap_db_fsync_duration_seconds",
            "The latency distributions of fsyncing .snap.db file",
            exponential(0.001, 14),
        ),
        (
            "etcd_snap_db_save_total_duration_seconds",
            "The total latency distributions of v3 snapshot save",
            exponential(0.1, 10),
        ),
    ] {
        histogram(registry, name, help, bounds);
    }
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> C {
    registry.register(Box::new(collector.clone())).expect("each name is registered once");
    collector
}

fn gauge(registry: &Registry, name: &str, help: &str) -> IntGauge {
    register(registry, IntGauge::new(name, help).expect("the name is valid"))
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    let counters = IntCounterVec::new(Opts::new(name, help), labels).expect("name and labels are valid");
    register(registry, counters)
}

fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    let gauges = IntGaugeVec::new(Opts::new(name, help), labels).expect("name and labels are valid");
    register(registry, gauges)
}

fn histogram(registry: &Registry, name: &str, help: &str, bounds: Vec<f64>) -> Histogram {
    let options = HistogramOpts::new(name, help).buckets(bounds);
    register(registry, Histogram::with_opts(options).expect("the bounds ascend"))
}

/// Times without labels.
fn times(registry: &Registry, name: &str, help: &str, bounds: Vec<f64>) -> Arc<Times> {
    let mut family = TimesFamily::new(name, help, bounds);
    let times = family.series(&[]);
    family.register(registry);
    times
}

fn histograms(
    registry: &Registry,
    name: &str,
    help: &str,
    bounds: Vec<f64>,
    labels: &[&str],
) -> HistogramVec {
    let options = HistogramOpts::new(name, help).buckets(bounds);
    register(registry, HistogramVec::new(options, labels).expect("the bounds ascend"))
}

/// `n` bounds that double, from `start` on.
fn exponential(start: f64, n: i32) -> Vec<f64> {
    (0..n).map(|i| start * 2_f64.powi(i)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_there_from_the_start() {
        let metrics = Metrics::new(true);
        metrics.introduce(0x8e9e, &FeatureGates::default());
        metrics.method(&proto::etcdserverpb::KV, &proto::etcdserverpb::KV.methods[0]);
        let text = metrics.expose();
        for line in [
            "etcd_server_version{server_version=\"3.7.1\"} 1",
            "etcd_server_id{server_id=\"8e9e\"} 1",
            "etcd_server_feature_enabled{name=\"FastLeaseKeepAlive\",stage=\"BETA\"} 1",
            "etcd_server_heartbeat_send_failures_total 0",
            "etcd_disk_wal_fsync_duration_seconds_bucket{le=\"8.192\"} 0",
            "grpc_server_handled_total{grpc_code=\"Unavailable\",grpc_method=\"Range\",\
             grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"} 0",
            "promhttp_metric_handler_requests_total{code=\"503\"} 0",
        ] {
            assert!(text.lines().any(|have| have == line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn scrape_is_counted_when_it_is_over() {
        let metrics = Metrics::new(false);
        let scrape = metrics.count_scrape();
        assert!(metrics.expose().contains("promhttp_metric_handler_requests_in_flight 1"));
        drop(scrape);
        let text = metrics.expose();
        assert!(text.contains("promhttp_metric_handler_requests_in_flight 0"));
        assert!(text.contains("promhttp_metric_handler_requests_total{code=\"200\"} 1"));
    }
}
