//! A guard against regressions: ratios that must hold, between rows of our own or against a peer.
//!
//! Times differ from machine to machine and from hour to hour; what a transaction costs beside a put does not.
//! The rules stand in `thresholds.txt`, one a line: `CASE at-most FACTOR CASE` compares the headlines of two
//! cases of ours, `CASE at-least FACTOR peer` asks how many times better than the peer ours is.

use std::fmt::Write as _;

use crate::compare::{self, Comparison};
use crate::error::Error;
use crate::report::figure;
use crate::table::Row;

/// The committed rules.
const THRESHOLDS: &str = include_str!("../thresholds.txt");

/// One line of the rules.
#[derive(Debug, PartialEq)]
enum Rule<'a> {
    /// The cost of a case is at most so many times that of another one of ours.
    AtMost { case: &'a str, factor: f64, other: &'a str },
    /// Ours is at least so many times better than the peer.
    AtLeast { case: &'a str, factor: f64 },
}

/// Measures what the rules speak of and returns a line for each; rules on a peer hold only if there is one.
///
/// # Errors
/// [`Error::Check`] with the same lines if a rule is broken or could not be judged, and those of a comparison.
pub(crate) fn run(mut comparison: Comparison) -> Result<String, Error> {
    let rules = rules(THRESHOLDS, !comparison.peer.is_empty());
    comparison.only = rules.iter().flat_map(Rule::cases).map(str::to_owned).collect();
    let rows = compare::measure(&comparison)?;
    let (text, good) = judge(&rules, &rows);
    if good { Ok(text) } else { Err(Error::Check(text)) }
}

/// Parses the rules; those on a peer are left out if there is none.
fn rules(text: &str, with_peer: bool) -> Vec<Rule<'_>> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let rules = lines.map(|line| Rule::parse(line).expect("a test parses the committed file"));
    rules.filter(|rule| with_peer || matches!(rule, Rule::AtMost { .. })).collect()
}

impl<'a> Rule<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let &[case, relation, factor, other] = words.as_slice() else { return None };
        let factor = factor.parse().ok()?;
        match (relation, other) {
            ("at-least", "peer") => Some(Self::AtLeast { case, factor }),
            ("at-most", other) => Some(Self::AtMost { case, factor, other }),
            _ => None,
        }
    }

    fn cases(&self) -> impl Iterator<Item = &'a str> {
        let (case, other) = match *self {
            Self::AtMost { case, other, .. } => (case, Some(other)),
            Self::AtLeast { case, .. } => (case, None),
        };
        [case].into_iter().chain(other)
    }

    /// What was measured, and whether it keeps the rule; `None` if a run is missing.
    fn judge(&self, rows: &[Row]) -> Option<(f64, bool)> {
        let headline = |name| rows.iter().find(|row| row.case == name)?.headline();
        match *self {
            Self::AtMost { case, factor, other } => {
                let ratio = headline(case)?.sides[0]?.median / headline(other)?.sides[0]?.median;
                Some((ratio, ratio <= factor))
            }
            Self::AtLeast { case, factor } => {
                let ratio = headline(case)?.ratio?.median;
                Some((ratio, ratio >= factor))
            }
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::AtMost { case, factor, other } => format!("{case} at most {factor} times {other}"),
            Self::AtLeast { case, factor } => format!("{case} at least {factor} times better than the peer"),
        }
    }
}

/// A line for each rule, and whether all hold.
fn judge(rules: &[Rule], rows: &[Row]) -> (String, bool) {
    let (mut text, mut good) = (String::new(), true);
    for rule in rules {
        let judged = rule.judge(rows);
        let holds = judged.is_some_and(|(_, holds)| holds);
        good &= holds;
        let (word, value) =
            (if holds { "ok" } else { "FAILED" }, judged.map_or("?".to_owned(), |(value, _)| figure(value)));
        writeln!(text, "{word:<7} {value:>6}  {}", rule.describe()).expect("a string takes any text");
    }
    (text, good)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases;
    use crate::report::{Report, SERVER_CPU};

    fn row(case: &'static str, sides: [Option<f64>; 2]) -> Row {
        let runs = sides.map(|cpu| {
            let mut report = Report::default();
            report.add(&SERVER_CPU, cpu);
            cpu.map(|_| report).into_iter().collect()
        });
        Row { sides: runs, ..Row::new(case, "") }
    }

    #[test]
    fn the_committed_rules_speak_of_cases_that_exist() {
        let rules = rules(THRESHOLDS, true);
        let named: Vec<String> = rules.iter().flat_map(Rule::cases).map(str::to_owned).collect();
        assert!(!named.is_empty());
        cases::chosen(&named).unwrap();
    }

    #[test]
    fn rules_on_a_peer_need_one() {
        let text = "# why\n\nput at-least 4 peer\ntxn-put at-most 1.5 put\n";
        assert_eq!(rules(text, true).len(), 2);
        assert_eq!(rules(text, false), [Rule::AtMost { case: "txn-put", factor: 1.5, other: "put" }]);
    }

    #[test]
    fn a_rule_is_kept_broken_or_not_to_be_judged() {
        let rows = [row("put", [Some(10.0), Some(30.0)]), row("txn-put", [Some(14.0), None])];
        let holds = |line| judge(&[Rule::parse(line).unwrap()], &rows);
        assert!(holds("txn-put at-most 1.5 put").1);
        assert_eq!(
            holds("txn-put at-most 1.3 put"),
            ("FAILED    1.40  txn-put at most 1.3 times put\n".into(), false)
        );
        assert!(holds("put at-least 3 peer").1);
        assert!(!holds("put at-least 4 peer").1);
        assert!(holds("get at-most 1 put").0.starts_with("FAILED       ?"));
    }
}
