//! What one run came to: named numbers, what failed, and whether the generator was its limit.
//!
//! Every workload reports in this one form, so that a table, a chart, JSON and a check need to know none of
//! them.

use serde_json::{Value, json};

use crate::stats::Tally;

/// Which way a number is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Better {
    /// Cost, latency, memory.
    Lower,
    /// Throughput.
    Higher,
}

/// One thing that is measured.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Measure {
    /// Its name, the unit included.
    pub(crate) name: &'static str,
    /// How ratios of it are formed.
    pub(crate) better: Better,
    /// Whether the table of a comparison shows it; JSON has everything.
    pub(crate) in_table: bool,
}

impl Measure {
    /// A number that is better when it is lower, and that the table shows.
    pub(crate) const fn cost(name: &'static str) -> Self {
        Self { name, better: Better::Lower, in_table: true }
    }

    /// A number that is better when it is higher, and that the table shows.
    pub(crate) const fn rate(name: &'static str) -> Self {
        Self { name, better: Better::Higher, in_table: true }
    }

    /// The same, left out of the table.
    pub(crate) const fn detail(self) -> Self {
        Self { in_table: false, ..self }
    }
}

/// The server's processor time an operation: the headline of every steady load.
pub(crate) const SERVER_CPU: Measure = Measure::cost("server CPU µs/op");
/// How often a thread of the server slept and was woken, an operation.
pub(crate) const WAKE_UPS: Measure = Measure::cost("wake-ups/op");
/// Context switches of the server's threads, an operation: those of the wake-ups, and those forced on them.
pub(crate) const SWITCHES: Measure = Measure::cost("switches/op");
/// Half of the operations took no longer.
pub(crate) const P50: Measure = Measure::cost("p50 ms");
/// All but one in a hundred of the operations took no longer.
pub(crate) const P99: Measure = Measure::cost("p99 ms");
/// The server's resident memory at the end.
pub(crate) const RSS: Measure = Measure::cost("RSS MiB");

/// Terms that began while a cluster was under load. With one or more, the leader did not stay the same.
pub(crate) static ELECTIONS: Measure = Measure::cost("elections").detail();

/// The numbers of one run, the headline first.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Report {
    figures: Vec<(&'static Measure, f64)>,
    /// Operations that failed.
    pub(crate) failed: u64,
    /// The text of the first failure.
    pub(crate) first_error: Option<String>,
    /// The generator had no processor time left while the server had: throughput and latency are its own.
    pub(crate) generator_bound: bool,
    /// An interrupt ended the run before its time.
    pub(crate) interrupted: bool,
}

impl Report {
    /// A report without numbers yet, that knows what failed of the operations in `tally`.
    pub(crate) fn after(tally: &Tally) -> Self {
        let mut report = Self::default();
        report.add_failures(tally);
        report
    }

    /// Counts what failed of the operations in `tally` on top.
    pub(crate) fn add_failures(&mut self, tally: &Tally) {
        self.failed += tally.errors;
        self.first_error = self.first_error.take().or_else(|| tally.first_error.clone());
    }

    /// Adds a number, unless it is unknown.
    pub(crate) fn add(&mut self, measure: &'static Measure, value: impl Into<Option<f64>>) {
        self.figures.extend(value.into().map(|value| (measure, value)));
    }

    /// The number called `name`, if this run has it.
    pub(crate) fn value(&self, name: &str) -> Option<f64> {
        self.figures.iter().find(|(measure, _)| measure.name == name).map(|(_, value)| *value)
    }

    /// What was measured, in order.
    pub(crate) fn measures(&self) -> impl Iterator<Item = &'static Measure> {
        self.figures.iter().map(|(measure, _)| *measure)
    }

    /// A line for each number below `title`, then what a reader must know of them.
    pub(crate) fn text(&self, title: &str) -> String {
        let mut lines = vec![title.to_owned()];
        lines.extend(
            self.figures.iter().map(|(measure, value)| format!("  {:<29} {}", measure.name, figure(*value))),
        );
        if self.generator_bound {
            lines.push("  the generator was the bottleneck: the server could do more".to_owned());
        }
        if let Some(error) = &self.first_error {
            lines.push(format!("  {} failed, first: {error}", self.failed));
        }
        if self.interrupted {
            lines.push("  interrupted before its time".to_owned());
        }
        lines.join("\n")
    }

    /// The same as an object.
    pub(crate) fn json(&self) -> Value {
        let figures = self.figures.iter().map(|(measure, value)| (measure.name.to_owned(), json!(value)));
        json!({
            "figures": figures.collect::<serde_json::Map<_, _>>(),
            "failed": self.failed,
            "first_error": self.first_error,
            "generator_bound": self.generator_bound,
            "interrupted": self.interrupted,
        })
    }
}

/// Three or four digits that matter.
pub(crate) fn figure(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// Bytes in MiB.
pub(crate) fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    static OPS: Measure = Measure::rate("ops/s");

    fn report() -> Report {
        let mut tally = Tally::new();
        tally.fail(&Error::Answer("short".to_owned()));
        let mut report = Report::after(&tally);
        report.add(&SERVER_CPU, 9.7);
        report.add(&OPS, 96_400.0);
        report.add(&RSS, None);
        report
    }

    #[test]
    fn what_is_unknown_is_left_out() {
        assert_eq!(report().value("ops/s"), Some(96_400.0));
        assert_eq!(report().value("RSS MiB"), None);
        assert_eq!(report().measures().count(), 2);
    }

    #[test]
    fn text_has_a_line_a_number_and_says_what_limits_them() {
        let mut report = report();
        assert_eq!(report.text("put").lines().nth(1), Some("  server CPU µs/op              9.70"));
        report.generator_bound = true;
        let text = report.text("put");
        assert!(text.contains("the generator was the bottleneck"), "{text}");
        assert!(text.ends_with("1 failed, first: wrong answer: short"), "{text}");
    }

    #[test]
    fn json_names_each_number() {
        let json = report().json();
        assert_eq!(json["figures"]["ops/s"], 96_400.0);
        assert_eq!(json["failed"], 1);
    }

    #[test]
    fn figures_keep_the_digits_that_matter() {
        assert_eq!([0.1234, 1.234, 12.34, 1234.5].map(figure), ["0.123", "1.23", "12.3", "1234"]);
    }
}
