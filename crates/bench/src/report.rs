//! A run's result in words, in JSON, and as the numbers that a comparison sets side by side.

use std::time::Duration;

use serde_json::{Value, json};

use crate::load::Outcome;
use crate::settings::{Settings, Workload};

/// The numbers of one run. Latencies are in milliseconds, CPU in microseconds an operation.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Summary {
    /// Operations that succeeded.
    pub(crate) ops: u64,
    /// Operations that failed.
    pub(crate) errors: u64,
    /// The text of the first failure.
    pub(crate) first_error: Option<String>,
    /// Operations a second.
    pub(crate) ops_per_s: f64,
    /// Average latency.
    pub(crate) mean_ms: f64,
    /// The latency that half of the operations did not exceed; the next ones are read likewise.
    pub(crate) p50_ms: f64,
    /// 90 %.
    pub(crate) p90_ms: f64,
    /// 99 %.
    pub(crate) p99_ms: f64,
    /// 99.9 %.
    pub(crate) p999_ms: f64,
    /// The longest latency.
    pub(crate) max_ms: f64,
    /// The server's CPU an operation; unknown without its process, and without an operation.
    pub(crate) server_cpu_us: Option<f64>,
    /// The server's resident memory at the end.
    pub(crate) server_rss_mib: Option<f64>,
    /// The generator's CPU an operation.
    pub(crate) generator_cpu_us: Option<f64>,
}

impl Summary {
    /// Boils `outcome` down.
    pub(crate) fn of(outcome: &Outcome) -> Self {
        let tally = &outcome.tally;
        let ms = |latency: Duration| latency.as_secs_f64() * 1e3;
        let per_op = |cpu: Duration| (tally.ops > 0).then(|| cpu.as_secs_f64() * 1e6 / tally.ops as f64);
        Self {
            ops: tally.ops,
            errors: tally.errors,
            first_error: tally.first_error.clone(),
            ops_per_s: tally.ops as f64 / outcome.elapsed.as_secs_f64(),
            mean_ms: ms(tally.mean()),
            p50_ms: ms(tally.percentile(50.0)),
            p90_ms: ms(tally.percentile(90.0)),
            p99_ms: ms(tally.percentile(99.0)),
            p999_ms: ms(tally.percentile(99.9)),
            max_ms: ms(tally.max()),
            server_cpu_us: outcome.server.and_then(|server| per_op(server.cpu)),
            server_rss_mib: outcome.server.map(|server| server.rss_bytes as f64 / f64::from(1 << 20)),
            generator_cpu_us: per_op(outcome.generator.cpu),
        }
    }

    /// Several lines for a reader.
    pub(crate) fn text(&self, settings: &Settings) -> String {
        let mut lines = vec![
            format!("workload    {}", describe(settings)),
            format!("throughput  {:.0} ops/s ({} ops, {} failed)", self.ops_per_s, self.ops, self.errors),
            format!(
                "latency     mean {:.3} ms, p50 {:.3}, p90 {:.3}, p99 {:.3}, p99.9 {:.3}, max {:.3}",
                self.mean_ms, self.p50_ms, self.p90_ms, self.p99_ms, self.p999_ms, self.max_ms
            ),
        ];
        if let Some(rss) = self.server_rss_mib {
            lines.push(format!("server      {} CPU/op, {rss:.1} MiB resident", micros(self.server_cpu_us)));
        }
        lines.push(format!("generator   {} CPU/op", micros(self.generator_cpu_us)));
        if let Some(error) = &self.first_error {
            lines.push(format!("first error {error}"));
        }
        lines.join("\n")
    }

    /// The same as an object; what is unknown is `null`.
    pub(crate) fn json(&self) -> Value {
        json!({
            "ops": self.ops,
            "errors": self.errors,
            "first_error": self.first_error,
            "ops_per_s": self.ops_per_s,
            "latency_ms": {
                "mean": self.mean_ms, "p50": self.p50_ms, "p90": self.p90_ms,
                "p99": self.p99_ms, "p99.9": self.p999_ms, "max": self.max_ms,
            },
            "server_cpu_us_per_op": self.server_cpu_us,
            "server_rss_mib": self.server_rss_mib,
            "generator_cpu_us_per_op": self.generator_cpu_us,
        })
    }
}

