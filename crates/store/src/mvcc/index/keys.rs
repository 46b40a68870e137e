//! The sorted keys of one tree node, packed into a single buffer.
//!
//! A pointer for each key would cost 16 bytes and a cache miss for each step of a binary search. Packed, a
//! node's keys are a few adjacent cache lines, at the price of moving the bytes behind a key that comes or
//! goes; the node bounds how many there are.
//!
//! Keys of one node mostly begin alike, so a search compares that part once, then the four bytes behind it,
//! the *head* of each key, as integers that lie side by side. Whole keys are compared only where heads are
//! equal. A search in a node that is not in the cache so waits for memory half as often.

use std::cmp::Ordering;

/// Byte strings in strictly ascending order.
#[derive(Debug, Default)]
pub(super) struct Keys {
    bytes: Vec<u8>,
    /// Where each key ends in `bytes`; it starts where its predecessor ends.
    ends: Vec<u32>,
    /// The first bytes of each key behind `common`, as [`head`] takes them: they never fall from key to key.
    heads: Vec<u32>,
    /// So many bytes all keys have in common, at least.
    common: usize,
}

impl Keys {
    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// How many bytes the keys have together.
    pub(super) fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// The key at position `i`, which must be below [`Self::len`].
    pub(super) fn get(&self, i: usize) -> &[u8] {
        &self.bytes[self.start(i)..self.ends[i] as usize]
    }

