//! Finds the watchers of a key.
//!
//! Owns for each watched key or range the set of its watchers. The writer looks up the watchers of every
//! change, so the lookup must be cheap: logarithmic in the number of different ranges, and linear only in
//! the watchers found.
//!
//! Thousands may watch the same prefix, so those of one range share an entry; joining and leaving it takes
//! logarithmic time too. Just as often each range has one watcher, which is then stored in the entry itself.
//! The bytes of a range are stored once, for the entry and for its watchers. A range without watchers is
//! removed.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use self::intervals::Intervals;
use crate::key_range::KeyRange;

mod intervals;

/// Watchers by the keys they watch. `T` names a watcher.
#[derive(Debug)]
pub(super) struct Interest<T> {
    points: BTreeMap<Point, Watchers<T>>,
    ranges: Intervals<Watchers<T>>,
}

/// A range of a single key, found by that key.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Point(Arc<KeyRange>);

impl Borrow<[u8]> for Point {
    fn borrow(&self) -> &[u8] {
        self.0.start()
    }
}

/// Where a visit of watchers broke off.
#[derive(Debug)]
pub(super) struct Visited<T> {
    range: Arc<KeyRange>,
    watcher: T,
}

/// The watchers of one range, at least one.
#[derive(Debug)]
enum Watchers<T> {
    One(T),
    #[expect(
        clippy::box_collection,
        reason = "most ranges have one watcher, and pay for this variant's length"
    )]
    Many(Box<BTreeSet<T>>),
}

impl<T> Default for Interest<T> {
    fn default() -> Self {
        Self { points: BTreeMap::new(), ranges: Intervals::default() }
    }
}

impl<T: Copy + Ord> Interest<T> {
    /// Adds `watcher` to those of `range`; returns the range that it shares with the others. Doing so twice
    /// is the same as once.
    pub(super) fn add(&mut self, range: KeyRange, watcher: T) -> Arc<KeyRange> {
        if range.is_single() {
            let entry = self.points.entry(Point(Arc::new(range)));
            let shared = Arc::clone(&entry.key().0);
            entry.and_modify(|watchers| watchers.insert(watcher)).or_insert(Watchers::One(watcher));
            shared
        } else if let Some((shared, watchers)) = self.ranges.get_mut(&range) {
            watchers.insert(watcher);
            Arc::clone(shared)
        } else {
            let range = Arc::new(range);
            self.ranges.insert(Arc::clone(&range), Watchers::One(watcher));
            range
        }
    }

    /// Undoes [`Self::add`]; the range must be the one given there.
    pub(super) fn remove(&mut self, range: &KeyRange, watcher: T) {
        if range.is_single() {
            if self.points.get_mut(range.start()).is_some_and(|watchers| watchers.leave(watcher)) {
                self.points.remove(range.start());
            }
        } else if self.ranges.get_mut(range).is_some_and(|(_, watchers)| watchers.leave(watcher)) {
            self.ranges.remove(range);
        }
    }

    /// Visits the watchers of `key`: once for each range that contains it, in an order that depends on
    /// nothing but the ranges and names. Returns the last one visited if the visitor broke off there, to go
    /// on after it.
    pub(super) fn matching(
        &self,
        key: &[u8],
        after: Option<&Visited<T>>,
        visit: &mut dyn FnMut(T) -> ControlFlow<()>,
    ) -> Option<Visited<T>> {
        let mut last = None;
        let mut visit_all = |range: &Arc<KeyRange>, watchers: &Watchers<T>| {
            let is_begun = |after: &&Visited<T>| after.range == *range;
            let stopped_at = watchers.visit(after.filter(is_begun).map(|after| after.watcher), visit);
            last = stopped_at.map(|watcher| Visited { range: Arc::clone(range), watcher });
            if last.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let mut from = None;
        match after {
            Some(after) if !after.range.is_single() => from = Some(&*after.range),
            _ => {
                if let Some((Point(range), watchers)) = self.points.get_key_value(key)
                    && visit_all(range, watchers).is_break()
                {
                    return last;
                }
            }
        }
        let _ = self.ranges.containing(key, from, &mut visit_all);
        last
    }
}

impl<T: Copy + Ord> Watchers<T> {
    /// Visits those after the watcher `after`; returns the one at which the visitor broke off.
    fn visit(&self, after: Option<T>, visit: &mut dyn FnMut(T) -> ControlFlow<()>) -> Option<T> {
        match self {
            Watchers::One(one) => {
                Some(*one).filter(|one| after.is_none_or(|after| after < *one) && visit(*one).is_break())
            }
            Watchers::Many(watchers) => {
                let after = after.map_or(Bound::Unbounded, Bound::Excluded);
                watchers.range((after, Bound::Unbounded)).copied().find(|watcher| visit(*watcher).is_break())
            }
        }
    }

