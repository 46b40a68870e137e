//! A queue between threads that is emptied whole: whatever has collected is handled as one batch.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Items pushed by any thread, taken by one.
#[derive(Debug)]
pub(super) struct Inbox<T> {
    state: Mutex<State<T>>,
    arrived: Condvar,
}

#[derive(Debug)]
struct State<T> {
    items: Vec<T>,
    is_closed: bool,
}

impl<T> Default for Inbox<T> {
    fn default() -> Self {
        Inbox { state: Mutex::new(State { items: Vec::new(), is_closed: false }), arrived: Condvar::new() }
    }
}

impl<T> Inbox<T> {
    /// Adds an item; wakes the taker only if it may be waiting.
    pub(super) fn push(&self, item: T) {
        self.extend([item]);
    }

    /// Adds items together.
    pub(super) fn extend(&self, items: impl IntoIterator<Item = T>) {
        let mut state = self.lock();
        let was_empty = state.items.is_empty();
        state.items.extend(items);
        let has_arrived = was_empty && !state.items.is_empty();
        drop(state);
        if has_arrived {
            self.arrived.notify_one();
        }
    }

    /// Lets the taker take what is there and nothing after.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.arrived.notify_one();
    }

    /// Moves everything into `items`, which must be empty, waiting for something until `deadline` (for ever
    /// without one). False once the queue is closed and empty.
    pub(super) fn take(&self, items: &mut Vec<T>, deadline: Option<Instant>) -> bool {
        let mut state = self.lock();
        while state.items.is_empty() {
            if state.is_closed {
                return false;
            }
            let Some(deadline) = deadline else {
                state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            state = self.arrived.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        std::mem::swap(&mut state.items, items);
        true
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use super::*;

    #[test]
    fn everything_that_collected_is_taken_at_once_in_order() {
        let inbox = Inbox::default();
        inbox.extend([1, 2]);
        inbox.push(3);
        let mut items = Vec::new();
        assert!(inbox.take(&mut items, None));
        assert_eq!(items, [1, 2, 3]);
    }

    #[test]
    fn a_deadline_ends_the_wait() {
        let inbox = Inbox::<u8>::default();
        let mut items = Vec::new();
        assert!(inbox.take(&mut items, Some(Instant::now())));
        assert!(items.is_empty());
    }

    #[test]
    fn a_closed_queue_is_emptied_before_it_ends() {
        let inbox = Inbox::default();
        inbox.push(1);
        inbox.close();
        let mut items = Vec::new();
        assert!(inbox.take(&mut items, None));
        items.clear();
        assert!(!inbox.take(&mut items, None));
    }

    #[test]
    fn a_waiting_taker_is_woken() {
        let inbox = Arc::new(Inbox::default());
        let taker = {
            let inbox = Arc::clone(&inbox);
            thread::spawn(move || {
                let mut items = Vec::new();
                inbox.take(&mut items, None);
                items
            })
        };
        inbox.push(7);
        assert_eq!(taker.join().unwrap(), [7]);
    }
}
