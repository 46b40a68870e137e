//! Building a tree from keys that come in order: leaf after leaf, then the inner nodes above them.
//!
//! A restart brings all keys sorted. Put in one by one, each would be searched for and half of the space
//! would stay empty behind the splits; here every entry is written once, and nodes are left with the room
//! that puts need.

use super::{Arena, Inner, Leaf, NONE, Node, Tree, Weigh};
use crate::mvcc::index::node::shortest_between;

/// Entries of a leaf and children of an inner node: seven eighths of what they may have.
const FILL_LEN: usize = 56;
/// Bytes of keys after which a node is full.
const FILL_BYTES: usize = 7 << 10;
/// An inner node takes as many children whatever their separators, or it would be no use.
const CHILDREN_MIN: usize = 4;

/// A tree under construction.
#[derive(Debug)]
pub(in crate::mvcc::index) struct Loader<V> {
    nodes: Arena<Node<V>>,
    /// The leaves so far.
    level: Vec<Child>,
    /// The leaf being filled; kept for its memory.
    leaf: Leaf<V>,
    /// What divides it from the leaf before.
    separator: Box<[u8]>,
    len: u64,
}

/// A finished node that has no parent yet.
#[derive(Debug)]
struct Child {
    /// What divides it from the node before; empty for the first of all.
    separator: Box<[u8]>,
    id: u32,
    live: u64,
}

impl<V> Default for Loader<V> {
    fn default() -> Self {
        let (nodes, level, leaf) = (Arena::default(), Vec::new(), Leaf::default());
        Loader { nodes, level, leaf, separator: Box::default(), len: 0 }
    }
}

impl<V: Weigh> Loader<V> {
    /// Takes the next entry; `key` must be above the one before.
    pub(in crate::mvcc::index) fn push(&mut self, key: &[u8], value: V) {
        let mut n = self.leaf.values.len();
        if n == FILL_LEN || (n > 0 && self.leaf.keys.byte_len() + key.len() > FILL_BYTES) {
            let separator = shortest_between(self.leaf.keys.get(n - 1), key).into();
            self.finish_leaf();
            (self.separator, n) = (separator, 0);
        }
        self.leaf.keys.insert(n, key);
        self.leaf.values.push(value);
        self.len += 1;
    }

    /// The tree of all entries.
    pub(in crate::mvcc::index) fn finish(mut self) -> Tree<V> {
        self.finish_leaf();
        let last = self.level.last().expect("there is a leaf, if an empty one").id;
        if let Node::Leaf(leaf) = &mut self.nodes[last] {
            leaf.next = NONE;
        }
        while self.level.len() > 1 {
            let mut children = std::mem::take(&mut self.level).into_iter();
            while let Some(first) = children.next() {
                self.finish_inner(first, &mut children);
            }
        }
        let Child { id: root, live, .. } = self.level.pop().expect("levels end in a root");
        Tree { nodes: self.nodes, free: Vec::new(), root, len: self.len, live, path: Vec::new() }
    }

    fn finish_leaf(&mut self) {
        let (leaf, separator) = (self.leaf.take_exact(), std::mem::take(&mut self.separator));
        let live = leaf.live_before(leaf.values.len());
        let id = self.add(Node::Leaf(leaf), separator, live);
        if let Node::Leaf(leaf) = &mut self.nodes[id] {
            leaf.next = id + 1;
        }
    }

    /// Puts a parent over `first` and those that follow. It takes in a last one that would else be alone.
    fn finish_inner(&mut self, first: Child, children: &mut std::vec::IntoIter<Child>) {
        let mut inner = Inner::of(first.id, first.live);
        let mut bytes = 0;
        while let [next, others @ ..] = children.as_slice() {
            let n = inner.children.len();
            let is_full = n >= FILL_LEN || bytes + next.separator.len() > FILL_BYTES;
            if is_full && n >= CHILDREN_MIN && !others.is_empty() {
                break;
            }
            bytes += next.separator.len();
            inner.insert(n - 1, &next.separator, (next.id, next.live));
            children.next();
        }
        let live = inner.live_before(inner.live.len());
        self.add(Node::Inner(inner), first.separator, live);
    }

    fn add(&mut self, node: Node<V>, separator: Box<[u8]>, live: u64) -> u32 {
        let id = self.nodes.push(node);
        self.level.push(Child { separator, id, live });
        id
    }
}
