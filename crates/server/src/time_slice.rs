//! How much a connection may do before other connections of its thread go on.
//!
//! Time would be the measure, but reading a clock costs more than most steps; so each step is charged by the
//! bytes that it moves, or by as many as could be moved in its time. The state is the thread's, as is the
//! connection that runs on it.
//!
//! The same charges say when the time that was read last is too old to be used again.

use std::cell::Cell;
use std::time::Instant;

use tokio::task::yield_now;

/// What a slice may cost, in bytes: some 300 µs of small calls, of copies, or of reads and writes.
pub(crate) const TIME_SLICE: usize = 256 << 10;

/// What polling or refusing a call costs beside the bytes that it moves: as much as copying so many.
pub(crate) const CALL_COST: usize = 2 << 10;

/// What may be done before the clock is read again: some 20 µs.
const CLOCK_SPAN: usize = 16 << 10;

thread_local! {
    /// What is left of the slice; 0 while no connection runs.
    static LEFT: Cell<usize> = const { Cell::new(0) };
    /// The time as it was last read in this slice, and what was left of the slice then.
    static CLOCK: Cell<Option<(Instant, usize)>> = const { Cell::new(None) };
}

/// Begins the slice of a connection.
pub(crate) fn begin() {
    LEFT.set(TIME_SLICE);
    CLOCK.set(None);
}

/// Ends the slice: what runs from now on is charged to no connection.
pub(crate) fn end() {
    LEFT.set(0);
}

/// The time, for measuring what takes longer than [`CLOCK_SPAN`]: it may be late by that much, and never
/// goes back.
pub(crate) fn now() -> Instant {
    let left = LEFT.get();
    match CLOCK.get() {
        Some((now, left_then)) if left > 0 && left_then - left < CLOCK_SPAN => now,
        _ => read_clock(),
    }
}

/// The exact time, which [`now`] returns from then on.
pub(crate) fn read_clock() -> Instant {
    let now = Instant::now();
    CLOCK.set(Some((now, LEFT.get())));
    now
}

/// Notes that as much has been done as copying `bytes` takes.
pub(crate) fn charge(bytes: usize) {
    LEFT.set(LEFT.get().saturating_sub(bytes));
}

/// Ends the slice and waits for the next one: what has just been done took as long as a slice may.
pub(crate) async fn wait_for_next() {
    LEFT.set(0);
    yield_now().await;
}

/// Whether others are due. What has been begun is finished first: a slice may cost more than its limit by
/// one step, the longest of which is a message of the maximum length.
pub(crate) fn is_over() -> bool {
    LEFT.get() == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was left of the slice when the time was read that [`now`] returns.
    fn left_when_read() -> usize {
        now();
        CLOCK.get().expect("it was just read").1
    }

    #[test]
    fn clock_is_read_again_once_enough_has_been_done() {
        begin();
        assert_eq!(left_when_read(), TIME_SLICE);
        charge(CLOCK_SPAN - 1);
        assert_eq!(left_when_read(), TIME_SLICE);
        charge(1);
        assert_eq!(left_when_read(), TIME_SLICE - CLOCK_SPAN);
    }

    #[test]
    fn time_of_one_slice_is_not_used_in_the_next_or_between() {
        begin();
        charge(1);
        assert_eq!(left_when_read(), TIME_SLICE - 1);
        begin();
        assert_eq!(left_when_read(), TIME_SLICE);
        end();
        assert_eq!(left_when_read(), 0);
    }
}
