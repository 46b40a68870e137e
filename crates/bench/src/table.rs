//! The results of both sides in one table: medians, how many times better ours is, and how far runs differ.
//!
//! A ratio pairs the runs of one repeat, which were next to each other in time. It is above 1 where ours is
//! better, whichever direction that is for the metric.

use serde_json::{Value, json};

use crate::report::Summary;
use crate::stats::Spread;

/// The names of the two sides, in the order of [`Row::sides`].
pub(crate) const SIDES: [&str; 2] = ["ours", "peer"];

/// All runs of one case.
pub(crate) struct Row {
    /// The name of the case.
    pub(crate) case: &'static str,
    /// The results of each side, in the order of the repeats.
    pub(crate) sides: [Vec<Summary>; 2],
    /// Which side could not be run at all, and why.
    pub(crate) failure: Option<String>,
}

impl Row {
    /// A row without results yet.
    pub(crate) fn new(case: &'static str) -> Self {
        Self { case, sides: [Vec::new(), Vec::new()], failure: None }
    }
}

/// One line of a row.
struct Metric {
    name: &'static str,
    higher_is_better: bool,
    of: fn(&Summary) -> Option<f64>,
}

const METRICS: &[Metric] = &[
    Metric { name: "server CPU µs/op", higher_is_better: false, of: |s| s.server_cpu_us },
    Metric { name: "ops/s", higher_is_better: true, of: |s| Some(s.ops_per_s) },
    Metric { name: "mean ms", higher_is_better: false, of: |s| Some(s.mean_ms) },
    Metric { name: "p99 ms", higher_is_better: false, of: |s| Some(s.p99_ms) },
    Metric { name: "RSS MiB", higher_is_better: false, of: |s| s.server_rss_mib },
    Metric { name: "generator CPU µs/op", higher_is_better: false, of: |s| s.generator_cpu_us },
];

/// One metric of one case, over all repeats; what has no value is `None`.
struct Cell {
    sides: [Option<Spread>; 2],
    ratio: Option<Spread>,
}

impl Cell {
    fn of(row: &Row, metric: &Metric) -> Self {
        let [ours, peer] = &row.sides;
        let ratio = |(ours, peer)| {
            let (ours, peer) = ((metric.of)(ours)?, (metric.of)(peer)?);
            let (dividend, divisor) = if metric.higher_is_better { (ours, peer) } else { (peer, ours) };
            (divisor > 0.0).then(|| dividend / divisor)
        };
        Self {
            sides: [ours, peer].map(|runs| Spread::of(runs.iter().filter_map(metric.of))),
            ratio: Spread::of(ours.iter().zip(peer).filter_map(ratio)),
        }
    }
}

/// The table for a reader, with a line for each case that had failures.
pub(crate) fn text(rows: &[Row]) -> String {
    let mut lines = vec![line("workload", "metric", ["ours", "peer", "ratio", "spread"].map(str::to_owned))];
    for row in rows {
        for (idx, metric) in METRICS.iter().enumerate() {
            let cell = Cell::of(row, metric);
            let [ours, peer] = cell.sides.map(|side| or_dash(side, |side| figure(side.median)));
            let ratio = or_dash(cell.ratio, |ratio| format!("{:.2}x", ratio.median));
            let spread = or_dash(cell.ratio, |ratio| format!("{:.2}-{:.2}", ratio.min, ratio.max));
            let case = if idx == 0 { row.case } else { "" };
            lines.push(line(case, metric.name, [ours, peer, ratio, spread]));
        }
    }
    lines.extend(rows.iter().flat_map(failures));
    lines.join("\n")
}

/// The same as JSON, with each run.
pub(crate) fn json(rows: &[Row]) -> Value {
    rows.iter().map(row_json).collect()
}

