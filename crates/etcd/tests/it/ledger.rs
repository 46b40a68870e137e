//! What was acknowledged, and what that makes of the keys.
//!
//! Keys look like those of Kubernetes. Each value is made from a stamp that no other write has, so that a value
//! tells which write it comes from and whether it is whole. A write without an answer is in doubt: it took
//! effect as a whole or not at all, and the watch tells which.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use bytes::Bytes;

/// Before every key.
pub(crate) const PREFIX: &str = "/registry/";
/// Behind every key.
pub(crate) const PREFIX_END: &str = "/registry0";

const NAMESPACES: usize = 100;
/// Lengths of values in bytes.
const SHORT: RangeInclusive<usize> = 300..=1000;
const LONG: RangeInclusive<usize> = 20_000..=40_000;
/// The first stamp of which a long value may be made.
const FIRST_LONG_STAMP: u64 = 1 << 32;

/// One key as a write leaves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Change {
    /// Number of the key.
    pub(crate) key: usize,
    /// The stamp of the new value; nothing if the key is deleted.
    pub(crate) stamp: Option<u64>,
}

/// Changes that take effect together, in their order.
pub(crate) type Write = Vec<Change>;

/// Revision and stamp of a key that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) revision: i64,
    pub(crate) stamp: u64,
}

/// The books.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// By number.
    keys: Vec<Option<Kept>>,
    /// Since the last settlement, by revision.
    acknowledged: BTreeMap<i64, Write>,
    in_doubt: Vec<Write>,
    last_stamp: u64,
    /// The newest revision anybody was told of.
    pub(crate) revision: i64,
    /// Writes acknowledged in all.
    pub(crate) n_acknowledged: u64,
    /// Writes refused for want of space in all.
    pub(crate) n_refused: u64,
    /// Writes in doubt that turned out to have taken effect.
    pub(crate) n_surprises: u64,
}

impl Ledger {
    /// Books for `n_keys` keys, none of which exists.
    pub(crate) fn new(n_keys: usize) -> Ledger {
        Ledger {
            keys: vec![None; n_keys],
            acknowledged: BTreeMap::new(),
            in_doubt: Vec::new(),
            last_stamp: 0,
            revision: 1,
            n_acknowledged: 0,
            n_refused: 0,
            n_surprises: 0,
        }
    }

    /// The same books, but every second value has tens of kilobytes, so that few writes fill a small disk.
    pub(crate) fn with_long_values(mut self) -> Ledger {
        self.last_stamp = FIRST_LONG_STAMP;
        self
    }

    pub(crate) fn n_keys(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn n_existing(&self) -> usize {
        self.keys.iter().flatten().count()
    }

    pub(crate) fn kept(&self, key: usize) -> Option<Kept> {
        self.keys[key]
    }

    /// A change of `key` to a value that was never there.
    pub(crate) fn new_value(&mut self, key: usize) -> Change {
        self.last_stamp += 1;
        Change { key, stamp: Some(self.last_stamp) }
    }

    /// Notes that `write` was acknowledged with `revision`.
    pub(crate) fn acknowledge(&mut self, revision: i64, write: Write) {
        self.apply(revision, &write);
        let before = self.acknowledged.insert(revision, write);
        assert_eq!(before, None, "two writes were given revision {revision}");
        self.n_acknowledged += 1;
    }

    /// Notes that nobody knows of `write`.
    pub(crate) fn doubt(&mut self, write: Write) {
        self.in_doubt.push(write);
    }

    /// Compares with what a watch has seen since the last settlement: every acknowledged write, as it was
    /// written, and besides only writes in doubt.
    pub(crate) fn settle(&mut self, mut history: BTreeMap<i64, Write>) {
        for (revision, write) in std::mem::take(&mut self.acknowledged) {
            let seen = history.remove(&revision);
            assert_eq!(seen, Some(write), "what was acknowledged at revision {revision}");
        }
        for (revision, write) in history {
            let place = self.in_doubt.iter().position(|doubted| *doubted == write);
            let place = place.unwrap_or_else(|| panic!("nobody wrote revision {revision}: {write:?}"));
            self.in_doubt.swap_remove(place);
            self.apply(revision, &write);
            self.n_surprises += 1;
        }
        self.in_doubt.clear();
    }

    fn apply(&mut self, revision: i64, write: &Write) {
        for change in write {
            self.keys[change.key] = change.stamp.map(|stamp| Kept { revision, stamp });
        }
        self.revision = self.revision.max(revision);
    }
}

/// The key with this number.
pub(crate) fn key_name(key: usize) -> Bytes {
    format!("{PREFIX}pods/ns-{}/name-{key}", key % NAMESPACES).into()
}

/// The number of a key.
pub(crate) fn key_number(name: &[u8]) -> usize {
    let name = std::str::from_utf8(name).unwrap();
    name.rsplit_once('-').unwrap().1.parse().unwrap()
}

/// The value made from `stamp`: itself, over and over, in a length that depends on it.
pub(crate) fn value(stamp: u64) -> Bytes {
    let spread = stamp.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    let is_long = stamp >= FIRST_LONG_STAMP && stamp.is_multiple_of(2);
    let lens = if is_long { LONG } else { SHORT };
    let len = lens.start() + spread as usize % (lens.end() - lens.start() + 1);
    stamp.to_be_bytes().into_iter().cycle().take(len).collect()
}

/// The stamp of `value`, which must be whole.
pub(crate) fn stamp(of: &[u8]) -> u64 {
    let stamp = u64::from_be_bytes(*of.first_chunk().unwrap());
    assert_eq!(of, &value(stamp)[..], "a value is what was written");
    stamp
}
