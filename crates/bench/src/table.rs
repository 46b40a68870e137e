//! The results of both sides in one table: medians, how many times better ours is, and how far runs differ.
//!
//! A ratio pairs the runs of one repeat, which were next to each other in time. It is above 1 where ours is
//! better, whichever direction that is for the measure.

use serde_json::{Value, json};

use crate::report::{Better, ELECTIONS, Measure, Report, figure};
use crate::stats::Spread;

/// The names of the two sides, in the order of [`Row::sides`].
pub(crate) const SIDES: [&str; 2] = ["ours", "peer"];

/// All runs of one case.
pub(crate) struct Row {
    /// The name of the case.
    pub(crate) case: &'static str,
    /// What the case does, in a few words.
    pub(crate) title: &'static str,
    /// Whether operations start at fixed times: then what they cost is told apart, not how many there are.
    pub(crate) is_at_fixed_rate: bool,
    /// The results of each side, in the order of the repeats.
    pub(crate) sides: [Vec<Report>; 2],
    /// Which side could not be run at all, and why.
    pub(crate) failure: Option<String>,
}

impl Row {
    /// A row without results yet.
    pub(crate) fn new(case: &'static str, title: &'static str) -> Self {
        Self { case, title, is_at_fixed_rate: false, sides: [Vec::new(), Vec::new()], failure: None }
    }

    /// What its runs measured, the headline first.
    pub(crate) fn measures(&self) -> Vec<&'static Measure> {
        let longest = self.sides.iter().flatten().max_by_key(|report| report.measures().count());
        longest.map_or_else(Vec::new, |report| report.measures().collect())
    }

    /// Those that a table shows.
    pub(crate) fn shown(&self) -> impl Iterator<Item = &'static Measure> {
        self.measures().into_iter().filter(|measure| measure.in_table)
    }

    /// The headline, if there was a run.
    pub(crate) fn headline(&self) -> Option<Cell> {
        Some(self.cell(self.measures().first()?))
    }

    /// What all runs have of a measure.
    pub(crate) fn cell(&self, measure: &Measure) -> Cell {
        let [ours, peer] = &self.sides;
        let value = |report: &Report| report.value(measure.name);
        let ratio = |(ours, peer): (&Report, &Report)| {
            let (dividend, divisor) = match measure.better {
                Better::Higher => (value(ours)?, value(peer)?),
                Better::Lower => (value(peer)?, value(ours)?),
            };
            (divisor > 0.0 && dividend > 0.0).then(|| dividend / divisor)
        };
        Cell {
            sides: [ours, peer].map(|runs| Spread::of(runs.iter().filter_map(value))),
            ratio: Spread::of(ours.iter().zip(peer).filter_map(ratio)),
        }
    }

    /// Which sides the generator held back.
    fn held_back(&self) -> Vec<&'static str> {
        let sides = self.sides.iter().zip(SIDES);
        sides.filter(|(runs, _)| runs.iter().any(|run| run.generator_bound)).map(|(_, side)| side).collect()
    }
}

/// One measure of one case, over all repeats; what has no value is `None`.
pub(crate) struct Cell {
    /// Of each side.
    pub(crate) sides: [Option<Spread>; 2],
    /// How many times better ours is.
    pub(crate) ratio: Option<Spread>,
}

/// The table for a reader, with a line for each case that had failures or was held back by the generator.
pub(crate) fn text(rows: &[Row]) -> String {
    let mut lines = vec![line("workload", "measure", ["ours", "peer", "ratio", "spread"].map(str::to_owned))];
    for row in rows {
        for (idx, measure) in row.shown().enumerate() {
            let cell = row.cell(measure);
            let [ours, peer] = cell.sides.map(|side| or_dash(side, |side| figure(side.median)));
            let ratio = or_dash(cell.ratio, |ratio| format!("{}x", figure(ratio.median)));
            let spread = or_dash(cell.ratio, |ratio| format!("{}-{}", figure(ratio.min), figure(ratio.max)));
            let case = if idx == 0 { row.case } else { "" };
            lines.push(line(case, measure.name, [ours, peer, ratio, spread]));
        }
    }
    lines.extend(rows.iter().flat_map(notes));
    lines.join("\n")
}

/// The same as JSON, with each run.
pub(crate) fn json(rows: &[Row]) -> Value {
    rows.iter().map(row_json).collect()
}

fn row_json(row: &Row) -> Value {
    let spread = |spread: Spread| json!({"min": spread.min, "median": spread.median, "max": spread.max});
    let measures = row.measures().into_iter().map(|measure| {
        let Cell { sides: [ours, peer], ratio } = row.cell(measure);
        let cell = json!({"ours": ours.map(spread), "peer": peer.map(spread), "ratio": ratio.map(spread)});
        (measure.name.to_owned(), cell)
    });
    let [ours, peer] = &row.sides;
    let runs = |runs: &[Report]| runs.iter().map(Report::json).collect::<Value>();
    json!({
        "workload": row.case,
        "headline": row.measures().first().map(|measure| measure.name),
        "measures": measures.collect::<serde_json::Map<_, _>>(),
        "runs": {"ours": runs(ours), "peer": runs(peer)},
        "failure": row.failure,
        "generator_bound": row.held_back(),
    })
}

