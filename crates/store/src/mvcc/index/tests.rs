//! The index against a plain list of changes.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// Every change ever made, by key; answers by the definitions.
#[derive(Default)]
struct Model {
    changes: BTreeMap<Vec<u8>, Vec<Newest>>,
}

impl Model {
    /// What a put or a delete of `key` at `revision` amounts to; `None` for a delete of nothing.
    fn change(&self, key: &[u8], revision: Revision, tombstone: bool) -> Option<Newest> {
        let last = self.changes.get(key).and_then(|changes| changes.last()).filter(|last| !last.tombstone);
        let location =
            Location { segment: 7, offset: u32::try_from(revision.main).unwrap(), len: revision.sub };
        let (create_revision, version) = match (tombstone, last) {
            (true, None) => return None,
            (true, Some(_)) => (0, 0),
            (false, None) => (revision.main, 1),
            (false, Some(last)) => (last.create_revision, last.version + 1),
        };
        Some(Newest { revision, tombstone, create_revision, version, location })
    }

    fn at(&self, key: &[u8], at: i64) -> Option<Newest> {
        let seen = self.changes.get(key)?.iter().rfind(|change| change.revision.main <= at)?;
        (!seen.tombstone).then_some(*seen)
    }

    fn range(&self, range: &KeyRange, at: i64) -> Vec<(Vec<u8>, Revision)> {
        let keys = self.changes.keys().filter(|key| range.contains(key));
        keys.filter_map(|key| Some((key.clone(), self.at(key, at)?.revision))).collect()
    }

    fn retained(&self, compacted: i64) -> Vec<(Vec<u8>, Revision)> {
        let mut retained = Vec::new();
        for (key, changes) in &self.changes {
            let boundary = changes.iter().rfind(|change| change.revision.main <= compacted);
            let lost = |change: &Newest| {
                boundary.is_some_and(|last| {
                    change.revision < last.revision
                        || change == last && last.tombstone && last.revision.main < compacted
                })
            };
            retained.extend(changes.iter().filter(|c| !lost(c)).map(|c| (key.clone(), c.revision)));
        }
        retained
    }
}

#[derive(Clone, Debug)]
enum Op {
    /// A transaction: keys, each with whether it is deleted.
    Txn(Vec<(u8, bool)>),
    /// A compaction this far behind the current revision, trimmed in steps of so many keys, at most so many
    /// steps.
    Compact(i64, usize, usize),
    /// The index is built anew from all changes, those that a compaction has dropped included.
    Restart,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        20 => vec((0..120_u8, prop::bool::weighted(0.35)), 1..4).prop_map(Op::Txn),
        1 => (0..40_i64, 1..50_usize, 1..6_usize).prop_map(|(back, budget, steps)| Op::Compact(back, budget, steps)),
        1 => Just(Op::Restart),
    ]
}

fn key_of(n: u8) -> Vec<u8> {
    format!("/registry/pods/ns-{}/name-{n}", n % 3).into_bytes()
}

/// An index, the model of it, and how far both have come.
#[derive(Default)]
struct Pair {
    index: Index,
    model: Model,
    current: i64,
    compacted: i64,
}

impl Pair {
    fn apply(&mut self, op: &Op) {
        match op {
            Op::Txn(changes) => self.txn(changes),
            Op::Restart => self.restart(),
            &Op::Compact(back, budget, steps) => {
                self.compacted = self.compacted.max(self.current - back);
                let mut after: Option<Box<[u8]>> = None;
                for _ in 0..steps {
                    after =
                        self.index.compact_step(self.compacted, &[], after.as_deref(), budget, &mut |_| ());
                    if after.is_none() {
                        break;
                    }
                }
            }
        }
    }

    fn restart(&mut self) {
        let mut loader = Loader::new(self.compacted);
        for (key, changes) in &self.model.changes {
            changes.iter().for_each(|change| loader.put(key, change, &mut |_| ()));
        }
        self.index = loader.finish(self.current, &mut |_| ());
    }

