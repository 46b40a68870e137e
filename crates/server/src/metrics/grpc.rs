//! Counters of gRPC methods, under the names of Go's Prometheus interceptors.

use std::time::Duration;

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, Registry};

use super::{counters, histograms, register};
use crate::grpc::Code;

/// Bounds of handling times: the default ones of Prometheus' libraries.
const HANDLING_BOUNDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

const LABELS: [&str; 3] = ["grpc_type", "grpc_service", "grpc_method"];

/// The counters of all methods.
#[derive(Debug)]
pub(super) struct GrpcMetrics {
    started: IntCounterVec,
    handled: IntCounterVec,
    received: IntCounterVec,
    sent: IntCounterVec,
    /// Only with `--metrics=extensive`.
    handling: Option<HistogramVec>,
    stream_failures: IntCounterVec,
    bytes_received: IntCounter,
    bytes_sent: IntCounter,
}

/// The counters of one method.
#[derive(Debug)]
pub(crate) struct MethodMetrics {
    pub(crate) path: &'static str,
    pub(crate) is_stream: bool,
    pub(crate) started: IntCounter,
    by_code: [IntCounter; 17],
    received: IntCounter,
    sent: IntCounter,
    bytes_received: IntCounter,
    bytes_sent: IntCounter,
    handling: Option<Histogram>,
    /// Of streams in both directions.
    failures: Option<IntCounter>,
}

impl GrpcMetrics {
    pub(super) fn new(registry: &Registry, is_extensive: bool) -> GrpcMetrics {
        let counter = |name: &str, help: &str| {
            register(registry, IntCounter::new(name, help).expect("the name is valid"))
        };
        let help = "Histogram of response latency (seconds) of gRPC that had been application-level handled by \
                    the server.";
        let handling =
            || histograms(registry, "grpc_server_handling_seconds", help, HANDLING_BOUNDS.into(), &LABELS);
        GrpcMetrics {
            started: counters(
                registry,
                "grpc_server_started_total",
                "Total number of RPCs started on the server.",
                &LABELS,
            ),
            handled: counters(
                registry,
                "grpc_server_handled_total",
                "Total number of RPCs completed on the server, regardless of success or failure.",
                &["grpc_type", "grpc_service", "grpc_method", "grpc_code"],
            ),
            received: counters(
                registry,
                "grpc_server_msg_received_total",
                "Total number of RPC stream messages received on the server.",
                &LABELS,
            ),
            sent: counters(
                registry,
                "grpc_server_msg_sent_total",
                "Total number of gRPC stream messages sent by the server.",
                &LABELS,
            ),
            bytes_received: counter(
                "etcd_network_client_grpc_received_bytes_total",
                "The total number of bytes received from grpc clients.",
            ),
            bytes_sent: counter(
                "etcd_network_client_grpc_sent_bytes_total",
                "The total number of bytes sent to grpc clients.",
            ),
            handling: is_extensive.then(handling),
            stream_failures: counters(
                registry,
                "etcd_network_server_stream_failures_total",
                "The total number of stream failures from the local server.",
                &["Type", "API"],
            ),
        }
    }

    pub(super) fn method(&self, service: &proto::Service, method: &proto::Method) -> MethodMetrics {
        let kind = match (method.client_streaming, method.server_streaming) {
            (false, false) => "unary",
            (true, false) => "client_stream",
            (false, true) => "server_stream",
            (true, true) => "bidi_stream",
        };
        let labels = [kind, service.name, method.name];
        MethodMetrics {
            path: method.path,
            is_stream: method.client_streaming || method.server_streaming,
            started: self.started.with_label_values(&labels),
            by_code: std::array::from_fn(|code| {
                let name = Code::ALL[code].name();
                self.handled.with_label_values(&[kind, service.name, method.name, name])
            }),
            received: self.received.with_label_values(&labels),
            sent: self.sent.with_label_values(&labels),
            bytes_received: self.bytes_received.clone(),
            bytes_sent: self.bytes_sent.clone(),
            handling: self.handling.as_ref().map(|handling| handling.with_label_values(&labels)),
            failures: (kind == "bidi_stream").then(|| {
                let api = if method.name == "Watch" { "watch" } else { "lease-keepalive" };
                self.stream_failures.with_label_values(&["receive", api])
            }),
        }
    }
}

impl MethodMetrics {
    /// Counts a call that has ended, and the time it took.
    pub(crate) fn handled(&self, code: Code, time: Duration) {
        self.by_code[code as usize].inc();
        let is_usual = matches!(code, Code::Ok | Code::Canceled | Code::DeadlineExceeded | Code::Unavailable);
        if let Some(failures) = self.failures.as_ref().filter(|_| !is_usual) {
            failures.inc();
        }
        if let Some(handling) = &self.handling {
            handling.observe(time.as_secs_f64());
        }
    }

    /// Counts a message from a client.
    pub(crate) fn received(&self, len: usize) {
        self.received.inc();
        self.bytes_received.inc_by(len as u64);
    }

    /// Counts messages to a client, and their bytes.
    pub(crate) fn sent(&self, n: usize, len: usize) {
        self.sent.inc_by(n as u64);
        self.bytes_sent.inc_by(len as u64);
    }
}
