//! How many bytes of requests a connection may make the server hold before a call has them as messages.
//!
//! That is content that no call has taken yet, and messages that have not come to their end. A connection
//! may hold half as much as is left of the total for all. So one connection takes at most a third of it, the
//! next a third of the rest, and so on: there is always room left for another connection, even if a few take
//! all they can. A fixed share would be too little for the bursts of honest clients, or leave nothing for
//! the others.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that all connections hold together, at most, beside what each may hold uncounted.
const TOTAL_MAX: usize = 512 << 20;

/// Bytes of a connection that do not count: those of small requests, whose calls take them at once. So the
/// counter that all threads share is left alone mostly.
const UNCOUNTED_MAX: usize = 32 << 10;

static TOTAL: AtomicUsize = AtomicUsize::new(0);

/// What one connection holds. All that it takes must be given back.
#[derive(Debug)]
pub(super) struct ReceivedBytes {
    held: Cell<usize>,
    /// What all connections hold together, as far as it counts.
    total: &'static AtomicUsize,
}

impl Default for ReceivedBytes {
    fn default() -> ReceivedBytes {
        ReceivedBytes::counted_in(&TOTAL)
    }
}

impl ReceivedBytes {
    /// Of a connection that shares `total` with others.
    pub(super) fn counted_in(total: &'static AtomicUsize) -> ReceivedBytes {
        ReceivedBytes { held: Cell::new(0), total }
    }

    /// Takes `len` bytes more; false, and none, if that is more than its share.
    pub(super) fn take(&self, len: usize) -> bool {
        let held = self.held.get() + len;
        let more = counted(held) - counted(self.held.get());
        if more > 0 {
            let total = self.total.fetch_add(more, Ordering::Relaxed) + more;
            if 2 * counted(held) > TOTAL_MAX.saturating_sub(total) {
                self.total.fetch_sub(more, Ordering::Relaxed);
                return false;
            }
        }
        self.held.set(held);
        true
    }

    /// Gives back bytes that were taken.
    pub(super) fn give_back(&self, len: usize) {
        let held = self.held.get() - len;
        let less = counted(self.held.get()) - counted(held);
        if less > 0 {
            self.total.fetch_sub(less, Ordering::Relaxed);
        }
        self.held.set(held);
    }
}

/// How many of the bytes that a connection holds count.
fn counted(held: usize) -> usize {
    held.saturating_sub(UNCOUNTED_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_takes_all_it_can_leaves_room_for_others() {
        static TOTAL: AtomicUsize = AtomicUsize::new(0);
        let connections = [(); 8].map(|()| ReceivedBytes::counted_in(&TOTAL));
        for connection in &connections {
            while connection.take(1 << 20) {}
        }
        let third = TOTAL_MAX / 3;
        assert!(
            (third - (2 << 20)..=third + UNCOUNTED_MAX + (1 << 20)).contains(&connections[0].held.get()),
            "one takes a third"
        );
        let last = ReceivedBytes::counted_in(&TOTAL);
        assert!(last.take(2 << 20), "a request of the maximum length still fits beside them");
        for connection in connections.iter().chain([&last]) {
            connection.give_back(connection.held.get());
        }
        assert_eq!(TOTAL.load(Ordering::Relaxed), 0);
    }
}
