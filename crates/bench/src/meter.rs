//! What a worker needs of its run: when to start an operation, and where to count it.
//!
//! A run passes through the phases in order. Only operations that end in [`Phase::Measure`] are counted,
//! so that connecting, warm-up and the last answers after the end stay out of the result.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::error::Error;
use crate::pace::Pace;
use crate::stats::Tally;

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Threads connect; no operation starts.
    Connect,
    /// Operations run and are not counted.
    WarmUp,
    /// Operations run and are counted.
    Measure,
    /// No operation starts any more.
    Stop,
}

/// The handle of one generator thread on the run; each of its workers has a clone.
#[derive(Clone)]
pub(crate) struct Meter {
    phase: watch::Receiver<Phase>,
    pace: Pace,
    tally: Arc<Mutex<Tally>>,
}

impl Meter {
    /// Joins the run that `phase` tells of, starting operations at `pace` and counting them in `tally`.
    pub(crate) fn new(phase: watch::Receiver<Phase>, pace: Pace, tally: Arc<Mutex<Tally>>) -> Self {
        Self { phase, pace, tally }
    }

    /// Waits until the run has come to `phase` or ended.
    pub(crate) async fn reached(&mut self, phase: Phase) {
        // An error means that the run is gone, which is as good as reaching its end.
        drop(self.phase.wait_for(|now| *now >= phase).await);
    }

    /// Waits for the next operation's turn; returns its intended start, or `None` once the run has ended.
    pub(crate) async fn turn(&self) -> Option<Instant> {
        let start = self.pace.next().await;
        (*self.phase.borrow() != Phase::Stop).then_some(start)
    }

    /// Counts an operation that has just ended.
    pub(crate) fn count(&self, result: Result<Duration, &Error>) {
        if *self.phase.borrow() != Phase::Measure {
            return;
        }
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(latency) => tally.succeed(latency),
            Err(error) => tally.fail(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_operations_that_end_in_the_measured_phase_count() {
        let (phase, seen) = watch::channel(Phase::WarmUp);
        let tally = Arc::new(Mutex::new(Tally::new()));
        let meter = Meter::new(seen, Pace::Closed, tally.clone());
        for now in [Phase::WarmUp, Phase::Measure, Phase::Stop] {
            phase.send_replace(now);
            meter.count(Ok(Duration::from_millis(1)));
            meter.count(Err(&Error::Answer("bad".to_owned())));
        }
        let tally = tally.lock().unwrap();
        assert_eq!((tally.ops, tally.errors), (1, 1));
    }

    #[tokio::test]
    async fn no_turn_comes_after_the_end() {
        let (phase, seen) = watch::channel(Phase::Measure);
        let meter = Meter::new(seen, Pace::Closed, Arc::new(Mutex::new(Tally::new())));
        assert!(meter.turn().await.is_some());
        phase.send_replace(Phase::Stop);
        assert!(meter.turn().await.is_none());
    }
}
