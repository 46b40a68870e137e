//! The lease clock: the deadline of each lease, as the leader counts it.
//!
//! Time is given with each call, counted from whatever moment the driver chose. Calls may come from several
//! threads, so that one may bring an earlier time than the one before: the clock never goes back. A lease is
//! *handed out* once when its time has passed; it stays in the clock until it is removed, so that nothing is
//! forgotten if its revocation fails.
//!
//! Invariants: `queue` holds each deadline of `leases`, earliest first; those up to `handed_to` are handed
//! out, and have passed, so that no renewal can reach them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

/// A place in the order in which leases run out: deadline, then id.
pub(crate) type Place = (Duration, i64);

/// The deadlines of all leases.
#[derive(Debug, Default)]
pub(crate) struct LeaseClock {
    leases: BTreeMap<i64, Timed>,
    queue: BTreeSet<Place>,
    handed_to: Option<Place>,
    n_handed: usize,
    /// The latest time that any call brought.
    now: Duration,
}

/// A lease as the clock knows it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timed {
    /// When it runs out.
    pub(crate) deadline: Duration,
    /// The seconds that a renewal gives; none while a shorter time is written down for it.
    pub(crate) renewable_s: Option<i64>,
}

/// The result of a renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Renewal {
    /// The lease has so many seconds from now on.
    Renewed(i64),
    /// There is no such lease.
    Unknown,
    /// Its time has passed.
    RunOut,
    /// A shorter time is written down for it, which must be undone first.
    Bound,
}

impl LeaseClock {
    /// A clock of these leases.
    pub(crate) fn new(leases: impl IntoIterator<Item = (i64, Timed)>) -> LeaseClock {
        // A set is built from a sorted list in linear time, which matters with a million leases.
        let leases: BTreeMap<_, _> = leases.into_iter().collect();
        let queue = leases.iter().map(|(id, lease)| (lease.deadline, *id)).collect();
        LeaseClock { leases, queue, ..LeaseClock::default() }
    }

    /// Gives a lease, known or not, so many seconds from now on.
    pub(crate) fn grant(&mut self, id: i64, ttl_s: i64, now: Duration) {
        self.now = self.now.max(now);
        self.remove(id);
        let deadline = self.now + seconds(ttl_s);
        self.leases.insert(id, Timed { deadline, renewable_s: Some(ttl_s) });
        self.queue.insert((deadline, id));
    }

    /// Gives a lease its whole time again, if it can be done by the clock alone.
    pub(crate) fn renew(&mut self, id: i64, now: Duration) -> Renewal {
        self.now = self.now.max(now);
        let Some(lease) = self.leases.get_mut(&id) else { return Renewal::Unknown };
        if lease.deadline <= self.now {
            return Renewal::RunOut;
        }
        let Some(ttl_s) = lease.renewable_s else { return Renewal::Bound };
        if !disk::seeded_bug!("lease-not-renewed") {
            self.queue.remove(&(lease.deadline, id));
            lease.deadline = self.now + seconds(ttl_s);
            self.queue.insert((lease.deadline, id));
        }
        Renewal::Renewed(ttl_s)
    }

    /// Sets what a renewal gives to a lease that is known.
    pub(crate) fn set_renewable(&mut self, id: i64, renewable_s: Option<i64>) {
        if let Some(lease) = self.leases.get_mut(&id) {
            lease.renewable_s = renewable_s;
        }
    }

    /// Forgets a lease; true if it was handed out.
    pub(crate) fn remove(&mut self, id: i64) -> bool {
        let Some(lease) = self.leases.remove(&id) else { return false };
        let place = (lease.deadline, id);
        self.queue.remove(&place);
        let was_handed = Some(place) <= self.handed_to;
        self.n_handed -= usize::from(was_handed);
        was_handed
    }

    /// When a lease runs out.
    pub(crate) fn deadline(&self, id: i64) -> Option<Duration> {
        self.leases.get(&id).map(|lease| lease.deadline)
    }

    /// Hands out up to `len_max` leases whose time has passed, in the order in which they ran out.
    pub(crate) fn hand_out(&mut self, now: Duration, len_max: usize) -> Vec<i64> {
        self.now = self.now.max(now);
        let after = self.after(self.handed_to).take(len_max);
        let due: Vec<Place> = after.take_while(|(deadline, _)| *deadline <= self.now).copied().collect();
        self.handed_to = due.last().copied().or(self.handed_to);
        self.n_handed += due.len();
        due.into_iter().map(|(_, id)| id).collect()
    }

