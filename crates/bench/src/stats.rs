//! What a run counts: operations, failures and latencies.
//!
//! Each generator thread owns one [`Tally`] behind a lock that only the progress line ever contends for;
//! tallies add up without losing precision. Latencies are kept in nanoseconds with three digits, up to
//! [`LATENCY_MAX_NS`]; longer ones are recorded as that.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::error::Error;

/// The longest latency told apart, in nanoseconds.
const LATENCY_MAX_NS: u64 = 120_000_000_000;
/// Significant decimal digits of a recorded latency.
const DIGITS: u8 = 3;

/// Counts and latencies of the operations that ended inside the measured time.
pub(crate) struct Tally {
    /// Operations that succeeded.
    pub(crate) ops: u64,
    /// Operations that failed; their latency is not recorded.
    pub(crate) errors: u64,
    /// The text of the first failure.
    pub(crate) first_error: Option<String>,
    latency: Histogram<u64>,
}

impl Tally {
    /// An empty tally.
    pub(crate) fn new() -> Self {
        let latency = Histogram::new_with_max(LATENCY_MAX_NS, DIGITS).expect("the bounds are in range");
        Self { ops: 0, errors: 0, first_error: None, latency }
    }

    /// Counts one operation that took `latency`.
    pub(crate) fn succeed(&mut self, latency: Duration) {
        self.ops += 1;
        self.latency.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Counts one operation that failed.
    pub(crate) fn fail(&mut self, error: &Error) {
        self.errors += 1;
        self.first_error.get_or_insert_with(|| error.to_string());
    }

    /// Adds what another thread counted.
    pub(crate) fn add(&mut self, other: &Self) {
        self.ops += other.ops;
        self.errors += other.errors;
        self.first_error = self.first_error.take().or_else(|| other.first_error.clone());
        self.latency.add(&other.latency).expect("all tallies have the same bounds");
    }

    /// The latency that `percent` of the operations did not exceed; zero if there were none.
    pub(crate) fn percentile(&self, percent: f64) -> Duration {
        Duration::from_nanos(self.latency.value_at_quantile(percent / 100.0))
    }

    /// The longest latency.
    pub(crate) fn max(&self) -> Duration {
        Duration::from_nanos(self.latency.max())
    }

    /// The average latency.
    pub(crate) fn mean(&self) -> Duration {
        Duration::from_nanos(self.latency.mean() as u64)
    }
}

/// The middle and the ends of a few repeated measurements.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    /// The smallest value.
    pub(crate) min: f64,
    /// The value in the middle, or the mean of the two in the middle.
    pub(crate) median: f64,
    /// The largest value.
    pub(crate) max: f64,
}

impl Spread {
    /// Of `values`; `None` when there are none.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let median = (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0;
        Some(Self { min, median, max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_follow_the_recorded_latencies() {
        let mut tally = Tally::new();
        (1..=1000).for_each(|ms| tally.succeed(Duration::from_millis(ms)));
        let near = |found: Duration, ms: f64| (found.as_secs_f64() * 1e3 / ms - 1.0).abs() < 0.002;
        assert!(near(tally.percentile(50.0), 500.0));
        assert!(near(tally.percentile(99.9), 999.0));
        assert!(near(tally.max(), 1000.0));
        assert!(near(tally.mean(), 500.5));
    }

    #[test]
    fn tallies_add_up_and_keep_the_first_error() {
        let (mut all, mut other) = (Tally::new(), Tally::new());
        all.succeed(Duration::from_millis(1));
        other.succeed(Duration::from_millis(3));
        other.fail(&Error::Answer("first".to_owned()));
        other.fail(&Error::Answer("second".to_owned()));
        all.add(&other);
        assert_eq!((all.ops, all.errors), (2, 2));
        assert_eq!(all.first_error.as_deref(), Some("wrong answer: first"));
    }

    #[test]
    fn a_latency_beyond_the_range_is_recorded_as_the_longest() {
        let mut tally = Tally::new();
        tally.succeed(Duration::from_secs(1_000_000));
        assert!(tally.max() >= Duration::from_nanos(LATENCY_MAX_NS));
        assert_eq!(tally.ops, 1);
    }

    #[test]
    fn an_empty_tally_has_zero_latency() {
        assert_eq!(Tally::new().percentile(99.0), Duration::ZERO);
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        assert_eq!(Spread::of([4.0, 1.0, 3.0, 2.0]), Some(Spread { min: 1.0, median: 2.5, max: 4.0 }));
        assert_eq!(Spread::of([7.0]), Some(Spread { min: 7.0, median: 7.0, max: 7.0 }));
        assert_eq!(Spread::of([]), None);
    }
}
