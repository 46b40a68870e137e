//! Repeats an operation long enough to be timed, and prints what it takes.

use std::time::{Duration, Instant};

/// The shortest sample: long against the clock's grain and a switch of processes.
const SAMPLE: Duration = Duration::from_millis(40);
/// Samples of which the median is taken; odd.
const SAMPLES: usize = 9;

/// Runs the benchmarks whose name holds a filter.
pub(crate) struct Runner {
    filter: Option<String>,
}

impl Runner {
    /// Runs all without a `filter`.
    pub(crate) fn new(filter: Option<String>) -> Self {
        Self { filter }
    }

    /// Whether the filter is just this.
    pub(crate) fn is_named(&self, name: &str) -> bool {
        self.filter.as_deref() == Some(name)
    }

    /// Times `batch`, each call of which carries out `ops` operations.
    pub(crate) fn run(&self, name: &str, ops: u32, mut batch: impl FnMut()) {
        if self.filter.as_ref().is_some_and(|filter| !name.contains(filter)) {
            return;
        }
        // The first sample warms caches up.
        sample(&mut batch);
        let mut samples: Vec<f64> = (0..SAMPLES).map(|_| sample(&mut batch) / f64::from(ops)).collect();
        samples.sort_by(f64::total_cmp);
        let (min, median, max) = (samples[0], samples[SAMPLES / 2], samples[SAMPLES - 1]);
        println!("{name:<52} {median:>12.1} ns   {min:.1}-{max:.1}");
    }
}

/// Nanoseconds that one call takes, on average over a sample.
fn sample(batch: &mut impl FnMut()) -> f64 {
    let (start, mut calls) = (Instant::now(), 0_u32);
    while start.elapsed() < SAMPLE {
        batch();
        calls += 1;
    }
    start.elapsed().as_nanos() as f64 / f64::from(calls)
}