    fn txn(&mut self, changes: &[(u8, bool)]) {
        self.current += 1;
        for (&(n, tombstone), sub) in changes.iter().zip(0..) {
            let revision = Revision { main: self.current, sub };
            if let Some(change) = self.model.change(&key_of(n), revision, tombstone) {
                self.index.put(&key_of(n), change);
                self.model.changes.entry(key_of(n)).or_default().push(change);
            }
        }
    }

    /// The keys of a range, read in steps of `steps` keys of the index or `chunk` keys found.
    fn scan(&self, range: &KeyRange, at: i64, steps: usize, chunk: usize) -> Vec<(Vec<u8>, Revision)> {
        let mut seen: Vec<(Vec<u8>, Revision)> = Vec::new();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let before = seen.len();
            after = self.index.range(range, at, after.as_deref(), &mut { steps }, &mut |key, found| {
                seen.push((key.to_vec(), found.revision));
                if seen.len() - before < chunk { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
            if after.is_none() {
                return seen;
            }
        }
    }

    fn retained(&self, steps: usize) -> Vec<Revision> {
        let mut seen = Vec::new();
        let mut from: Option<ChangeOf> = None;
        loop {
            from = self.index.retained(self.compacted, self.current, from.as_ref(), steps, &mut |change| {
                seen.push(change.revision);
                ControlFlow::Continue(())
            });
            if from.is_none() {
                return seen;
            }
        }
    }
}

fn all() -> KeyRange {
    KeyRange::new(Bytes::from("\0"), Bytes::from("\0"))
}

fn ranges() -> Vec<KeyRange> {
    let named = [
        ("/registry/pods/ns-1/", "/registry/pods/ns-10"),
        ("/registry/pods/ns-1/name-4", ""),
        ("/registry/pods/ns-2/", "\0"),
        ("/registry/pods/ns-2/", "/registry/pods/ns-1/"),
        ("\0", "\0"),
    ];
    named.map(|(key, end)| KeyRange::new(Bytes::from(key), Bytes::from(end))).to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_index_agrees_with_a_list_of_all_changes(ops in vec(op(), 0..400), chunk in 1..40_usize) {
        let mut pair = Pair::default();
        for op in &ops {
            pair.apply(op);
        }
        for at in pair.compacted..=pair.current {
            for range in ranges() {
                let expected = pair.model.range(&range, at);
                let count = pair.index.count_at(&range, at);
                prop_assert!(count.is_none_or(|count| count == expected.len() as u64));
                prop_assert_eq!(&pair.scan(&range, at, chunk, usize::MAX), &expected);
                prop_assert_eq!(pair.scan(&range, at, usize::MAX, chunk), expected);
            }
        }
        for range in ranges() {
            let now = pair.model.range(&range, pair.current).len() as u64;
            prop_assert_eq!(pair.index.count(&range), now);
        }
        prop_assert_eq!(pair.index.tree.live(), pair.index.count(&all()));
        let retained: Vec<_> = pair.model.retained(pair.compacted).into_iter().map(|(_, revision)| revision).collect();
        prop_assert_eq!(pair.retained(chunk), retained);
    }

    #[test]
    fn a_finished_compaction_leaves_exactly_what_is_retained(ops in vec(op(), 0..300), budget in 1..50_usize) {
        let mut pair = Pair::default();
        for op in &ops {
            pair.apply(op);
        }
        let all = pair.model.changes.values().flatten().count();
        let mut dropped = 0;
        let mut after: Option<Box<[u8]>> = None;
        let had = pair.model.changes.iter().flat_map(|(key, changes)| changes.iter().map(move |c| (key, c.revision)));
        let held_before = had.clone().filter(|(key, revision)| pair.index.has(key, *revision)).count();
        loop {
            after = pair.index.compact_step(pair.compacted, &[], after.as_deref(), budget, &mut |_| dropped += 1);
            if after.is_none() {
                break;
            }
        }
        let held: Vec<_> = had.filter(|(key, revision)| pair.index.has(key, *revision)).map(|(k, r)| (k.clone(), r)).collect();
        prop_assert!(held_before <= all);
        prop_assert_eq!(held_before - dropped, held.len());
        prop_assert_eq!(&held, &pair.model.retained(pair.compacted));
        let keys: std::collections::BTreeSet<_> = held.iter().map(|(key, _)| key).collect();
        prop_assert_eq!(pair.index.len(), keys.len() as u64);
    }
}

fn put(index: &mut Index, key: &str, main: i64) -> Newest {
    let location = Location { segment: 1, offset: 0, len: 1 };
    let revision = Revision { main, sub: 0 };
    let newest = Newest { revision, tombstone: false, create_revision: main, version: 1, location };
    index.put(key.as_bytes(), newest);
    newest
}

#[test]
fn the_newest_change_is_told_with_its_tombstone() {
    let mut index = Index::default();
    let first = put(&mut index, "a", 2);
    assert_eq!(index.newest(b"a"), Some(first));
    let revision = Revision { main: 3, sub: 0 };
    let tombstone = Newest { revision, tombstone: true, create_revision: 0, version: 0, ..first };
    index.put(b"a", tombstone);
    assert_eq!(index.newest(b"a"), Some(tombstone));
    assert_eq!(index.newest(b"b"), None);
    assert_eq!((index.len(), index.count(&all())), (1, 0));
}

#[test]
fn a_moved_record_is_found_at_its_new_place() {
    let mut index = Index::default();
    let (first, second) = (put(&mut index, "a", 2).revision, put(&mut index, "a", 3).revision);
    let [to_first, to_second] = [10, 20].map(|offset| Location { segment: 2, offset, len: 1 });
    assert!(index.relocate(b"a", first, to_first) && index.relocate(b"a", second, to_second));
    assert_eq!(index.at(b"a", 2).unwrap().location, to_first);
    assert_eq!(index.at(b"a", 3).unwrap().location, to_second);
    assert!(!index.relocate(b"a", Revision { main: 9, sub: 0 }, to_first));
    assert!(!index.relocate(b"b", first, to_first));
}

#[test]
fn a_count_that_would_take_long_is_left_to_a_walk() {
    let mut index = Index::default();
    for main in 2..2000 {
        put(&mut index, &format!("key-{:04}", main % 1000), main);
    }
    let few = KeyRange::new(Bytes::from("key-0500"), Bytes::from("key-0502"));
    assert_eq!(index.count_at(&few, 499), None, "998 keys came since, more than are looked at for two");
    assert_eq!(index.count_at(&few, 1000), Some(2));
    assert_eq!(index.count_at(&all(), 500), Some(499));
    let single = KeyRange::new(Bytes::from("key-0500"), Bytes::new());
    assert_eq!([499, 500].map(|at| index.count_at(&single, at)), [Some(0), Some(1)]);
}

#[test]
fn keys_that_do_not_exist_take_steps_too() {
    let mut index = Index::default();
    for main in 2..1000 {
        put(&mut index, &format!("key-{main:04}"), main);
    }
    let before = work::steps();
    let stopped_at = index.range(&all(), 1, None, &mut { 100 }, &mut |_, _| panic!("there is none at 1"));
    assert_eq!(stopped_at.as_deref(), Some(&b"key-0101"[..]));
    assert_eq!(work::steps() - before, 100);
}

#[test]
fn a_step_of_trimming_is_bounded_however_many_versions_a_key_has() {
    let mut index = Index::default();
    for main in 2..1000 {
        put(&mut index, "hot", main);
    }
    put(&mut index, "warm", 1000);
    let mut n_dropped = 0;
    let mut from: Option<Box<[u8]>> = None;
    let mut steps = 0;
    loop {
        from = index.compact_step(1000, &[], from.as_deref(), 100, &mut |_| n_dropped += 1);
        steps += 1;
        if from.is_none() {
            break;
        }
        assert_eq!(n_dropped, 100 * steps, "the key is gone on with");
    }
    assert_eq!((n_dropped, index.len()), (997, 2));
}
