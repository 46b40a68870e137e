//! The lease clock: when each lease runs out, as the leader counts it.
//!
//! Time is given with each call, counted from whatever moment the driver chose, and never goes back. A lease is
//! *handed out* once when its time has passed; it stays in the clock until it is removed, so that nothing is
//! forgotten if its revocation fails.
//!
//! Invariant: `queue` holds each deadline of `deadlines`, earliest first; those up to `handed_to` are handed out.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

/// A place in the order in which leases run out: deadline, then id.
pub(crate) type Place = (Duration, i64);

/// The deadlines of all leases.
#[derive(Debug, Default)]
pub(crate) struct LeaseClock {
    deadlines: BTreeMap<i64, Duration>,
    queue: BTreeSet<Place>,
    handed_to: Option<Place>,
    n_handed: usize,
}

impl LeaseClock {
    /// A clock of these leases.
    pub(crate) fn new(deadlines: impl IntoIterator<Item = (i64, Duration)>) -> LeaseClock {
        // Sets made whole are built in linear time once sorted, which counts with a million leases.
        let deadlines: BTreeMap<_, _> = deadlines.into_iter().collect();
        let queue = deadlines.iter().map(|(id, deadline)| (*deadline, *id)).collect();
        LeaseClock { deadlines, queue, ..LeaseClock::default() }
    }

    /// Sets the deadline of a lease, known or not. It must lie in the future.
    pub(crate) fn set(&mut self, id: i64, deadline: Duration) {
        self.remove(id);
        self.deadlines.insert(id, deadline);
        self.queue.insert((deadline, id));
    }

    /// Forgets a lease; true if it was handed out.
    pub(crate) fn remove(&mut self, id: i64) -> bool {
        let Some(deadline) = self.deadlines.remove(&id) else { return false };
        let place = (deadline, id);
        self.queue.remove(&place);
        let was_handed = Some(place) <= self.handed_to;
        self.n_handed -= usize::from(was_handed);
        was_handed
    }

    /// When a lease runs out.
    pub(crate) fn deadline(&self, id: i64) -> Option<Duration> {
        self.deadlines.get(&id).copied()
    }

    /// The lease that runs out first of those whose time has passed and that are not handed out.
    pub(crate) fn expired(&self, now: Duration) -> Option<i64> {
        let (deadline, id) = *self.after(self.handed_to).next()?;
        (deadline <= now).then_some(id)
    }

    /// Hands out what [`LeaseClock::expired`] named.
    pub(crate) fn hand_out(&mut self) {
        let next = self.after(self.handed_to).next().copied();
        self.handed_to = next;
        self.n_handed += 1;
    }

    /// Number of leases handed out and not removed.
    pub(crate) fn n_handed(&self) -> usize {
        self.n_handed
    }

    /// Takes back all that were handed out: nobody knows what has become of them.
    pub(crate) fn take_back(&mut self) {
        (self.handed_to, self.n_handed) = (None, 0);
    }

    /// Up to `len_max` leases after a place, in the order in which they run out.
    pub(crate) fn page(&self, after: Option<Place>, len_max: usize) -> Vec<Place> {
        self.after(after).take(len_max).copied().collect()
    }

    fn after(&self, place: Option<Place>) -> impl Iterator<Item = &Place> {
        self.queue.range((place.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Hands out all that have expired.
    fn take(clock: &mut LeaseClock, now: Duration) -> Vec<i64> {
        let mut taken = Vec::new();
        while let Some(id) = clock.expired(now) {
            clock.hand_out();
            taken.push(id);
        }
        taken
    }

    #[test]
    fn leases_expire_at_their_time_and_in_its_order() {
        let mut clock = LeaseClock::new([(1, s(5)), (2, s(3)), (3, s(5))]);
        assert!(take(&mut clock, s(3) - Duration::from_nanos(1)).is_empty());
        assert_eq!(take(&mut clock, s(3)), [2]);
        assert_eq!(take(&mut clock, s(9)), [1, 3]);
        assert_eq!(clock.n_handed(), 3);
    }

    #[test]
    fn a_renewed_lease_expires_at_its_new_time_only() {
        let mut clock = LeaseClock::new([(1, s(3)), (2, s(4))]);
        clock.set(1, s(7));
        assert_eq!(take(&mut clock, s(6)), [2]);
        assert_eq!(take(&mut clock, s(7)), [1]);
    }

    #[test]
    fn an_expired_lease_is_handed_out_once_until_it_is_taken_back() {
        let mut clock = LeaseClock::new([(1, s(3)), (2, s(3))]);
        assert_eq!(take(&mut clock, s(3)), [1, 2]);
        assert!(take(&mut clock, s(4)).is_empty());
        assert!(clock.remove(1) && !clock.remove(1));
        clock.take_back();
        assert_eq!(take(&mut clock, s(4)), [2]);
        assert_eq!(clock.n_handed(), 1);
    }

    #[test]
    fn a_lease_granted_again_under_an_id_handed_out_is_another_one() {
        let mut clock = LeaseClock::new([(1, s(3))]);
        take(&mut clock, s(3));
        clock.set(1, s(5));
        assert_eq!((clock.n_handed(), clock.deadline(1)), (0, Some(s(5))));
        assert_eq!(take(&mut clock, s(5)), [1]);
    }

    #[test]
    fn pages_list_each_lease_once_in_the_order_of_deadlines() {
        let clock = LeaseClock::new((0..10_i64).map(|id| (id, s(20 - id.unsigned_abs() % 3))));
        let mut listed = clock.page(None, 4);
        while let Some(last) = listed.last().copied()
            && listed.len() < 10
        {
            listed.extend(clock.page(Some(last), 4));
        }
        let expected: Vec<Place> = clock.queue.iter().copied().collect();
        assert_eq!(listed, expected);
        assert!(clock.page(listed.last().copied(), 4).is_empty());
    }
}
