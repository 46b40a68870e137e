//! The main revisions that a watcher has to look at.
//!
//! The first 64 are known exactly; of later ones only the last is known, and all in between are looked at.
//! So a watcher whose client keeps up looks only at what concerns it, and one whose client does not costs no
//! more memory.

/// How many revisions from the first on are known exactly.
const EXACT: i64 = u64::BITS as i64;

/// Some of the revisions from `first` to `last`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Marks {
    first: i64,
    last: i64,
    /// A bit for each of the first revisions; all after them may concern the watcher.
    exact: u64,
}

impl Marks {
    /// No revision; those to come are `first` and later ones.
    pub(super) fn none(first: i64) -> Marks {
        Marks { first, last: first - 1, exact: 0 }
    }

    /// All revisions from `first` to `last`.
    pub(super) fn all(first: i64, last: i64) -> Marks {
        Marks { first, last, exact: u64::MAX }
    }

    /// Adds a revision, at or after all that are there.
    pub(super) fn add(&mut self, revision: i64) {
        let place = revision - self.first;
        if place < EXACT {
            self.exact |= 1 << place;
        }
        self.last = revision;
    }

    /// Adds all revisions from `from` to `last`, after all that are there, and those up to any that is added
    /// later.
    pub(super) fn add_all(&mut self, from: i64, last: i64) {
        let place = from - self.first;
        if place < EXACT {
            self.exact |= u64::MAX << place;
        }
        self.last = last;
    }

    /// The first revision there is from `from` on.
    pub(super) fn next(&self, from: i64) -> Option<i64> {
        let place = (from - self.first).max(0);
        let exact = if place < EXACT { self.exact >> place } else { 0 };
        let next = match exact {
            0 => from.max(self.first + EXACT),
            _ => self.first + place + i64::from(exact.trailing_zeros()),
        };
        (next <= self.last).then_some(next)
    }

    /// The last revision, or the one before the first if there is none.
    pub(super) fn last(&self) -> i64 {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(marks: &Marks, from: i64) -> Vec<i64> {
        let first = marks.next(from);
        std::iter::successors(first, |last| marks.next(last + 1)).collect()
    }

    #[test]
    fn first_revisions_are_told_apart() {
        let mut marks = Marks::none(10);
        assert!(listed(&marks, 0).is_empty());
        [10, 12, 73].into_iter().for_each(|revision| marks.add(revision));
        assert_eq!(listed(&marks, 0), [10, 12, 73]);
        assert_eq!(listed(&marks, 11), [12, 73]);
        assert!(listed(&marks, 74).is_empty());
    }

    #[test]
    fn of_later_revisions_the_last_is_known() {
        let mut marks = Marks::none(10);
        [10, 80].into_iter().for_each(|revision| marks.add(revision));
        assert_eq!(listed(&marks, 0), [10, 74, 75, 76, 77, 78, 79, 80]);
        assert_eq!(listed(&marks, 79), [79, 80]);
        assert_eq!(marks.last(), 80);
    }

    #[test]
    fn all_revisions_of_a_span_are_there() {
        assert_eq!(listed(&Marks::all(3, 5), 0), [3, 4, 5]);
        assert_eq!(listed(&Marks::all(1, 100), 60), (60..=100).collect::<Vec<_>>());
        let mut marks = Marks::none(10);
        marks.add(10);
        marks.add_all(12, 14);
        assert_eq!(listed(&marks, 0), [10, 12, 13, 14]);
    }
}
