//! A store that is replaced by the state of a snapshot while it is read, watched and exported.

use std::path::Path;
use std::sync::Arc;

use disk::bolt::Reader;
use disk::{Disk, SimDisk, revision_log};
use proto::checkpointpb::Checkpoint;
use proto::etcdserverpb::{CompactionRequest, PutRequest, RangeRequest};
use store::{
    Error, Export, KeyRange, Progress, RangeQuery, Refusal, Request, Signal, Store, Watch, WatchDelivery,
};

const DIR: &str = "/store";
const SEGMENT_BYTES: u64 = 16 << 10;
const OPTIONS: revision_log::Options = revision_log::Options { segment_bytes: SEGMENT_BYTES };
const KEYS: usize = 3000;

#[derive(Debug)]
struct NoSignal;

impl Signal for NoSignal {
    fn signal(&self) {}
}

fn handle(disk: &SimDisk) -> Arc<dyn Disk> {
    Arc::new(disk.clone())
}

fn open(disk: &SimDisk) -> Store {
    let saved = disk::checkpoint::load(disk, Path::new(DIR)).unwrap();
    Store::open(handle(disk), Path::new(DIR), OPTIONS, saved.as_ref(), 1).unwrap()
}

/// Puts keys `from..to`, each in a revision of its own.
fn put(store: &mut Store, keys: std::ops::Range<usize>) {
    let put = |key: usize| {
        let key = format!("key-{key:05}").into();
        Request::Put(PutRequest { key, value: "v".into(), ..PutRequest::default() })
    };
    store.apply(&keys.map(put).collect::<Vec<_>>()).unwrap();
}

fn write(export: &mut Export) -> Vec<u8> {
    while export.measure_step().is_none() {}
    let mut file = Vec::new();
    while !export.write_step().unwrap() {
        file.append(export.output());
    }
    file.append(export.output());
    file
}

/// Replaces `store` by what `leader` holds. Returns how many streams are signalled.
fn receive(
    disk: &SimDisk,
    store: &mut Store,
    leader: &mut Store,
) -> Result<usize, Box<dyn std::error::Error>> {
    let log = Checkpoint { applied_index: 9, applied_term: 2, ..Checkpoint::default() };
    let file = write(&mut leader.export(log).unwrap());
    let path = Path::new("/received");
    let received = disk.create(path)?;
    received.write_at(0, &file)?;
    let first_id = store.log().reserve_ids();
    let (dir, handle) = (Path::new(DIR), || handle(disk));
    let reader = Reader::open(received, path)?;
    let imported = store::import_beside(handle(), dir, OPTIONS, reader, first_id, &mut |_| ())?;
    let checkpoint = imported.commit()?;
    let next = Store::open_beside(handle(), dir, OPTIONS, &checkpoint, 1)?;
    Ok(store.replace(next).len())
}

/// A leader and a follower that stopped receiving after `KEYS` keys.
fn pair(disk: &SimDisk) -> (Store, Store) {
    let mut follower = open(disk);
    put(&mut follower, 0..KEYS);
    let mut leader = open(&SimDisk::new(2));
    put(&mut leader, 0..KEYS + 100);
    (follower, leader)
}

fn range_all() -> RangeQuery {
    let request = RangeRequest { key: "a".into(), range_end: "z".into(), ..RangeRequest::default() };
    RangeQuery::new(&request).unwrap()
}