fn row_json(row: &Row) -> Value {
    let spread = |spread: Spread| json!({"min": spread.min, "median": spread.median, "max": spread.max});
    let metrics: serde_json::Map<_, _> = METRICS
        .iter()
        .map(|metric| {
            let Cell { sides: [ours, peer], ratio } = Cell::of(row, metric);
            let cell = json!({
                "ours": ours.map(spread), "peer": peer.map(spread), "ratio": ratio.map(spread),
            });
            (metric.name.to_owned(), cell)
        })
        .collect();
    let [ours, peer] = &row.sides;
    let runs = |runs: &[Summary]| runs.iter().map(Summary::json).collect::<Value>();
    json!({
        "workload": row.case,
        "metrics": metrics,
        "runs": {"ours": runs(ours), "peer": runs(peer)},
        "failure": row.failure,
    })
}

fn line(case: &str, metric: &str, [ours, peer, ratio, spread]: [String; 4]) -> String {
    format!("{case:<17} {metric:<19} {ours:>10} {peer:>10} {ratio:>8}  {spread}")
}

/// What failed on either side; a comparison with failures compares less than it says.
fn failures(row: &Row) -> impl Iterator<Item = String> {
    let refused = row.failure.iter().map(|failure| format!("{} of {failure}", row.case));
    refused.chain(row.sides.iter().zip(SIDES).filter_map(|(runs, side)| {
        let error = runs.iter().find_map(|run| run.first_error.as_ref())?;
        let count: u64 = runs.iter().map(|run| run.errors).sum();
        Some(format!("{} of {side}: {count} operations failed, first: {error}", row.case))
    }))
}

fn or_dash(spread: Option<Spread>, show: impl Fn(Spread) -> String) -> String {
    spread.map_or_else(|| "-".to_owned(), show)
}

/// Three or four digits that matter.
fn figure(value: f64) -> String {
    match value {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(ops_per_s: f64, cpu_us: f64) -> Summary {
        Summary {
            ops: 1,
            errors: 0,
            first_error: None,
            ops_per_s,
            mean_ms: 1.0,
            p50_ms: 1.0,
            p90_ms: 1.0,
            p99_ms: 2.0,
            p999_ms: 2.0,
            max_ms: 2.0,
            server_cpu_us: Some(cpu_us),
            server_rss_mib: None,
            generator_cpu_us: Some(5.0),
        }
    }

    fn row() -> Row {
        let ours = vec![run(100.0, 10.0), run(200.0, 20.0), run(300.0, 30.0)];
        let peer = vec![run(50.0, 40.0), run(50.0, 40.0), run(50.0, 40.0)];
        Row { case: "put", sides: [ours, peer], failure: None }
    }

    #[test]
    fn a_ratio_above_one_means_that_ours_is_better() {
        let text = text(&[row()]);
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1], ["put", "server", "CPU", "µs/op", "20.0", "40.0", "2.00x", "1.33-4.00"]);
        assert_eq!(lines[2], ["ops/s", "200", "50.0", "4.00x", "2.00-6.00"]);
    }

    #[test]
    fn what_was_not_measured_is_a_dash() {
        let text = text(&[Row::new("get"), row()]);
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1], ["get", "server", "CPU", "µs/op", "-", "-", "-", "-"]);
        assert_eq!(lines[11], ["RSS", "MiB", "-", "-", "-", "-"]);
    }

    #[test]
    fn failures_are_told_below_the_table() {
        let mut row = row();
        row.sides[1][2].errors = 7;
        row.sides[1][2].first_error = Some("refused".to_owned());
        let text = text(&[row]);
        assert_eq!(text.lines().last(), Some("put of peer: 7 operations failed, first: refused"));

        let refused = Row { failure: Some("ours: no such method".to_owned()), ..Row::new("watch-1k") };
        let text = super::text(&[refused]);
        assert_eq!(text.lines().last(), Some("watch-1k of ours: no such method"));
    }

    #[test]
    fn json_holds_medians_ratios_and_each_run() {
        let json = json(&[row()]);
        assert_eq!(json[0]["workload"], "put");
        assert_eq!(json[0]["metrics"]["ops/s"]["ratio"]["median"], 4.0);
        assert!(json[0]["metrics"]["RSS MiB"]["ours"].is_null());
        assert_eq!(json[0]["runs"]["peer"].as_array().unwrap().len(), 3);
    }

    #[test]
    fn figures_keep_the_digits_that_matter() {
        assert_eq!([0.1234, 12.34, 1234.5].map(figure), ["0.123", "12.3", "1234"]);
    }
}
