//! The sorted keys of one tree node, packed into a single buffer.
//!
//! A pointer for each key would cost 16 bytes and a cache miss for each step of a binary search. Packed, a node's
//! keys are a few adjacent cache lines, at the price of moving the bytes behind a key that comes or goes; the node
//! bounds how many there are.

/// Byte strings in strictly ascending order.
#[derive(Debug, Default)]
pub(super) struct Keys {
    bytes: Vec<u8>,
    /// Where each key ends in `bytes`; it starts where its predecessor ends.
    ends: Vec<u32>,
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
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = (low + high) / 2;
            match self.get(middle).cmp(key) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Ok(middle),
                std::cmp::Ordering::Greater => high = middle,
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
    }

    /// Appends `key`, which must be the greatest.
    pub(super) fn push(&mut self, key: &[u8]) {
        self.bytes.extend_from_slice(key);
        self.ends.push(offset(self.bytes.len()));
    }

    /// Takes everything out, into no more memory than it needs.
    pub(super) fn take_exact(&mut self) -> Self {
        let (bytes, ends) = (self.bytes.as_slice().to_vec(), self.ends.as_slice().to_vec());
        self.bytes.clear();
        self.ends.clear();
        Self { bytes, ends }
    }

    /// Takes out the key at position `i`.
    pub(super) fn remove(&mut self, i: usize) {
        let (start, end) = (self.start(i), self.ends[i] as usize);
        self.bytes.drain(start..end);
        self.ends.remove(i);
        for later in &mut self.ends[i..] {
            *later -= offset(end - start);
        }
        give_back(&mut self.bytes);
        give_back(&mut self.ends);
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
        Self { bytes, ends }
    }

    /// Appends `other`, whose keys must all be greater.
    pub(super) fn append(&mut self, other: &Self) {
        let at = offset(self.bytes.len());
        make_room(&mut self.bytes, other.bytes.len());
        make_room(&mut self.ends, other.ends.len());
        self.bytes.extend_from_slice(&other.bytes);
        self.ends.extend(other.ends.iter().map(|end| end + at));
    }

    /// The position that leaves about half of the bytes on each side.
    pub(super) fn middle(&self) -> usize {
        let half = offset(self.bytes.len() / 2);
        self.ends.partition_point(|&end| end <= half)
    }

    fn start(&self, i: usize) -> usize {
        if i == 0 { 0 } else { self.ends[i - 1] as usize }
    }
}

/// Makes room for `n` more elements and an eighth in reserve. Doubling, as vectors do by themselves, would leave a
/// quarter of the index's memory unused.
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
    use super::*;

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
