//! How much a connection may do before other connections of its thread get their turn.
//!
//! Time would be the measure, but a clock costs more than most steps; so each step is charged by the bytes that it
//! moves, and a call by what a small one takes. Of the thread, like the connection that has its turn on it.
//!
//! The same charges say when the time that was last read is too old to be told again.

use std::cell::Cell;
use std::time::Instant;

use tokio::task::yield_now;

/// What a turn may cost, in bytes: some 300 µs of small calls, of copies, or of reads and writes.
pub(crate) const TURN_MAX: usize = 256 << 10;

/// What polling a call costs beside the bytes that it moves: as much as copying so many.
pub(crate) const CALL: usize = 2 << 10;

/// What may be done before the clock is read again: some 20 µs.
const CLOCK_SPAN: usize = 16 << 10;

thread_local! {
    /// Nothing between turns.
    static LEFT: Cell<usize> = const { Cell::new(0) };
    /// The time as it was last read in this turn, and what was left of the turn then.
    static CLOCK: Cell<Option<(Instant, usize)>> = const { Cell::new(None) };
}

/// The next connection has its turn.
pub(crate) fn begin() {
    LEFT.set(TURN_MAX);
    CLOCK.set(None);
}

/// No connection has its turn: what runs now is charged to nobody.
pub(crate) fn end() {
    LEFT.set(0);
}

/// The time, for what is measured in more than [`CLOCK_SPAN`]: late by no more than that, and never going back.
pub(crate) fn now() -> Instant {
    let left = LEFT.get();
    match CLOCK.get() {
        Some((now, left_then)) if left > 0 && left_then - left < CLOCK_SPAN => now,
        _ => read_clock(),
    }
}

/// The time to the nanosecond, which [`now`] tells from then on.
pub(crate) fn read_clock() -> Instant {
    let now = Instant::now();
    CLOCK.set(Some((now, LEFT.get())));
    now
}

/// Notes that as much has been done as copying `bytes` takes.
pub(crate) fn charge(bytes: usize) {
    LEFT.set(LEFT.get().saturating_sub(bytes));
}

/// Lets the others have their turn: what has just been done took as long as a turn may.
pub(crate) async fn pass() {
    LEFT.set(0);
    yield_now().await;
}

/// Whether the others are due. What has been begun is finished first: a turn may cost more than its limit by one
/// step, the longest of which is a message of the maximum length.
pub(crate) fn is_over() -> bool {
    LEFT.get() == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was left of the turn when the clock was read for what [`now`] tells.
    fn read_at() -> usize {
        now();
        CLOCK.get().expect("it was just read").1
    }

    #[test]
    fn clock_is_read_again_once_enough_has_been_done() {
        begin();
        assert_eq!(read_at(), TURN_MAX);
        charge(CLOCK_SPAN - 1);
        assert_eq!(read_at(), TURN_MAX);
        charge(1);
        assert_eq!(read_at(), TURN_MAX - CLOCK_SPAN);
    }

    #[test]
    fn time_of_one_turn_is_not_told_in_the_next_or_between() {
        begin();
        charge(1);
        assert_eq!(read_at(), TURN_MAX - 1);
        begin();
        assert_eq!(read_at(), TURN_MAX);
        end();
        assert_eq!(read_at(), 0);
    }
}
