//! A queue between threads that is emptied whole: whatever has collected is handled as one batch.
//!
//! One thread owns the queue and sleeps until there is something in it. Any other thread may take its *turn*, the
//! right to handle items, while nothing waits: it then does at once what it would have had to wake the owner for.
//! Only one thread has the turn at a time. What is pushed meanwhile is the owner's next batch.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Items pushed by any thread, handled by the one that has the turn.
#[derive(Debug)]
pub(super) struct BatchQueue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<T> {
    items: Vec<T>,
    /// Whether some thread has the turn.
    is_taken: bool,
    /// Whether the owner is to have the next turn even if there are no items.
    is_owners: bool,
    is_closed: bool,
}

impl<T> Default for BatchQueue<T> {
    fn default() -> Self {
        let state = State { items: Vec::new(), is_taken: false, is_owners: false, is_closed: false };
        BatchQueue { state: Mutex::new(state), changed: Condvar::new() }
    }
}

impl<T> BatchQueue<T> {
    /// Adds an item; wakes the owner only if it may be waiting.
    pub(super) fn push(&self, item: T) {
        self.extend([item]);
    }

    /// Adds items together.
    pub(super) fn extend(&self, items: impl IntoIterator<Item = T>) {
        let mut state = self.lock();
        let was_empty = state.items.is_empty();
        state.items.extend(items);
        // Who has the turn looks at the queue when it ends.
        let must_wake = was_empty && !state.items.is_empty() && !state.is_taken;
        drop(state);
        if must_wake {
            self.changed.notify_one();
        }
    }

    /// Takes the turn away from the owner, until [`BatchQueue::end_turn`]. False, and nothing has changed, if
    /// another thread has it, if something waits for the owner, or once the queue is closed.
    pub(super) fn try_take_turn(&self) -> bool {
        let mut state = self.lock();
        let may_take = !state.is_taken && !state.is_owners && !state.is_closed && state.items.is_empty();
        state.is_taken |= may_take;
        may_take
    }

    /// Gives back a turn that was taken from the owner, which has the next one at once if `is_owners`, or if
    /// something was pushed meanwhile.
    pub(super) fn end_turn(&self, is_owners: bool) {
        let mut state = self.lock();
        state.is_taken = false;
        state.is_owners |= is_owners;
        let must_wake = state.is_owners || state.is_closed || !state.items.is_empty();
        drop(state);
        if must_wake {
            self.changed.notify_one();
        }
    }

    /// Gives the owner's turn back, before it asks for the next one, which it has at once if `is_owners`.
    pub(super) fn end_own_turn(&self, is_owners: bool) {
        let mut state = self.lock();
        (state.is_taken, state.is_owners) = (false, is_owners);
    }

    /// Gives the turn back, with an item that the owner is to handle before all others and before anybody else
    /// has a turn.
    pub(super) fn end_turn_with(&self, first: T) {
        let mut state = self.lock();
        state.is_taken = false;
        state.items.insert(0, first);
        drop(state);
        self.changed.notify_one();
    }

