//! The tree against a `BTreeMap`, and the shape of its nodes.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::mvcc::index::node::ENTRIES_MAX;

/// A value that is live if odd.
type Value = u32;

impl Weigh for Value {
    fn is_live(&self) -> bool {
        self % 2 == 1
    }
}

#[derive(Clone, Debug)]
enum Op {
    Put(u16, Value),
    Update(u16, Value),
    Remove(u16),
    /// Removes the even multiples of a number, in steps of a budget.
    Retain(Value, usize),
}

fn op() -> impl Strategy<Value = Op> {
    let key = 0..2000_u16;
    prop_oneof![
        8 => (key.clone(), any::<Value>()).prop_map(|(key, value)| Op::Put(key, value)),
        2 => (key.clone(), any::<Value>()).prop_map(|(key, value)| Op::Update(key, value)),
        4 => key.prop_map(Op::Remove),
        1 => (2..9_u32, 1..300_usize).prop_map(|(divisor, budget)| Op::Retain(divisor, budget)),
    ]
}

/// Keys of very different lengths, some with a long common prefix.
fn key_of(n: u16) -> Vec<u8> {
    match n % 50 {
        0 => [n.to_be_bytes().to_vec(), vec![b'x'; 3000]].concat(),
        1..10 => n.to_be_bytes().to_vec(),
        _ => format!("/registry/pods/namespace-{}/pod-{n}", n % 7).into_bytes(),
    }
}

/// Removes the values of which `keep` says false, in steps of `step` keys.
fn retain_all(tree: &mut Tree<Value>, step: usize, mut keep: impl FnMut(&mut Value) -> bool) {
    let mut from: Option<Box<[u8]>> = None;
    loop {
        from = retain_some(tree, from.as_deref(), step, &mut keep);
        if from.is_none() {
            return;
        }
    }
}

fn retain_some(
    tree: &mut Tree<Value>,
    from: Option<&[u8]>,
    mut step: usize,
    mut keep: impl FnMut(&mut Value) -> bool,
) -> Option<Box<[u8]>> {
    tree.retain_from(from, |_, value| {
        if step == 0 {
            return Verdict::Stop;
        }
        step -= 1;
        if keep(value) { Verdict::Keep } else { Verdict::Remove }
    })
}

fn apply(tree: &mut Tree<Value>, model: &mut BTreeMap<Vec<u8>, Value>, op: &Op) {
    match *op {
        Op::Put(n, value) => {
            tree.put(&key_of(n), value, |old, new| *old = old.wrapping_add(new));
            model.entry(key_of(n)).and_modify(|old| *old = old.wrapping_add(value)).or_insert(value);
        }
        Op::Update(n, value) => {
            let old = tree.update(&key_of(n), |slot| std::mem::replace(slot, value));
            assert_eq!(old, model.get_mut(&key_of(n)).map(|slot| std::mem::replace(slot, value)));
        }
        Op::Remove(n) => assert_eq!(tree.remove(&key_of(n)), model.remove(&key_of(n))),
        Op::Retain(divisor, budget) => {
            let doomed = |value: Value| value.is_multiple_of(2) && value.is_multiple_of(divisor);
            retain_all(tree, budget, |value| !doomed(*value));
            model.retain(|_, value| !doomed(*value));
        }
    }
}

/// Asserts the invariants of every node under `id`; returns its height.
fn check(tree: &Tree<Value>, id: u32) -> usize {
    match tree.node(id) {
        Node::Leaf(leaf) => {
            assert!(leaf.values.len() <= ENTRIES_MAX);
            assert_eq!(leaf.keys.len(), leaf.values.len());
            0
        }
        Node::Inner(inner) => {
            assert!((2..=ENTRIES_MAX).contains(&inner.children.len()));
            for (&child, &live) in inner.children.iter().zip(&inner.live) {
                assert_eq!(tree.node(child).live(), live);
            }
            let heights: Vec<usize> = inner.children.iter().map(|&child| check(tree, child)).collect();
            assert!(heights.iter().all(|&height| height == heights[0]));
            heights[0] + 1
        }
    }
}

fn entries(tree: &Tree<Value>, from: Bound<&[u8]>, until: Option<&[u8]>) -> Vec<(Vec<u8>, Value)> {
    let mut seen = Vec::new();
    let _ = tree.scan(from, until, |key, value| {
        seen.push((key.to_vec(), *value));
        ControlFlow::Continue(())
    });
    seen
}

