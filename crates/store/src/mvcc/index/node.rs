//! Nodes of the key tree: leaves with keys and values, inner nodes with separators, children and their
//! counts.
//!
//! A node is overfull past [`ENTRIES_MAX`] entries, or past [`KEY_BYTES_MAX`] bytes of keys if it can still
//! be split: keys of a megabyte must not make an insertion move a hundred of them. It is underfull below a
//! quarter of both. Nodes know nothing of each other; the tree keeps them together.

use super::keys::{Keys, common_len, give_back, make_room};

/// Most entries of a leaf, and children of an inner node.
pub(super) const ENTRIES_MAX: usize = 64;

/// Bytes of keys above which a node is split early.
const KEY_BYTES_MAX: usize = 8 << 10;

/// In place of a node's number: there is none.
pub(super) const NONE: u32 = u32::MAX;

/// What a value tells the tree that holds it.
pub(super) trait Weigh {
    /// Whether the value counts. The tree knows the number of such values in any range.
    fn is_live(&self) -> bool;
}

/// A node of the tree.
#[derive(Debug)]
pub(super) enum Node<V> {
    Leaf(Leaf<V>),
    Inner(Inner),
}

/// Entries in key order.
#[derive(Debug)]
pub(super) struct Leaf<V> {
    pub(super) keys: Keys,
    pub(super) values: Vec<V>,
    /// The leaf that follows in key order, or [`NONE`].
    pub(super) next: u32,
}

/// Children in key order. Child `i + 1` holds the keys from separator `i` on.
#[derive(Debug, Default)]
pub(super) struct Inner {
    separators: Keys,
    pub(super) children: Vec<u32>,
    /// Live values under each child.
    pub(super) live: Vec<u64>,
}

impl<V: Weigh> Node<V> {
    pub(super) fn is_overfull(&self) -> bool {
        let (len, byte_len, divisible) = self.size();
        len > ENTRIES_MAX || byte_len > KEY_BYTES_MAX && divisible
    }

    pub(super) fn is_underfull(&self) -> bool {
        let (len, byte_len, _) = self.size();
        let has_one_child = len < 2 && matches!(self, Self::Inner(_));
        has_one_child || len == 0 || len < ENTRIES_MAX / 4 && byte_len < KEY_BYTES_MAX / 4
    }

    /// Number of live values under this node.
    pub(super) fn live(&self) -> u64 {
        match self {
            Self::Leaf(leaf) => leaf.live_before(leaf.values.len()),
            Self::Inner(inner) => inner.live.iter().sum(),
        }
    }

    /// Moves the upper part to a new node. Returns it with its separator: a key above those that stay, and
    /// not above those that go. `right_id` is the number the new node will have.
    pub(super) fn split(&mut self, right_id: u32) -> (Box<[u8]>, Self) {
        match self {
            Self::Leaf(leaf) => {
                let (separator, right) = leaf.split(right_id);
                (separator, Self::Leaf(right))
            }
            Self::Inner(inner) => {
                let (separator, right) = inner.split();
                (separator, Self::Inner(right))
            }
        }
    }

    /// Takes over all of `right`, the next sibling of the same kind, which `separator` divides from this
    /// one.
    pub(super) fn absorb(&mut self, separator: &[u8], right: Self) {
        match (self, right) {
            (Self::Leaf(left), Self::Leaf(right)) => left.absorb(right),
            (Self::Inner(left), Self::Inner(right)) => left.absorb(separator, right),
            _ => unreachable!("siblings are at the same height"),
        }
    }

    /// Entries or children, bytes of keys, and whether a split leaves two proper nodes.
    fn size(&self) -> (usize, usize, bool) {
        match self {
            Self::Leaf(leaf) => (leaf.values.len(), leaf.keys.byte_len(), leaf.values.len() >= 2),
            Self::Inner(inner) => {
                (inner.children.len(), inner.separators.byte_len(), inner.children.len() >= 4)
            }
        }
    }
}

impl<V> Default for Leaf<V> {
    fn default() -> Self {
        Self { keys: Keys::default(), values: Vec::new(), next: NONE }
    }
}

