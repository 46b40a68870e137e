//! Counts the steps of loops, so that tests can say how much work something takes without measuring time.
//!
//! Only unit tests of this crate count; elsewhere the calls do nothing.

#[cfg(test)]
use std::cell::Cell;

#[cfg(test)]
thread_local! {
    static STEPS: Cell<u64> = const { Cell::new(0) };
    static LOG_SCANS: Cell<u64> = const { Cell::new(0) };
}

/// Counts steps of this thread: keys, changes, watchers or queue entries looked at or moved.
#[inline]
pub(crate) fn count(steps: usize) {
    #[cfg(test)]
    STEPS.set(STEPS.get() + steps as u64);
    #[cfg(not(test))]
    let _ = steps;
}

/// Counts one scan of the revision log.
#[inline]
pub(crate) fn count_log_scan() {
    #[cfg(test)]
    LOG_SCANS.set(LOG_SCANS.get() + 1);
}

/// Steps of this thread so far.
#[cfg(test)]
pub(crate) fn steps() -> u64 {
    STEPS.get()
}

/// Scans of the revision log by this thread so far.
#[cfg(test)]
pub(crate) fn log_scans() -> u64 {
    LOG_SCANS.get()
}

/// Asserts that `work`, which returns the steps it took for `n` things, takes at most twice as many for
/// twice as many things, some constant steps aside.
#[cfg(test)]
pub(crate) fn assert_linear(n: usize, mut work: impl FnMut(usize) -> u64) {
    /// What logarithms and fixed costs add.
    const SLACK_PERCENT: u64 = 10;
    let (once, twice) = (work(n), work(2 * n));
    assert!(once > 0, "nothing was counted");
    let steps_max = 2 * once + 2 * once * SLACK_PERCENT / 100;
    assert!(twice <= steps_max, "{once} steps for {n}, but {twice} for {}", 2 * n);
}