fn line(case: &str, measure: &str, [ours, peer, ratio, spread]: [String; 4]) -> String {
    format!("{case:<20} {measure:<29} {ours:>9} {peer:>9} {ratio:>8}  {spread}").trim_end().to_owned()
}

/// What a reader must know before quoting a row.
pub(crate) fn notes(row: &Row) -> impl Iterator<Item = String> {
    let refused = row.failure.iter().map(|failure| format!("{} of {failure}", row.case));
    let failed = row.sides.iter().zip(SIDES).filter_map(|(runs, side)| {
        let error = runs.iter().find_map(|run| run.first_error.as_ref())?;
        let count: u64 = runs.iter().map(|run| run.failed).sum();
        Some(format!("{} of {side}: {count} operations failed, first: {error}", row.case))
    });
    let held_back = row.held_back().into_iter().map(|side| {
        format!("{} of {side}: the generator was the bottleneck; only the CPU of the server counts", row.case)
    });
    let unsteady = row.sides.iter().zip(SIDES).filter_map(|(runs, side)| {
        let elections: f64 = runs.iter().filter_map(|run| run.value(ELECTIONS.name)).sum();
        let note = format!(
            "{} of {side}: {elections} elections under load, so not all of it at one leader",
            row.case
        );
        (elections > 0.0).then_some(note)
    });
    refused.chain(failed).chain(held_back).chain(unsteady)
}

fn or_dash(spread: Option<Spread>, show: impl Fn(Spread) -> String) -> String {
    spread.map_or_else(|| "-".to_owned(), show)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::SERVER_CPU;

    static OPS: Measure = Measure::rate("ops/s");
    static MEAN: Measure = Measure::cost("mean ms").detail();

    fn run(ops_per_s: f64, cpu_us: f64) -> Report {
        let mut report = Report::default();
        report.add(&SERVER_CPU, cpu_us);
        report.add(&OPS, ops_per_s);
        report.add(&MEAN, 1.0);
        report
    }

    fn row() -> Row {
        let ours = vec![run(100.0, 10.0), run(200.0, 20.0), run(300.0, 30.0)];
        let peer = vec![run(50.0, 40.0), run(50.0, 40.0), run(50.0, 40.0)];
        Row { sides: [ours, peer], ..Row::new("put", "") }
    }

    fn words(text: &str) -> Vec<Vec<&str>> {
        text.lines().map(|line| line.split_whitespace().collect()).collect()
    }

    #[test]
    fn a_ratio_above_one_means_that_ours_is_better() {
        let text = text(&[row()]);
        let lines = words(&text);
        assert_eq!(lines[1], ["put", "server", "CPU", "µs/op", "20.0", "40.0", "2.00x", "1.33-4.00"]);
        assert_eq!(lines[2], ["ops/s", "200", "50.0", "4.00x", "2.00-6.00"]);
        assert_eq!(lines.len(), 3, "details are for JSON");
    }

    #[test]
    fn elections_under_load_are_told() {
        let mut row = row();
        for (run, elections) in row.sides[0].iter_mut().zip([0.0, 2.0, 1.0]) {
            run.add(&ELECTIONS, elections);
        }
        row.sides[1][0].add(&ELECTIONS, 0.0);
        let notes: Vec<_> = notes(&row).collect();
        assert_eq!(notes, ["put of ours: 3 elections under load, so not all of it at one leader"]);
    }

    #[test]
    fn what_was_not_measured_is_a_dash() {
        let mut row = row();
        row.sides[1].clear();
        let text = text(&[Row::new("get", ""), row]);
        assert_eq!(words(&text)[1], ["put", "server", "CPU", "µs/op", "20.0", "-", "-", "-"]);
    }

    #[test]
    fn what_spoils_a_row_is_told_below_the_table() {
        let mut row = row();
        row.sides[1][2].failed = 7;
        row.sides[1][2].first_error = Some("refused".to_owned());
        row.sides[0][0].generator_bound = true;
        let text = text(&[row]);
        let last: Vec<&str> = text.lines().rev().take(2).collect();
        assert!(last[0].starts_with("put of ours: the generator was the bottleneck"), "{text}");
        assert_eq!(last[1], "put of peer: 7 operations failed, first: refused");

        let refused = Row { failure: Some("ours: no such method".to_owned()), ..Row::new("get", "") };
        let text = super::text(&[refused]);
        assert_eq!(text.lines().last(), Some("get of ours: no such method"));
    }

    #[test]
    fn json_holds_medians_ratios_and_each_run() {
        let json = json(&[row()]);
        assert_eq!(json[0]["workload"], "put");
        assert_eq!(json[0]["headline"], "server CPU µs/op");
        assert_eq!(json[0]["measures"]["ops/s"]["ratio"]["median"], 4.0);
        assert_eq!(json[0]["runs"]["peer"].as_array().unwrap().len(), 3);
    }
}
