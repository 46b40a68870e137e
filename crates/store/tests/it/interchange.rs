//! Exports of a store that goes on, and what becomes of them when they are imported.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use disk::bolt::{BucketBound, Layout, Reader, Writer};
use disk::{Disk, Revision, SimDisk, revision_log};
use proptest::prelude::*;
use prost::Message;
use proto::checkpointpb::Checkpoint;
use proto::etcdserverpb::{
    AlarmRequest, CompactionRequest, DeleteRangeRequest, LeaseGrantRequest, Member, PutRequest,
};
use proto::mvccpb::KeyValue;
use proto::raftpb::ConfState;
use store::{Export, ImportError, Imported, MemberChange, Request, Store};

use crate::rig::{LEASE_TTL_MIN_S, Rig, SEGMENT_BYTES};

const DIR: &str = "/imported";
const OPTIONS: revision_log::Options = revision_log::Options { segment_bytes: SEGMENT_BYTES };

fn put(key: usize, value: &str) -> Request {
    let key = format!("key-{key:03}").into();
    Request::Put(PutRequest { key, value: value.to_owned().into(), ..PutRequest::default() })
}

fn delete(key: usize) -> Request {
    let key = format!("key-{key:03}").into();
    Request::DeleteRange(DeleteRangeRequest { key, ..DeleteRangeRequest::default() })
}

fn compact(revision: i64) -> Request {
    Request::Compact(CompactionRequest { revision, physical: false })
}

/// What the log says at the moment of an export.
fn log() -> Checkpoint {
    let conf_state = Some(ConfState { voters: vec![7], ..ConfState::default() });
    Checkpoint { applied_index: 4711, applied_term: 3, conf_state, ..Checkpoint::default() }
}

fn measure(export: &mut Export) -> u64 {
    loop {
        if let Some(len) = export.measure_step() {
            return len;
        }
    }
}

/// Writes what is left of a measured file behind `file`.
fn write_rest(export: &mut Export, file: &mut Vec<u8>) {
    while !export.write_step().unwrap() {
        file.append(export.output());
    }
    file.append(export.output());
}

fn write(mut export: Export) -> Vec<u8> {
    let len = measure(&mut export);
    let mut file = Vec::new();
    write_rest(&mut export, &mut file);
    assert_eq!(file.len() as u64, len);
    file
}

fn open(disk: &SimDisk, file: &[u8]) -> Result<Reader, disk::Error> {
    let path = Path::new("/db");
    let _ = disk.remove(path);
    let handle = disk.create(path).unwrap();
    handle.write_at(0, file).unwrap();
    Reader::open(handle, path)
}

fn import(disk: &SimDisk, file: &[u8]) -> Result<Imported, ImportError> {
    let disk_handle: Arc<dyn Disk> = Arc::new(disk.clone());
    store::import(disk_handle, Path::new(DIR), OPTIONS, open(disk, file)?, &mut |_| ())
}

/// The store that a file becomes, and its checkpoint.
fn restore(file: &[u8]) -> (Store, Checkpoint) {
    let disk = SimDisk::new(1);
    let checkpoint = import(&disk, file).unwrap().commit().unwrap();
    disk.crash();
    (open_store(&disk), checkpoint)
}

fn open_store(disk: &SimDisk) -> Store {
    let saved = disk::checkpoint::load(disk, Path::new(DIR)).unwrap();
    Store::open(Arc::new(disk.clone()), Path::new(DIR), OPTIONS, saved.as_ref(), LEASE_TTL_MIN_S).unwrap()
}

/// The hash of each revision that can be read but the compacted one: of that, a store that has carried out the compaction
/// remembers what it was before.
fn hashes(store: &Store) -> BTreeMap<i64, u32> {
    let view = store.view();
    let revisions = view.compact_revision() + 1..=view.revision();
    let revisions = revisions.filter(|at| *at > 0);
    revisions.map(|at| (at, view.hash_now(at).unwrap().hash)).collect()
}

