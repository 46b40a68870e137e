//! How much a connection may do before other connections of its thread get their turn.
//!
//! Time would be the measure, but a clock costs more than most steps; so each step is charged by the bytes that it
//! moves, and a call by what a small one takes. Of the thread, like the connection that has its turn on it.

use std::cell::Cell;

use tokio::task::yield_now;

/// What a turn may cost, in bytes: some 300 µs of small calls, of copies, or of reads and writes.
const TURN_MAX: usize = 256 << 10;

/// What polling a call costs beside the bytes that it moves: as much as copying so many.
pub(crate) const CALL: usize = 2 << 10;

thread_local! {
    static LEFT: Cell<usize> = const { Cell::new(0) };
}

/// The next connection has its turn.
pub(crate) fn begin() {
    LEFT.set(TURN_MAX);
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
