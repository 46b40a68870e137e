//! The key index: for every key its retained changes, with their revisions and places in the revision log.
//!
//! Owns the map from key to history, in memory. Values stay in the revision log: a read finds revision and
//! [`Location`] here and fetches the record there. The store puts each change in as it is applied, and again in
//! revision order at a restart.
//!
//! A key's history falls into generations, each a run of puts closed by a tombstone (`†`):
//!
//! ```text
//!   key a   2 ── 5 ── 7†      9 ── 12          a read at 8 finds nothing, at 10 the put of 9;
//!           └ generation ┘    └ open           compaction at 10 leaves 9 and 12
//! ```
//!
//! Since changes never move in history, a reader that fixes a revision may visit a range in chunks, and let
//! writers in between: [`Index::range`] goes on after a key, and so do [`Index::compact_step`] and
//! [`Index::retained`].
//!
//! Invariants: the changes of a key ascend by revision; the number of existing keys of any range is known in
//! logarithmic time.
//!
//! It does not lock, and does not know the compacted or the current revision: callers refuse reads before and
//! after.

mod arena;
mod history;
mod journal;
mod keys;
mod load;
mod node;
mod tree;

use std::ops::{Bound, ControlFlow};

use disk::{Location, Revision};

use self::history::History;
use self::journal::Journal;
pub(crate) use self::load::Loader;
use self::node::Weigh as _;
pub(crate) use self::tree::Place;
use self::tree::Tree;
use crate::key_range::{End, KeyRange};

/// Counts at an older revision look at this many journal entries at least before they walk instead.
const JOURNAL_BUDGET_MIN: u64 = 256;

/// An ordered map from key to its history.
#[derive(Debug, Default)]
pub(crate) struct Index {
    tree: Tree<History>,
    journal: Journal,
}

/// The newest change of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Newest {
    /// Revision of the change.
    pub(crate) revision: Revision,
    /// Whether the change deleted the key.
    pub(crate) tombstone: bool,
    /// Main revision that created the key; 0 for a tombstone.
    pub(crate) create_revision: i64,
    /// Number of puts since the key was created, this one included; 0 for a tombstone.
    pub(crate) version: i64,
    /// Place of the record.
    pub(crate) location: Location,
}

/// What a read of a key sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Revision of the put.
    pub(crate) revision: Revision,
    /// Place of its record.
    pub(crate) location: Location,
    /// The put's place in its generation: create revision and version. At hand only if it is the key's newest
    /// change; its record has them in any case.
    pub(crate) generation: Option<(i64, i64)>,
}

/// A change that a compacted store retains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Retained {
    /// Revision of the change.
    pub(crate) revision: Revision,
    /// Whether the change deleted the key.
    pub(crate) tombstone: bool,
    /// Place of the record.
    pub(crate) location: Location,
    /// Whether the change is in the keep set of the hashed revision.
    pub(crate) in_keep: bool,
}

impl Index {
    /// Number of keys, deleted ones with retained changes included.
    pub(crate) fn len(&self) -> u64 {
        self.tree.len()
    }

    /// The newest change of `key`, be it a tombstone.
    pub(crate) fn newest(&self, key: &[u8]) -> Option<Newest> {
        self.tree.get(key).map(History::newest)
    }

    /// The newest change of `key`, be it a tombstone, and where it was found: a hint for [`Self::put_at`].
    pub(crate) fn find(&self, key: &[u8]) -> Option<(Newest, Place)> {
        self.tree.find(key).map(|(place, history)| (history.newest(), place))
    }

    /// What a read of `key` at main revision `at` sees; `None` if the key did not exist then.
    pub(crate) fn at(&self, key: &[u8], at: i64) -> Option<Found> {
        self.tree.get(key)?.at(at)
    }

    /// Whether the change of `key` at `revision` is retained.
    pub(crate) fn has(&self, key: &[u8], revision: Revision) -> bool {
        self.tree.get(key).is_some_and(|history| history.has(revision))
    }

    /// Adds a change. Its revision must be greater than any of the key, and its main revision at least that of any
    /// change put before.
    pub(crate) fn put(&mut self, key: &[u8], newest: Newest) {
        let mut existed = false;
        self.tree.put(key, History::new(&newest), |history, _| {
            existed = history.is_live();
            history.push(&newest);
        });
        if existed == newest.tombstone {
            self.journal.record(newest.revision.main, key, !newest.tombstone);
        }
    }

    /// [`Self::put`] of a key that was found at `place`: saves the search if the key exists there and goes on to.
    pub(crate) fn put_at(&mut self, place: Option<Place>, key: &[u8], newest: Newest) {
        let history = place.and_then(|place| self.tree.value_at(place, key));
        match history.filter(|history| history.is_live() && !newest.tombstone) {
            Some(history) => history.push(&newest),
            None => self.put(key, newest),
        }
    }

