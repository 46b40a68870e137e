//! What only shows between a batch and its publication.

use std::path::Path;
use std::sync::Arc;

use disk::{SimDisk, revision_log};
use proto::etcdserverpb::PutRequest;

use super::marks::Marks;
use super::*;
use crate::key_range::KeyRange;
use crate::lease::LeaseTable;
use crate::mvcc::Mvcc;

#[derive(Debug)]
pub(super) struct NoSignal;

impl Signal for NoSignal {
    fn signal(&self) {}
}

pub(super) fn store() -> (Mvcc, Arc<WatchHub>) {
    let options = revision_log::Options { segment_bytes: 1 << 16 };
    let mvcc = Mvcc::open(
        Arc::new(SimDisk::new(1)),
        Path::new("/store"),
        options,
        None,
        LeaseTable::restore(None, 2),
    )
    .unwrap();
    (mvcc, Arc::new(WatchHub::new(1)))
}

fn put(value: &'static str) -> PutRequest {
    PutRequest { key: "k".into(), value: value.into(), ..PutRequest::default() }
}

pub(super) fn watch_from(start_revision: i64) -> Watch {
    let range = KeyRange::new("k".into(), Bytes::new());
    Watch { id: 0, range, start_revision, no_put: false, no_delete: false, prev_kv: false }
}

/// Revisions of the deliveries until there are no more.
fn told(stream: &mut WatchStream) -> Vec<i64> {
    let mut revisions = Vec::new();
    loop {
        match stream.advance().unwrap() {
            Progress::Idle => return revisions,
            Progress::Working => {}
            Progress::Deliver(WatchDelivery::Events { revision, .. }) => revisions.push(revision),
            Progress::Deliver(WatchDelivery::Compacted { .. }) => panic!("nothing was compacted"),
        }
    }
}

#[test]
fn a_watch_begun_while_a_batch_makes_no_events_is_told_of_the_batch() {
    let (mut mvcc, hub) = store();
    let mut stream = hub.stream(mvcc.view(), Arc::new(NoSignal));
    let mut no_pause = || {};
    let mut batch = mvcc.batch(false, &mut no_pause);
    batch.write(|txn| txn.put(&put("1"))).unwrap();
    assert_eq!(stream.create(watch_from(0)).unwrap(), Created { id: 0, revision: 1 });
    let (revision, changes) = batch.commit().unwrap();
    assert_eq!(hub.publish(revision, changes, false, &mut || {}).len(), 1, "its stream is signalled");
    assert_eq!(told(&mut stream), [2]);
}

#[test]
fn no_revision_of_a_batch_without_events_is_left_out() {
    let (mut mvcc, hub) = store();
    let mut stream = hub.stream(mvcc.view(), Arc::new(NoSignal));
    let mut no_pause = || {};
    let mut batch = mvcc.batch(false, &mut no_pause);
    stream.create(watch_from(0)).unwrap();
    for value in ["1", "2", "3"] {
        batch.write(|txn| txn.put(&put(value))).unwrap();
    }
    let (revision, changes) = batch.commit().unwrap();
    hub.publish(revision, changes, false, &mut || {});
    let mut n_events = 0;
    loop {
        match stream.advance().unwrap() {
            Progress::Idle => break,
            Progress::Working => {}
            Progress::Deliver(WatchDelivery::Events { events, .. }) => n_events += events.len(),
            Progress::Deliver(WatchDelivery::Compacted { .. }) => panic!("nothing was compacted"),
        }
    }
    assert_eq!(n_events, 3);
}

#[test]
fn a_stream_is_signalled_once_until_it_has_looked() {
    let (mut mvcc, hub) = store();
    let mut stream = hub.stream(mvcc.view(), Arc::new(NoSignal));
    stream.create(watch_from(0)).unwrap();
    let mut publish = |value| {
        let mut no_pause = || {};
        let mut batch = mvcc.batch(true, &mut no_pause);
        batch.write(|txn| txn.put(&put(value))).unwrap();
        let (revision, changes) = batch.commit().unwrap();
        hub.publish(revision, changes, true, &mut || {}).len()
    };
    assert_eq!((publish("1"), publish("2")), (1, 0));
    assert_eq!(told(&mut stream), [2, 3]);
    assert_eq!(publish("3"), 1);
}

#[test]
fn changes_are_recent_only_if_none_is_missing() {
    let (_, hub) = store();
    let change = |revision| Change::new(revision, Vec::new());
    hub.publish(7, vec![change(7)], false, &mut || {});
    hub.publish(9, vec![change(8), change(9)], true, &mut || {});
    let recent = |from, to| {
        let mut picked = Vec::new();
        hub.ring().pick(&Marks::all(from, to), from, &mut picked).then_some(picked.len())
    };
    assert_eq!((recent(7, 9), recent(8, 9), recent(8, 8), recent(10, 9)), (None, Some(2), Some(1), Some(0)));
}

#[test]
fn an_event_keeps_nothing_alive_but_its_own_bytes() {
    let meta =
        RecordMeta { revision: disk::Revision { main: 2, sub: 0 }, tombstone: true, ..RecordMeta::default() };
    let stored = [&[0x0a, 200, 1][..], &[b'k'; 200]].concat();
    let event = Event::new(&stored[3..], &meta, &stored);
    assert_eq!(event.key, stored[3..]);
    assert!(event.encoded.as_ptr_range().contains(&event.key.as_ptr()));
}

#[test]
fn watches_that_end_leave_nothing_behind() {
    let (mvcc, hub) = store();
    let mut stream = hub.stream(mvcc.view(), Arc::new(NoSignal));
    let first = stream.create(watch_from(0)).unwrap().id;
    stream.create(watch_from(0)).unwrap();
    stream.cancel(first);
    assert_eq!(hub.watchers(), 1);
    drop(stream);
    assert_eq!(hub.watchers(), 0);
}