    /// Number of leases handed out and not removed.
    pub(crate) fn n_handed(&self) -> usize {
        self.n_handed
    }

    /// Takes back all that were handed out: it is not known whether their revocations take effect.
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

/// A time to live. A negative one can only come from another implementation's WAL, and counts as 0.
pub(crate) fn seconds(ttl_s: i64) -> Duration {
    Duration::from_secs(u64::try_from(ttl_s).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Granted for ten seconds, some of which are over.
    fn until(deadline: Duration) -> Timed {
        Timed { deadline, renewable_s: Some(10) }
    }

    fn clock(leases: impl IntoIterator<Item = (i64, Duration)>) -> LeaseClock {
        LeaseClock::new(leases.into_iter().map(|(id, deadline)| (id, until(deadline))))
    }

    #[test]
    fn leases_expire_at_their_time_and_in_its_order() {
        let mut clock = clock([(1, s(5)), (2, s(3)), (3, s(5))]);
        assert!(clock.hand_out(s(3) - Duration::from_nanos(1), 9).is_empty());
        assert_eq!(clock.hand_out(s(3), 9), [2]);
        assert_eq!(clock.hand_out(s(9), 1), [1]);
        assert_eq!(clock.hand_out(s(9), 9), [3]);
        assert_eq!(clock.n_handed(), 3);
    }

    #[test]
    fn a_renewed_lease_expires_at_its_new_time_only() {
        let mut clock = clock([(1, s(3)), (2, s(4))]);
        assert_eq!(clock.renew(1, s(1)), Renewal::Renewed(10));
        assert_eq!(clock.hand_out(s(11) - Duration::from_nanos(1), 9), [2]);
        assert_eq!(clock.hand_out(s(11), 9), [1]);
    }

    #[test]
    fn the_clock_does_not_go_back_for_a_renewal_that_was_held_up() {
        let mut clock = clock([(1, s(3)), (2, s(8))]);
        assert_eq!(clock.hand_out(s(3), 9), [1]);
        assert_eq!(clock.renew(1, s(2)), Renewal::RunOut);
        assert_eq!((clock.renew(2, s(2)), clock.deadline(2)), (Renewal::Renewed(10), Some(s(13))));
    }

    #[test]
    fn what_the_clock_alone_cannot_renew_is_left_as_it_is() {
        let mut clock = LeaseClock::new([(1, Timed { deadline: s(3), renewable_s: None })]);
        assert_eq!((clock.renew(1, s(1)), clock.renew(2, s(1))), (Renewal::Bound, Renewal::Unknown));
        assert_eq!(clock.hand_out(s(3), 9), [1]);
    }

    #[test]
    fn an_expired_lease_is_handed_out_once_until_it_is_taken_back() {
        let mut clock = clock([(1, s(3)), (2, s(3))]);
        assert_eq!(clock.hand_out(s(3), 9), [1, 2]);
        assert!(clock.hand_out(s(4), 9).is_empty());
        assert!(clock.remove(1) && !clock.remove(1));
        clock.take_back();
        assert_eq!(clock.hand_out(s(4), 9), [2]);
        assert_eq!(clock.n_handed(), 1);
    }

    #[test]
    fn a_lease_granted_again_under_an_id_handed_out_is_another_one() {
        let mut clock = clock([(1, s(3))]);
        clock.hand_out(s(3), 9);
        clock.grant(1, 2, s(3));
        assert_eq!((clock.n_handed(), clock.deadline(1)), (0, Some(s(5))));
        assert_eq!(clock.hand_out(s(5), 9), [1]);
    }

    #[test]
    fn a_lease_whose_grant_was_held_up_has_its_whole_time_all_the_same() {
        let mut clock = clock([(1, s(3))]);
        assert_eq!(clock.hand_out(s(9), 9), [1]);
        clock.grant(2, 4, s(2));
        assert!(clock.hand_out(s(13) - Duration::from_nanos(1), 9).is_empty());
        assert_eq!(clock.hand_out(s(13), 9), [2]);
    }

    #[test]
    fn pages_list_each_lease_once_in_the_order_of_deadlines() {
        let clock = clock((0..10_i64).map(|id| (id, s(20 - id.unsigned_abs() % 3))));
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