impl<V: Weigh> Leaf<V> {
    /// Number of live values among the first `n`.
    pub(super) fn live_before(&self, n: usize) -> u64 {
        self.values[..n].iter().map(|value| u64::from(value.is_live())).sum()
    }

    pub(super) fn insert(&mut self, i: usize, key: &[u8], value: V) {
        self.keys.insert(i, key);
        make_room(&mut self.values, 1);
        self.values.insert(i, value);
    }

    /// Takes everything out, into no more memory than it needs; this leaf keeps its own.
    pub(super) fn take_exact(&mut self) -> Self {
        let mut values = Vec::with_capacity(self.values.len());
        values.append(&mut self.values);
        Self { keys: self.keys.take_exact(), values, next: self.next }
    }

    pub(super) fn remove(&mut self, i: usize) -> V {
        self.keys.remove(i);
        let value = self.values.remove(i);
        give_back(&mut self.values);
        value
    }

    fn split(&mut self, right_id: u32) -> (Box<[u8]>, Self) {
        let at = self.keys.middle().clamp(1, self.values.len() - 1);
        let separator = shortest_between(self.keys.get(at - 1), self.keys.get(at)).into();
        let right =
            Self { keys: self.keys.split_off(at), values: self.values.split_off(at), next: self.next };
        self.values.shrink_to_fit();
        self.next = right_id;
        (separator, right)
    }

    fn absorb(&mut self, right: Self) {
        self.keys.append(&right.keys);
        make_room(&mut self.values, right.values.len());
        self.values.extend(right.values);
        self.next = right.next;
    }
}

impl Inner {
    /// A node with one child, which is too few: others must follow.
    pub(super) fn of(child: u32, live: u64) -> Self {
        Self { children: vec![child], live: vec![live], ..Self::default() }
    }

    /// The root over two children.
    pub(super) fn over(left: (u32, u64), separator: &[u8], right: (u32, u64)) -> Self {
        let mut inner = Self::of(left.0, left.1);
        inner.insert(0, separator, right);
        inner
    }

    /// The position of the child under which `key` belongs.
    pub(super) fn child_of(&self, key: &[u8]) -> usize {
        self.separators.search(key).map_or_else(|i| i, |i| i + 1)
    }

    /// Number of live values under the first `n` children.
    pub(super) fn live_before(&self, n: usize) -> u64 {
        self.live[..n].iter().sum()
    }

    /// The separator between child `i` and the next.
    pub(super) fn separator(&self, i: usize) -> &[u8] {
        self.separators.get(i)
    }

    /// Puts a child with its live count behind child `i`.
    pub(super) fn insert(&mut self, i: usize, separator: &[u8], (child, live): (u32, u64)) {
        self.separators.insert(i, separator);
        self.children.insert(i + 1, child);
        self.live.insert(i + 1, live);
    }

    /// Takes out the child behind child `i`, and their separator; its live values now count under child `i`.
    pub(super) fn fold(&mut self, i: usize) {
        self.separators.remove(i);
        self.children.remove(i + 1);
        self.live[i] += self.live.remove(i + 1);
    }

    fn split(&mut self) -> (Box<[u8]>, Self) {
        let at = self.separators.middle().clamp(1, self.children.len() - 3);
        let separator = self.separators.get(at).into();
        let right = Self {
            separators: self.separators.split_off(at + 1),
            children: self.children.split_off(at + 1),
            live: self.live.split_off(at + 1),
        };
        self.separators.remove(at);
        (separator, right)
    }

    fn absorb(&mut self, separator: &[u8], right: Self) {
        self.separators.insert(self.separators.len(), separator);
        self.separators.append(&right.separators);
        self.children.extend(right.children);
        self.live.extend(right.live);
    }
}

/// The shortest prefix of `right` that is greater than `left`, for `left < right`. Short separators keep
/// inner nodes small.
pub(super) fn shortest_between<'a>(left: &[u8], right: &'a [u8]) -> &'a [u8] {
    &right[..=common_len(left, right)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_separator_is_the_shortest_prefix_above_the_left_key() {
        assert_eq!(shortest_between(b"apple", b"apricot"), b"apr");
        assert_eq!(shortest_between(b"app", b"apple"), b"appl");
        assert_eq!(shortest_between(b"", b"a"), b"a");
    }
}
