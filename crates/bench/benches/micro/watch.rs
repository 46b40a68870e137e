//! Events on their way through the ring: one put, seen by many watchers or by one of many.

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use store::{KeyRange, Progress, Request, Signal, Store, Watch, WatchStream};

use crate::codec;
use crate::runner::Runner;

/// Watchers, all on one stream.
const WATCHERS: u32 = 1000;

pub(crate) fn run(runner: &Runner) {
    let (mut store, mut stream, _dir) = watched(|_| codec::put(0).key);
    runner.run("watch: an event to one of 1,000 watchers of a key", WATCHERS, || {
        put(&mut store, 0);
        assert_eq!(deliver(&mut stream), WATCHERS);
    });
    let (mut store, mut stream, _dir) = watched(|number| codec::put(number).key);
    let mut number = 0;
    runner.run("watch: put and event, 1,000 watchers of a key each", 1, || {
        number = (number + 1) % u64::from(WATCHERS);
        put(&mut store, number);
        assert_eq!(deliver(&mut stream), 1);
    });
}

/// The benchmark asks the stream itself whether there is something to read.
#[derive(Debug)]
pub(crate) struct NoSignal;

impl Signal for NoSignal {
    fn signal(&self) {}
}

/// A store, and a stream of watchers of which number `n` watches `key(n)`.
fn watched(key: impl Fn(u64) -> Bytes) -> (Store, WatchStream, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let store = crate::store::open(dir.path());
    let mut stream = store.watch_hub().stream(store.view(), Arc::new(NoSignal));
    for number in 0..WATCHERS.into() {
        let range = KeyRange::new(key(number), Bytes::new());
        let watch =
            Watch { id: 0, range, start_revision: 0, no_put: false, no_delete: false, prev_kv: false };
        stream.create(watch).unwrap();
    }
    (store, stream, dir)
}

fn put(store: &mut Store, number: u64) {
    black_box(store.apply(&[Request::Put(codec::put(number))]).unwrap());
}

/// Takes everything from the stream; returns how many deliveries there were.
pub(crate) fn deliver(stream: &mut WatchStream) -> u32 {
    let mut told = 0;
    loop {
        match stream.advance().unwrap() {
            Progress::Deliver(delivery) => {
                black_box(delivery);
                told += 1;
            }
            Progress::Working => {}
            Progress::Idle => return told,
        }
    }
}