    fn insert(&mut self, watcher: T) {
        match self {
            Watchers::One(one) if *one == watcher => {}
            Watchers::One(one) => *self = Watchers::Many(BTreeSet::from([*one, watcher]).into()),
            Watchers::Many(watchers) => {
                watchers.insert(watcher);
            }
        }
    }

    /// Removes a watcher; true if no watcher is left, so that the range has to be removed too.
    fn leave(&mut self, watcher: T) -> bool {
        match self {
            Watchers::One(one) => *one == watcher,
            Watchers::Many(watchers) => watchers.remove(&watcher) && watchers.is_empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn range(key: &str, end: &str) -> KeyRange {
        KeyRange::new(Bytes::copy_from_slice(key.as_bytes()), Bytes::copy_from_slice(end.as_bytes()))
    }

    fn matching(interest: &Interest<u32>, key: &str) -> Vec<u32> {
        let mut watchers = Vec::new();
        // One at a time, as a visitor does that has to let others in.
        let mut last = None;
        loop {
            last = interest.matching(key.as_bytes(), last.as_ref(), &mut |watcher| {
                watchers.push(watcher);
                ControlFlow::Break(())
            });
            if last.is_none() {
                break;
            }
        }
        watchers.sort_unstable();
        watchers
    }

    #[test]
    fn a_watcher_is_told_of_the_keys_in_its_range_only() {
        let mut interest = Interest::default();
        let ranges = [range("b", ""), range("b", "d"), range("c", "\0"), range("d", "c")];
        for (range, watcher) in ranges.into_iter().zip(0..) {
            interest.add(range, watcher);
        }
        assert!(matching(&interest, "a").is_empty());
        assert_eq!(matching(&interest, "b"), [0, 1]);
        assert_eq!(matching(&interest, "c"), [1, 2]);
        assert_eq!(matching(&interest, "d"), [2]);
    }

    #[test]
    fn a_watcher_that_left_is_not_told_and_leaves_nothing_behind() {
        let mut interest = Interest::default();
        for range in [range("b", ""), range("a", "c")] {
            for watcher in 0..3 {
                interest.add(range.clone(), watcher);
            }
            interest.remove(&range, 9);
            interest.remove(&range, 1);
            assert_eq!(matching(&interest, "b"), [0, 2]);
            interest.remove(&range, 0);
            interest.remove(&range, 2);
            interest.remove(&range, 2);
            assert!(matching(&interest, "b").is_empty());
        }
        assert!(interest.points.is_empty() && interest.ranges.is_empty());
    }

    #[test]
    fn ten_thousand_watchers_of_one_prefix_share_an_entry() {
        let mut interest = Interest::default();
        let pods = range("/pods/", "/pods0");
        let first = interest.add(pods.clone(), 0);
        assert!((1..10_000).all(|watcher| Arc::ptr_eq(&first, &interest.add(pods.clone(), watcher))));
        assert_eq!(interest.ranges.height(), 1);
        assert_eq!(matching(&interest, "/pods/a").len(), 10_000);
        (0..10_000).for_each(|watcher| interest.remove(&pods, watcher));
        assert!(interest.ranges.is_empty());
    }

    /// Short keys over a small alphabet, so that ranges nest, touch and repeat.
    fn key() -> impl Strategy<Value = String> {
        vec(0..4_u8, 1..4).prop_map(|letters| letters.iter().map(|n| char::from(b'a' + n)).collect())
    }

    fn any_range() -> impl Strategy<Value = KeyRange> {
        let end = prop_oneof![1 => Just(String::new()), 1 => Just("\0".to_owned()), 6 => key()];
        (key(), end).prop_map(|(key, end)| range(&key, &end))
    }

    proptest! {
        #[test]
        fn interest_agrees_with_a_list_of_watchers(
            steps in vec((any_range(), 0..6_u32, prop::bool::weighted(0.6)), 0..200),
            probes in vec(key(), 20),
        ) {
            let (mut interest, mut list) = (Interest::default(), BTreeSet::new());
            // Removals name ranges added before, else nearly all of them would miss.
            for (range, watcher, added) in &steps {
                if *added {
                    interest.add(range.clone(), *watcher);
                    list.insert((range.clone(), *watcher));
                } else if let Some((range, watcher)) = list.range((range.clone(), *watcher)..).next().cloned() {
                    interest.remove(&range, watcher);
                    list.remove(&(range, watcher));
                }
            }
            for key in &probes {
                let mut expected: Vec<u32> =
                    list.iter().filter(|(range, _)| range.contains(key.as_bytes())).map(|(_, w)| *w).collect();
                expected.sort_unstable();
                prop_assert_eq!(matching(&interest, key), expected);
            }
        }
    }
}
