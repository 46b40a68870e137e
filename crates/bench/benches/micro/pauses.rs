//! The longest single step of a member, for which it takes nothing else, and the longest hold of each lock
//! of the store, during which other threads cannot read or publish.
//!
//! Runs only when asked for by name, `cargo bench -p bench -- pause`, since a million of anything takes its
//! time.

use std::hint::black_box;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use disk::{Disk, RealDisk};
use proto::etcdserverpb::compare::{CompareResult, CompareTarget};
use proto::etcdserverpb::{
    CompactionRequest, Compare, DeleteRangeRequest, LeaseGrantRequest, PutRequest, RangeRequest, TxnRequest,
};
use store::{KeyRange, Request, Store, Watch};

use crate::member::Member;
use crate::runner::Runner;

const MANY: i64 = 1_000_000;
/// Commands proposed together, as a loaded server has them.
const BATCH: usize = 1000;
/// Longer than the benchmark takes; all leases end together, whenever they were granted.
const TTL_S: i64 = 1000;
/// Watchers of one key.
const WATCHERS: usize = 200_000;

pub(crate) fn run(runner: &Runner) {
    if !runner.is_named("pause") {
        return;
    }
    steps_of_a_member();
    holds_of_locks();
}

fn steps_of_a_member() {
    let dir = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let mut member = Member::start(&disk, dir.path());
    let lease = |id| LeaseGrantRequest { id, ttl: TTL_S };
    step(&mut member, "grant", (1..=MANY).map(|id| Request::LeaseGrant(lease(id))));
    step(&mut member, "put with a lease each", (1..=MANY).map(|id| Request::Put(put(id, id))));
    member.checkpoint();
    drop(member);

    let mut member = Member::start(&disk, dir.path());
    print(&member, "start with 1,000,000 leases");
    member.now += Duration::from_secs(2 * TTL_S as u64);
    step(&mut member, "1,000,000 leases with a key each end", []);
    assert_eq!(member.node.leases().iter().count(), 0);
    step(&mut member, "put", (1..=MANY).map(|id| Request::Put(put(id, 0))));
    step(&mut member, "delete of 1,000,000 keys", [Request::DeleteRange(delete_all())]);
}

/// The longest hold of each lock while somebody asks for as much as can be asked for.
fn holds_of_locks() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = crate::store::open(dir.path());
    store.time_holds(since_start);
    store.watch_hub().time_holds(since_start);
    let view = store.view();
    let all = RangeRequest { key: "k".into(), range_end: "l".into(), ..RangeRequest::default() };
    hold(&mut store, "put 1,000,000 keys", |store| apply_all(store, (0..MANY).map(|id| put(id, 0))));
    let before = view.revision();
    hold(&mut store, "compare 1,000,000 keys, reading", |_| {
        assert!(
            view.txn(&TxnRequest { compare: vec![compare_all()], ..TxnRequest::default() })
                .unwrap()
                .succeeded
        );
    });
    hold(&mut store, "compare 1,000,000 keys, writing", |store| {
        let txn = TxnRequest { compare: vec![compare_all()], ..TxnRequest::default() };
        store.apply(&[Request::Txn(txn)]).unwrap();
    });
    hold(&mut store, "list 1,000,000 keys", |_| drop(black_box(crate::store::read(&view, &all))));
    hold(&mut store, "HashKV", |_| {
        black_box(view.hash_now(0).unwrap());
    });
    hold(&mut store, "delete 1,000,000 keys", |store| {
        store.apply(&[Request::DeleteRange(delete_all())]).unwrap();
    });
    hold(&mut store, "put after 1,000,000 deleted keys", |store| apply_all(store, [put(MANY, 0)]));
    hold(&mut store, "list 1,000,000 deleted keys", |_| assert_eq!(crate::store::read(&view, &all).len, 1));
    hold(&mut store, "page of 1,000,000 keys at an older revision", |_| {
        let page = RangeRequest { revision: before, limit: 500, ..all.clone() };
        assert_eq!(crate::store::read(&view, &page).count, MANY);
    });
    hold(&mut store, "put one key 1,000,000 times", |store| {
        apply_all(store, (0..MANY).map(|_| put(MANY + 1, 0)));
    });
    hold(&mut store, "trim 1,000,000 keys and 1,000,000 versions", compact);
    let mut stream = store.watch_hub().stream(view, Arc::new(crate::watch::NoSignal));
    for _ in 0..WATCHERS {
        let range = KeyRange::new(put(0, 0).key, Bytes::new());
        let watch =
            Watch { id: 0, range, start_revision: 0, no_put: false, no_delete: false, prev_kv: false };
        stream.create(watch).unwrap();
    }
    hold(&mut store, "put for 200,000 watchers of a key", |store| apply_all(store, [put(0, 0)]));
    hold(&mut store, "tell them", |_| assert_eq!(crate::watch::deliver(&mut stream) as usize, WATCHERS));
    apply_all(&mut store, [put(0, 0)]);
    hold(&mut store, "drop their stream, all ready", |_| drop(stream));
}

/// The time since the first call: what holds are timed by.
fn since_start() -> Duration {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed()
}

/// Prints the longest hold of each lock while `work` is done.
fn hold(store: &mut Store, name: &str, work: impl FnOnce(&mut Store)) {
    let hub = store.watch_hub();
    store.take_longest_hold();
    hub.take_longest_hold();
    work(store);
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let (index, watch) = (ms(store.take_longest_hold()), ms(hub.take_longest_hold()));
    let name = format!("hold: {name}");
    println!("{name:<52} index {index:>7.3} ms   watch hub {watch:>7.3} ms");
}

fn apply_all(store: &mut Store, puts: impl IntoIterator<Item = PutRequest>) {
    let mut puts = puts.into_iter().map(Request::Put);
    loop {
        let batch: Vec<Request> = puts.by_ref().take(BATCH).collect();
        if batch.is_empty() {
            return;
        }
        store.apply(&batch).unwrap();
    }
}

fn compact(store: &mut Store) {
    let revision = store.view().revision();
    store.apply(&[Request::Compact(CompactionRequest { revision, physical: true })]).unwrap();
    let hash = store.compaction_hash_job().unwrap().run().unwrap();
    store.compaction_hashed(hash);
    while store.compacting().is_some() {
        store.trim_step();
    }
}

/// Holds for every key, and has to read each record to find out.
fn compare_all() -> Compare {
    Compare {
        key: "k".into(),
        range_end: "l".into(),
        target: CompareTarget::Lease.into(),
        result: CompareResult::Equal.into(),
        target_union: None,
    }
}

fn delete_all() -> DeleteRangeRequest {
    DeleteRangeRequest { key: "k".into(), range_end: "l".into(), prev_kv: false }
}

fn put(id: i64, lease: i64) -> PutRequest {
    PutRequest { key: format!("k{id:09}").into(), value: "v".into(), lease, ..PutRequest::default() }
}

/// Carries out requests in batches, to the end of what comes of them.
fn step(member: &mut Member, name: &str, requests: impl IntoIterator<Item = Request>) {
    member.longest_step = Duration::ZERO;
    let mut requests = requests.into_iter();
    loop {
        let batch: Vec<Request> = requests.by_ref().take(BATCH).collect();
        let is_last = batch.len() < BATCH;
        member.apply(batch);
        if is_last {
            break;
        }
    }
    print(member, name);
}

fn print(member: &Member, name: &str) {
    let name = format!("pause: {name}");
    println!("{name:<52} {:>12.1} ms", member.longest_step.as_secs_f64() * 1e3);
}
