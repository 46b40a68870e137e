//! The retained changes of one key: which of them a read sees, a compaction drops, and a hash covers.
//!
//! A key's changes fall into *generations*: puts, closed by a tombstone; the next put opens another. Only
//! the newest change carries its create revision and version here, since nearly every read asks for that
//! one; those of older changes are in their records.
//!
//! A million of these are held in memory, so a key that was written once takes 48 bytes and no allocation.
//!
//! Invariants: changes ascend strictly by revision; there is at least one.

use disk::{Location, Revision};

use self::older::Older;
use super::node::Weigh;
use super::{Dropped, Found, HeldAt, Newest, Retained};

mod older;

/// All retained changes of a key, oldest first.
#[derive(Debug)]
pub(super) struct History {
    newest: Change,
    create_revision: i64,
    version: i64,
    /// The changes before the newest, if there are any. Boxed, since most keys have none.
    older: Option<Box<Older>>,
}

/// What a step of trimming has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trimmed {
    /// Whatever is left is retained.
    Done,
    /// Nothing is left.
    Gone,
    /// There is more to drop.
    Unfinished,
}

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

    /// The change in the form that visitors of retained changes get.
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
        let before = std::mem::replace(self, Self::new(next));
        let mut older = before.older.unwrap_or_default();
        older.push(before.newest);
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
            (self.older.as_ref()?.last_up_to(at)?, None)
        };
        let found = Found { revision: change.revision(), location: change.location, generation };
        (!change.is_tombstone()).then_some(found)
    }

    /// Whether the change at `revision` is retained.
    pub(super) fn has(&self, revision: Revision) -> bool {
        let is_older = || self.older.as_ref().is_some_and(|older| older.find(revision).is_some());
        revision == self.newest.revision() || is_older()
    }

    /// Notes that the record of the change at `revision` moved. False if that change is not retained.
    pub(super) fn relocate(&mut self, revision: Revision, to: Location) -> bool {
        let change = if revision == self.newest.revision() {
            Some(&mut self.newest)
        } else {
            self.older.as_mut().and_then(|older| older.find_mut(revision))
        };
        match change {
            Some(change) => {
                change.location = to;
                true
            }
            None => false,
        }
    }

    /// Drops what a compaction at `compacted` drops: every change up to it but the last, and that one too if
    /// it is a tombstone from before. (A tombstone exactly at the compacted revision stays, as in etcd since
    /// 3.5.16: a watch from that revision on must still deliver it.)
    ///
    /// Drops the oldest changes first and no more of them than `budget`, which it takes them from. With each it tells
    /// which of `held` need it.
    pub(super) fn trim(
        &mut self,
        compacted: i64,
        held: &[HeldAt],
        budget: &mut usize,
        dropped: &mut dyn FnMut(Dropped),
    ) -> Trimmed {
        let Some(first_retained) = self.first_retained(compacted) else { return Trimmed::Done };
        let needed: Vec<_> = held.iter().filter_map(|at| Some((at.bit, self.needed_at(at)?))).collect();
        let describe = |change: &Change| {
            let bits = needed.iter().filter(|(_, revision)| *revision == change.revision());
            let needed_by = bits.fold(0, |bits, (bit, _)| bits | bit);
            Dropped { revision: change.revision(), location: change.location, needed_by }
        };
        if let Some(older) = &mut self.older {
            *budget -= older.remove_before(first_retained, *budget, &mut |change| dropped(describe(change)));
            if older.from(Revision::default()).next().is_some_and(|c| c.revision() < first_retained) {
                return Trimmed::Unfinished;
            }
            if older.is_empty() {
                self.older = None;
            }
        }
        if self.newest.revision() >= first_retained {
            return Trimmed::Done;
        }
        if *budget == 0 {
            return Trimmed::Unfinished;
        }
        *budget -= 1;
        dropped(describe(&self.newest));
        Trimmed::Gone
    }

    /// Revision of the change that a compaction at the revision of `held` would retain, unless it is after that.
    fn needed_at(&self, held: &HeldAt) -> Option<Revision> {
        let last = self.last_up_to(held.revision)?;
        let is_gone = last.is_tombstone() && last.main < held.revision;
        (!is_gone && last.main >= held.passed).then(|| last.revision())
    }

    /// The changes from `from` on that a store compacted at `compacted` retains, oldest first, however far
    /// [`Self::trim`] has come; with each, whether a hash of the store at main revision `at` (not below
    /// `compacted`) keeps it.
    ///
    /// Kept is the last change up to `at` in the generation that contains `at`: the first that ends at or
    /// after it, else the last one. A tombstone that closes its generation is not kept.
    pub(super) fn retained(
        &self,
        compacted: i64,
        at: i64,
        from: Revision,
    ) -> impl Iterator<Item = (&Change, bool)> {
        let first_retained = self.first_retained(compacted).unwrap_or_default();
        let kept = self.kept(at, first_retained);
        let retained = self.changes_from(from.max(first_retained));
        retained.map(move |change| (change, kept == Some(change.revision())))
    }

    /// Whether a hash at main revision `at` keeps the change at `revision`, as [`Self::retained`] tells;
    /// `None` if that is not retained.
    pub(super) fn place_in_hash(&self, revision: Revision, compacted: i64, at: i64) -> Option<bool> {
        let first_retained = self.first_retained(compacted).unwrap_or_default();
        let is_retained = revision >= first_retained && self.has(revision);
        is_retained.then(|| self.kept(at, first_retained) == Some(revision))
    }

    /// Revision of the change that a hash at `at` keeps, among those from `first` on.
    fn kept(&self, at: i64, first: Revision) -> Option<Revision> {
        let changes_at = self.changes_from(first.max(Revision { main: at, sub: 0 }));
        let mut changes_at = changes_at.take_while(|change| change.main == at);
        if changes_at.any(Change::is_tombstone) {
            // It ends the generation that contains `at`.
            return None;
        }
        let last = self.last_up_to(at).filter(|last| last.revision() >= first)?;
        (!last.is_tombstone()).then(|| last.revision())
    }

    /// Revision of the first change that a compaction at `compacted` retains, or one just before it; all
    /// changes before are dropped. `None` if none is.
    fn first_retained(&self, compacted: i64) -> Option<Revision> {
        let last = self.last_up_to(compacted)?;
        let is_dropped = last.is_tombstone() || disk::seeded_bug!("needed-version-compacted");
        if is_dropped && last.main < compacted {
            return Some(Revision { main: compacted, sub: 0 });
        }
        Some(last.revision())
    }

    /// The last change up to main revision `main`.
    fn last_up_to(&self, main: i64) -> Option<&Change> {
        if self.newest.main <= main {
            return Some(&self.newest);
        }
        self.older.as_ref()?.last_up_to(main)
    }

    /// The changes from `revision` on, oldest first.
    fn changes_from(&self, revision: Revision) -> impl Iterator<Item = &Change> {
        let older = self.older.iter().flat_map(move |older| older.from(revision));
        older.chain(std::iter::once(&self.newest).filter(move |newest| newest.revision() >= revision))
    }
}

#[cfg(test)]
mod tests;
