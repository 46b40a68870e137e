//! The events of recent revisions, encoded once and shared by all watchers.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Change;

/// What the ring may hold: enough for a reader some hundred milliseconds late, small beside the data.
const RING_BYTES_MAX: usize = 16 << 20;
const RING_CHANGES_MAX: usize = 1 << 16;
/// Changes that a reader takes out of the ring at once.
const STRETCH_CHANGES_MAX: usize = 256;
/// Bytes of changes after which it takes no more: they stay in memory while its client does not read.
const STRETCH_BYTES_MAX: usize = 64 << 10;

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

/// Changes that follow each other, taken out of the ring by one reader for all its watchers.
#[derive(Debug)]
pub(super) struct Stretch {
    from: i64,
    to: i64,
    changes: Vec<Arc<Change>>,
}

impl Stretch {
    /// Whether the change of main revision `revision`, if there is one, is here.
    pub(super) fn covers(&self, revision: i64) -> bool {
        (self.from..=self.to).contains(&revision)
    }

    /// The last main revision covered.
    pub(super) fn to(&self) -> i64 {
        self.to
    }

    /// The changes from main revision `from` on, oldest first.
    pub(super) fn since(&self, from: i64) -> &[Arc<Change>] {
        &self.changes[self.changes.partition_point(|c| c.revision < from)..]
    }
}

impl Ring {
    pub(super) fn new(revision: i64) -> Ring {
        Ring { changes: VecDeque::new(), bytes: 0, base: revision + 1, revision }
    }

    /// The newest main revision published.
    pub(super) fn revision(&self) -> i64 {
        self.revision
    }

    /// Takes the next change, forgetting the oldest ones over the limits.
    pub(super) fn push(&mut self, change: Arc<Change>) {
        assert!(change.revision > self.revision, "changes are published in revision order");
        self.revision = change.revision;
        self.bytes += change.size();
        self.changes.push_back(change);
        while self.bytes > RING_BYTES_MAX || self.changes.len() > RING_CHANGES_MAX {
            let Some(oldest) = self.changes.pop_front() else { break };
            self.bytes -= oldest.size();
            self.base = oldest.revision + 1;
        }
    }

    /// Moves on to `revision` without events: nobody watched.
    pub(super) fn skip_to(&mut self, revision: i64) {
        *self = Ring::new(revision);
    }

    /// The changes of the main revisions `from` to `to`, or the first ones of them if they are many; nothing if the
    /// ring has forgotten some.
    pub(super) fn stretch(&self, from: i64, to: i64) -> Option<Stretch> {
        if from < self.base {
            return None;
        }
        let (mut changes, mut bytes) = (Vec::new(), 0);
        for change in self.changes.range(self.changes.partition_point(|c| c.revision < from)..) {
            if change.revision > to {
                break;
            }
            if changes.len() == STRETCH_CHANGES_MAX || bytes > STRETCH_BYTES_MAX {
                return Some(Stretch { from, to: change.revision - 1, changes });
            }
            bytes += change.size();
            changes.push(Arc::clone(change));
        }
        Some(Stretch { from, to, changes })
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

    #[test]
    fn serves_from_any_revision_it_holds() {
        let mut ring = Ring::new(4);
        assert_eq!((ring.base, ring.revision()), (5, 4));
        for revision in 5..=9 {
            ring.push(change(revision));
        }
        let stretch = ring.stretch(6, 9).unwrap();
        assert_eq!(stretch.since(7).iter().map(|c| c.revision).collect::<Vec<_>>(), [7, 8, 9]);
        assert!(stretch.since(10).is_empty() && ring.stretch(10, 9).unwrap().changes.is_empty());
    }

    #[test]
    fn a_stretch_ends_before_it_holds_much() {
        let mut ring = Ring::new(0);
        (1..=1000).for_each(|revision| ring.push(change(revision)));
        let stretch = ring.stretch(11, 1000).unwrap();
        assert_eq!(
            (stretch.changes.len(), stretch.to()),
            (STRETCH_CHANGES_MAX, 10 + STRETCH_CHANGES_MAX as i64)
        );
        assert!(stretch.covers(11) && stretch.covers(stretch.to()));
        assert!(!stretch.covers(10) && !stretch.covers(stretch.to() + 1));
    }

    #[test]
    fn a_stretch_holds_one_change_however_long() {
        let mut ring = Ring::new(0);
        for revision in 1..=3 {
            let encoded = Bytes::from(vec![0; STRETCH_BYTES_MAX + 1]);
            let event = Event { key: Bytes::new(), encoded, kind: EventKind::Update };
            ring.push(Arc::new(Change::new(revision, vec![event])));
        }
        assert_eq!(ring.stretch(2, 3).map(|stretch| (stretch.changes.len(), stretch.to())), Some((1, 2)));
    }

    #[test]
    fn forgets_the_oldest_over_its_limit() {
        let mut ring = Ring::new(1);
        for revision in 2..=(RING_CHANGES_MAX as i64 + 11) {
            ring.push(change(revision));
        }
        assert_eq!((ring.base, ring.changes.len()), (12, RING_CHANGES_MAX));
    }

    #[test]
    fn a_skip_leaves_nothing_behind_its_base() {
        let mut ring = Ring::new(1);
        ring.push(change(2));
        ring.skip_to(8);
        assert_eq!((ring.base, ring.revision(), ring.changes.len()), (9, 8, 0));
    }
}
