//! The results as a document shows them: a line for each steady load, and one for each number of an experiment.

use std::fmt::Write as _;

use crate::report::{Better, Measure, P50, P99, SERVER_CPU, SWITCHES, WAKE_UPS, figure};
use crate::stats::Spread;
use crate::table::{self, Row};

const STEADY: &str = "\
| load | server CPU µs/op: ours | peer | ratio (spread) | ops/s: ours / peer | p99 ms: ours / peer |
|---|---|---|---|---|---|
";

const FIXED_RATE: &str = "\
| load at a fixed rate | server CPU µs/op: ours | peer | ratio (spread) | wake-ups/op: ours / peer | switches/op: ours / peer | p50 ms: ours / peer | p99 ms: ours / peer |
|---|---|---|---|---|---|---|---|
";

const EXPERIMENTS: &str = "\
| experiment | | ours | peer | ratio |
|---|---|---|---|---|
";

/// The tables, and what a reader must know before quoting them.
pub(crate) fn text(rows: &[Row]) -> String {
    let (mut steady, mut experiments) = (STEADY.to_owned(), EXPERIMENTS.to_owned());
    let mut fixed_rate = FIXED_RATE.to_owned();
    for row in rows {
        match Steady::of(row) {
            _ if row.is_at_fixed_rate => write_fixed_rate(&mut fixed_rate, row),
            Some(load) => load.write(&mut steady),
            None => row.shown().enumerate().for_each(|(idx, measure)| {
                let title = if idx == 0 { format!("{} ", row.title) } else { String::new() };
                write_measure(&mut experiments, &title, row, measure);
            }),
        }
    }
    let notes = rows.iter().flat_map(table::notes).map(|note| format!("- {note}\n"));
    format!("{steady}\n{fixed_rate}\n{experiments}\n{}", notes.collect::<String>())
}

/// A load that goes on as long as one likes: what an operation costs, how many there are, how long they take.
struct Steady<'a> {
    row: &'a Row,
    cost: &'static Measure,
    rate: &'static Measure,
    p99: &'static Measure,
}

impl<'a> Steady<'a> {
    /// `None` for an experiment.
    fn of(row: &'a Row) -> Option<Self> {
        let cost = row.shown().next()?;
        let rate = row.shown().find(|measure| measure.better == Better::Higher)?;
        let p99 = row.shown().find(|measure| measure.name == "p99 ms")?;
        Some(Self { row, cost, rate, p99 })
    }

    fn write(&self, text: &mut String) {
        let cell = self.row.cell(self.cost);
        let [ours, peer] = cell.sides.map(median);
        let pair = |measure| self.row.cell(measure).sides.map(median).join(" / ");
        let (title, ratio) = (self.row.title, cell.ratio.map_or_else(|| "-".to_owned(), ratio));
        let (rate, p99) = (pair(self.rate), pair(self.p99));
        writeln!(text, "| {title} | {ours} | {peer} | {ratio} | {rate} | {p99} |")
            .expect("a string takes any text");
    }
}

fn write_fixed_rate(text: &mut String, row: &Row) {
    let cpu = row.cell(&SERVER_CPU);
    let [ours, peer] = cpu.sides.map(median);
    let times = cpu.ratio.map_or_else(|| "-".to_owned(), ratio);
    let pairs =
        [&WAKE_UPS, &SWITCHES, &P50, &P99].map(|measure| row.cell(measure).sides.map(median).join(" / "));
    writeln!(text, "| {} | {ours} | {peer} | {times} | {} |", row.title, pairs.join(" | "))
        .expect("a string takes any text");
}

fn write_measure(text: &mut String, title: &str, row: &Row, measure: &Measure) {
    let cell = row.cell(measure);
    let [ours, peer] = cell.sides.map(median);
    let times = cell.ratio.map_or_else(|| "-".to_owned(), |ratio| figure(ratio.median));
    writeln!(text, "| {title}| {} | {ours} | {peer} | {times} |", measure.name)
        .expect("a string takes any text");
}

fn ratio(ratio: Spread) -> String {
    format!("{} ({}–{})", figure(ratio.median), figure(ratio.min), figure(ratio.max))
}

/// The middle of some runs, thousands apart from each other; a dash if there were none.
fn median(side: Option<Spread>) -> String {
    let Some(Spread { median, .. }) = side else { return "-".to_owned() };
    let digits = figure(median);
    if median < 1000.0 {
        return digits;
    }
    let mut grouped = String::new();
    for (idx, digit) in digits.char_indices() {
        if idx > 0 && (digits.len() - idx).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Report;

    static OPS: Measure = Measure::rate("ops/s");
    static LATE: Measure = Measure::cost("last s late");
    static LEFT: Measure = Measure::cost("leases left");

    fn row(title: &'static str, measures: &[(&'static Measure, [f64; 2])]) -> Row {
        let side = |side: usize| {
            let mut report = Report::default();
            measures.iter().for_each(|(measure, values)| report.add(measure, values[side]));
            vec![report]
        };
        Row { sides: [side(0), side(1)], ..Row::new("", title) }
    }

    #[test]
    fn a_steady_load_is_one_line() {
        let load =
            row("put", &[(&SERVER_CPU, [4.5, 45.0]), (&OPS, [1_234_567.0, 950.0]), (&P99, [1.0, 2.0])]);
        let text = text(&[load]);
        let line = text.lines().nth(2).unwrap();
        assert_eq!(line, "| put | 4.50 | 45.0 | 10.0 (10.0–10.0) | 1,234,567 / 950 | 1.00 / 2.00 |");
    }

    #[test]
    fn a_load_at_a_fixed_rate_tells_what_it_switches() {
        let values = [(&SERVER_CPU, [100.0, 400.0]), (&WAKE_UPS, [2.0, 9.0]), (&SWITCHES, [2.5, 12.0])];
        let latencies = [(&P50, [0.1, 0.3]), (&P99, [0.2, 3.0])];
        let load = Row { is_at_fixed_rate: true, ..row("put, 100/s", &[&values[..], &latencies].concat()) };
        let text = text(&[load]);
        let line = text.lines().find(|line| line.starts_with("| put")).unwrap();
        let figures =
            "100 | 400 | 4.00 (4.00–4.00) | 2.00 / 9.00 | 2.50 / 12.0 | 0.100 / 0.300 | 0.200 / 3.00 |";
        assert_eq!(line, format!("| put, 100/s | {figures}"));
    }

    #[test]
    fn an_experiment_has_a_line_for_each_number() {
        let experiment = row("leases", &[(&LATE, [1.0, 30.0]), (&LEFT, [0.0, 12_345.0])]);
        let text = text(&[experiment]);
        let lines: Vec<_> = text.lines().rev().skip(1).take(2).collect();
        assert_eq!(lines[1], "| leases | last s late | 1.00 | 30.0 | 30.0 |");
        assert_eq!(lines[0], "| | leases left | 0.000 | 12,345 | - |");
    }

    #[test]
    fn what_spoils_a_row_stands_below() {
        let text = text(&[Row { failure: Some("peer: gone".to_owned()), ..Row::new("put", "put") }]);
        assert!(text.ends_with("- put of peer: gone\n"), "{text}");
    }
}