    /// Lets the owner take what is there and nothing after.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_one();
    }

    /// Gives the turn back and drops what is there: nothing is handled any more.
    pub(super) fn abandon(&self) {
        let mut state = self.lock();
        state.items.clear();
        (state.is_taken, state.is_closed) = (false, true);
        drop(state);
        self.changed.notify_one();
    }

    /// Moves what has collected since the turn was taken into `items`, which must be empty. Only for who has the turn.
    pub(super) fn take_more(&self, items: &mut Vec<T>) {
        std::mem::swap(&mut self.lock().items, items);
    }

    /// Gives the owner the turn, until [`BatchQueue::end_turn`], and moves everything into `items`, which must be
    /// empty. Waits for something until `deadline` (for ever without one), and then for whoever has the turn. False,
    /// and no turn, once the queue is closed and empty.
    pub(super) fn take(&self, items: &mut Vec<T>, deadline: Option<Instant>) -> bool {
        let mut state = self.lock();
        loop {
            let has_something = state.is_owners || !state.items.is_empty();
            if has_something && !state.is_taken {
                break;
            }
            if state.is_closed && !has_something && !state.is_taken {
                return false;
            }
            let Some(deadline) = deadline.filter(|_| !has_something) else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                state.is_owners = true;
            } else {
                state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
        (state.is_taken, state.is_owners) = (true, false);
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
        let queue = BatchQueue::default();
        queue.extend([1, 2]);
        queue.push(3);
        let mut items = Vec::new();
        assert!(queue.take(&mut items, None));
        assert_eq!(items, [1, 2, 3]);
    }

    #[test]
    fn a_deadline_ends_the_wait() {
        let queue = BatchQueue::<u8>::default();
        let mut items = Vec::new();
        assert!(queue.take(&mut items, Some(Instant::now())));
        assert!(items.is_empty());
    }

    #[test]
    fn a_closed_queue_is_emptied_before_it_ends() {
        let queue = BatchQueue::default();
        queue.push(1);
        queue.close();
        let mut items = Vec::new();
        assert!(queue.take(&mut items, None));
        items.clear();
        queue.end_own_turn(false);
        assert!(!queue.take(&mut items, None));
    }

    #[test]
    fn a_waiting_owner_is_woken() {
        let queue = Arc::new(BatchQueue::default());
        let owner = thread::spawn({
            let queue = Arc::clone(&queue);
            move || {
                let mut items = Vec::new();
                queue.take(&mut items, None);
                items
            }
        });
        queue.push(7);
        assert_eq!(owner.join().unwrap(), [7]);
    }

    #[test]
    fn the_turn_is_one_threads_at_a_time() {
        let queue = BatchQueue::<u8>::default();
        assert!(queue.try_take_turn());
        assert!(!queue.try_take_turn());
        queue.end_turn(false);
        assert!(queue.try_take_turn());
    }

    #[test]
    fn nobody_takes_the_turn_before_what_waits_for_the_owner() {
        let mut items = Vec::new();
        let queue = BatchQueue::default();
        queue.push(1);
        assert!(!queue.try_take_turn(), "an item waits");
        assert!(queue.take(&mut items, None));
        assert!(!queue.try_take_turn(), "the owner is at it");
        queue.end_own_turn(true);
        assert!(!queue.try_take_turn(), "the owner wants to go on");
        items.clear();
        assert!(queue.take(&mut items, None) && items.is_empty());
        queue.end_own_turn(false);
        assert!(queue.try_take_turn());
        queue.end_turn(false);
        queue.close();
        assert!(!queue.try_take_turn(), "it is closed");
    }

    #[test]
    fn what_is_pushed_in_a_turn_of_others_is_the_owners_next_batch() {
        let queue = Arc::new(BatchQueue::default());
        assert!(queue.try_take_turn());
        let owner = thread::spawn({
            let queue = Arc::clone(&queue);
            move || {
                let mut items = Vec::new();
                queue.take(&mut items, Some(Instant::now()));
                items
            }
        });
        queue.extend([1, 2]);
        queue.end_turn_with(0);
        assert_eq!(owner.join().unwrap(), [0, 1, 2]);
    }

    #[test]
    fn what_collects_in_a_turn_can_be_taken_in_it() {
        let queue = BatchQueue::default();
        assert!(queue.try_take_turn());
        queue.extend([1, 2]);
        let mut items = Vec::new();
        queue.take_more(&mut items);
        assert_eq!(items, [1, 2]);
        queue.end_turn(false);
        assert!(queue.try_take_turn(), "nothing is left for the owner");
    }

    #[test]
    fn an_abandoned_queue_ends_at_once() {
        let queue = BatchQueue::default();
        assert!(queue.try_take_turn());
        queue.push(1);
        queue.abandon();
        assert!(!queue.take(&mut Vec::new(), None));
    }
}