/// A store with deleted keys, leases, an alarm, and a compaction behind it.
fn furnished() -> Rig {
    let mut rig = Rig::new(1);
    let member = Member { id: 7, peer_ur_ls: vec!["http://a:2380".into()], ..Member::default() };
    rig.store.change_member(&MemberChange::Add(member), 1).unwrap();
    for id in [5, 70, -3] {
        rig.apply(Request::LeaseGrant(LeaseGrantRequest { id, ttl: 100 })).unwrap();
    }
    for key in 0..100 {
        rig.apply(put(key, &"x".repeat(key))).unwrap();
    }
    let leased = PutRequest { key: "leased".into(), lease: 70, ..PutRequest::default() };
    rig.apply(Request::Put(leased)).unwrap();
    (0..50).for_each(|key| drop(rig.apply(delete(key))));
    rig.apply(compact(120)).unwrap();
    rig.trim();
    rig
}

#[test]
fn an_imported_export_is_the_same_store() {
    let mut rig = furnished();
    rig.apply(Request::Alarm(AlarmRequest { action: 1, member_id: 7, alarm: 1 })).unwrap();
    let file = write(rig.store.export(log()).unwrap());
    let (copy, checkpoint) = restore(&file);
    assert_eq!(hashes(&copy), hashes(&rig.store));
    assert_eq!(copy.view().compact_revision(), 120);
    assert_eq!(copy.control(), rig.store.control());
    let terms = |store: &Store| store.leases().iter().collect::<BTreeMap<_, _>>();
    assert_eq!(terms(&copy), terms(&rig.store));
    assert_eq!(copy.leases().keys(70, None, 9), [(*b"leased").into()]);
    let expected = log();
    assert_eq!((checkpoint.applied_index, checkpoint.applied_term), (4711, 3));
    assert_eq!(checkpoint.conf_state, expected.conf_state);
}

#[test]
fn an_empty_store_can_be_exported() {
    let (copy, checkpoint) = restore(&write(Rig::new(1).store.export(log()).unwrap()));
    assert_eq!((copy.view().revision(), copy.view().compact_revision()), (1, -1));
    assert!(checkpoint.segments.is_empty());
}

#[test]
fn the_same_state_gives_the_same_file() {
    // Whoever changes the format changes this number, and tries the file with etcd's tools.
    let file = write(furnished().store.export(log()).unwrap());
    assert_eq!((file.len(), crc32c::crc32c(&file)), (24_576, 175_943_745));
}

#[test]
fn later_writes_are_not_exported() {
    let mut rig = furnished();
    let expected = hashes(&rig.store);
    let mut export = rig.store.export(log()).unwrap();
    rig.apply(put(1, "later")).unwrap();
    measure(&mut export);
    rig.apply(put(2, "later")).unwrap();
    let mut file = Vec::new();
    write_rest(&mut export, &mut file);
    assert_eq!(hashes(&restore(&file).0), expected);
}

/// Overwrites every key, compacts at `at` and gives back the space.
fn overwrite_and_compact(rig: &mut Rig, at: i64) {
    for key in 0..100 {
        rig.apply(put(key, &"later".repeat(10))).unwrap();
    }
    rig.apply(compact(at)).unwrap();
    rig.checkpoint();
    rig.trim();
    rig.checkpoint();
}

/// The copy must be the store that `reference` is, the source as it was when the export began, after the last compaction
/// of the copy. Returns that.
fn assert_copied(file: &[u8], mut reference: Rig) -> i64 {
    let (copy, _) = restore(file);
    let compacted = copy.view().compact_revision();
    if compacted > reference.store.view().compact_revision() {
        reference.apply(compact(compacted)).unwrap();
    }
    assert_eq!(compacted, reference.store.view().compact_revision());
    assert_eq!(copy.view().revision(), reference.store.view().revision());
    assert_eq!(hashes(&copy), hashes(&reference.store));
    assert_eq!(newest(&copy), newest(&reference.store));
    compacted
}

/// Keys and values of the newest revision.
fn newest(store: &Store) -> Vec<u8> {
    let range = proto::etcdserverpb::RangeRequest {
        key: "\0".into(),
        range_end: "\0".into(),
        ..proto::etcdserverpb::RangeRequest::default()
    };
    let mut reading = store.view().range(store::RangeQuery::new(&range).unwrap()).unwrap();
    while !reading.step().unwrap() {}
    reading.finish().unwrap().kvs.to_vec()
}

