//! Random histories, with compactions, checkpoints and crashes in between: the store must answer as the
//! model does, at every revision that can be read, and each watch must be told what the model changed, once
//! and in order.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use prost::Message;
use proto::etcdserverpb::request_op::Request as Op;
use proto::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, PutRequest, RangeRequest, RangeResponse, RequestOp, TxnRequest,
};
use proto::mvccpb::{self, KeyValue};
use store::{Event, KeyRange, Progress, RangeQuery, Request, WatchDelivery, WatchStream};

use crate::model::Model;
use crate::rig::{Rig, watch};

const KEYS: [&str; 4] = ["a", "a\0", "b", "c"];
/// Hashes of compactions that a store remembers.
const CACHED_HASHES: usize = 10;

#[derive(Debug, Clone)]
enum Step {
    /// One command that makes all these changes.
    Write(Vec<Change>),
    /// Compacts so many revisions below the newest one.
    Compact(i64),
    Trim,
    Checkpoint,
    Crash,
    /// Watches everything from so many revisions before the next one.
    Watch(i64),
    /// Reads all watches to the end.
    Drain,
}

#[derive(Debug, Clone)]
enum Change {
    Put(usize, u8),
    Delete(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let change = || {
        prop_oneof![
            3 => (0..KEYS.len(), any::<u8>()).prop_map(|(key, value)| Change::Put(key, value)),
            2 => (0..KEYS.len()).prop_map(Change::Delete),
        ]
    };
    prop_oneof![
        12 => prop::collection::vec(change(), 1..4).prop_map(Step::Write),
        3 => (0i64..5).prop_map(Step::Compact),
        2 => Just(Step::Trim),
        1 => Just(Step::Checkpoint),
        1 => Just(Step::Crash),
        1 => (0i64..6).prop_map(Step::Watch),
        3 => Just(Step::Drain),
    ]
}

/// A store beside its model.
struct Pair {
    rig: Rig,
    model: Model,
    /// Compactions not carried through yet: revision and the one before.
    compactions: Vec<(i64, i64)>,
    /// Those of them that the checkpoint does not know of.
    since_checkpoint: Vec<(i64, i64)>,
    hashes: BTreeMap<i64, u32>,
    watchers: Vec<Watcher>,
}

struct Watcher {
    stream: WatchStream,
    /// The next main revision to be told of.
    next: i64,
}

impl Pair {
    fn take(&mut self, step: &Step) {
        match step {
            Step::Write(changes) => self.write(changes),
            Step::Compact(back) => self.compact(self.model.revision() - back),
            Step::Trim => {
                self.rig.trim();
                for (at, previous) in self.compactions.drain(..) {
                    self.hashes.insert(at, self.model.hash(at, previous, true));
                }
                while self.hashes.len() > CACHED_HASHES {
                    self.hashes.pop_first();
                }
            }
            Step::Checkpoint => {
                self.rig.checkpoint();
                self.since_checkpoint.clear();
            }
            Step::Crash => {
                self.watchers.clear();
                self.rig.crash();
                self.compactions.clone_from(&self.since_checkpoint);
                self.hashes.clear();
            }
            Step::Watch(back) => {
                let mut stream = self.rig.stream();
                let next = (self.model.revision() + 1 - back).max(1);
                let everything = KeyRange::new("\0".into(), "\0".into());
                stream
                    .create(store::Watch { start_revision: next, prev_kv: true, ..watch(everything) })
                    .unwrap();
                self.watchers.push(Watcher { stream, next });
            }
            Step::Drain => {
                let model = &self.model;
                self.watchers.retain_mut(|watcher| watcher.drain(model));
            }
        }
    }

    fn write(&mut self, changes: &[Change]) {
        let main = self.model.revision() + 1;
        let mut success = Vec::new();
        for change in changes {
            let request = match change {
                Change::Put(key, value) => {
                    let (key, value) = (Bytes::from(KEYS[*key]), Bytes::from(vec![*value; 200]));
                    self.model.put(main, &key, &value);
                    Op::RequestPut(PutRequest { key, value, ..PutRequest::default() })
                }
                Change::Delete(key) => {
                    let key = Bytes::from(KEYS[*key]);
                    self.model.delete(main, &key);
                    Op::RequestDeleteRange(DeleteRangeRequest { key, ..DeleteRangeRequest::default() })
                }
            };
            success.push(RequestOp { request: Some(request) });
        }
        self.rig.apply(Request::Txn(TxnRequest { success, ..TxnRequest::default() })).unwrap();
    }

    fn compact(&mut self, at: i64) {
        let outcome = self.rig.apply(Request::Compact(CompactionRequest { revision: at, physical: false }));
        assert_eq!(outcome.is_ok(), at > self.model.compacted);
        if outcome.is_ok() {
            self.compactions.push((at, self.model.compacted));
            self.since_checkpoint.push((at, self.model.compacted));
            self.model.compacted = at;
        }
    }

