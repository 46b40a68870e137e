//! An interval tree: values by key range, and the ranges that contain a key.
//!
//! A binary search tree ordered by start, then end, in which each node also knows how far the ranges under
//! it reach: a subtree that ends before the key is passed over. It is kept in balance as an AVL tree
//! (Adelson-Velsky and Landis, 1962; intervals as in Cormen et al., §14.3), since its shape must not be in
//! the hands of those who watch.
//!
//! Invariants: the heights of a node's subtrees differ by one at most; `reach` is the range under a node
//! that ends furthest. Single keys do not belong here.

use std::cmp::Ordering;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::key_range::{End, KeyRange};

/// Values by range.
#[derive(Debug)]
pub(super) struct Intervals<V> {
    root: Link<V>,
}

type Link<V> = Option<Box<Node<V>>>;

#[derive(Debug)]
struct Node<V> {
    range: Arc<KeyRange>,
    value: V,
    reach: Arc<KeyRange>,
    height: u32,
    left: Link<V>,
    right: Link<V>,
}

impl<V> Default for Intervals<V> {
    fn default() -> Self {
        Self { root: None }
    }
}

impl<V> Intervals<V> {
    /// The value of exactly this range, and the range as it is kept here.
    pub(super) fn get_mut(&mut self, range: &KeyRange) -> Option<(&Arc<KeyRange>, &mut V)> {
        let mut node = self.root.as_mut()?;
        loop {
            node = match range.cmp(&node.range) {
                Ordering::Less => node.left.as_mut()?,
                Ordering::Equal => return Some((&node.range, &mut node.value)),
                Ordering::Greater => node.right.as_mut()?,
            };
        }
    }

    /// Adds a range, or replaces its value.
    pub(super) fn insert(&mut self, range: Arc<KeyRange>, value: V) {
        assert!(!range.is_single(), "single keys are looked up by themselves");
        self.root = Some(insert(self.root.take(), range, value));
    }

    /// Removes a range with its value, if it is there.
    pub(super) fn remove(&mut self, range: &KeyRange) {
        self.root = remove(self.root.take(), range);
    }

    /// Visits all ranges that contain `key`, with their values, in the order of the ranges, until `visit`
    /// breaks; only `from` and those after it, if it is given.
    pub(super) fn containing(
        &self,
        key: &[u8],
        from: Option<&KeyRange>,
        visit: &mut dyn FnMut(&Arc<KeyRange>, &V) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        containing(&self.root, key, from, visit)
    }
}

impl<V> Node<V> {
    /// Restores the invariants after a change of one subtree by one insertion or removal.
    fn balanced(mut self: Box<Self>) -> Box<Self> {
        self.measure();
        match height(&self.left).cmp(&height(&self.right)) {
            Ordering::Greater if height(&self.left) > height(&self.right) + 1 => {
                let left = self.left.take().expect("the higher side is not empty");
                let leans_right = height(&left.right) > height(&left.left);
                self.left = Some(if leans_right { left.rotated_left() } else { left });
                self.rotated_right()
            }
            Ordering::Less if height(&self.right) > height(&self.left) + 1 => {
                let right = self.right.take().expect("the higher side is not empty");
                let leans_left = height(&right.left) > height(&right.right);
                self.right = Some(if leans_left { right.rotated_right() } else { right });
                self.rotated_left()
            }
            _ => self,
        }
    }

    /// Lifts the left child into this node's place.
    fn rotated_right(mut self: Box<Self>) -> Box<Self> {
        let Some(mut top) = self.left.take() else { return self };
        self.left = top.right.take();
        self.measure();
        top.right = Some(self);
        top.measure();
        top
    }

    /// Lifts the right child into this node's place.
    fn rotated_left(mut self: Box<Self>) -> Box<Self> {
        let Some(mut top) = self.right.take() else { return self };
        self.right = top.left.take();
        self.measure();
        top.left = Some(self);
        top.measure();
        top
    }

    /// Takes height and reach from the children.
    fn measure(&mut self) {
        self.height = 1 + height(&self.left).max(height(&self.right));
        let below = [&self.left, &self.right].into_iter().flatten().map(|child| &child.reach);
        let furthest = below.fold(&self.range, |a, b| if a.end() < b.end() { b } else { a });
        self.reach = Arc::clone(furthest);
    }

    /// The node with the least range under this one, and the rest.
    fn split_least(mut self: Box<Self>) -> (Box<Self>, Link<V>) {
        match self.left.take() {
            Some(left) => {
                let (least, rest) = left.split_least();
                self.left = rest;
                (least, Some(self.balanced()))
            }
            None => {
                let rest = self.right.take();
                (self, rest)
            }
        }
    }
}

fn height<V>(link: &Link<V>) -> u32 {
    link.as_ref().map_or(0, |node| node.height)
}

