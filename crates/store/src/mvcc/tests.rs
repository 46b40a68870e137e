//! What readers see while a command is being applied, how long locks are held, and how work grows.

use disk::SimDisk;
use proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use proto::etcdserverpb::range_request::SortTarget;
use proto::etcdserverpb::request_op::Request as Op;
use proto::etcdserverpb::{
    Compare, DeleteRangeRequest, LeaseGrantRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
};

use super::*;
use crate::outcome::{ANSWER_LEN_MAX, OpOutcome, RangeOutcome, TxnOutcome};
use crate::work::{assert_linear, steps};

/// Keys in a test, and twice as many.
const N: usize = 5000;
/// Steps of the longest hold that is allowed, whatever is asked.
const HOLD_STEPS_MAX: u64 = 1600;

fn store() -> Mvcc {
    let options = disk::revision_log::Options { segment_bytes: 4 << 20 };
    let leases = LeaseTable::restore(None, 2);
    Mvcc::open(Arc::new(SimDisk::new(1)), Path::new("/store"), options, None, leases).unwrap()
}

fn put(key: String) -> PutRequest {
    PutRequest { key: key.into(), value: "value".into(), ..PutRequest::default() }
}

/// A store of `n` keys, each put by a command of its own.
fn store_of(n: usize) -> Mvcc {
    let mut mvcc = store();
    put_all(&mut mvcc, n);
    mvcc
}

fn put_all(mvcc: &mut Mvcc, n: usize) {
    let mut no_pause = || {};
    let mut batch = mvcc.batch(false, &mut no_pause);
    for i in 0..n {
        batch.write(|txn| txn.put(&put(format!("key-{i:06}")))).unwrap();
    }
    batch.commit().unwrap();
}

fn delete_all(prev_kv: bool) -> DeleteRangeRequest {
    DeleteRangeRequest { key: "key-".into(), range_end: "key.".into(), prev_kv }
}

fn range_of_all() -> RangeRequest {
    RangeRequest { key: "key-".into(), range_end: "key.".into(), ..RangeRequest::default() }
}

fn range(view: &ReadView, request: &RangeRequest) -> RangeOutcome {
    let mut reading = view.range(RangeQuery::new(request).unwrap()).unwrap();
    while !reading.step().unwrap() {}
    reading.finish().unwrap()
}

/// A compare of every key with its value.
fn compare_all() -> Compare {
    Compare {
        key: "key-".into(),
        range_end: "key.".into(),
        result: CompareResult::Equal.into(),
        target: CompareTarget::Value.into(),
        target_union: Some(TargetUnion::Value("value".into())),
    }
}

fn op(request: Op) -> RequestOp {
    RequestOp { request: Some(request) }
}

fn compact(mvcc: &mut Mvcc) {
    let mut no_pause = || {};
    let mut batch = mvcc.batch(false, &mut no_pause);
    batch.compact(batch.revision()).unwrap();
    batch.commit().unwrap();
    let hash = mvcc.compaction_hash_job().unwrap().run().unwrap();
    mvcc.compaction_hashed(hash);
    while mvcc.compacting().is_some() {
        mvcc.trim_step();
    }
}

fn apply<T>(mvcc: &mut Mvcc, command: impl FnOnce(&mut WriteTxn<'_, '_>) -> Result<T, crate::Error>) -> T {
    let mut no_pause = || {};
    let mut batch = mvcc.batch(false, &mut no_pause);
    let outcome = batch.write(command).unwrap();
    batch.commit().unwrap();
    outcome
}

/// Asserts that no hold of the lock of the index takes long while `work` is done.
fn assert_short_holds(mvcc: &mut Mvcc, name: &str, work: impl FnOnce(&mut Mvcc)) {
    mvcc.shared.state.take_longest_steps();
    work(mvcc);
    let longest = mvcc.shared.state.take_longest_steps();
    assert!(longest > 0, "{name}: nothing was counted");
    assert!(longest <= HOLD_STEPS_MAX, "{name}: a hold of {longest} steps");
}