#[test]
fn a_compaction_meanwhile_takes_nothing_that_the_copy_needs() {
    let revision = furnished().store.view().revision();
    // Up to the exported revision, and after it; before the records are counted, and after.
    for (at, is_measured) in
        [(130, false), (130, true), (revision, true), (revision + 60, false), (revision + 60, true)]
    {
        let mut rig = furnished();
        let mut export = rig.store.export(log()).unwrap();
        if is_measured {
            measure(&mut export);
        }
        overwrite_and_compact(&mut rig, at);
        assert_eq!(rig.store.compacting(), None, "the compaction does not wait");
        if !is_measured {
            measure(&mut export);
        }
        let mut file = Vec::new();
        write_rest(&mut export, &mut file);
        assert_eq!(assert_copied(&file, furnished()), at.min(revision));
    }
}

#[test]
fn what_is_held_is_given_back_when_the_export_ends() {
    let live_bytes = |rig: &mut Rig| rig.store.log().size().live_bytes;
    let mut alone = furnished();
    let revision = alone.store.view().revision();
    overwrite_and_compact(&mut alone, revision + 100);
    for is_written in [false, true] {
        let mut rig = furnished();
        let mut export = rig.store.export(log()).unwrap();
        measure(&mut export);
        overwrite_and_compact(&mut rig, revision + 100);
        assert!(live_bytes(&mut rig) > live_bytes(&mut alone));
        if is_written {
            write_rest(&mut export, &mut Vec::new());
        }
        let export = is_written.then_some(export);
        while rig.store.can_trim() {
            rig.store.trim_step();
        }
        assert_eq!(live_bytes(&mut rig), live_bytes(&mut alone), "written: {is_written}");
        drop(export);
    }
}

#[test]
fn nothing_counts_before_the_checkpoint_is_saved() {
    let file = write(furnished().store.export(log()).unwrap());
    let effects = {
        let disk = SimDisk::new(1);
        let before = disk.ops().effects();
        import(&disk, &file).unwrap().commit().unwrap();
        disk.ops().effects() - before
    };
    assert!(effects > 10);
    for n in 0..effects {
        let disk = SimDisk::new(n);
        let reader = open(&disk, &file).unwrap();
        disk.crash_at_op(n.saturating_sub(2));
        let handle: Arc<dyn Disk> = Arc::new(disk.clone());
        let imported = store::import(handle, Path::new(DIR), OPTIONS, reader, &mut |_| ());
        let committed = imported.and_then(Imported::commit);
        disk.crash();
        let saved = disk::checkpoint::load(&disk, Path::new(DIR)).unwrap();
        if committed.is_ok() || saved.is_some() {
            assert!(matches!(import(&disk, &file), Err(ImportError::Occupied { .. })));
        } else {
            import(&disk, &file).unwrap().commit().unwrap();
        }
        assert_eq!(open_store(&disk).view().revision(), 152);
    }
}

type Rows<'a> = Vec<(&'a str, Vec<(Vec<u8>, Vec<u8>)>)>;

/// A database of these buckets.
fn database(buckets: &Rows<'_>) -> Vec<u8> {
    let mut layout = Layout::new(4096);
    for (name, rows) in buckets {
        let mut bound = BucketBound::default();
        rows.iter().for_each(|(key, value)| bound.add(key.len(), value.len()));
        layout.add_bucket(name, &bound);
    }
    let mut writer = Writer::new(layout);
    for (name, rows) in buckets {
        writer.begin_bucket(name);
        rows.iter().for_each(|(key, value)| writer.put(key, value));
    }
    while !writer.finish() {}
    std::mem::take(writer.output())
}

fn key(main: i64) -> Vec<u8> {
    Revision { main, sub: 0 }.to_key().to_vec()
}

fn value(main: i64) -> KeyValue {
    let key = "k".into();
    KeyValue { key, create_revision: main, mod_revision: main, version: 1, ..KeyValue::default() }
}

fn refusal(buckets: &Rows<'_>) -> String {
    import(&SimDisk::new(1), &database(buckets)).unwrap_err().to_string()
}

