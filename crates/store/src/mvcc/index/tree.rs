//! A B+tree from byte strings to values that knows how many live values any range holds.
//!
//! Nodes are stored in one arena and refer to each other by number, so the tree needs no unsafe code and no
//! reference counts. Inner nodes keep the number of live values under each child: a count descends twice and
//! never walks. Leaves are linked in key order for scans. A node that runs low takes over its sibling (and
//! is split again if that was too much), so the memory of removed keys is used again.
//!
//! Invariants: keys of a leaf ascend and lie between its separators; an inner node has two children or more;
//! all leaves are at the same height; `live[i]` is the number of live values under `children[i]`.
//!
//! The B+tree is Comer's ("The Ubiquitous B-Tree", 1979); the counts make it an order-statistic tree.

mod load;

use std::ops::{Bound, ControlFlow};

pub(super) use self::load::Loader;
use super::arena::Arena;
use super::node::{Inner, Leaf, NONE, Node, Weigh};
use crate::work;

/// An ordered map with counts.
#[derive(Debug)]
pub(super) struct Tree<V> {
    nodes: Arena<Node<V>>,
    /// Numbers of nodes not in use.
    free: Vec<u32>,
    root: u32,
    len: u64,
    live: u64,
    /// The inner nodes of the last descent for a change, root first. Kept for its memory.
    path: Vec<Step>,
}

/// Where a key was found. Changes of the tree may make it wrong; [`Tree::value_at`] notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    leaf: u32,
    at: u32,
}

/// What is to happen to an entry that [`Tree::retain_from`] has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Keep,
    Remove,
    /// It stays, and no further one is shown.
    Stop,
}

/// One inner node of a descent, and the position of the child taken there.
#[derive(Clone, Copy, Debug)]
struct Step {
    node: u32,
    child: usize,
}

impl<V> Default for Tree<V> {
    fn default() -> Self {
        let mut nodes = Arena::default();
        let root = nodes.push(Node::Leaf(Leaf::default()));
        Self { nodes, free: Vec::new(), root, len: 0, live: 0, path: Vec::new() }
    }
}

impl<V: Weigh> Tree<V> {
    /// Number of keys.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Number of keys with a live value.
    pub(super) fn live(&self) -> u64 {
        self.live
    }

    /// The value of `key`.
    pub(super) fn get(&self, key: &[u8]) -> Option<&V> {
        let leaf = self.leaf(self.leaf_of(key));
        leaf.keys.search(key).ok().map(|i| &leaf.values[i])
    }

    /// The value of `key`, and where it was found.
    pub(super) fn find(&self, key: &[u8]) -> Option<(Place, &V)> {
        let id = self.leaf_of(key);
        let leaf = self.leaf(id);
        let i = leaf.keys.search(key).ok()?;
        let at = u32::try_from(i).expect("a leaf has few entries");
        Some((Place { leaf: id, at }, &leaf.values[i]))
    }

    /// The value of `key` if it is still at `place`. It must not be changed from live to not live or back.
    pub(super) fn value_at(&mut self, place: Place, key: &[u8]) -> Option<&mut V> {
        let at = place.at as usize;
        // A number once given stays one of a node, if of another.
        match &mut self.nodes[place.leaf] {
            Node::Leaf(leaf) if at < leaf.keys.len() && leaf.keys.get(at) == key => leaf.values.get_mut(at),
            _ => None,
        }
    }

    /// Changes the value of `key`, and returns what `change` does; `None` if there is no such key.
    pub(super) fn update<R>(&mut self, key: &[u8], change: impl FnOnce(&mut V) -> R) -> Option<R> {
        let id = self.descend(key);
        let leaf = self.leaf_mut(id);
        let i = leaf.keys.search(key).ok()?;
        let before = leaf.values[i].is_live();
        let result = change(&mut leaf.values[i]);
        let after = leaf.values[i].is_live();
        self.count(before, after);
        Some(result)
    }

