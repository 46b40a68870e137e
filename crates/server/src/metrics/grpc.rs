//! Counters of gRPC methods, under the names of Go's Prometheus interceptors.

use std::time::Duration;

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, Registry};

use super::{counters, histograms};
use crate::grpc::Code;

/// Bounds of handling times: the default ones of Prometheus' libraries.
const HANDLING_BOUNDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

const LABELS: [&str; 3] = ["grpc_type", "grpc_service", "grpc_method"];

/// The counters of all methods.
#[derive(Debug)]
pub(super) struct GrpcMetrics {
    started: IntCounterVec,
    handled: IntCounterVec,
    /// Only with `--metrics=extensive`.
    handling: Option<HistogramVec>,
}

/// The counters of one method.
#[derive(Debug)]
pub(crate) struct MethodMetrics {
    pub(crate) is_stream: bool,
    pub(crate) started: IntCounter,
    by_code: [IntCounter; 17],
    handling: Option<Histogram>,
}

impl GrpcMetrics {
    pub(super) fn new(registry: &Registry, is_extensive: bool) -> GrpcMetrics {
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
            handling: is_extensive.then(handling),
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
            is_stream: method.client_streaming || method.server_streaming,
            started: self.started.with_label_values(&labels),
            by_code: std::array::from_fn(|code| {
                let name = Code::ALL[code].name();
                self.handled.with_label_values(&[kind, service.name, method.name, name])
            }),
            handling: self.handling.as_ref().map(|handling| handling.with_label_values(&labels)),
        }
    }
}

impl MethodMetrics {
    /// Counts a call that has ended, and the time it took.
    pub(crate) fn handled(&self, code: Code, time: Duration) {
        self.by_code[code as usize].inc();
        if let Some(handling) = &self.handling {
            handling.observe(time.as_secs_f64());
        }
    }
}
