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
    /// A compaction this far behind the current revision, trimmed in steps of so many keys, at most so many steps.
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
                let mut after = None;
                for _ in 0..steps {
                    after = self.index.compact_step(self.compacted, after, budget, &mut |_| ());
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

    fn scan(&self, range: &KeyRange, at: i64, chunk: usize) -> Vec<(Vec<u8>, Revision)> {
        let mut seen: Vec<(Vec<u8>, Revision)> = Vec::new();
        loop {
            let (before, after) = (seen.len(), seen.last().map(|(key, _)| key.clone()));
            self.index.range(range, at, after.as_deref(), &mut |key, found| {
                seen.push((key.to_vec(), found.revision));
                if seen.len() - before < chunk { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
            if seen.len() - before < chunk {
                return seen;
            }
        }
    }

    fn retained(&self, budget: usize) -> Vec<Revision> {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            after = self.index.retained(self.compacted, self.current, after, budget, &mut |change| {
                seen.push(change.revision);
            });
            if after.is_none() {
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
                prop_assert_eq!(pair.index.count_at(&range, at), expected.len() as u64);
                prop_assert_eq!(pair.index.walk_count(&range, at), expected.len() as u64);
                prop_assert_eq!(pair.scan(&range, at, chunk), expected);
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
        let (mut dropped, mut after) = (0, None);
        let had = pair.model.changes.iter().flat_map(|(key, changes)| changes.iter().map(move |c| (key, c.revision)));
        let held_before = had.clone().filter(|(key, revision)| pair.index.has(key, *revision)).count();
        loop {
            after = pair.index.compact_step(pair.compacted, after, budget, &mut |_| dropped += 1);
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
fn a_count_from_before_the_journal_walks() {
    let mut index = Index::default();
    for main in 2..2000 {
        put(&mut index, &format!("key-{:04}", main % 1000), main);
    }
    // 998 keys came since: more than the budget beside one key, so the single range is read instead.
    let single = KeyRange::new(Bytes::from("key-0500"), Bytes::new());
    assert_eq!(index.count_at(&single, 499), 0);
    assert_eq!(index.count_at(&single, 500), 1);
    assert_eq!(index.count_at(&all(), 500), 499);
}
