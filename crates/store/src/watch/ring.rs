//! The events of recent revisions, encoded once and shared by all watchers.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Change;

/// What the ring may hold: enough for a reader some hundred milliseconds late, small beside the data.
const RING_BYTES_MAX: usize = 16 << 20;
const RING_CHANGES_MAX: usize = 1 << 16;

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

    /// The oldest main revision a cursor may stand at to be served from here.
    pub(super) fn base(&self) -> i64 {
        self.base
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

    /// The changes from main revision `from` on, oldest first. `from` must not be below the base.
    pub(super) fn since(&self, from: i64) -> impl Iterator<Item = &Arc<Change>> {
        let start = self.changes.partition_point(|c| c.revision < from);
        self.changes.range(start..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(revision: i64) -> Arc<Change> {
        Arc::new(Change::new(revision, Vec::new()))
    }

    #[test]
    fn serves_from_any_revision_it_holds() {
        let mut ring = Ring::new(4);
        assert_eq!((ring.base(), ring.revision()), (5, 4));
        for revision in 5..=9 {
            ring.push(change(revision));
        }
        assert_eq!(ring.since(7).map(|c| c.revision).collect::<Vec<_>>(), [7, 8, 9]);
        assert_eq!(ring.since(10).count(), 0);
    }

    #[test]
    fn forgets_the_oldest_over_its_limit() {
        let mut ring = Ring::new(1);
        for revision in 2..=(RING_CHANGES_MAX as i64 + 11) {
            ring.push(change(revision));
        }
        assert_eq!(ring.base(), 12);
        assert_eq!(ring.since(12).count(), RING_CHANGES_MAX);
    }

    #[test]
    fn a_skip_leaves_nothing_behind_its_base() {
        let mut ring = Ring::new(1);
        ring.push(change(2));
        ring.skip_to(8);
        assert_eq!((ring.base(), ring.revision(), ring.since(9).count()), (9, 8, 0));
    }
}
