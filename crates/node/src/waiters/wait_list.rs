//! Waiters by what they wait for and by their deadline.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Waiters, each of which waits for something that a key names. Several may wait for the same thing.
///
/// Invariant: both maps hold the same waiters; deadlines ascend with the numbers.
#[derive(Debug)]
pub(super) struct WaitList<K, W> {
    /// By key and by number in the order of arrival.
    by_key: BTreeMap<(K, u64), W>,
    /// Deadline and key by number.
    by_number: BTreeMap<u64, (Duration, K)>,
    next_number: u64,
}

impl<K: Ord + Copy, W> Default for WaitList<K, W> {
    fn default() -> Self {
        WaitList { by_key: BTreeMap::new(), by_number: BTreeMap::new(), next_number: 0 }
    }
}

impl<K: Ord + Copy, W> WaitList<K, W> {
    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Adds a waiter. Its deadline must not lie before that of any waiter added earlier.
    pub(super) fn add(&mut self, key: K, deadline: Duration, waiter: W) {
        self.by_key.insert((key, self.next_number), waiter);
        self.by_number.insert(self.next_number, (deadline, key));
        self.next_number += 1;
    }

    /// Takes the waiters of these keys.
    pub(super) fn take(&mut self, keys: RangeInclusive<K>) -> Vec<W> {
        let range = (*keys.start(), 0)..=(*keys.end(), u64::MAX);
        let taken: Vec<_> = self.by_key.extract_if(range, |_, _| true).collect();
        taken.iter().for_each(|((_, number), _)| {
            self.by_number.remove(number);
        });
        taken.into_iter().map(|(_, waiter)| waiter).collect()
    }

    /// Takes the waiter with the earliest deadline if that has passed.
    pub(super) fn take_expired(&mut self, now: Duration) -> Option<(Duration, W)> {
        let first = self.by_number.first_entry().filter(|first| first.get().0 <= now)?;
        let (number, (deadline, key)) = first.remove_entry();
        let waiter = self.by_key.remove(&(key, number)).expect("both maps hold the same waiters");
        Some((deadline, waiter))
    }

    /// Takes all.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = W> + use<K, W> {
        self.by_number.clear();
        std::mem::take(&mut self.by_key).into_values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn waiters_are_taken_by_key_in_the_order_of_arrival() {
        let mut list = WaitList::default();
        for (key, waiter) in [(5, 'a'), (3, 'b'), (5, 'c'), (9, 'd')] {
            list.add(key, S, waiter);
        }
        assert_eq!(list.take(5..=5), ['a', 'c']);
        assert!(list.take(5..=5).is_empty());
        assert_eq!(list.take(0..=20), ['b', 'd']);
        assert_eq!(list.len(), 0);
    }

    #[test]
    fn a_waiter_expires_at_its_deadline_unless_it_was_taken_before() {
        let mut list = WaitList::default();
        for (key, deadline) in [(1, S), (2, 2 * S), (1, 3 * S)] {
            list.add(key, deadline, key);
        }
        assert_eq!(list.take_expired(S / 2), None);
        assert_eq!(list.take(2..=2), [2]);
        assert_eq!(list.take_expired(5 * S), Some((S, 1)));
        assert_eq!(list.take_expired(5 * S), Some((3 * S, 1)));
        assert_eq!(list.take_expired(5 * S), None);
    }
}
