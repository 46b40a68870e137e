//! Which keys a request names: one key, a half-open range, or all from a key on.
//!
//! Every part of the store that takes `key` and `range_end` from a request turns them into a [`KeyRange`]
//! once, so that etcd's rules for `range_end` are implemented here only. Keys are compared as bytes.
//!
//! A range may be empty: etcd answers `range_end ≤ key` with no keys and no error.

use bytes::Bytes;

/// Keys from `start` up to `end`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyRange {
    start: Bytes,
    end: End,
}

/// Where a [`KeyRange`] ends. Ordered by how far it reaches.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum End {
    /// At the start itself: the range is that one key.
    Single,
    /// Before this key, which may be at or below the start; the range is empty then.
    Before(Bytes),
    /// Nowhere: all keys from the start on.
    Unbounded,
}

impl KeyRange {
    /// The range a request means by `key` and `range_end`: an empty `range_end` names the single key, one
    /// zero byte all keys from `key` on, anything else the keys in `[key, range_end)`.
    pub fn new(key: Bytes, range_end: Bytes) -> Self {
        let end = match &range_end[..] {
            [] => End::Single,
            [0] => End::Unbounded,
            _ => End::Before(range_end),
        };
        Self { start: key, end }
    }

    /// The first key that may be in the range.
    pub fn start(&self) -> &[u8] {
        &self.start
    }

    /// Where the range ends.
    pub fn end(&self) -> &End {
        &self.end
    }

    /// Whether the range was written as a single key. `[a, a\0)` holds one key too, but is not single.
    pub fn is_single(&self) -> bool {
        self.end == End::Single
    }

    /// Whether no key can be in the range.
    pub fn is_empty(&self) -> bool {
        matches!(&self.end, End::Before(end) if *end <= self.start)
    }

    /// Whether `key` is in the range.
    pub fn contains(&self, key: &[u8]) -> bool {
        match &self.end {
            End::Single => key == self.start,
            End::Before(end) => *self.start <= *key && *key < **end,
            End::Unbounded => *self.start <= *key,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(key: &'static str, end: &'static str) -> KeyRange {
        KeyRange::new(Bytes::from(key), Bytes::from(end))
    }

    #[test]
    fn an_empty_end_names_the_single_key() {
        let single = range("b", "");
        assert!(single.is_single() && !single.is_empty());
        assert!(single.contains(b"b"));
        assert!(!single.contains(b"b\0") && !single.contains(b"a"));
    }

    #[test]
    fn a_zero_byte_as_end_reaches_to_the_last_key() {
        let tail = range("b", "\0");
        assert!(tail.contains(b"b") && tail.contains(b"\xff\xff"));
        assert!(!tail.contains(b"a\xff"));
        let all = range("\0", "\0");
        assert!(all.contains(b"\0") && all.contains(b"a"));
    }

    #[test]
    fn an_end_is_exclusive() {
        let half_open = range("b", "d");
        assert!(half_open.contains(b"b") && half_open.contains(b"c\xff"));
        assert!(!half_open.contains(b"d"));
        assert!(!half_open.is_single());
    }

    #[test]
    fn an_end_at_or_below_the_start_leaves_nothing() {
        for end in ["b", "a"] {
            assert!(range("b", end).is_empty());
            assert!(!range("b", end).contains(b"b"));
        }
        assert!(!range("b", "b\0").is_empty());
    }

    #[test]
    fn ends_are_ordered_by_reach() {
        assert!(End::Single < End::Before(Bytes::from("a")));
        assert!(End::Before(Bytes::from("a")) < End::Before(Bytes::from("b")));
        assert!(End::Before(Bytes::from("\u{ff}")) < End::Unbounded);
    }
}