    /// Visits the keys in `range` that exist at main revision `at`, in key order, until `visit` breaks; only those
    /// after the key `after`, if it is given.
    ///
    /// A reader that breaks off and goes on after the last key it saw, at the same revision, sees each key once,
    /// whatever was put in between.
    pub(crate) fn range(
        &self,
        range: &KeyRange,
        at: i64,
        after: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], Found) -> ControlFlow<()>,
    ) {
        let _ = self.walk(range, after, |key, history| match history.at(at) {
            Some(found) => visit(key, found),
            None => ControlFlow::Continue(()),
        });
    }

    /// Number of keys in `range` at the newest revision. Takes logarithmic time.
    pub(crate) fn count(&self, range: &KeyRange) -> u64 {
        match range.end() {
            End::Single => u64::from(self.tree.get(range.start()).is_some_and(History::is_live)),
            End::Unbounded => self.tree.live() - self.tree.live_below(range.start()),
            End::Before(end) => self.tree.live_below(end).saturating_sub(self.tree.live_below(range.start())),
        }
    }

    /// Number of keys in `range` at main revision `at`. As fast as [`Self::count`] unless many keys came and
    /// went since then; else it walks the range.
    pub(crate) fn count_at(&self, range: &KeyRange, at: i64) -> u64 {
        let now = self.count(range);
        match self.journal.growth_since(at, range, now.max(JOURNAL_BUDGET_MIN)) {
            Some(growth) => now.checked_add_signed(-growth).expect("a count is the sum of its changes"),
            None => self.walk_count(range, at),
        }
    }

    /// Drops what a compaction at main revision `compacted` drops from the next `budget` keys (1 or more) after
    /// the key `after` (`None`: from the first), and reports the places of the dropped records.
    ///
    /// For each key the last change up to `compacted` and all later ones stay; that last one goes too if it is
    /// a tombstone from before `compacted`. A key left without changes is gone.
    ///
    /// Returns the key to go on after, or `None` once done. Reads at or after `compacted` see no difference.
    pub(crate) fn compact_step(
        &mut self,
        compacted: i64,
        after: Option<Box<[u8]>>,
        budget: usize,
        dropped: &mut dyn FnMut(Location),
    ) -> Option<Box<[u8]>> {
        self.journal.forget(compacted);
        self.tree.retain_some(after, budget, |history| history.trim(compacted, dropped))
    }

    /// Visits every change that a store compacted at `compacted` (−1: never) retains, for the next `budget`
    /// keys (1 or more) after the key `after`; in key order, the changes of a key oldest first. It makes no
    /// difference whether [`Self::compact_step`] has come by yet, if it ran for no later compaction.
    ///
    /// `in_keep` tells the keep set of a hash at main revision `at`, which must not be below `compacted`: for
    /// each key the last change up to `at` in the generation that contains `at` (the first that ends at or
    /// after `at`, else the last), unless it is a tombstone that closes the generation. Changes put after `at`
    /// do not alter it.
    ///
    /// Returns the key to go on after, or `None` once done.
    pub(crate) fn retained(
        &self,
        compacted: i64,
        at: i64,
        after: Option<Box<[u8]>>,
        mut budget: usize,
        visit: &mut dyn FnMut(Retained),
    ) -> Option<Box<[u8]>> {
        assert!(budget > 0, "a step without budget makes no progress");
        let mut cursor = None;
        let step = |key: &[u8], history: &History| {
            for (change, kept) in history.retained(compacted, at) {
                visit(change.as_retained(kept));
            }
            budget -= 1;
            if budget > 0 {
                return ControlFlow::Continue(());
            }
            cursor = Some(key.into());
            ControlFlow::Break(())
        };
        let _ = match after {
            Some(key) => self.tree.scan(Bound::Excluded(&key), None, step),
            None => self.tree.scan(Bound::Unbounded, None, step),
        };
        cursor
    }

    /// Notes that the record of the change of `key` at `revision` moved. False if that change is not retained
    /// any more: the record at `to` is dead then.
    pub(crate) fn relocate(&mut self, key: &[u8], revision: Revision, to: Location) -> bool {
        self.tree.update(key, |history| history.relocate(revision, to)).unwrap_or(false)
    }

    /// Visits the histories of the keys in `range`, or of those after the key `after`.
    fn walk(
        &self,
        range: &KeyRange,
        after: Option<&[u8]>,
        mut visit: impl FnMut(&[u8], &History) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let start = range.start();
        let from = match after {
            Some(after) if after >= start => Bound::Excluded(after),
            _ => Bound::Included(start),
        };
        match range.end() {
            End::Single => match self.tree.get(start) {
                Some(history) if from == Bound::Included(start) => visit(start, history),
                _ => ControlFlow::Continue(()),
            },
            End::Before(end) => self.tree.scan(from, Some(end), visit),
            End::Unbounded => self.tree.scan(from, None, visit),
        }
    }

    fn walk_count(&self, range: &KeyRange, at: i64) -> u64 {
        let mut n = 0;
        self.range(range, at, None, &mut |_, _| {
            n += 1;
            ControlFlow::Continue(())
        });
        n
    }
}

#[cfg(test)]
mod tests;
