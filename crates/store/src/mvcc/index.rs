//! The key index: for every key its retained changes, with their revisions and places in the revision log.
//!
//! Owns the map from key to history, in memory. Values stay in the revision log: a read finds revision and
//! [`Location`] here and fetches the record there. The store puts each change in as it is applied, and again
//! in revision order at a restart.
//!
//! A key's history falls into generations, each a run of puts closed by a tombstone (`†`):
//!
//! ```text
//!   key a   2 ── 5 ── 7†      9 ── 12          a read at 8 finds nothing, at 10 the put of 9;
//!           └ generation ┘    └ open           compaction at 10 leaves 9 and 12
//! ```
//!
//! Since changes never move in history, a reader that fixes a revision may visit a range in chunks, and let
//! writers in between: [`Index::range`] goes on after a key, and [`Index::compact_step`] and
//! [`Index::retained`] go on where they stopped. Each call takes a bounded number of steps.
//!
//! Invariants: the changes of a key ascend by revision; the number of existing keys of any range is known in
//! logarithmic time.
//!
//! It does not lock, and does not know the compacted or the current revision: callers refuse reads below the
//! one and above the other.

mod arena;
mod history;
mod journal;
mod keys;
mod load;
mod node;
mod tree;

use std::ops::{Bound, ControlFlow};

use disk::{Location, Revision};

use self::history::{History, Trimmed};
use self::journal::Journal;
pub(crate) use self::load::Loader;
use self::node::Weigh as _;
pub(crate) use self::tree::Place;
use self::tree::{Tree, Verdict};
use crate::key_range::{End, KeyRange};
use crate::work;

/// Counts at an older revision look at so many journal entries before they give up, however few keys there
/// are.
const JOURNAL_BUDGET_MIN: u64 = 256;

/// The most journal entries that a count looks at: about 150 µs.
const JOURNAL_BUDGET_MAX: u64 = 16 << 10;

/// Bytes of a key that cost one step more: what is compared and copied of a long key takes time.
const KEY_BYTES_PER_STEP: usize = 1024;

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
    /// The put's place in its generation: create revision and version. At hand only if it is the key's
    /// newest change; its record has them in any case.
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

/// A change that a compaction drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dropped {
    /// Revision of the change.
    pub(crate) revision: Revision,
    /// Place of its record.
    pub(crate) location: Location,
    /// The bits of all [`HeldAt`] that still need the record.
    pub(crate) needed_by: u64,
}

/// Says that somebody still reads the store as it was at a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeldAt {
    /// Names the reader: one bit.
    pub(crate) bit: u64,
    /// The main revision.
    pub(crate) revision: i64,
    /// Records before this main revision are not needed any more.
    pub(crate) passed: i64,
}

/// Names a change of a key.
#[derive(Debug)]
pub(crate) struct ChangeOf {
    key: Box<[u8]>,
    revision: Revision,
}

impl Index {
    /// Number of keys, deleted ones with retained changes included.
    pub(crate) fn len(&self) -> u64 {
        self.tree.len()
    }

    /// The newest change of `key`, be it a tombstone.
    pub(crate) fn newest(&self, key: &[u8]) -> Option<Newest> {
        work::count(1);
        self.tree.get(key).map(History::newest)
    }

    /// The newest change of `key`, be it a tombstone, and where it was found: a hint for [`Self::put_at`].
    pub(crate) fn find(&self, key: &[u8]) -> Option<(Newest, Place)> {
        work::count(1);
        self.tree.find(key).map(|(place, history)| (history.newest(), place))
    }

    /// What a read of `key` at main revision `at` sees; `None` if the key did not exist then.
    pub(crate) fn at(&self, key: &[u8], at: i64) -> Option<Found> {
        work::count(1);
        self.tree.get(key)?.at(at)
    }

    /// Whether the change of `key` at `revision` is retained.
    pub(crate) fn has(&self, key: &[u8], revision: Revision) -> bool {
        self.tree.get(key).is_some_and(|history| history.has(revision))
    }

    /// Adds a change. Its revision must be greater than any of the key, and its main revision at least that
    /// of any change put before.
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

    /// [`Self::put`] of a key that was found at `place`: saves the search if the key exists there and goes
    /// on to.
    pub(crate) fn put_at(&mut self, place: Option<Place>, key: &[u8], newest: Newest) {
        work::count(1);
        let history = place.and_then(|place| self.tree.value_at(place, key));
        match history.filter(|history| history.is_live() && !newest.tombstone) {
            Some(history) => history.push(&newest),
            None => self.put(key, newest),
        }
    }

