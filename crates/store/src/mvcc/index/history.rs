//! The retained changes of one key: which of them a read sees, a compaction drops, and a hash covers.
//!
//! A key's changes fall into *generations*: puts, closed by a tombstone; the next put opens another. Only the
//! newest change carries its create revision and version here, since nearly every read asks for that one; those
//! of older changes stand in their records.
//!
//! A million of these are held in memory, so a key that was written once takes 48 bytes and no allocation.
//!
//! Invariants: changes ascend strictly by revision; there is at least one.

use disk::{Location, Revision};

use super::keys::give_back;
use super::node::Weigh;
use super::{Found, Newest, Retained};

/// All retained changes of a key, oldest first.
#[derive(Debug)]
pub(super) struct History {
    newest: Change,
    create_revision: i64,
    version: i64,
    older: Option<Box<Older>>,
}

/// The changes before the newest. Boxed as a whole, since most keys have none: a vector would take 16 bytes
/// more in each of them.
#[derive(Debug, Default)]
struct Older(Vec<Change>);

/// One change of a key: a put or a tombstone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    main: i64,
    /// The sub revision, and in the topmost bit whether this is a tombstone.
    sub_and_kind: u32,
    pub(super) location: Location,
}

const TOMBSTONE: u32 = 1 << 31;

impl Change {
    fn new(revision: Revision, tombstone: bool, location: Location) -> Self {
        assert!(revision.sub < TOMBSTONE, "a transaction of 2^31 changes is beyond every limit");
        let kind = if tombstone { TOMBSTONE } else { 0 };
        Self { main: revision.main, sub_and_kind: revision.sub | kind, location }
    }

    pub(super) fn revision(&self) -> Revision {
        Revision { main: self.main, sub: self.sub_and_kind & !TOMBSTONE }
    }

    pub(super) fn is_tombstone(&self) -> bool {
        self.sub_and_kind & TOMBSTONE != 0
    }

    /// The change as a visitor of retained changes is told of it.
    pub(super) fn as_retained(&self, in_keep: bool) -> Retained {
        let tombstone = self.is_tombstone();
        Retained { revision: self.revision(), tombstone, location: self.location, in_keep }
    }
}

impl Weigh for History {
    /// Whether the key exists at the newest revision.
    fn is_live(&self) -> bool {
        !self.newest.is_tombstone()
    }
}

impl History {
    /// The history of a key whose first known change is `first`.
    pub(super) fn new(first: &Newest) -> Self {
        Self {
            newest: Change::new(first.revision, first.tombstone, first.location),
            create_revision: first.create_revision,
            version: first.version,
            older: None,
        }
    }

    /// Adds a change. Its revision must be greater than all before.
    pub(super) fn push(&mut self, next: &Newest) {
        assert!(next.revision > self.newest.revision(), "the changes of a key arrive in revision order");
        let Self { newest, older, .. } = std::mem::replace(self, Self::new(next));
        let mut older = older.unwrap_or_default();
        if older.0.len() == older.0.capacity() {
            // Half of it in reserve: a key that is written often should not move its history each time.
            older.0.reserve_exact(1 + older.0.len() / 2);
        }
        older.0.push(newest);
        self.older = Some(older);
    }

    /// The newest change, a tombstone included.
    pub(super) fn newest(&self) -> Newest {
        Newest {
            revision: self.newest.revision(),
            tombstone: self.newest.is_tombstone(),
            create_revision: self.create_revision,
            version: self.version,
            location: self.newest.location,
        }
    }

    /// What a read at main revision `at` sees: the last change up to `at`, unless that is a tombstone.
    pub(super) fn at(&self, at: i64) -> Option<Found> {
        let (change, generation) = if self.newest.main <= at {
            (&self.newest, Some((self.create_revision, self.version)))
        } else {
            let older = self.older();
            let seen = older.partition_point(|change| change.main <= at);
            (older[..seen].last()?, None)
        };
        let found = Found { revision: change.revision(), location: change.location, generation };
        (!change.is_tombstone()).then_some(found)
    }

    /// Whether the change at `revision` is retained.
    pub(super) fn has(&self, revision: Revision) -> bool {
        revision == self.newest.revision() || self.find_older(revision).is_some()
    }

    /// Notes that the record of the change at `revision` moved. False if that change is not retained.
    pub(super) fn relocate(&mut self, revision: Revision, to: Location) -> bool {
        if revision == self.newest.revision() {
            self.newest.location = to;
            return true;
        }
        let Some(i) = self.find_older(revision) else { return false };
        if let Some(older) = &mut self.older {
            older.0[i].location = to;
        }
        true
    }

    /// Drops what a compaction at `compacted` drops: every change up to it but the last, and that one too if it
    /// is a tombstone from before. (A tombstone exactly at the compacted revision stays, as in etcd since
    /// 3.5.16: a watch from that revision on must still deliver it.) Returns whether anything is left.
    pub(super) fn trim(&mut self, compacted: i64, dropped: &mut dyn FnMut(Location)) -> bool {
        let n = self.first_retained(compacted);
        for change in self.changes().take(n) {
            dropped(change.location);
        }
        let Some(older) = &mut self.older else { return n == 0 };
        let newest_dropped = n > older.0.len();
        older.0.drain(..n.min(older.0.len()));
        if older.0.is_empty() {
            self.older = None;
        } else if n > 0 {
            give_back(&mut older.0);
        }
        !newest_dropped
    }

    /// The changes that a store compacted at `compacted` retains, oldest first, whether or not [`Self::trim`]
    /// came by; with each, whether a hash of the store at main revision `at` (not below `compacted`) keeps it.
    ///
    /// Kept is the last change up to `at` in the generation that contains `at`: the first that ends at or after
    /// it, else the last one. A tombstone that closes its generation is not kept.
    pub(super) fn retained(&self, compacted: i64, at: i64) -> impl Iterator<Item = (&Change, bool)> {
        let first = self.first_retained(compacted);
        let keep = self.kept(first, at);
        self.changes().enumerate().skip(first).map(move |(i, change)| (change, keep == Some(i)))
    }

    /// The position of the change that a hash at `at` keeps, among those from position `first` on.
    fn kept(&self, first: usize, at: i64) -> Option<usize> {
        let mut kept = None;
        for (i, change) in self.changes().enumerate().skip(first) {
            if change.main <= at {
                kept = (!change.is_tombstone()).then_some(i);
            }
            if change.is_tombstone() && change.main >= at {
                break;
            }
        }
        kept
    }

    /// How many of the oldest changes a compaction at `compacted` drops.
    fn first_retained(&self, compacted: i64) -> usize {
        let older = self.older();
        let (past, last) = if self.newest.main <= compacted {
            (older.len() + 1, self.newest)
        } else {
            let past = older.partition_point(|change| change.main <= compacted);
            let Some(last) = older[..past].last() else { return 0 };
            (past, *last)
        };
        let is_dropped = last.is_tombstone() || disk::seeded_bug!("needed-version-compacted");
        if is_dropped && last.main < compacted { past } else { past - 1 }
    }

    fn find_older(&self, revision: Revision) -> Option<usize> {
        self.older().binary_search_by_key(&revision, Change::revision).ok()
    }

    fn older(&self) -> &[Change] {
        self.older.as_ref().map_or(&[], |older| &older.0)
    }

    fn changes(&self) -> impl Iterator<Item = &Change> {
        self.older().iter().chain(std::iter::once(&self.newest))
    }
}

#[cfg(test)]
mod tests;