#[test]
fn readers_and_watchers_go_on_with_the_new_state() {
    let disk = SimDisk::new(1);
    let (mut follower, mut leader) = pair(&disk);
    let view = follower.view();
    let mut reading = view.range(range_all()).unwrap();
    let mut stream = follower.watch_hub().stream(view.clone(), Arc::new(NoSignal));
    let range = KeyRange::new("a".into(), "z".into());
    let watch = Watch { id: 0, range, start_revision: 0, no_put: false, no_delete: false, prev_kv: false };
    stream.create(watch).unwrap();
    assert!(matches!(stream.advance().unwrap(), Progress::Idle));

    assert_eq!(receive(&disk, &mut follower, &mut leader).unwrap(), 1, "the stream is signalled");
    assert_eq!(view.revision(), leader.view().revision());
    assert_eq!(view.hash_now(0).unwrap(), leader.view().hash_now(0).unwrap());

    // The range goes on at its revision.
    while !reading.step().unwrap() {}
    assert_eq!(reading.finish().unwrap().count, KEYS as i64);

    let mut told = Vec::new();
    loop {
        match stream.advance().unwrap() {
            Progress::Deliver(WatchDelivery::Events { events, .. }) => {
                told.extend(events.iter().map(|event| event.key.clone()));
            }
            Progress::Deliver(other) => panic!("{other:?}"),
            Progress::Working => {}
            Progress::Idle => break,
        }
    }
    assert_eq!(told.len(), 100);
    assert_eq!(told.first().map(|key| &key[..]), Some(format!("key-{KEYS:05}").as_bytes()));

    put(&mut follower, KEYS + 100..KEYS + 110);
    assert_eq!(view.range(range_all()).unwrap().outcome().count, (KEYS + 110) as i64);
}

#[test]
fn whoever_needs_what_the_snapshot_lacks_is_told() {
    let disk = SimDisk::new(1);
    let (mut follower, mut leader) = pair(&disk);
    let view = follower.view();
    let mut reading = view.range(range_all()).unwrap();
    let mut hash = view.hash(10).unwrap();
    let mut export = follower.export(Checkpoint::default()).unwrap();
    while export.measure_step().is_none() {}
    let mut stream = follower.watch_hub().stream(view.clone(), Arc::new(NoSignal));
    let range = KeyRange::new("a".into(), "z".into());
    let watch = Watch { id: 0, range, start_revision: 0, no_put: false, no_delete: false, prev_kv: false };
    stream.create(watch).unwrap();
    assert!(matches!(stream.advance().unwrap(), Progress::Idle));

    let compacted = leader.view().revision() - 5;
    let compact = Request::Compact(CompactionRequest { revision: compacted, physical: false });
    leader.apply(&[compact]).unwrap();
    while leader.compacting().is_some() {
        if let Some(job) = leader.compaction_hash_job() {
            leader.compaction_hashed(job.run().unwrap());
        }
        leader.trim_step();
    }
    receive(&disk, &mut follower, &mut leader).unwrap();

    let is_compacted =
        |result: Result<bool, Error>| matches!(result, Err(Error::Refused(Refusal::Compacted)));
    assert!(is_compacted(reading.step()));
    assert!(is_compacted(hash.step()));
    assert!(matches!(export.write_step(), Err(Error::Refused(Refusal::Replaced))));
    match stream.advance().unwrap() {
        Progress::Deliver(WatchDelivery::Compacted { compact_revision, .. }) => {
            assert_eq!(compact_revision, compacted);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_crash_finds_the_old_state_or_the_new_one() {
    let mut leader = open(&SimDisk::new(2));
    put(&mut leader, 0..60);
    let new = leader.view().hash_now(0).unwrap();
    let mut n_old = 0;
    for effects in 0.. {
        let disk = SimDisk::new(1);
        let mut follower = open(&disk);
        put(&mut follower, 0..50);
        let checkpoint = follower.snapshot(Checkpoint::default()).into_checkpoint();
        follower.log().sync_job().run().unwrap();
        disk::checkpoint::save(&disk, Path::new(DIR), &checkpoint).unwrap();
        let old = follower.view().hash_now(0).unwrap();
        disk.crash_at_op(effects);
        let received = receive(&disk, &mut follower, &mut leader);
        drop(follower);
        disk.crash();
        let found = open(&disk).view().hash_now(0).unwrap();
        assert!(found == old || found == new, "after {effects} effects");
        n_old += usize::from(found == old);
        if received.is_ok() {
            assert_eq!(found, new);
            break;
        }
    }
    assert!(n_old > 3, "{n_old} effects come before the new state counts");
}