#[test]
fn an_error_names_bucket_and_row() {
    let with_key = |row: (Vec<u8>, Vec<u8>)| refusal(&vec![("meta", vec![]), ("key", vec![row])]);
    let wrong = KeyValue { mod_revision: 9, ..value(5) };
    let cases = [
        (with_key((b"nonsense".to_vec(), vec![])), "in bucket key at b\"nonsense\": the key of a revision"),
        (with_key((key(5), vec![0xff])), "in bucket key at revision 5_0: a protobuf KeyValue"),
        (with_key((key(5), wrong.encode_to_vec())), "in bucket key at revision 5_0: a KeyValue that fits"),
        (with_key((key(5), [&value(5).encode_to_vec()[..], &[0x38, 1]].concat())), "as etcd encodes it"),
        (refusal(&vec![("key", vec![])]), "a bucket named meta"),
        (refusal(&vec![("meta", vec![])]), "a bucket named key"),
        (refusal(&vec![("meta", vec![(b"term".to_vec(), vec![1])])]), "in bucket meta at \"term\""),
        (
            refusal(&vec![("meta", vec![]), ("lease", vec![(vec![1], vec![])])]),
            "in bucket lease at \"\\u{1}\": a row of this bucket",
        ),
        (
            refusal(&vec![("meta", vec![]), ("authUsers", vec![(b"root".to_vec(), vec![])])]),
            "it has users or roles",
        ),
    ];
    for (error, expected) in cases {
        assert!(error.contains(expected), "{error}\nlacks {expected}");
    }
    let twice =
        vec![(key(5), value(5).encode_to_vec()), ([key(5), b"t".to_vec()].concat(), b"\n\x01k".to_vec())];
    assert!(refusal(&vec![("meta", vec![]), ("key", twice)]).contains("one record of each revision"));
}

#[test]
fn a_revision_raised_by_etcdutl_is_taken() {
    let compacted = vec![(b"scheduledCompactRev".to_vec(), key(1000))];
    let records = vec![(key(5), value(5).encode_to_vec()), (key(1000), vec![])];
    let (store, _) = restore(&database(&vec![("key", records), ("meta", compacted)]));
    assert_eq!((store.view().revision(), store.view().compact_revision()), (1000, 1000));
    assert!(!newest(&store).is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Writes and compactions anywhere between the steps of an export.
    #[test]
    fn an_export_is_the_store_of_its_moment(
        writes_before in 1..300_usize,
        steps in prop::collection::vec((0..60_usize, 0..4_u8), 0..12),
    ) {
        let change = |rig: &mut Rig, n: usize| {
            let request = if n.is_multiple_of(5) { delete(n % 40) } else { put(n % 40, &"v".repeat(n % 90)) };
            drop(rig.apply(request));
        };
        let (mut rig, mut reference) = (Rig::new(1), Rig::new(1));
        for n in 0..writes_before {
            change(&mut rig, n * 7);
            change(&mut reference, n * 7);
        }
        let mut export = rig.store.export(log()).unwrap();
        let (mut is_measured, mut file) = (false, Vec::new());
        for (count, action) in steps {
            (0..count).for_each(|n| change(&mut rig, n * 11 + usize::from(action)));
            let revision = rig.store.view().revision();
            match action {
                0 => drop(rig.apply(compact(revision - (count as i64).min(revision - 1)))),
                1 => rig.trim(),
                2 => {
                    rig.checkpoint();
                    rig.trim();
                }
                _ if !is_measured => is_measured = export.measure_step().is_some(),
                _ => {
                    export.write_step().unwrap();
                    file.append(export.output());
                }
            }
        }
        if !is_measured {
            measure(&mut export);
        }
        write_rest(&mut export, &mut file);
        assert_copied(&file, reference);
    }

    #[test]
    fn a_damaged_database_is_refused_or_taken(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut file = write(furnished().store.export(log()).unwrap());
        for (at, byte) in changes {
            let at = at.index(file.len());
            file[at] = byte;
        }
        let disk = SimDisk::new(1);
        // A store that was taken must open, and go on.
        if let Ok(imported) = import(&disk, &file) {
            imported.commit().unwrap();
            let mut store = open_store(&disk);
            store.apply(&[put(1, "more"), compact(store.view().revision())]).unwrap();
        }
    }
}
