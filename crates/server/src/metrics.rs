//! Numbers for Prometheus, under etcd's names.
//!
//! Counters on the way of a request are atomics looked up once; gauges are read when somebody asks for them.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, Opts, Registry, TextEncoder};

use crate::grpc::Code;

/// Bounds of etcd's disk histograms: 1 ms, doubled 13 times.
fn disk_buckets() -> Vec<f64> {
    (0..14).map(|i| 0.001 * f64::from(1 << i)).collect()
}

/// The counters of a server.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    /// Seconds that a sync of the log took.
    pub(crate) wal_fsync: Histogram,
    /// Changes of leader seen.
    pub(crate) leader_changes: IntCounter,
    started: IntCounterVec,
    handled: IntCounterVec,
}

/// The counters of one method.
#[derive(Debug)]
pub(crate) struct MethodMetrics {
    pub(crate) started: IntCounter,
    by_code: [IntCounter; 17],
}

impl MethodMetrics {
    /// Counts a call that has ended.
    pub(crate) fn handled(&self, code: Code) {
        self.by_code[code as usize].inc();
    }
}

impl Metrics {
    /// Counters at zero.
    pub(crate) fn new() -> Metrics {
        let registry = Registry::new();
        let histogram = HistogramOpts::new(
            "etcd_disk_wal_fsync_duration_seconds",
            "The latency distributions of fsync called by WAL.",
        );
        let labels = ["grpc_type", "grpc_service", "grpc_method"];
        let metrics = Metrics {
            wal_fsync: Histogram::with_opts(histogram.buckets(disk_buckets())).expect("the bounds ascend"),
            leader_changes: IntCounter::new(
                "etcd_server_leader_changes_seen_total",
                "The number of leader changes seen.",
            )
            .expect("the name is valid"),
            started: counters(
                "grpc_server_started_total",
                "Total number of RPCs started on the server.",
                &labels,
            ),
            handled: counters(
                "grpc_server_handled_total",
                "Total number of RPCs completed on the server, regardless of success or failure.",
                &["grpc_type", "grpc_service", "grpc_method", "grpc_code"],
            ),
            registry,
        };
        let register = |collector: Box<dyn prometheus::core::Collector>| {
            metrics.registry.register(collector).expect("each name is registered once");
        };
        register(Box::new(metrics.wal_fsync.clone()));
        register(Box::new(metrics.leader_changes.clone()));
        register(Box::new(metrics.started.clone()));
        register(Box::new(metrics.handled.clone()));
        metrics
    }

    /// The counters of a method; they exist from then on, at zero.
    pub(crate) fn method(&self, service: &proto::Service, method: &proto::Method) -> MethodMetrics {
        let kind = match (method.client_streaming, method.server_streaming) {
            (false, false) => "unary",
            (true, false) => "client_stream",
            (false, true) => "server_stream",
            (true, true) => "bidi_stream",
        };
        let labels = [kind, service.name, method.name];
        MethodMetrics {
            started: self.started.with_label_values(&labels),
            by_code: std::array::from_fn(|code| {
                let name = Code::ALL[code].name();
                self.handled.with_label_values(&[kind, service.name, method.name, name])
            }),
        }
    }

    /// Everything in the Prometheus text format; `gauges` are name, help and value of the moment.
    pub(crate) fn expose(&self, gauges: &[(&str, &str, f64)]) -> String {
        let mut text =
            TextEncoder::new().encode_to_string(&self.registry.gather()).expect("names and labels are UTF-8");
        for (name, help, value) in gauges {
            text.push_str(&format!("# HELP {0} {help}\n# TYPE {0} gauge\n{name} {value}\n", bare(name)));
        }
        text
    }
}

/// A gauge's name without its labels.
fn bare(name: &str) -> &str {
    name.split('{').next().unwrap_or(name)
}

fn counters(name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    IntCounterVec::new(Opts::new(name, help), labels).expect("name and labels are valid")
}
