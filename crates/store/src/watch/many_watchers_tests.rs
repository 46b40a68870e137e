//! Many watchers: twice as many take at most twice the work, and no hold of the hub's lock grows with their
//! number.

use std::sync::Arc;

use proto::etcdserverpb::PutRequest;

use super::tests::{NoSignal, store, watch_from};
use super::*;
use crate::key_range::KeyRange;
use crate::mvcc::Mvcc;
use crate::work::{assert_linear, log_scans, steps};

/// Watchers in a test, and twice as many.
const N: usize = 1000;
/// Steps of the longest hold that is allowed, whatever is asked.
const HOLD_STEPS_MAX: u64 = 1100;

fn apply(mvcc: &mut Mvcc, hub: &WatchHub, key: &str, times: usize) {
    let mut no_pause = || {};
    let mut batch = mvcc.batch(true, &mut no_pause);
    for _ in 0..times {
        let put = PutRequest { key: key.to_owned().into(), ..PutRequest::default() };
        batch.write(|txn| txn.put(&put)).unwrap();
    }
    let (revision, changes) = batch.commit().unwrap();
    hub.publish(revision, changes, true, &mut || {});
}

fn watch(key: String, start_revision: i64) -> Watch {
    Watch { range: KeyRange::new(key.into(), Bytes::new()), ..watch_from(start_revision) }
}

/// A stream of `n` watchers of key `k`, which all have a change to read.
fn ready_stream(n: usize) -> (Mvcc, Arc<WatchHub>, WatchStream) {
    let (mut mvcc, hub) = store();
    let mut stream = hub.stream(mvcc.view(), Arc::new(NoSignal));
    for _ in 0..n {
        stream.create(watch_from(0)).unwrap();
    }
    apply(&mut mvcc, &hub, "k", 1);
    (mvcc, hub, stream)
}

/// Reads to the end; returns how many events and how many watchers that were cut off it was told of.
fn drain(stream: &mut WatchStream) -> (usize, usize) {
    let mut told = (0, 0);
    loop {
        match stream.advance().unwrap() {
            Progress::Idle => return told,
            Progress::Working => {}
            Progress::Deliver(WatchDelivery::Events { events, .. }) => told.0 += events.len(),
            Progress::Deliver(WatchDelivery::Compacted { .. }) => told.1 += 1,
        }
    }
}

/// The steps that `work` takes.
fn steps_of(work: impl FnOnce()) -> u64 {
    let before = steps();
    work();
    steps() - before
}

#[test]
fn dropping_a_stream_of_ready_watchers_takes_linear_work() {
    assert_linear(N, |n| {
        let (_mvcc, hub, stream) = ready_stream(n);
        let taken = steps_of(|| drop(stream));
        assert_eq!((hub.watchers(), hub.streams()), (0, 0));
        taken
    });
}

#[test]
fn dropping_a_stream_whose_watchers_are_queued_takes_linear_work() {
    assert_linear(N, |n| {
        let (_mvcc, _hub, mut stream) = ready_stream(n);
        assert!(matches!(stream.advance().unwrap(), Progress::Deliver(_)), "the others are queued");
        steps_of(|| drop(stream))
    });
}

#[test]
fn cancelling_ready_watchers_takes_linear_work() {
    for is_queued in [false, true] {
        assert_linear(N, |n| {
            let (_mvcc, hub, mut stream) = ready_stream(n);
            if is_queued {
                assert!(matches!(stream.advance().unwrap(), Progress::Deliver(_)));
            }
            let taken = steps_of(|| {
                for id in 0..n as i64 {
                    stream.cancel(id).unwrap();
                }
                assert_eq!(drain(&mut stream), (0, 0));
            });
            assert_eq!(hub.watchers(), 0);
            taken
        });
    }
}

#[test]
fn cutting_watchers_off_takes_linear_work() {
    assert_linear(N, |n| {
        let (mut mvcc, hub) = store();
        apply(&mut mvcc, &hub, "a", 20);
        let mut no_pause = || {};
        let mut batch = mvcc.batch(true, &mut no_pause);
        batch.compact(15).unwrap();
        batch.commit().unwrap();
        let mut stream = hub.stream(mvcc.view(), Arc::new(NoSignal));
        for _ in 0..n {
            stream.create(watch_from(2)).unwrap();
        }
        steps_of(|| assert_eq!(drain(&mut stream), (0, n)))
    });
}

