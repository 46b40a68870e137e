//! What exports need of the past, though compactions go on.
//!
//! An export writes down the store as it was at one revision, in revision order, as fast as its reader takes it. It
//! must not keep compactions from trimming, which a pin would. A compaction at or before its revision drops nothing
//! that the copy needs: the copy says that this compaction is under way. A later one may drop a key's newest
//! change up to the revision. Such a change is kept here: the index forgets it, but its record does not count as dead
//! until the export has passed it or ended.
//!
//! So an export delays the reclaiming of no more than what the store held when it began, less what was written already.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Weak};

use disk::{Location, Revision};

use super::index::{Dropped, HeldAt};

/// Exports at the same time: one bit of a number for each.
const HOLDS_MAX: u32 = u64::BITS;

/// The open holds, and the records that only they need.
#[derive(Debug, Default)]
pub(super) struct Holds {
    open: Vec<OpenHold>,
    kept: BTreeMap<Revision, Kept>,
}

#[derive(Debug)]
struct OpenHold {
    bit: u64,
    revision: i64,
    /// Gone when the hold has ended. Its bit is not given to another one while records are kept for it.
    passed: Weak<AtomicI64>,
    n_kept: usize,
}

/// A record that the index has dropped.
#[derive(Debug)]
struct Kept {
    location: Location,
    needed_by: u64,
}

/// Holds the records of a revision until it is dropped.
#[derive(Debug)]
pub(super) struct Hold {
    bit: u64,
    /// The main revision that is held.
    pub(super) revision: i64,
    /// The last compaction before it; -1 if there was none.
    pub(super) compacted: i64,
    passed: Arc<AtomicI64>,
}

impl Hold {
    /// Gives up the records before main revision `main`.
    pub(super) fn pass(&self, main: i64) {
        self.passed.store(main, Ordering::Relaxed);
    }
}

impl Holds {
    /// Begins to hold `revision` of a store compacted at `compacted`; `None` if too many holds are open.
    pub(super) fn open(&mut self, revision: i64, compacted: i64) -> Option<Hold> {
        self.forget_ended();
        let taken = self.open.iter().fold(0, |bits, hold| bits | hold.bit);
        let bit = (0..HOLDS_MAX).map(|place| 1 << place).find(|bit| taken & bit == 0)?;
        let passed = Arc::new(AtomicI64::new(0));
        self.open.push(OpenHold { bit, revision, passed: Arc::downgrade(&passed), n_kept: 0 });
        Some(Hold { bit, revision, compacted, passed })
    }

    /// Whether there is neither a hold nor a record.
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// The revisions that are held.
    pub(super) fn revisions(&self) -> Vec<HeldAt> {
        let at = |hold: &OpenHold| {
            let passed = hold.passed.upgrade()?.load(Ordering::Relaxed);
            Some(HeldAt { bit: hold.bit, revision: hold.revision, passed })
        };
        self.open.iter().filter_map(at).collect()
    }

    /// Keeps a change that the index drops.
    pub(super) fn keep(&mut self, change: Dropped) {
        let Dropped { revision, location, needed_by } = change;
        self.kept.insert(revision, Kept { location, needed_by });
        self.open.iter_mut().filter(|hold| needed_by & hold.bit != 0).for_each(|hold| hold.n_kept += 1);
    }

    /// Whether the change at `revision` is kept here.
    pub(super) fn has(&self, revision: Revision) -> bool {
        self.kept.contains_key(&revision)
    }

    /// Whether the change at `revision` is kept here for `hold`.
    pub(super) fn has_for(&self, hold: &Hold, revision: Revision) -> bool {
        self.kept.get(&revision).is_some_and(|kept| kept.needed_by & hold.bit != 0)
    }

