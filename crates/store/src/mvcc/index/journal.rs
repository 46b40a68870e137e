//! The recent creations and deletions of keys, so that counts at a slightly older revision need no walk.
//!
//! The number of keys that exist in a range at revision R is the number now, less the keys created since, plus those
//! deleted since. A paginated list reads all its pages at one fixed R while writes go on, and wants the count with
//! each.
//!
//! Bounded by number and by bytes of keys: the oldest entries go first, and a count from before them is refused.

use std::collections::VecDeque;

use crate::key_range::KeyRange;

/// Most entries kept.
const ENTRIES_MAX: usize = 1 << 16;

/// Most bytes of keys kept.
const KEY_BYTES_MAX: usize = 16 << 20;

/// Creations and deletions, oldest first.
#[derive(Debug, Default)]
pub(super) struct Journal {
    entries: VecDeque<Entry>,
    key_bytes: usize,
    /// Entries up to this main revision may be missing.
    forgotten: i64,
}

#[derive(Debug)]
struct Entry {
    main: i64,
    created: bool,
    key: Box<[u8]>,
}

impl Journal {
    /// Notes that `key` came to exist (or ceased to) at revision `main`, which must not be below earlier ones.
    pub(super) fn record(&mut self, main: i64, key: &[u8], created: bool) {
        self.entries.push_back(Entry { main, created, key: key.into() });
        self.key_bytes += key.len();
        while self.entries.len() > ENTRIES_MAX || self.key_bytes > KEY_BYTES_MAX {
            self.forget_oldest();
        }
    }

    /// Drops entries up to revision `main`: nobody may ask for counts before it any more.
    pub(super) fn forget(&mut self, main: i64) {
        while self.entries.front().is_some_and(|entry| entry.main <= main) {
            self.forget_oldest();
        }
    }

    /// By how much the number of keys in `range` grew since revision `at`. `None` if that is not known, or would take
    /// looking at more than `budget` entries.
    pub(super) fn growth_since(&self, at: i64, range: &KeyRange, budget: u64) -> Option<i64> {
        let old = self.entries.partition_point(|entry| entry.main <= at);
        let recent = self.entries.range(old..);
        if at < self.forgotten || recent.len() as u64 > budget {
            return None;
        }
        Some(
            recent
                .filter(|entry| range.contains(&entry.key))
                .map(|entry| if entry.created { 1 } else { -1 })
                .sum(),
        )
    }

    fn forget_oldest(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.key_bytes -= entry.key.len();
            self.forgotten = entry.main;
        }
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
    fn growth_from_before_the_first_entry_kept_is_unknown() {
        let mut journal = Journal::default();
        for main in 2..6 {
            journal.record(main, b"a", main % 2 == 0);
        }
        journal.forget(3);
        assert_eq!(journal.growth_since(2, &a_to_c(), 10), None);
        assert_eq!(journal.growth_since(3, &a_to_c(), 10), Some(0));
        assert_eq!(journal.growth_since(3, &a_to_c(), 1), None, "over budget");
    }

    #[test]
    fn the_journal_is_bounded_in_entries_and_bytes() {
        let mut journal = Journal::default();
        for main in 0..ENTRIES_MAX + 10 {
            journal.record(i64::try_from(main).unwrap(), b"a", true);
        }
        assert_eq!((journal.entries.len(), journal.forgotten), (ENTRIES_MAX, 9));

        let large = vec![b'x'; KEY_BYTES_MAX / 4];
        for main in 100_000..100_010 {
            journal.record(main, &large, true);
        }
        assert!(journal.key_bytes <= KEY_BYTES_MAX);
        assert_eq!((journal.entries.len(), journal.forgotten), (4, 100_005));
    }
}
