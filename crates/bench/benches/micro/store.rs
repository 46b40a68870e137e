//! The store on the real disk, index and revision log together, without consensus.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use disk::RealDisk;
use proto::etcdserverpb::RangeRequest;
use store::{RangeOutcome, RangeQuery, ReadView, Request, Store};

use crate::codec;
use crate::runner::Runner;

/// Keys in the store.
const KEYS: u64 = 100_000;
/// A prime, so that each key is met, far from the one before.
const STEP: u64 = 60_013;
/// Commands applied together, as a loaded server has them.
const BATCH: u32 = 100;

/// An empty store below `dir`.
pub(crate) fn open(dir: &Path) -> Store {
    Store::open(Arc::new(RealDisk), &dir.join("log"), disk::revision_log::Options::default(), None, 2)
        .unwrap()
}

/// The next `BATCH` puts, scattered over all keys.
fn batch(at: &mut u64) -> Vec<Request> {
    let mut next = || {
        *at = (*at + STEP) % KEYS;
        Request::Put(codec::put(*at))
    };
    (0..BATCH).map(|_| next()).collect()
}

pub(crate) fn run(runner: &Runner) {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let mut at = 0;
    for _ in 0..KEYS / u64::from(BATCH) {
        store.apply(&batch(&mut at)).unwrap();
    }
    let view = store.view();
    runner.run("store: get one of 100,000 keys", 1, || {
        at = (at + STEP) % KEYS;
        black_box(read(&view, &RangeRequest { key: codec::put(at).key, ..RangeRequest::default() }));
    });
    let all = RangeRequest {
        key: Bytes::from("bench/"),
        range_end: Bytes::from("bench0"),
        ..RangeRequest::default()
    };
    runner.run("store: count 100,000 keys", 1, || {
        assert_eq!(read(&view, &RangeRequest { count_only: true, ..all.clone() }).count, KEYS as i64);
    });
    runner.run("store: page of 500 of 100,000 keys", 1, || {
        black_box(read(&view, &RangeRequest { limit: 500, ..all.clone() }));
    });
    runner.run("store: list 100,000 keys, a key", KEYS as u32, || {
        black_box(read(&view, &all));
    });
    runner.run("store: put over one of 100,000 keys, by 100", BATCH, || {
        black_box(store.apply(&batch(&mut at)).unwrap());
    });
}

/// Reads a whole range, chunk by chunk.
pub(crate) fn read(view: &ReadView, request: &RangeRequest) -> RangeOutcome {
    let mut reading = view.range(RangeQuery::new(request).unwrap()).unwrap();
    while !reading.step().unwrap() {}
    reading.finish().unwrap()
}