    /// The position of `key`, or the one it would have.
    pub(super) fn search(&self, key: &[u8]) -> Result<usize, usize> {
        let (begin, rest) = key.split_at(self.common.min(key.len()));
        match begin.cmp(&self.bytes[..self.common]) {
            Ordering::Less => return Err(0),
            Ordering::Greater => return Err(self.len()),
            Ordering::Equal => {}
        }
        let head = head(rest);
        let mut low = self.heads.partition_point(|&other| other < head);
        let mut high = low + self.heads[low..].iter().take_while(|&&other| other == head).count();
        while low < high {
            let middle = (low + high) / 2;
            match self.get(middle)[self.common..].cmp(rest) {
                Ordering::Less => low = middle + 1,
                Ordering::Equal => return Ok(middle),
                Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }

    /// How many keys are smaller than `key`.
    pub(super) fn lower_bound(&self, key: &[u8]) -> usize {
        self.search(key).unwrap_or_else(|i| i)
    }

    /// Puts `key` at position `i`, which must be the one [`Self::search`] gave.
    pub(super) fn insert(&mut self, i: usize, key: &[u8]) {
        let common =
            if self.ends.is_empty() { key.len() } else { common_len(self.get(0), key).min(self.common) };
        let (at, old_len) = (self.start(i), self.bytes.len());
        make_room(&mut self.bytes, key.len());
        self.bytes.resize(old_len + key.len(), 0);
        self.bytes.copy_within(at..old_len, at + key.len());
        self.bytes[at..at + key.len()].copy_from_slice(key);
        make_room(&mut self.ends, 1);
        self.ends.insert(i, offset(at));
        for end in &mut self.ends[i..] {
            *end += offset(key.len());
        }
        make_room(&mut self.heads, 1);
        self.heads.insert(i, head(&key[common..]));
        if common < self.common {
            self.take_heads(common);
        }
        self.common = common;
    }

    /// Takes out the key at position `i`.
    pub(super) fn remove(&mut self, i: usize) {
        let (start, end) = (self.start(i), self.ends[i] as usize);
        self.bytes.drain(start..end);
        self.ends.remove(i);
        self.heads.remove(i);
        for later in &mut self.ends[i..] {
            *later -= offset(end - start);
        }
        if self.ends.is_empty() {
            self.common = 0;
        }
        give_back(&mut self.bytes);
        give_back(&mut self.ends);
        give_back(&mut self.heads);
    }

    /// Takes out the keys from position `i` on.
    pub(super) fn split_off(&mut self, i: usize) -> Self {
        let at = self.start(i);
        let bytes = self.bytes.split_off(at);
        let mut ends = self.ends.split_off(i);
        for end in &mut ends {
            *end -= offset(at);
        }
        self.bytes.shrink_to_fit();
        self.ends.shrink_to_fit();
        self.heads = Vec::new();
        let mut right = Self { bytes, ends, ..Self::default() };
        self.find_common();
        right.find_common();
        right
    }

    /// Appends `other`, whose keys must all be greater.
    pub(super) fn append(&mut self, other: &Self) {
        let at = offset(self.bytes.len());
        make_room(&mut self.bytes, other.bytes.len());
        make_room(&mut self.ends, other.ends.len());
        self.bytes.extend_from_slice(&other.bytes);
        self.ends.extend(other.ends.iter().map(|end| end + at));
        self.find_common();
    }

    /// Takes everything out, into no more memory than it needs; these keys keep their own.
    pub(super) fn take_exact(&mut self) -> Self {
        let exact = Self {
            bytes: self.bytes.as_slice().to_vec(),
            ends: self.ends.as_slice().to_vec(),
            heads: self.heads.as_slice().to_vec(),
            common: self.common,
        };
        self.bytes.clear();
        self.ends.clear();
        self.heads.clear();
        self.common = 0;
        exact
    }

    /// The position that leaves about half of the bytes on each side.
    pub(super) fn middle(&self) -> usize {
        let half = offset(self.bytes.len() / 2);
        self.ends.partition_point(|&end| end <= half)
    }

    fn start(&self, i: usize) -> usize {
        if i == 0 { 0 } else { self.ends[i - 1] as usize }
    }

    /// Finds out how many bytes the keys have in common: as many as the first and the last.
    fn find_common(&mut self) {
        let last = self.len().checked_sub(1);
        self.common = last.map_or(0, |last| common_len(self.get(0), self.get(last)));
        self.take_heads(self.common);
    }

    /// Takes the heads behind the first `common` bytes.
    fn take_heads(&mut self, common: usize) {
        let mut heads = std::mem::take(&mut self.heads);
        heads.clear();
        heads.reserve_exact(self.len());
        heads.extend((0..self.len()).map(|i| head(&self.get(i)[common..])));
        self.heads = heads;
    }
}

/// The first four bytes of `rest` as a number that is ordered as they are; missing bytes count as zeros.
fn head(rest: &[u8]) -> u32 {
    match rest.first_chunk() {
        Some(first) => u32::from_be_bytes(*first),
        None => rest.iter().zip([24, 16, 8, 0]).map(|(&byte, shift)| u32::from(byte) << shift).sum(),
    }
}

/// How many bytes two keys have in common before they differ.
pub(super) fn common_len(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// Makes room for `n` more elements and an eighth in reserve. Doubling, as vectors do by themselves, would
/// leave a quarter of the index's memory unused.
pub(super) fn make_room<T>(vec: &mut Vec<T>, n: usize) {
    if vec.capacity() - vec.len() < n {
        vec.reserve_exact(n + vec.len() / 8);
    }
}

/// Gives back the memory of a vector that lost more than half of its elements.
pub(super) fn give_back<T>(vec: &mut Vec<T>) {
    if vec.len() < vec.capacity() / 2 {
        vec.shrink_to(vec.len() + vec.len() / 8);
    }
}

fn offset(position: usize) -> u32 {
    u32::try_from(position).expect("a node is split long before its keys reach 4 GiB")
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_set, vec};
    use proptest::prelude::*;

    use super::*;

    /// Short strings that often begin alike; zeros and missing bytes must not be mixed up.
    fn key() -> impl Strategy<Value = Vec<u8>> {
        vec(prop_oneof![Just(0), Just(b'a'), Just(0xff)], 0..9)
    }

    proptest! {
        #[test]
        fn a_search_agrees_with_one_in_a_sorted_list(
            of in btree_set(key(), 0..20),
            order in any::<u64>(),
            dropped in 0..20_usize,
            probes in vec(key(), 20),
        ) {
            let mut keys = Keys::default();
            let mut list: Vec<_> = of.into_iter().collect();
            let mut shuffled = list.clone();
            shuffled.sort_by_key(|key| crc32c::crc32c(key) ^ order as u32);
            for key in &shuffled {
                keys.insert(keys.lower_bound(key), key);
            }
            if dropped < list.len() {
                keys.remove(dropped);
                list.remove(dropped);
            }
            let right = keys.split_off(list.len() / 2);
            for probe in list.iter().chain(&probes) {
                let parts = (keys.lower_bound(probe), right.lower_bound(probe));
                prop_assert_eq!(parts.0 + parts.1, list.partition_point(|key| key < probe));
            }
            keys.append(&right);
            for probe in list.iter().chain(&probes) {
                prop_assert_eq!(keys.search(probe), list.binary_search(probe));
            }
        }
    }

    fn keys(of: &[&str]) -> Keys {
        let mut keys = Keys::default();
        for key in of {
            let i = keys.search(key.as_bytes()).unwrap_err();
            keys.insert(i, key.as_bytes());
        }
        keys
    }

    fn list(keys: &Keys) -> Vec<&str> {
        (0..keys.len()).map(|i| std::str::from_utf8(keys.get(i)).unwrap()).collect()
    }

    #[test]
    fn keys_are_kept_in_order_and_found() {
        let keys = keys(&["pear", "", "fig", "apple"]);
        assert_eq!(list(&keys), ["", "apple", "fig", "pear"]);
        assert_eq!(keys.search(b"fig"), Ok(2));
        assert_eq!(keys.search(b"figs"), Err(3));
        assert_eq!(keys.lower_bound(b"zoo"), 4);
        assert_eq!(keys.byte_len(), 12);
    }

    #[test]
    fn a_removed_key_leaves_the_others_whole() {
        let mut keys = keys(&["a", "bb", "ccc"]);
        keys.remove(1);
        assert_eq!(list(&keys), ["a", "ccc"]);
        keys.remove(1);
        keys.remove(0);
        assert_eq!((keys.len(), keys.byte_len()), (0, 0));
    }

    #[test]
    fn what_is_split_off_can_be_appended_again() {
        let mut left = keys(&["a", "bb", "ccc", "dddd"]);
        let right = left.split_off(1);
        assert_eq!((list(&left), list(&right)), (vec!["a"], vec!["bb", "ccc", "dddd"]));
        left.append(&right);
        assert_eq!(list(&left), ["a", "bb", "ccc", "dddd"]);
    }

    #[test]
    fn the_middle_is_that_of_the_bytes() {
        assert_eq!(keys(&["a", "b", "c", "d"]).middle(), 2);
        assert_eq!(keys(&["a", "b", "c", "dddddddd"]).middle(), 3);
        assert_eq!(keys(&["aaaaaaaa", "b"]).middle(), 0);
    }
}
