//! The changes of a key before its newest one, in blocks.
//!
//! A key that is written often has hundreds of thousands of them. In one vector, an addition that makes it
//! grow, or a removal of the oldest, would move all of them; here neither moves more than a block.
//!
//! Invariants: changes ascend strictly by revision; no block is empty but the last.

use std::collections::VecDeque;

use disk::Revision;

use super::Change;
use crate::mvcc::index::keys::give_back;
use crate::work;

/// Changes of a full block: 24 KiB.
const BLOCK_LEN: usize = if cfg!(test) { 4 } else { 1024 };

/// Changes in the order of their revisions.
#[derive(Debug, Default)]
pub(super) struct Older {
    /// Full once, oldest first; the first one may have lost its oldest changes.
    full: VecDeque<Vec<Change>>,
    /// The newest changes.
    last: Vec<Change>,
}

impl Older {
    pub(super) fn is_empty(&self) -> bool {
        self.full.is_empty() && self.last.is_empty()
    }

    /// Adds a change that is newer than all there are.
    pub(super) fn push(&mut self, change: Change) {
        if self.last.len() == BLOCK_LEN {
            self.full.push_back(std::mem::take(&mut self.last));
        }
        if self.last.len() == self.last.capacity() {
            // Half of it in reserve: a key that is written often should not move its block each time.
            let reserve = 1 + self.last.len() / 2;
            self.last.reserve_exact(reserve.min(BLOCK_LEN - self.last.len()));
        }
        self.last.push(change);
    }

    /// The last change up to main revision `main`.
    pub(super) fn last_up_to(&self, main: i64) -> Option<&Change> {
        let block = self.block_of(Revision { main, sub: u32::MAX })?;
        block[..block.partition_point(|change| change.main <= main)].last()
    }

    /// The change of exactly this revision.
    pub(super) fn find(&self, revision: Revision) -> Option<&Change> {
        let block = self.block_of(revision)?;
        block.binary_search_by_key(&revision, Change::revision).ok().map(|i| &block[i])
    }

    /// The same, to be changed.
    pub(super) fn find_mut(&mut self, revision: Revision) -> Option<&mut Change> {
        let n = self.full_up_to(revision);
        let block = match self.last.first() {
            Some(first) if first.revision() <= revision => &mut self.last,
            _ => self.full.get_mut(n.checked_sub(1)?)?,
        };
        block.binary_search_by_key(&revision, Change::revision).ok().map(|i| &mut block[i])
    }

    /// The changes from `revision` on.
    pub(super) fn from(&self, revision: Revision) -> impl Iterator<Item = &Change> {
        let first = self.full_up_to(revision).saturating_sub(1);
        let blocks = self.full.range(first..).chain(std::iter::once(&self.last));
        blocks.flat_map(move |block| &block[block.partition_point(|change| change.revision() < revision)..])
    }

    /// Removes changes before `revision`, oldest first and at most `n_max`, and shows them to `removed`.
    /// Returns how many they were.
    pub(super) fn remove_before(
        &mut self,
        revision: Revision,
        n_max: usize,
        removed: &mut dyn FnMut(&Change),
    ) -> usize {
        let mut n = 0;
        while n < n_max {
            let block = self.full.front_mut().unwrap_or(&mut self.last);
            let n_before = block.partition_point(|change| change.revision() < revision);
            let n_removed = n_before.min(n_max - n);
            if n_removed == 0 {
                break;
            }
            work::count(n_removed);
            block.drain(..n_removed).for_each(|change| removed(&change));
            n += n_removed;
            if self.full.front().is_some_and(Vec::is_empty) {
                self.full.pop_front();
            }
        }
        if n > 0 {
            give_back(&mut self.last);
        }
        n
    }

    /// The block in which the last change up to `revision` is.
    fn block_of(&self, revision: Revision) -> Option<&Vec<Change>> {
        match self.last.first() {
            Some(first) if first.revision() <= revision => Some(&self.last),
            _ => self.full.get(self.full_up_to(revision).checked_sub(1)?),
        }
    }

    /// How many full blocks begin at or before `revision`.
    fn full_up_to(&self, revision: Revision) -> usize {
        self.full.partition_point(|block| block.first().is_some_and(|first| first.revision() <= revision))
    }
}