#[test]
fn many_streams_take_linear_work() {
    assert_linear(N, |n| {
        let (mut mvcc, hub) = store();
        let mut streams: Vec<_> = (0..n).map(|_| hub.stream(mvcc.view(), Arc::new(NoSignal))).collect();
        for stream in &mut streams {
            stream.create(watch_from(0)).unwrap();
        }
        steps_of(|| {
            apply(&mut mvcc, &hub, "k", 1);
            assert_eq!(streams.iter_mut().map(|stream| drain(stream).0).sum::<usize>(), n);
            streams.clear();
        })
    });
}

#[test]
fn telling_the_watchers_of_one_key_takes_linear_work() {
    assert_linear(N, |n| {
        let (mut mvcc, hub, mut stream) = ready_stream(n);
        assert_eq!(drain(&mut stream), (n, 0));
        steps_of(|| {
            apply(&mut mvcc, &hub, "k", 1);
            assert_eq!(drain(&mut stream), (n, 0));
        })
    });
}

#[test]
fn a_publication_to_many_watchers_lets_others_have_the_lock() {
    let (mut mvcc, hub) = store();
    let mut stream = hub.stream(mvcc.view(), Arc::new(NoSignal));
    let n = 10 * N;
    for i in 0..n {
        // Half of them watch one key, the others each a range of their own.
        let range = if i % 2 == 0 {
            KeyRange::new("k".into(), Bytes::new())
        } else {
            KeyRange::new("k".into(), format!("k{i:06}").into())
        };
        stream.create(Watch { range, ..watch_from(0) }).unwrap();
    }
    hub.take_longest_steps();
    apply(&mut mvcc, &hub, "k", 2);
    assert!(hub.take_longest_steps() <= HOLD_STEPS_MAX);
    assert_eq!(drain(&mut stream), (2 * n, 0));
    assert!(hub.take_longest_steps() <= HOLD_STEPS_MAX);
    // Without events all are marked.
    let (revision, _) = mvcc.batch(false, &mut || {}).commit().unwrap();
    hub.publish(revision + 1, Vec::new(), false, &mut || {});
    assert!(hub.take_longest_steps() <= HOLD_STEPS_MAX);
}

#[test]
fn a_watcher_within_the_ring_does_not_read_the_log() {
    let (mut mvcc, hub) = store();
    let mut other = hub.stream(mvcc.view(), Arc::new(NoSignal));
    other.create(watch("z".to_owned(), 0)).unwrap();
    apply(&mut mvcc, &hub, "k", 3000);
    let mut stream = hub.stream(mvcc.view(), Arc::new(NoSignal));
    for i in 0..20 {
        stream.create(watch(format!("q{i}"), 10)).unwrap();
    }
    stream.create(watch_from(10)).unwrap();
    let before = log_scans();
    assert_eq!(drain(&mut stream), (2992, 0));
    assert_eq!(log_scans(), before);
    // What the ring does not hold is read from the log.
    stream.create(watch_from(1)).unwrap();
    hub.publish(4000, Vec::new(), false, &mut || {});
    drain(&mut stream);
    assert!(log_scans() > before);
}

#[test]
fn a_watcher_that_falls_behind_while_it_reads_the_ring_goes_on_in_the_log() {
    let (mut mvcc, hub) = store();
    let mut stream = hub.stream(mvcc.view(), Arc::new(NoSignal));
    stream.create(watch("z".to_owned(), 0)).unwrap();
    apply(&mut mvcc, &hub, "k", 2500);
    stream.create(watch_from(2)).unwrap();
    let Progress::Deliver(WatchDelivery::Events { events, .. }) = stream.advance().unwrap() else {
        panic!("there is something to tell");
    };
    let told_first = events.len();
    assert!(told_first < 2500, "it takes several steps");
    hub.publish(mvcc.view().revision(), Vec::new(), false, &mut || {});
    assert_eq!(told_first + drain(&mut stream).0, 2500);
}

#[test]
fn an_id_that_is_used_again_is_not_told_what_was_marked_for_the_former_watcher() {
    let (_mvcc, _hub, mut stream) = ready_stream(2);
    assert!(matches!(stream.advance().unwrap(), Progress::Deliver(_)), "the second one is queued");
    stream.cancel(1).unwrap();
    stream.create(Watch { id: 1, ..watch_from(1) }).unwrap();
    assert_eq!(drain(&mut stream), (1, 0), "the change is told once");
}

#[test]
fn progress_waits_for_the_latest_start() {
    let (mut mvcc, hub) = store();
    let mut stream = hub.stream(mvcc.view(), Arc::new(NoSignal));
    stream.create(Watch { id: 7, ..watch_from(5) }).unwrap();
    stream.create(watch_from(3)).unwrap();
    apply(&mut mvcc, &hub, "k", 2);
    drain(&mut stream);
    assert_eq!(stream.progress(), None);
    stream.cancel(7).unwrap();
    assert_eq!(stream.progress(), Some(3));
}
