//! What came of the puts of a load: how many, how long they took, which errors there were.

use std::collections::BTreeMap;
use std::time::Duration;

/// Different errors that are told apart. Their texts come from servers.
const ERRORS_MAX: usize = 100;
/// Stands for all errors after those.
const OTHER_ERRORS: &str = "other errors";

/// The outcome of many puts.
#[derive(Debug, Default)]
pub(super) struct Summary {
    /// Puts without an error.
    pub(super) n_puts: u64,
    /// The length of the whole load.
    pub(super) total: Duration,
    /// The longest put, in seconds.
    pub(super) slowest_s: f64,
    sum_s: f64,
    sum_of_squares: f64,
    errors: BTreeMap<String, u64>,
}

impl Summary {
    /// Counts a put. The time of one that failed does not count.
    pub(super) fn count(&mut self, took: Duration, result: Result<(), String>) {
        match result {
            Ok(()) => {
                let took = took.as_secs_f64();
                self.n_puts += 1;
                self.slowest_s = self.slowest_s.max(took);
                self.sum_s += took;
                self.sum_of_squares += took * took;
            }
            Err(error) => self.count_errors(error, 1),
        }
    }

    fn count_errors(&mut self, error: String, n: u64) {
        let is_known = self.errors.contains_key(&error);
        let error = if is_known || self.errors.len() < ERRORS_MAX { error } else { OTHER_ERRORS.to_owned() };
        *self.errors.entry(error).or_default() += n;
    }

    /// Adds what another client has counted.
    pub(super) fn merge(&mut self, other: Summary) {
        self.n_puts += other.n_puts;
        self.slowest_s = self.slowest_s.max(other.slowest_s);
        self.sum_s += other.sum_s;
        self.sum_of_squares += other.sum_of_squares;
        other.errors.into_iter().for_each(|(error, n)| self.count_errors(error, n));
    }

    pub(super) fn puts_per_second(&self) -> f64 {
        self.n_puts as f64 / self.total.as_secs_f64()
    }

    /// The standard deviation of the time of a put, in seconds; not a number if there was none.
    pub(super) fn deviation_s(&self) -> f64 {
        let n = self.n_puts as f64;
        let mean = self.sum_s / n;
        let variance = self.sum_of_squares / n - mean * mean;
        // Rounding may leave a little less than zero, which has no root. `max` would hide what is not a number.
        if variance < 0.0 { 0.0 } else { variance.sqrt() }
    }

    /// The lines about errors; empty if there were none.
    pub(super) fn error_lines(&self) -> String {
        if self.errors.is_empty() {
            return String::new();
        }
        let lines = self.errors.iter().map(|(error, n)| format!("FAIL: ERROR({error}) -> {n}\n"));
        "FAIL: too many errors\n".to_owned() + &lines.collect::<String>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deviation_is_that_of_all_clients() {
        let mut all = Summary::default();
        for millis in [100, 200, 300, 400] {
            let mut one = Summary::default();
            one.count(Duration::from_millis(millis), Ok(()));
            all.merge(one);
        }
        assert!((all.deviation_s() - 0.111_803).abs() < 1e-6, "{}", all.deviation_s());
        assert!((all.slowest_s - 0.4).abs() < 1e-9);
        assert!(Summary::default().deviation_s().is_nan());
    }

    #[test]
    fn equal_times_have_no_deviation() {
        let mut summary = Summary::default();
        (0..1000).for_each(|_| summary.count(Duration::from_micros(123_457), Ok(())));
        assert!(summary.deviation_s() < 1e-6);
    }

    #[test]
    fn errors_are_counted_by_their_texts_up_to_a_limit() {
        let mut summary = Summary::default();
        summary.count(Duration::ZERO, Err("b".to_owned()));
        summary.count(Duration::ZERO, Err("a".to_owned()));
        summary.count(Duration::ZERO, Err("b".to_owned()));
        assert_eq!(
            summary.error_lines(),
            "FAIL: too many errors\nFAIL: ERROR(a) -> 1\nFAIL: ERROR(b) -> 2\n"
        );
        (0..200).for_each(|n| summary.count(Duration::ZERO, Err(format!("error {n}"))));
        assert_eq!(summary.errors.len(), ERRORS_MAX + 1);
        assert_eq!(summary.errors[OTHER_ERRORS], 102);
        assert_eq!(summary.n_puts, 0);
    }
}