    /// Inserts `key` with `value`; if it exists, `merge` brings the two values together instead.
    pub(super) fn put(&mut self, key: &[u8], value: V, merge: impl FnOnce(&mut V, V)) {
        let id = self.descend(key);
        let leaf = self.leaf_mut(id);
        match leaf.keys.search(key) {
            Ok(i) => {
                let before = leaf.values[i].is_live();
                merge(&mut leaf.values[i], value);
                let after = leaf.values[i].is_live();
                self.count(before, after);
            }
            Err(i) => {
                let live = value.is_live();
                leaf.insert(i, key, value);
                self.len += 1;
                self.count(false, live);
                self.split_upwards(id);
            }
        }
    }

    /// Removes `key` and returns its value.
    pub(super) fn remove(&mut self, key: &[u8]) -> Option<V> {
        let id = self.descend(key);
        let leaf = self.leaf_mut(id);
        let i = leaf.keys.search(key).ok()?;
        let value = leaf.remove(i);
        self.len -= 1;
        self.count(value.is_live(), false);
        self.merge_upwards(id);
        Some(value)
    }

    /// Number of live values with keys below `key`.
    pub(super) fn live_below(&self, key: &[u8]) -> u64 {
        let mut below = 0;
        let mut id = self.root;
        loop {
            match self.node(id) {
                Node::Inner(inner) => {
                    let child = inner.child_of(key);
                    below += inner.live_before(child);
                    id = inner.children[child];
                }
                Node::Leaf(leaf) => return below + leaf.live_before(leaf.keys.lower_bound(key)),
            }
        }
    }

    /// Visits the entries from `from` up to but not including `until` (`None`: to the last), in key order,
    /// until `visit` breaks.
    pub(super) fn scan(
        &self,
        from: Bound<&[u8]>,
        until: Option<&[u8]>,
        mut visit: impl FnMut(&[u8], &V) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let (mut id, mut i) = self.seek(from);
        while id != NONE {
            let leaf = self.leaf(id);
            let stop = until.map_or(leaf.values.len(), |end| leaf.keys.lower_bound(end));
            for at in i..stop {
                work::count(1);
                visit(leaf.keys.get(at), &leaf.values[at])?;
            }
            if stop < leaf.values.len() {
                break;
            }
            (id, i) = (leaf.next, 0);
        }
        ControlFlow::Continue(())
    }

    /// Shows the values from the key `from` on (`None`: from the first) to `visit`, in key order, and
    /// removes those of which it says so. `visit` may change a value, but not whether it is live.
    ///
    /// Returns the key at which `visit` stopped, or `None` once the last was seen.
    pub(super) fn retain_from(
        &mut self,
        from: Option<&[u8]>,
        mut visit: impl FnMut(&[u8], &mut V) -> Verdict,
    ) -> Option<Box<[u8]>> {
        let (mut id, mut i) = self.seek(from.map_or(Bound::Unbounded, Bound::Included));
        let mut doomed: Vec<Box<[u8]>> = Vec::new();
        let mut stopped_at = None;
        while id != NONE {
            let leaf = self.leaf_mut(id);
            if i == leaf.values.len() {
                (id, i) = (leaf.next, 0);
                continue;
            }
            work::count(1);
            let key = leaf.keys.get(i);
            match visit(key, &mut leaf.values[i]) {
                Verdict::Keep => {}
                Verdict::Remove => doomed.push(key.into()),
                Verdict::Stop => {
                    stopped_at = Some(key.into());
                    break;
                }
            }
            i += 1;
        }
        for key in doomed {
            self.remove(&key);
        }
        stopped_at
    }

    fn node(&self, id: u32) -> &Node<V> {
        &self.nodes[id]
    }

    fn leaf(&self, id: u32) -> &Leaf<V> {
        match self.node(id) {
            Node::Leaf(leaf) => leaf,
            Node::Inner(_) => unreachable!("a descent and the links between leaves end at leaves"),
        }
    }

    fn leaf_mut(&mut self, id: u32) -> &mut Leaf<V> {
        match &mut self.nodes[id] {
            Node::Leaf(leaf) => leaf,
            Node::Inner(_) => unreachable!("a descent and the links between leaves end at leaves"),
        }
    }

    fn inner_mut(&mut self, id: u32) -> &mut Inner {
        match &mut self.nodes[id] {
            Node::Inner(inner) => inner,
            Node::Leaf(_) => unreachable!("the steps of a path are inner nodes"),
        }
    }