#[test]
fn no_read_holds_the_lock_for_long() {
    let mut mvcc = store_of(N);
    let before = mvcc.view().revision();
    // More than the journal knows or a count looks at.
    for _ in 0..4 {
        apply(&mut mvcc, |txn| txn.delete_range(&delete_all(false)));
        put_all(&mut mvcc, N);
    }
    apply(&mut mvcc, |txn| txn.delete_range(&delete_all(false)));
    apply(&mut mvcc, |txn| txn.put(&put("key-last".to_owned())));
    assert_short_holds(&mut mvcc, "a range of deleted keys", |mvcc| {
        assert_eq!(range(&mvcc.view(), &range_of_all()).len, 1);
    });
    apply(&mut mvcc, |txn| txn.delete_range(&delete_all(false)));
    assert_short_holds(&mut mvcc, "a range at an older revision", |mvcc| {
        let request = RangeRequest { revision: before, ..range_of_all() };
        assert_eq!(range(&mvcc.view(), &request).len, N);
    });
    assert_short_holds(&mut mvcc, "a page at an older revision", |mvcc| {
        let request = RangeRequest { revision: before, limit: 7, ..range_of_all() };
        let outcome = range(&mvcc.view(), &request);
        assert_eq!((outcome.len, outcome.count, outcome.more), (7, N as i64, true));
    });
    assert_short_holds(&mut mvcc, "a count at an older revision", |mvcc| {
        let request = RangeRequest { revision: before, count_only: true, ..range_of_all() };
        let outcome = range(&mvcc.view(), &request);
        assert_eq!((outcome.len, outcome.count, outcome.more), (0, N as i64, false));
    });
    put_all(&mut mvcc, N);
    assert_short_holds(&mut mvcc, "a compare of a range", |mvcc| {
        let txn = TxnRequest { compare: vec![compare_all(); 3], ..TxnRequest::default() };
        assert!(mvcc.view().txn(&txn).unwrap().succeeded);
    });
    assert_short_holds(&mut mvcc, "a hash", |mvcc| {
        mvcc.view().hash_now(0).unwrap();
    });
}

#[test]
fn no_command_holds_the_lock_for_long() {
    let mut mvcc = store();
    assert_short_holds(&mut mvcc, "many puts", |mvcc| put_all(mvcc, N));
    assert_short_holds(&mut mvcc, "a transaction of long ranges", |mvcc| {
        let success = vec![op(Op::RequestRange(range_of_all())); 3];
        let txn = TxnRequest { compare: vec![compare_all(); 3], success, failure: Vec::new() };
        assert!(apply(mvcc, |write| write.txn(&txn)).succeeded);
    });
    assert_short_holds(&mut mvcc, "a delete of many keys", |mvcc| {
        assert_eq!(apply(mvcc, |txn| txn.delete_range(&delete_all(true))).deleted, N as i64);
    });
    let mut no_pause = || {};
    let mut batch = mvcc.batch(false, &mut no_pause);
    batch.leases().grant(&LeaseGrantRequest { id: 7, ttl: 60 }).unwrap();
    for i in 0..N {
        batch.write(|txn| txn.put(&PutRequest { lease: 7, ..put(format!("key-{i:06}")) })).unwrap();
    }
    batch.commit().unwrap();
    assert_short_holds(&mut mvcc, "the end of a lease of many keys", |mvcc| {
        apply(mvcc, |txn| txn.revoke_lease(7));
    });
    assert_short_holds(&mut mvcc, "the trimming of many keys", compact);
    let mut no_pause = || {};
    let mut batch = mvcc.batch(false, &mut no_pause);
    for _ in 0..N {
        batch.write(|txn| txn.put(&put("hot".to_owned()))).unwrap();
    }
    batch.commit().unwrap();
    assert_short_holds(&mut mvcc, "the trimming of a key of many versions", compact);
}