    /// Visits the keys in `range` that exist at main revision `at`, in key order, until `visit` breaks or no
    /// `steps` are left: it takes one from there for each key, whether or not it exists at `at`, and more
    /// for long ones. Visits only those after the key `after`, if it is given.
    ///
    /// Returns the key to go on after, or `None` once the last was seen. A reader that goes on so, at the
    /// same revision, sees each key once, whatever was put in between.
    pub(crate) fn range(
        &self,
        range: &KeyRange,
        at: i64,
        after: Option<&[u8]>,
        steps: &mut usize,
        visit: &mut dyn FnMut(&[u8], Found) -> ControlFlow<()>,
    ) -> Option<Vec<u8>> {
        let mut last = None;
        let _ = self.walk(range, after, |key, history| {
            *steps = steps.saturating_sub(steps_of(key));
            let is_broken_off = history.at(at).is_some_and(|found| visit(key, found).is_break());
            if is_broken_off || *steps == 0 {
                last = Some(key.to_vec());
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        last
    }

    /// Number of keys in `range` at the newest revision. Takes logarithmic time.
    pub(crate) fn count(&self, range: &KeyRange) -> u64 {
        match range.end() {
            End::Single => u64::from(self.tree.get(range.start()).is_some_and(History::is_live)),
            End::Unbounded => self.tree.live() - self.tree.live_below(range.start()),
            End::Before(end) => self.tree.live_below(end).saturating_sub(self.tree.live_below(range.start())),
        }
    }

    /// Number of keys in `range` at main revision `at`. `None` if many keys were created or deleted since
    /// then, so that the keys have to be counted by [`Self::range`].
    pub(crate) fn count_at(&self, range: &KeyRange, at: i64) -> Option<u64> {
        if range.is_single() {
            return Some(u64::from(self.at(range.start(), at).is_some()));
        }
        let now = self.count(range);
        let budget = now.clamp(JOURNAL_BUDGET_MIN, JOURNAL_BUDGET_MAX);
        let growth = self.journal.growth_since(at, range, budget)?;
        Some(now.checked_add_signed(-growth).expect("a count is the sum of its changes"))
    }

    /// Drops what a compaction at main revision `compacted` drops, from the key `from` on (`None`: from the
    /// first), and reports it, with those of `held` that still need it. Takes up to `steps_max` steps (1 or more),
    /// one for each key and each dropped record.
    ///
    /// For each key the last change up to `compacted` and all later ones stay; that last one goes too if it
    /// is a tombstone from before `compacted`. A key left without changes is gone.
    ///
    /// Returns the key to go on with, or `None` once done. Reads at or after `compacted` see no difference.
    pub(crate) fn compact_step(
        &mut self,
        compacted: i64,
        held: &[HeldAt],
        from: Option<&[u8]>,
        steps_max: usize,
        dropped: &mut dyn FnMut(Dropped),
    ) -> Option<Box<[u8]>> {
        assert!(steps_max > 0, "without a step there is no progress");
        self.journal.forget(compacted);
        let mut steps_left = steps_max;
        self.tree.retain_from(from, |_, history| {
            if steps_left == 0 {
                return Verdict::Stop;
            }
            let verdict = match history.trim(compacted, held, &mut steps_left, dropped) {
                Trimmed::Done => Verdict::Keep,
                Trimmed::Gone => Verdict::Remove,
                Trimmed::Unfinished => Verdict::Stop,
            };
            steps_left = steps_left.saturating_sub(1);
            verdict
        })
    }

    /// Visits every change that a store compacted at `compacted` (−1: never) retains, from the change `from`
    /// on (`None`: from the first); in key order, the changes of a key oldest first. Takes up to `steps_max`
    /// steps (1 or more), one for each key and each change. It makes no difference how far
    /// [`Self::compact_step`] has come, if it ran for no later compaction.
    ///
    /// `in_keep` tells the keep set of a hash at main revision `at`, which must not be below `compacted`:
    /// for each key the last change up to `at` in the generation that contains `at` (the first that ends at
    /// or after `at`, else the last), unless it is a tombstone that closes the generation. Changes put after
    /// `at` do not alter it.
    ///
    /// Returns the change to go on with, or `None` once done or when `visit` breaks.
    pub(crate) fn retained(
        &self,
        compacted: i64,
        at: i64,
        from: Option<&ChangeOf>,
        steps_max: usize,
        visit: &mut dyn FnMut(Retained) -> ControlFlow<()>,
    ) -> Option<ChangeOf> {
        assert!(steps_max > 0, "without a step there is no progress");
        let mut steps_left = steps_max;
        let mut next = None;
        let start = from.map_or(Bound::Unbounded, |from| Bound::Included(&from.key[..]));
        let _ = self.tree.scan(start, None, |key, history| {
            let first =
                from.filter(|from| *from.key == *key).map_or_else(Revision::default, |from| from.revision);
            for (change, kept) in history.retained(compacted, at, first) {
                if steps_left == 0 {
                    next = Some(ChangeOf { key: key.into(), revision: change.revision() });
                    return ControlFlow::Break(());
                }
                work::count(1);
                steps_left -= 1;
                visit(change.as_retained(kept))?;
            }
            steps_left = steps_left.saturating_sub(steps_of(key));
            ControlFlow::Continue(())
        });
        next
    }

    /// Whether the change of `key` at `revision` is in the keep set of [`Self::retained`]; `None` if it is
    /// not retained.
    pub(crate) fn place_in_hash(
        &self,
        key: &[u8],
        revision: Revision,
        compacted: i64,
        at: i64,
    ) -> Option<bool> {
        work::count(1);
        self.tree.get(key)?.place_in_hash(revision, compacted, at)
    }

    /// Notes that the record of the change of `key` at `revision` moved. False if that change is not
    /// retained any more: the record at `to` is dead then.
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
}

/// Steps that a key counts for.
fn steps_of(key: &[u8]) -> usize {
    1 + key.len() / KEY_BYTES_PER_STEP
}

#[cfg(test)]
mod tests;
