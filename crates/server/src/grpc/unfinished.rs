//! How many bytes of messages that have not come to their end a connection may make the server hold.
//!
//! A connection may hold half as much as is left of the total for all. So one takes a third of it at most, the next a
//! third of the rest, and whoever comes after them finds room: a few that fill theirs on purpose do not shut out the
//! others. A fixed share would be too little for the bursts of honest clients, or leave nothing for the others.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that all connections hold together, at most.
const TOTAL_MAX: usize = 512 << 20;

static TOTAL: AtomicUsize = AtomicUsize::new(0);

/// What one connection holds. All that it takes must be given back.
#[derive(Debug, Default)]
pub(super) struct Unfinished(Cell<usize>);

impl Unfinished {
    /// Takes `len` bytes more; false, and none, if that is more than its share.
    pub(super) fn take(&self, len: usize) -> bool {
        let held = self.0.get() + len;
        let total = TOTAL.fetch_add(len, Ordering::Relaxed) + len;
        if 2 * held > TOTAL_MAX.saturating_sub(total) {
            TOTAL.fetch_sub(len, Ordering::Relaxed);
            return false;
        }
        self.0.set(held);
        true
    }

    /// Gives back bytes that were taken.
    pub(super) fn give_back(&self, len: usize) {
        TOTAL.fetch_sub(len, Ordering::Relaxed);
        self.0.set(self.0.get() - len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_takes_all_it_can_leaves_room_for_others() {
        let connections: [Unfinished; 8] = Default::default();
        for connection in &connections {
            while connection.take(1 << 20) {}
        }
        let third = TOTAL_MAX / 3;
        assert!((third - (2 << 20)..=third).contains(&connections[0].0.get()), "one takes a third");
        let last = Unfinished::default();
        assert!(last.take(2 << 20), "a request of the maximum length still fits beside them");
        for connection in connections.iter().chain([&last]) {
            connection.give_back(connection.0.get());
        }
    }
}