#[test]
fn readers_do_not_see_a_command_that_is_being_applied() {
    let mut mvcc = store_of(100);
    let view = mvcc.view();
    let before = range(&view, &range_of_all());
    let hash_before = view.hash_now(0).unwrap();
    let mut no_pause = || {};
    let mut batch = mvcc.batch(false, &mut no_pause);
    batch.write(|txn| txn.delete_range(&delete_all(false))).unwrap();
    batch.write(|txn| txn.put(&put("key-new".to_owned()))).unwrap();
    batch.compact(batch.revision()).unwrap();
    batch.state.release();
    assert_eq!(range(&view, &range_of_all()), before);
    let count = RangeRequest { count_only: true, ..range_of_all() };
    assert_eq!(range(&view, &count).count, 100);
    assert_eq!((view.revision(), view.compact_revision()), (before.revision, -1));
    assert_eq!(view.hash_now(0).unwrap(), hash_before);
    let txn = TxnRequest { compare: vec![compare_all()], ..TxnRequest::default() };
    assert!(view.txn(&txn).unwrap().succeeded);
    batch.commit().unwrap();
    assert_eq!(range(&view, &range_of_all()).count, 1);
    assert_eq!(view.compact_revision(), before.revision + 2);
}

#[test]
fn a_read_that_began_before_a_command_goes_on_as_if_it_were_not() {
    let mut mvcc = store_of(N);
    let view = mvcc.view();
    let mut reading = view.range(RangeQuery::new(&range_of_all()).unwrap()).unwrap();
    assert!(!reading.step().unwrap());
    apply(&mut mvcc, |txn| txn.delete_range(&delete_all(false)));
    while !reading.step().unwrap() {}
    let outcome = reading.finish().unwrap();
    assert_eq!((outcome.len, outcome.count), (N, N as i64));
}

/// The steps that `work` takes.
fn steps_of(work: impl FnOnce()) -> u64 {
    let before = steps();
    work();
    steps() - before
}

#[test]
fn work_grows_no_faster_than_what_is_asked_for() {
    let compare = |i: usize| Compare { key: format!("key-{i:06}").into(), ..Compare::default() };
    let put_op = |i: usize| op(Op::RequestPut(put(format!("key-{i:06}"))));
    let range_op = |_| op(Op::RequestRange(RangeRequest { limit: 1, ..range_of_all() }));
    assert_linear(N, |n| {
        let mut mvcc = store();
        let compare = (0..n).map(compare).collect();
        let txn = TxnRequest { compare, success: (0..n).map(put_op).collect(), failure: Vec::new() };
        steps_of(|| drop(apply(&mut mvcc, |write| write.txn(&txn))))
    });
    assert_linear(500, |n| {
        let mut mvcc = store_of(N);
        let txn = TxnRequest { success: (0..n).map(range_op).collect(), ..TxnRequest::default() };
        steps_of(|| {
            assert_eq!(apply(&mut mvcc, |write| write.txn(&txn)).results.len(), n);
            assert_eq!(mvcc.view().txn(&txn).unwrap().results.len(), n);
        })
    });
    assert_linear(N, |n| {
        let mut mvcc = store_of(n);
        steps_of(|| drop(apply(&mut mvcc, |txn| txn.delete_range(&delete_all(true)))))
    });
    assert_linear(N, |n| {
        let mvcc = store_of(n);
        steps_of(|| {
            let sorted = RangeRequest { sort_target: SortTarget::Mod.into(), ..range_of_all() };
            assert_eq!(range(&mvcc.view(), &sorted).len, n);
            mvcc.view().hash_now(0).unwrap();
        })
    });
}

#[test]
fn work_grows_no_faster_than_the_leases_and_their_keys() {
    for leases_per_key in [false, true] {
        assert_linear(N, |n| {
            let mut mvcc = store();
            steps_of(|| {
                let mut no_pause = || {};
                let mut batch = mvcc.batch(false, &mut no_pause);
                let lease_of = |i: usize| if leases_per_key { 1 + i as i64 } else { 1 };
                for i in 0..n {
                    let _ = batch.leases().grant(&LeaseGrantRequest { id: lease_of(i), ttl: 60 });
                    let put = PutRequest { lease: lease_of(i), ..put(format!("key-{i:06}")) };
                    batch.write(|txn| txn.put(&put)).unwrap();
                }
                for i in 0..n {
                    let _ = batch.write(|txn| txn.revoke_lease(lease_of(i)));
                }
                batch.commit().unwrap();
            })
        });
    }
}