fn numbered(n: u32) -> Vec<u8> {
    format!("/registry/pods/ns-1/name-{n:08}").into_bytes()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_tree_agrees_with_an_ordered_map(
        ops in vec(op(), 0..3000),
        probes in vec((0..2000_u16, 0..2000_u16), 20),
    ) {
        let (mut tree, mut model) = (Tree::default(), BTreeMap::new());
        for op in &ops {
            apply(&mut tree, &mut model, op);
        }
        check(&tree, tree.root);
        prop_assert_eq!(tree.len(), model.len() as u64);
        prop_assert_eq!(tree.live(), model.values().filter(|value| value.is_live()).count() as u64);
        for (low, high) in probes.iter().map(|&(a, b)| (key_of(a), key_of(b))) {
            prop_assert_eq!(tree.get(&low), model.get(&low));
            let below = model.range(..low.clone()).filter(|(_, value)| value.is_live()).count();
            prop_assert_eq!(tree.live_below(&low), below as u64);
            let after: Vec<_> =
                model.iter().filter(|(key, _)| **key > low && **key < high).map(|(k, v)| (k.clone(), *v)).collect();
            prop_assert_eq!(entries(&tree, Bound::Excluded(&low), Some(&high)), after);
        }
        let all: Vec<_> = model.into_iter().collect();
        prop_assert_eq!(entries(&tree, Bound::Unbounded, None), all);
    }
}

#[test]
fn churn_uses_the_memory_of_removed_keys_again() {
    let mut tree = Tree::default();
    for n in 0..10_000 {
        tree.put(&numbered(n), 1, |_, _| unreachable!());
    }
    let peak = tree.nodes.len();
    // A window of 10 000 keys moves through 200 000.
    for n in 10_000..200_000 {
        tree.put(&numbered(n), 1, |_, _| unreachable!());
        assert_eq!(tree.remove(&numbered(n - 10_000)), Some(1));
    }
    check(&tree, tree.root);
    assert!(tree.nodes.len() <= peak * 3, "{} nodes, {peak} at first", tree.nodes.len());
    for n in 190_000..200_000 {
        tree.remove(&numbered(n));
    }
    assert_eq!((tree.len(), tree.live()), (0, 0));
    assert_eq!(tree.nodes.len() - tree.free.len(), 1, "only an empty root is left");
}

#[test]
fn the_tree_stays_whole_whatever_the_order_of_removal() {
    let orders: [fn(u32) -> u32; 3] = [|i| i, |i| 999 - i, |i| i * 577 % 1000];
    for (put, remove) in orders.iter().flat_map(|put| orders.iter().map(move |remove| (put, remove))) {
        let mut tree = Tree::default();
        (0..1000).map(put).for_each(|n| tree.put(&numbered(n), n, |_, _| unreachable!()));
        for n in (0..1000).map(remove) {
            assert_eq!(tree.remove(&numbered(n)), Some(n));
            check(&tree, tree.root);
            assert_eq!(entries(&tree, Bound::Unbounded, None).len() as u64, tree.len());
        }
    }
}

#[test]
fn a_loaded_tree_is_whole_and_takes_changes() {
    for len in [0, 1, 56, 57, 112, 1000, 56 * 56 + 1, 20_000] {
        let (mut loader, mut model) = (Loader::default(), BTreeMap::new());
        for n in 0..len {
            loader.push(&numbered(2 * n), n);
            model.insert(numbered(2 * n), n);
        }
        let mut tree = loader.finish();
        check(&tree, tree.root);
        assert_eq!((tree.len(), tree.live()), (u64::from(len), u64::from(len / 2)));
        for n in 0..len.min(3000) {
            tree.put(&numbered(2 * n + 1), n, |_, _| unreachable!());
            model.insert(numbered(2 * n + 1), n);
            assert_eq!(tree.remove(&numbered(2 * (len - 1 - n))), model.remove(&numbered(2 * (len - 1 - n))));
        }
        check(&tree, tree.root);
        assert_eq!(entries(&tree, Bound::Unbounded, None), model.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn a_tree_loaded_with_large_keys_has_small_nodes() {
    let mut loader = Loader::default();
    for n in 0..300_u16 {
        loader.push(&[&[b'x'; 4096], &n.to_be_bytes()[..]].concat(), 1);
    }
    let tree = loader.finish();
    check(&tree, tree.root);
    for id in 0..tree.nodes.len() {
        match tree.node(id as u32) {
            Node::Leaf(leaf) => assert!(leaf.values.len() <= 2),
            Node::Inner(inner) => assert!(inner.children.len() <= 5),
        }
    }
}

#[test]
fn a_step_that_ends_with_the_last_key_is_the_last_step() {
    let mut tree = Tree::default();
    for n in 0..100 {
        tree.put(&numbered(n), 2, |_, _| unreachable!());
    }
    assert_eq!(retain_some(&mut tree, None, 99, |_| true).as_deref(), Some(&numbered(99)[..]));
    assert_eq!(retain_some(&mut tree, None, 100, |_| true), None);
    assert_eq!(retain_some(&mut tree, Some(&numbered(99)), 1, |_| false), None);
    assert_eq!(tree.len(), 99);
}

#[test]
fn large_keys_split_nodes_early() {
    let mut tree = Tree::default();
    for n in 0..64_u16 {
        tree.put(&[&n.to_be_bytes()[..], &[b'x'; 4096]].concat(), 1, |_, _| unreachable!());
    }
    let leaves = (0..tree.nodes.len())
        .map(|id| tree.node(id as u32))
        .filter(|node| matches!(node, Node::Leaf(_)))
        .count();
    assert!(leaves >= 32, "{leaves} leaves hold 64 keys of 4 KiB");
    check(&tree, tree.root);
}
