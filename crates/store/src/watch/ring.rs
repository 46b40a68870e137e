//! The events of recent revisions, encoded once and shared by all watchers.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Change;
use super::marks::Marks;

/// The most that the ring holds: enough for a reader that is some hundred milliseconds late, and little
/// memory.
const RING_BYTES_MAX: usize = 16 << 20;
const RING_CHANGES_MAX: usize = 1 << 16;
/// Changes that a reader takes out of the ring at once.
const PICKED_CHANGES_MAX: usize = 256;
/// Bytes of changes after which a reader takes no more: they stay in memory while its client does not read.
const PICKED_BYTES_MAX: usize = 64 << 10;

/// A contiguous run of changes up to the newest revision.
#[derive(Debug)]
pub(super) struct Ring {
    changes: VecDeque<Arc<Change>>,
    bytes: usize,
    /// The first main revision whose events are here; one past `revision` when the ring is empty.
    base: i64,
    /// The newest main revision published.
    revision: i64,
}

impl Ring {
    pub(super) fn new(revision: i64) -> Ring {
        Ring { changes: VecDeque::new(), bytes: 0, base: revision + 1, revision }
    }

    /// The newest main revision published.
    pub(super) fn revision(&self) -> i64 {
        self.revision
    }

    /// Adds the next change. Returns the oldest changes, which are removed because the ring is over its
    /// limits.
    #[must_use = "what the ring forgets is to be freed when the ring is unlocked"]
    pub(super) fn push(&mut self, change: Arc<Change>) -> Vec<Arc<Change>> {
        assert!(change.revision > self.revision, "changes are published in revision order");
        self.revision = change.revision;
        self.bytes += change.size();
        self.changes.push_back(change);
        let mut forgotten = Vec::new();
        while self.bytes > RING_BYTES_MAX || self.changes.len() > RING_CHANGES_MAX {
            let Some(oldest) = self.changes.pop_front() else { break };
            self.bytes -= oldest.size();
            self.base = oldest.revision + 1;
            forgotten.push(oldest);
        }
        forgotten
    }

    /// Moves on to `revision` without events, because there were no watchers. Returns all changes.
    #[must_use = "what the ring forgets is to be freed when the ring is unlocked"]
    pub(super) fn skip_to(&mut self, revision: i64) -> VecDeque<Arc<Change>> {
        std::mem::replace(self, Ring::new(revision)).changes
    }

    /// Replaces the contents of `picked` with the changes of the main revisions marked from `from` on, or
    /// the first ones of them if they are many. False if the ring has forgotten some.
    pub(super) fn pick(&self, marks: &Marks, from: i64, picked: &mut Vec<Arc<Change>>) -> bool {
        picked.clear();
        if from < self.base {
            return false;
        }
        let (mut bytes, mut next) = (0, marks.next(from));
        while let Some(revision) = next
            && picked.len() < PICKED_CHANGES_MAX
            && bytes <= PICKED_BYTES_MAX
        {
            if let Some(change) = self.change(revision) {
                bytes += change.size();
                picked.push(Arc::clone(change));
            }
            next = marks.next(revision + 1);
        }
        true
    }

    /// The change of a main revision. Mostly there is one for each revision since `base`: then the position
    /// in the ring follows from the revision.
    fn change(&self, revision: i64) -> Option<&Arc<Change>> {
        let guess = usize::try_from(revision - self.base).ok().and_then(|place| self.changes.get(place));
        if let Some(change) = guess.filter(|change| change.revision == revision) {
            return Some(change);
        }
        let place = self.changes.binary_search_by_key(&revision, |change| change.revision).ok()?;
        self.changes.get(place)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::{Event, EventKind};
    use super::*;

    fn change(revision: i64) -> Arc<Change> {
        Arc::new(Change::new(revision, Vec::new()))
    }

    /// The revisions picked of those marked, from `from` on.
    fn picked(ring: &Ring, marks: &Marks, from: i64) -> Option<Vec<i64>> {
        let mut picked = Vec::new();
        ring.pick(marks, from, &mut picked).then(|| picked.iter().map(|change| change.revision).collect())
    }

    #[test]
    fn serves_from_any_revision_it_holds() {
        let mut ring = Ring::new(4);
        assert_eq!((ring.base, ring.revision()), (5, 4));
        for revision in [5, 6, 7, 9] {
            drop(ring.push(change(revision)));
        }
        let all = Marks::all(1, 9);
        assert_eq!(picked(&ring, &all, 6).unwrap(), [6, 7, 9]);
        assert_eq!((picked(&ring, &all, 10), picked(&ring, &all, 4)), (Some(vec![]), None));
        let mut some = Marks::none(5);
        [5, 9].into_iter().for_each(|revision| some.add(revision));
        assert_eq!(picked(&ring, &some, 5).unwrap(), [5, 9]);
    }

    #[test]
    fn no_more_is_picked_than_a_reader_may_hold() {
        let mut ring = Ring::new(0);
        (1..=1000).for_each(|revision| drop(ring.push(change(revision))));
        let revisions = picked(&ring, &Marks::all(1, 1000), 11).unwrap();
        assert_eq!((revisions[0], revisions.len()), (11, PICKED_CHANGES_MAX));
    }

    #[test]
    fn one_change_is_picked_however_long() {
        let mut ring = Ring::new(0);
        for revision in 1..=3 {
            let encoded = Bytes::from(vec![0; PICKED_BYTES_MAX + 1]);
            let event = Event { key: Bytes::new(), encoded, kind: EventKind::Update, prev: None };
            drop(ring.push(Arc::new(Change::new(revision, vec![event]))));
        }
        assert_eq!(picked(&ring, &Marks::all(1, 3), 2).unwrap(), [2]);
    }

    #[test]
    fn forgets_the_oldest_over_its_limit() {
        let mut ring = Ring::new(1);
        for revision in 2..=(RING_CHANGES_MAX as i64 + 11) {
            drop(ring.push(change(revision)));
        }
        assert_eq!((ring.base, ring.changes.len()), (12, RING_CHANGES_MAX));
    }

    #[test]
    fn a_skip_leaves_nothing_behind_its_base() {
        let mut ring = Ring::new(1);
        drop(ring.push(change(2)));
        assert_eq!(ring.skip_to(8).len(), 1);
        assert_eq!((ring.base, ring.revision(), ring.changes.len()), (9, 8, 0));
    }
}
