//! The recent creations and deletions of keys, so that counts at a slightly older revision need no walk.
//!
//! The number of keys that exist in a range at revision R is the number now, less the keys created since,
//! plus those deleted since. A paginated list reads all its pages at one fixed R while writes go on, and
//! wants the count with each.
//!
//! Entries lie in blocks, oldest first, with their keys packed behind each other: a count reads them in
//! sequence. Bounded by number and by bytes of keys: the oldest block goes first, and a count from before it
//! is refused.

use std::collections::VecDeque;

use crate::key_range::KeyRange;
use crate::work;

/// Most blocks kept.
const BLOCKS_MAX: usize = 64;

/// Most entries of a block.
const BLOCK_ENTRIES_MAX: usize = 1024;

/// A block with more bytes of keys than this takes no further entry.
const BLOCK_KEY_BYTES: usize = 256 << 10;

/// Bytes of keys that take as long as another entry.
const KEY_BYTES_PER_ENTRY: usize = 256;

/// Entries that take as long as a step elsewhere.
const ENTRIES_PER_STEP: usize = 16;

/// Creations and deletions, oldest first.
#[derive(Debug, Default)]
pub(super) struct Journal {
    blocks: VecDeque<Block>,
    /// Entries up to this main revision may be missing.
    forgotten: i64,
}

#[derive(Debug, Default)]
struct Block {
    entries: Vec<Entry>,
    keys: Vec<u8>,
}

#[derive(Debug)]
struct Entry {
    main: i64,
    /// Where the key ends in the block's `keys`; it starts where the one before ends.
    key_end: u32,
    created: bool,
}

impl Journal {
    /// A journal that knows nothing up to main revision `revision`.
    pub(super) fn beginning_after(revision: i64) -> Journal {
        Journal { blocks: VecDeque::new(), forgotten: revision }
    }

    /// Notes that `key` came to exist (or ceased to) at revision `main`, which must not be below earlier
    /// ones.
    pub(super) fn record(&mut self, main: i64, key: &[u8], created: bool) {
        if self.blocks.back().is_none_or(Block::is_full) {
            self.blocks.push_back(Block::default());
        }
        if self.blocks.len() > BLOCKS_MAX {
            self.forget_oldest();
        }
        if let Some(block) = self.blocks.back_mut() {
            block.push(main, key, created);
        }
    }

    /// Drops blocks up to revision `main`: counts before it are refused.
    pub(super) fn forget(&mut self, main: i64) {
        while self.blocks.front().is_some_and(|block| block.newest() <= main) {
            self.forget_oldest();
        }
    }

    /// By how much the number of keys in `range` grew since revision `at`. `None` if that is not known, or
    /// would take looking at more than `budget` entries; long keys count for several.
    pub(super) fn growth_since(&self, at: i64, range: &KeyRange, budget: u64) -> Option<i64> {
        if at < self.forgotten {
            return None;
        }
        let (mut growth, mut looked_at) = (0, 0);
        for block in self.blocks.iter().rev() {
            let old = block.entries.partition_point(|entry| entry.main <= at);
            looked_at += block.cost_from(old);
            if looked_at > budget {
                return None;
            }
            growth += block.growth(old, range);
            if old > 0 {
                break;
            }
        }
        Some(growth)
    }

    fn forget_oldest(&mut self) {
        if let Some(block) = self.blocks.pop_front() {
            self.forgotten = block.newest();
        }
    }
}

impl Block {
    fn is_full(&self) -> bool {
        self.entries.len() == BLOCK_ENTRIES_MAX || self.keys.len() > BLOCK_KEY_BYTES
    }

    fn push(&mut self, main: i64, key: &[u8], created: bool) {
        self.keys.extend_from_slice(key);
        let key_end = u32::try_from(self.keys.len()).expect("a request, and so a key, is far below 4 GiB");
        self.entries.push(Entry { main, key_end, created });
    }

    /// What it costs to look at the entries from `first` on, in entries with short keys.
    fn cost_from(&self, first: usize) -> u64 {
        let n = self.entries.len() - first;
        let key_bytes = if n == 0 { 0 } else { self.keys.len() };
        (n + key_bytes / KEY_BYTES_PER_ENTRY) as u64
    }

    /// Main revision of the last entry.
    fn newest(&self) -> i64 {
        self.entries.last().map_or(0, |entry| entry.main)
    }

    /// Creations less deletions in `range`, from entry `first` on.
    fn growth(&self, first: usize, range: &KeyRange) -> i64 {
        let mut growth = 0;
        let mut start = if first == 0 { 0 } else { self.entries[first - 1].key_end as usize };
        work::count((self.entries.len() - first) / ENTRIES_PER_STEP);
        for entry in &self.entries[first..] {
            let end = entry.key_end as usize;
            if range.contains(&self.keys[start..end]) {
                growth += if entry.created { 1 } else { -1 };
            }
            start = end;
        }
        growth
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn a_to_c() -> KeyRange {
        KeyRange::new(Bytes::from("a"), Bytes::from("c"))
    }

    #[test]
    fn growth_counts_what_came_and_went_in_the_range() {
        let mut journal = Journal::default();
        journal.record(2, b"a", true);
        journal.record(3, b"b", true);
        journal.record(3, b"x", true);
        journal.record(4, b"a", false);
        let growth = |at| journal.growth_since(at, &a_to_c(), 10);
        assert_eq!([1, 2, 3, 4].map(growth), [Some(1), Some(0), Some(-1), Some(0)]);
    }

    #[test]
    fn a_count_over_more_entries_than_the_budget_is_refused() {
        let mut journal = Journal::default();
        for main in 2..6 {
            journal.record(main, b"a", main % 2 == 0);
        }
        assert_eq!(journal.growth_since(3, &a_to_c(), 2), Some(0));
        assert_eq!(journal.growth_since(3, &a_to_c(), 1), None);
    }

    #[test]
    fn growth_is_summed_over_blocks_and_unknown_from_before_the_first() {
        let mut journal = Journal::default();
        let last = 2 * i64::try_from(BLOCK_ENTRIES_MAX).unwrap() + 10;
        for main in 1..=last {
            journal.record(main, b"a", true);
        }
        assert_eq!(journal.growth_since(5, &a_to_c(), u64::MAX), Some(last - 5));
        // Only whole blocks go.
        journal.forget(1023);
        assert_eq!(journal.growth_since(0, &a_to_c(), u64::MAX), Some(last));
        journal.forget(1024);
        assert_eq!(journal.growth_since(1023, &a_to_c(), u64::MAX), None);
        assert_eq!(journal.growth_since(1024, &a_to_c(), u64::MAX), Some(last - 1024));
    }

    #[test]
    fn the_journal_is_bounded_in_entries_and_bytes() {
        let mut journal = Journal::default();
        let held = i64::try_from(BLOCKS_MAX * BLOCK_ENTRIES_MAX).unwrap();
        for main in 1..=held + 1 {
            journal.record(main, b"a", true);
        }
        assert_eq!((journal.blocks.len(), journal.forgotten), (BLOCKS_MAX, 1024));

        let large = vec![b'x'; BLOCK_KEY_BYTES + 1];
        for main in 1..100 {
            journal.record(held + 1 + main, &large, true);
        }
        let key_bytes: usize = journal.blocks.iter().map(|block| block.keys.len()).sum();
        assert_eq!(key_bytes, BLOCKS_MAX * large.len());
    }
}