    /// Visits the records that are kept for `hold`, from `from` on, looking at `n_max` at most. Returns the one to go on
    /// with.
    pub(super) fn kept_for(
        &self,
        hold: &Hold,
        from: Revision,
        n_max: usize,
        visit: &mut dyn FnMut(Location),
    ) -> Option<Revision> {
        let mut records = self.kept.range(from..);
        for (_, kept) in records.by_ref().take(n_max) {
            if kept.needed_by & hold.bit != 0 {
                visit(kept.location);
            }
        }
        records.next().map(|(revision, _)| *revision)
    }

    /// Notes that the record of a change moved; false if it is not kept here.
    pub(super) fn relocate(&mut self, revision: Revision, to: Location) -> bool {
        let Some(kept) = self.kept.get_mut(&revision) else { return false };
        kept.location = to;
        true
    }

    /// Whether [`Holds::release`] has something to do.
    pub(super) fn can_release(&self) -> bool {
        self.open.iter().any(OpenHold::is_over) || self.is_oldest_free(&self.revisions())
    }

    /// Gives up records that nobody needs any more, oldest first and at most `n_max`, and forgets the holds that have
    /// ended and have no record left.
    pub(super) fn release(&mut self, n_max: usize, released: &mut dyn FnMut(Location)) {
        let held = self.revisions();
        for _ in 0..n_max {
            if !self.is_oldest_free(&held) {
                break;
            }
            let Some((_, Kept { location, needed_by })) = self.kept.pop_first() else { break };
            self.open.iter_mut().filter(|hold| needed_by & hold.bit != 0).for_each(|hold| hold.n_kept -= 1);
            released(location);
        }
        self.forget_ended();
    }

    /// Whether there is a record, and none of `held` needs the oldest.
    fn is_oldest_free(&self, held: &[HeldAt]) -> bool {
        self.kept.first_key_value().is_some_and(|(revision, kept)| {
            held.iter().all(|held| kept.needed_by & held.bit == 0 || revision.main < held.passed)
        })
    }

    fn forget_ended(&mut self) {
        self.open.retain(|hold| !hold.is_over());
    }
}

impl OpenHold {
    fn is_over(&self) -> bool {
        self.n_kept == 0 && self.passed.strong_count() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dropped(main: i64, needed_by: u64) -> Dropped {
        let location = Location { segment: 1, offset: main as u32, len: 0 };
        Dropped { revision: Revision { main, sub: 0 }, location, needed_by }
    }

    const NOTHING: [u32; 0] = [];

    fn released(holds: &mut Holds) -> Vec<u32> {
        let mut offsets = Vec::new();
        while holds.can_release() {
            holds.release(1, &mut |location| offsets.push(location.offset));
        }
        offsets
    }

    #[test]
    fn a_record_is_released_when_its_last_reader_has_passed_it_or_ended() {
        let mut holds = Holds::default();
        let (first, second) = (holds.open(10, -1).unwrap(), holds.open(20, -1).unwrap());
        holds.keep(dropped(5, first.bit | second.bit));
        holds.keep(dropped(6, first.bit));
        holds.keep(dropped(15, second.bit));
        first.pass(8);
        assert_eq!(released(&mut holds), NOTHING, "the second still needs the oldest");
        second.pass(6);
        assert_eq!(released(&mut holds), [5, 6]);
        drop(second);
        assert_eq!(released(&mut holds), [15]);
        drop(first);
        assert_eq!(released(&mut holds), NOTHING);
        assert!(holds.is_empty());
    }

    #[test]
    fn a_bit_is_not_given_again_while_records_are_kept_for_it() {
        let mut holds = Holds::default();
        let first = holds.open(10, -1).unwrap();
        let record = dropped(5, first.bit);
        holds.keep(record);
        drop(first);
        let second = holds.open(20, -1).unwrap();
        assert!(!holds.has_for(&second, record.revision));
        assert_eq!(released(&mut holds), [5]);
    }

    #[test]
    fn the_number_of_holds_is_limited() {
        let mut holds = Holds::default();
        let open: Vec<_> = (0..HOLDS_MAX).map(|_| holds.open(1, -1).unwrap()).collect();
        assert!(holds.open(1, -1).is_none());
        drop(open);
        assert!(holds.open(1, -1).is_some());
    }
}