#[test]
fn work_grows_no_faster_than_the_versions_of_a_key() {
    assert_linear(N, |n| {
        let mut mvcc = store();
        steps_of(|| {
            let mut no_pause = || {};
            let mut batch = mvcc.batch(false, &mut no_pause);
            for _ in 0..n {
                batch.write(|txn| txn.put(&put("key-hot".to_owned()))).unwrap();
            }
            batch.commit().unwrap();
            for revision in 2..n as i64 {
                range(&mvcc.view(), &RangeRequest { revision, ..range_of_all() });
            }
            compact(&mut mvcc);
        })
    });
}

#[test]
fn equal_hashes_are_computed_once() {
    let mut mvcc = store_of(N);
    let hash_now = |mvcc: &Mvcc| mvcc.view().hash_now(0).unwrap();
    let alone = steps_of(|| assert_eq!(hash_now(&mvcc).revision, mvcc.view().revision()));
    let mut reads: Vec<_> = (0..50).map(|_| mvcc.view().hash(0).unwrap()).collect();
    let mut other = mvcc.view().hash(100).unwrap();
    let together = steps_of(|| while !reads.iter_mut().all(|read| read.step().unwrap()) {});
    assert_eq!(together, alone);
    let hashes: Vec<_> = reads.into_iter().map(|read| read.finish().1).collect();
    assert_eq!(hashes, vec![hash_now(&mvcc); 50]);
    while !other.step().unwrap() {}
    assert_ne!(other.finish().1.hash, hashes[0].hash);
    // Those that are done are forgotten.
    apply(&mut mvcc, |txn| txn.put(&put("key-new".to_owned())));
    assert_ne!(hash_now(&mvcc).hash, hashes[0].hash);
}

#[test]
fn an_outcome_holds_no_more_than_an_answer_can() {
    let mut mvcc = store_of(N);
    let whole = range(&mvcc.view(), &RangeRequest { limit: 1000, ..range_of_all() });
    let len = whole.kvs_len();
    assert!(whole.omitted_len == 0 && len < ANSWER_LEN_MAX && 3 * len > 2 * ANSWER_LEN_MAX / 2);
    let all = range(&mvcc.view(), &range_of_all());
    assert!(all.kvs.is_empty() && all.kvs_len() > ANSWER_LEN_MAX);

    let page = || op(Op::RequestRange(RangeRequest { limit: 1000, ..range_of_all() }));
    let txn = TxnRequest { success: vec![page(), page(), page()], ..TxnRequest::default() };
    let held = |outcome: &TxnOutcome| -> u64 {
        let held = |result: &OpOutcome| match result {
            OpOutcome::Range(range) => range.kvs.len() as u64,
            OpOutcome::Delete(delete) => delete.prev.iter().map(|prev| prev.len() as u64).sum(),
            _ => 0,
        };
        outcome.results.iter().map(held).sum()
    };
    for outcome in [mvcc.view().txn(&txn).unwrap(), apply(&mut mvcc, |write| write.txn(&txn))] {
        assert_eq!((outcome.keys_len(), outcome.results.len()), (3 * len, 3));
        assert!(held(&outcome) <= ANSWER_LEN_MAX);
    }
    let deleted = || op(Op::RequestDeleteRange(delete_all(true)));
    let txn = TxnRequest { success: vec![page(), deleted()], ..TxnRequest::default() };
    let outcome = apply(&mut mvcc, |write| write.txn(&txn));
    assert_eq!(outcome.keys_len(), len + all.kvs_len());
    assert!(held(&outcome) <= ANSWER_LEN_MAX && held(&outcome) > ANSWER_LEN_MAX / 2);
}