/// One line that says what was run, with the numbers that shape the result.
fn describe(settings: &Settings) -> String {
    let mut line = format!(
        "{}: {} connections x {} streams, {} keys, values of {} B",
        settings.workload.name(),
        settings.connections,
        settings.streams,
        settings.keys,
        settings.value_bytes
    );
    if settings.workload == Workload::Watch {
        line += &format!(", {} watchers", settings.watchers);
    }
    if settings.workload.reads() && settings.serializable {
        line += ", serializable";
    }
    if settings.workload == Workload::Range {
        line += &format!(", {} values each", settings.range_len());
    }
    line + &settings.rate.map_or_else(|| ", closed loop".to_owned(), |rate| format!(", open loop {rate}/s"))
}

fn micros(value: Option<f64>) -> String {
    value.map_or_else(|| "?".to_owned(), |us| format!("{us:.1} µs"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::process::Reading;
    use crate::stats::Tally;

    fn outcome(server: Option<Reading>) -> Outcome {
        let mut tally = Tally::new();
        (0..1000).for_each(|_| tally.succeed(Duration::from_millis(2)));
        let generator = Reading { cpu: Duration::from_millis(5), rss_bytes: 1 };
        Outcome { tally, elapsed: Duration::from_secs(2), server, generator, interrupted: false }
    }

    #[test]
    fn cpu_is_set_against_the_operations() {
        let server = Reading { cpu: Duration::from_millis(80), rss_bytes: 3 << 20 };
        let summary = Summary::of(&outcome(Some(server)));
        assert_eq!(summary.server_cpu_us, Some(80.0));
        assert_eq!(summary.generator_cpu_us, Some(5.0));
        assert_eq!(summary.server_rss_mib, Some(3.0));
        assert_eq!(summary.ops_per_s, 500.0);
    }

    #[test]
    fn text_shows_throughput_latency_and_cost() {
        let server = Reading { cpu: Duration::from_millis(80), rss_bytes: 3 << 20 };
        let text = Summary::of(&outcome(Some(server))).text(&Settings::of(Workload::Put));
        assert!(text.starts_with("workload    put: 8 connections x 32 streams, 100000 keys"), "{text}");
        assert!(text.contains("throughput  500 ops/s (1000 ops, 0 failed)\n"), "{text}");
        assert!(text.ends_with("server      80.0 µs CPU/op, 3.0 MiB resident\ngenerator   5.0 µs CPU/op"));
    }

    #[test]
    fn the_description_tells_what_shapes_the_workload() {
        let page = Settings { limit: 500, serializable: true, ..Settings::of(Workload::Range) };
        assert!(describe(&page).ends_with(", serializable, 500 values each, closed loop"));
        let watch = Settings { rate: Some(50.0), ..Settings::of(Workload::Watch) };
        assert!(describe(&watch).ends_with(", 1000 watchers, open loop 50/s"));
    }

    #[test]
    fn a_run_without_operations_has_no_cost_an_operation() {
        let mut nothing = Outcome { tally: Tally::new(), ..outcome(None) };
        nothing.tally.fail(&Error::Answer("short".to_owned()));
        let summary = Summary::of(&nothing);
        let text = summary.text(&Settings::of(Workload::Get));
        assert!(text.ends_with("generator   ? CPU/op\nfirst error wrong answer: short"), "{text}");
        assert!(summary.json()["generator_cpu_us_per_op"].is_null());
    }

    #[test]
    fn json_has_each_percentile() {
        let json = Summary::of(&outcome(None)).json();
        for name in ["mean", "p50", "p90", "p99", "p99.9", "max"] {
            assert!((json["latency_ms"][name].as_f64().unwrap() - 2.0).abs() < 0.01, "{name}");
        }
        assert!(json["server_rss_mib"].is_null());
    }
}