    /// Compares all that can be read.
    fn check(&self) {
        let (view, model) = (self.rig.store.view(), &self.model);
        assert_eq!((view.revision(), view.compact_revision()), (model.revision(), model.compacted));
        for revision in model.compacted.max(1)..=model.revision() {
            let expected: Vec<KeyValue> = model.at(revision).into_values().collect();
            assert_eq!(self.read(revision), expected, "at revision {revision}");
        }
        for revision in 1..=model.revision() {
            let hashed = view.hash_now(revision);
            match self.hashes.get(&revision) {
                Some(cached) => assert_eq!(hashed.unwrap().hash, *cached, "of the compaction at {revision}"),
                None if revision < model.compacted => assert!(hashed.is_err()),
                None => {
                    let expected = model.hash(revision, model.compacted, false);
                    assert_eq!(hashed.unwrap().hash, expected, "hash at {revision}");
                }
            }
        }
    }

    fn read(&self, revision: i64) -> Vec<KeyValue> {
        let (key, range_end) = (Bytes::from("\0"), Bytes::from("\0"));
        let request = RangeRequest { key, range_end, revision, ..RangeRequest::default() };
        let outcome =
            self.rig.store.view().range(RangeQuery::new(&request).unwrap()).unwrap().finish().unwrap();
        let kvs = RangeResponse::decode(outcome.kvs).unwrap().kvs;
        assert_eq!(outcome.count, kvs.len() as i64);
        kvs
    }
}

impl Watcher {
    /// Reads all there is; false if the watch was cut off.
    fn drain(&mut self, model: &Model) -> bool {
        loop {
            match self.stream.advance().unwrap() {
                Progress::Working => {}
                Progress::Idle => {
                    let told: Vec<_> = told_between(model, self.next, model.revision());
                    assert!(told.is_empty(), "not told: {told:?}");
                    return true;
                }
                Progress::Deliver(WatchDelivery::Compacted { compact_revision, .. }) => {
                    assert_eq!(compact_revision, model.compacted);
                    assert!(self.next < model.compacted, "cut off without need");
                    return false;
                }
                Progress::Deliver(WatchDelivery::Events { events, revision, .. }) => {
                    let told: Vec<_> = events.iter().map(decode).collect();
                    let last = told.last().unwrap().0.mod_revision;
                    assert!(last <= revision);
                    assert_eq!(without_replaced(&told), told_between(model, self.next, last));
                    self.next = last + 1;
                }
            }
        }
    }
}

/// The key as it became, whether it was deleted, and the key before.
type Told = (KeyValue, bool, Option<KeyValue>);

fn decode(event: &Event) -> Told {
    let told = mvccpb::Event::decode(event.encoded.clone()).unwrap();
    let prev = event.prev.clone().map(|kv| KeyValue::decode(kv).unwrap());
    (told.kv.unwrap(), told.r#type == 1, prev)
}

/// What a watch of everything is told of the revisions `from` to `to`.
fn told_between(model: &Model, from: i64, to: i64) -> Vec<Told> {
    let changes = model.changes.iter().filter(|change| (from..=to).contains(&change.main));
    let told = changes.map(|change| {
        let kv = KeyValue { mod_revision: change.main, ..change.kv.clone() };
        let is_create = !change.is_tombstone && kv.create_revision == change.main;
        let has_prev = !is_create && change.main > model.compacted;
        let prev = if has_prev { model.at(change.main - 1).remove(&kv.key) } else { None };
        (kv, change.is_tombstone, prev)
    });
    without_replaced(&told.collect::<Vec<_>>())
}

/// Leaves out what a later change of the same revision replaced: history keeps that only until it is
/// compacted.
fn without_replaced(told: &[Told]) -> Vec<Told> {
    let newest: BTreeMap<_, _> =
        told.iter().enumerate().map(|(i, (kv, ..))| ((kv.mod_revision, kv.key.clone()), i)).collect();
    let is_newest = |i: &usize, kv: &KeyValue| newest[&(kv.mod_revision, kv.key.clone())] == *i;
    told.iter().enumerate().filter(|(i, (kv, ..))| is_newest(i, kv)).map(|(_, told)| told.clone()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_answers_as_the_model_does(steps in prop::collection::vec(step(), 1..60), seed in any::<u64>()) {
        let mut pair = Pair {
            rig: Rig::new(seed),
            model: Model::new(),
            compactions: Vec::new(),
            since_checkpoint: Vec::new(),
            hashes: BTreeMap::new(),
            watchers: Vec::new(),
        };
        for step in &steps {
            pair.take(step);
            pair.check();
        }
    }
}