fn insert<V>(link: Link<V>, range: Arc<KeyRange>, value: V) -> Box<Node<V>> {
    let Some(mut node) = link else {
        let reach = Arc::clone(&range);
        return Box::new(Node { range, value, reach, height: 1, left: None, right: None });
    };
    match range.cmp(&node.range) {
        Ordering::Less => node.left = Some(insert(node.left.take(), range, value)),
        Ordering::Equal => node.value = value,
        Ordering::Greater => node.right = Some(insert(node.right.take(), range, value)),
    }
    node.balanced()
}

fn remove<V>(link: Link<V>, range: &KeyRange) -> Link<V> {
    let mut node = link?;
    match range.cmp(&node.range) {
        Ordering::Less => node.left = remove(node.left.take(), range),
        Ordering::Greater => node.right = remove(node.right.take(), range),
        Ordering::Equal => match (node.left.take(), node.right.take()) {
            (None, child) | (child, None) => return child,
            (left, Some(right)) => {
                let (least, rest) = right.split_least();
                node = least;
                node.left = left;
                node.right = rest;
            }
        },
    }
    Some(node.balanced())
}

fn containing<V>(
    link: &Link<V>,
    key: &[u8],
    from: Option<&KeyRange>,
    visit: &mut dyn FnMut(&Arc<KeyRange>, &V) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let Some(node) = link else { return ControlFlow::Continue(()) };
    if !ends_after(&node.reach, key) {
        return ControlFlow::Continue(());
    }
    if from.is_none_or(|from| *from <= *node.range) {
        containing(&node.left, key, from, visit)?;
        if node.range.start() <= key && ends_after(&node.range, key) {
            visit(&node.range, &node.value)?;
        }
    }
    if node.range.start() <= key {
        containing(&node.right, key, from, visit)?;
    }
    ControlFlow::Continue(())
}

fn ends_after(range: &KeyRange, key: &[u8]) -> bool {
    !matches!(range.end(), End::Before(end) if *end <= *key)
}

#[cfg(test)]
impl<V> Intervals<V> {
    pub(super) fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    pub(super) fn height(&self) -> u32 {
        height(&self.root)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn range(start: u32, end: u32) -> Arc<KeyRange> {
        let bytes = |n: u32| Bytes::copy_from_slice(&n.to_be_bytes());
        Arc::new(KeyRange::new(bytes(start), bytes(end)))
    }

    /// Asserts the invariants under a node; returns the number of nodes.
    fn check(link: &Link<u32>) -> usize {
        let Some(node) = link else { return 0 };
        assert!(height(&node.left).abs_diff(height(&node.right)) <= 1);
        assert_eq!(node.height, 1 + height(&node.left).max(height(&node.right)));
        let children = || [&node.left, &node.right].into_iter().flatten();
        let furthest = children().map(|child| child.reach.end()).chain([node.range.end()]).max();
        assert_eq!(Some(node.reach.end()), furthest);
        assert!(node.left.as_ref().is_none_or(|left| left.range < node.range));
        assert!(node.right.as_ref().is_none_or(|right| right.range > node.range));
        1 + check(&node.left) + check(&node.right)
    }

    #[test]
    fn the_tree_stays_in_balance_whatever_the_order() {
        let orders: [fn(u32) -> u32; 3] = [|i| i, |i| 999 - i, |i| i * 577 % 1000];
        for order in orders {
            let mut tree = Intervals::default();
            for (n, i) in (0..1000).map(order).zip(1..) {
                tree.insert(range(n, n + n % 17), n);
                assert_eq!(check(&tree.root), i);
            }
            assert!(tree.height() <= 14, "1.44 log2(1000)");
            for (n, gone) in (0..1000).map(|i| i * 333 % 1000).zip(1..) {
                tree.remove(&range(n, n + n % 17));
                assert_eq!(check(&tree.root), 1000 - gone);
            }
        }
    }

    #[test]
    fn the_ranges_of_a_key_are_visited_in_order() {
        let mut tree = Intervals::default();
        for (start, end) in [(5, 9), (0, 6), (5, 6), (6, 7), (0, 5)] {
            tree.insert(range(start, end), start * 10 + end);
        }
        let mut seen = Vec::new();
        let mut visit = |_: &Arc<KeyRange>, value: &u32| {
            seen.push(*value);
            ControlFlow::Continue(())
        };
        assert!(tree.containing(&5_u32.to_be_bytes(), None, &mut visit).is_continue());
        assert!(tree.containing(&5_u32.to_be_bytes(), Some(&range(5, 6)), &mut visit).is_continue());
        assert_eq!(seen, [6, 56, 59, 56, 59]);
    }

    #[test]
    fn only_the_very_range_is_found_or_removed() {
        let mut tree = Intervals::default();
        tree.insert(range(1, 3), 13);
        tree.remove(&range(1, 2));
        assert_eq!(tree.get_mut(&range(1, 2)), None);
        assert_eq!(tree.get_mut(&range(1, 3)), Some((&range(1, 3), &mut 13)));
    }
}