    /// The leaf under which `key` belongs.
    fn leaf_of(&self, key: &[u8]) -> u32 {
        let mut id = self.root;
        while let Node::Inner(inner) = self.node(id) {
            id = inner.children[inner.child_of(key)];
        }
        id
    }

    /// The leaf and position of the first entry within `from`; the position may be one past the leaf's last.
    fn seek(&self, from: Bound<&[u8]>) -> (u32, usize) {
        let (key, excluded) = match from {
            Bound::Included(key) => (key, false),
            Bound::Excluded(key) => (key, true),
            Bound::Unbounded => (&[][..], false),
        };
        let id = self.leaf_of(key);
        let i = match self.leaf(id).keys.search(key) {
            Ok(i) => i + usize::from(excluded),
            Err(i) => i,
        };
        (id, i)
    }

    /// Like [`Self::leaf_of`], leaving the way there in `path`.
    fn descend(&mut self, key: &[u8]) -> u32 {
        self.path.clear();
        let mut id = self.root;
        while let Node::Inner(inner) = &self.nodes[id] {
            let child = inner.child_of(key);
            self.path.push(Step { node: id, child });
            id = inner.children[child];
        }
        id
    }

    /// Counts a value at the end of `path` that was live or not before, and is or is not now.
    fn count(&mut self, before: bool, after: bool) {
        if before == after {
            return;
        }
        let adjust = |n: &mut u64| if after { *n += 1 } else { *n -= 1 };
        adjust(&mut self.live);
        for at in 0..self.path.len() {
            let Step { node, child } = self.path[at];
            adjust(&mut self.inner_mut(node).live[child]);
        }
    }

    /// Splits the node at the end of `path` and those above it, as far as they are overfull.
    fn split_upwards(&mut self, mut id: u32) {
        while self.node(id).is_overfull() {
            let parent = self.path.pop();
            self.split(id, parent);
            let Some(step) = parent else { return };
            id = step.node;
        }
    }

    /// Splits one node; `parent` is the step that led to it, or `None` for the root.
    fn split(&mut self, id: u32, parent: Option<Step>) {
        let right_id = self.reserve();
        let (separator, right) = self.nodes[id].split(right_id);
        let right_live = right.live();
        self.nodes[right_id] = right;
        if let Some(Step { node, child }) = parent {
            let parent = self.inner_mut(node);
            parent.live[child] -= right_live;
            parent.insert(child, &separator, (right_id, right_live));
        } else {
            let left_live = self.live - right_live;
            self.root = self.reserve();
            self.nodes[self.root] =
                Node::Inner(Inner::over((id, left_live), &separator, (right_id, right_live)));
        }
    }

    /// Joins the node at the end of `path` and those above it with a sibling, as far as they are underfull.
    fn merge_upwards(&mut self, mut id: u32) {
        while self.node(id).is_underfull() {
            let Some(step) = self.path.pop() else { break };
            self.merge(step);
            id = step.node;
        }
        while let Node::Inner(inner) = self.node(self.root)
            && let [child] = inner.children[..]
        {
            self.release(self.root);
            self.root = child;
        }
    }

    /// Joins the child of a step with the next one (the last child: with the one before), and divides the
    /// two anew if they are too much for one node.
    fn merge(&mut self, Step { node, child }: Step) {
        let parent = self.inner_mut(node);
        let left = child.min(parent.children.len() - 2);
        let separator: Box<[u8]> = parent.separator(left).into();
        let (left_id, right_id) = (parent.children[left], parent.children[left + 1]);
        parent.fold(left);
        let right = self.release(right_id);
        let joined = &mut self.nodes[left_id];
        joined.absorb(&separator, right);
        if joined.is_overfull() {
            self.split(left_id, Some(Step { node, child: left }));
        }
    }

    /// The number of an unused node.
    fn reserve(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| self.nodes.push(Node::Leaf(Leaf::default())))
    }

    /// Takes a node out of the arena.
    fn release(&mut self, id: u32) -> Node<V> {
        self.free.push(id);
        std::mem::replace(&mut self.nodes[id], Node::Leaf(Leaf::default()))
    }
}

#[cfg(test)]
mod tests;
