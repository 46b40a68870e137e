//! The revision log as its user sees it: append, read, scan, seal, sync, open again.

use std::path::Path;
use std::sync::Arc;

use disk::revision_log::Options;
use disk::{Disk, Error, Location, Revision, RevisionLog, SimDisk};

use crate::revision_log_rig::*;

#[test]
fn a_record_can_be_read_by_the_writer_at_once_and_by_others_after_a_flush() {
    let disk = SimDisk::new(1);
    let mut log = open(&disk, &[]).unwrap();
    let change = put(2, "key", "value");
    let at = append(&mut log, &change).unwrap();
    assert_eq!(log.read(at).unwrap(), change.key_value);
    assert!(log.reader().read(at).is_err());
    log.flush().unwrap();
    assert_eq!(log.read(at).unwrap(), change.key_value);
    assert_eq!(log.reader().read(at).unwrap(), change.key_value);
    assert_eq!(log.reader().snapshot().read(at).unwrap(), change.key_value);
}

#[test]
fn a_flush_is_one_write_and_none_if_nothing_was_appended() {
    let disk = SimDisk::new(1);
    let mut log = open(&disk, &[]).unwrap();
    fill(&mut log, 2..=6);
    assert_eq!(disk.ops().writes, 1);
    log.flush().unwrap();
    assert_eq!(disk.ops().writes, 1);
}

/// A log whose segments hold all that a test appends.
fn open_wide(disk: &SimDisk) -> RevisionLog {
    RevisionLog::open(Arc::new(disk.clone()), Path::new(DIR), Options::default(), &[]).unwrap()
}

#[test]
fn a_large_batch_is_written_before_it_takes_much_memory() {
    let disk = SimDisk::new(1);
    let mut log = open_wide(&disk);
    let value = "v".repeat(600 << 10);
    let locations = (2..7).map(|main| append(&mut log, &put(main, "key", &value)).unwrap());
    let locations: Vec<_> = locations.collect();
    assert_eq!(disk.ops().writes, 2, "the last record waits");
    for at in locations {
        assert_eq!(log.read(at).unwrap().len() as u32, at.len);
    }
}

#[test]
fn load_gives_back_key_header_and_location_of_every_record() {
    let disk = SimDisk::new(1);
    let mut log = open(&disk, &[]).unwrap();
    let changes = [put(2, "a", "1"), put(3, "b", &"2".repeat(900)), tombstone(4, "a"), put(5, "", "")];
    let mut expected = Vec::new();
    for (change, key) in changes.iter().zip(["a", "b", "a", ""]) {
        let at = append(&mut log, change).unwrap();
        expected.push((key.as_bytes().to_vec(), change.meta, at));
    }
    let listed = sync(&mut log).unwrap();
    let log = open(&disk, &listed).unwrap();
    assert_eq!(load(&log).unwrap(), expected);
    for (change, (_, _, at)) in changes.iter().zip(expected) {
        assert_eq!(log.read(at).unwrap(), change.key_value);
    }
}

#[test]
fn a_full_segment_is_sealed_and_the_next_one_begins() {
    let disk = SimDisk::new(1);
    let mut log = open(&disk, &[]).unwrap();
    fill(&mut log, 2..=40);
    let listed = log.segments();
    assert!(listed.len() > 3);
    assert!(listed.iter().rev().skip(1).all(|segment| segment.sealed && segment.length <= SEGMENT_BYTES));
    assert!(!listed.last().unwrap().sealed);
    assert!(listed.is_sorted_by(|a, b| a.first_revision < b.first_revision));
}

#[test]
fn a_record_longer_than_a_segment_gets_one_of_its_own() {
    let disk = SimDisk::new(1);
    let mut log = open(&disk, &[]).unwrap();
    fill(&mut log, 2..=2);
    let long = put(3, "long", &"v".repeat(5000));
    let at = append(&mut log, &long).unwrap();
    fill(&mut log, 4..=4);
    assert_eq!(log.read(at).unwrap(), long.key_value);
    assert_eq!(log.segments().len(), 3);
}

#[test]
fn a_scan_starts_at_its_revision_and_ends_at_what_is_flushed() {
    let disk = SimDisk::new(1);
    let mut log = open(&disk, &[]).unwrap();
    assert!(scan(&log, 1).is_empty());
    fill(&mut log, 2..=60);
    append(&mut log, &put(61, "k", "not flushed")).unwrap();
    for from in [0, 2, 3, 11, 12, 13, 59, 60, 61, 62] {
        assert_eq!(scan(&log, from), (from.max(2)..=60).collect::<Vec<_>>(), "from {from}");
    }
}

#[test]
fn a_scan_starts_between_the_changes_of_a_transaction() {
    let disk = SimDisk::new(1);
    let mut log = open(&disk, &[]).unwrap();
    for sub in 0..30 {
        let mut change = put(2, "key", &"v".repeat(50));
        change.meta.revision.sub = sub;
        append(&mut log, &change).unwrap();
    }
    log.flush().unwrap();
    assert!(log.segments().len() > 2, "the transaction spans segments");
    let subs: Vec<u32> =
        log.reader().scan(Revision { main: 2, sub: 17 }).map(|r| r.unwrap().meta.revision.sub).collect();
    assert_eq!(subs, (17..30).collect::<Vec<_>>());
}

#[test]
fn a_scan_does_not_read_what_lies_far_before_its_revision() {
    let disk = SimDisk::new(1);
    let mut log = open_wide(&disk);
    let value = "v".repeat(10 << 10);
    for main in 2..=200 {
        append(&mut log, &put(main, "key", &value)).unwrap();
    }
    log.flush().unwrap();
    for from in 2..=200 {
        assert_eq!(scan(&log, from), (from..=200).collect::<Vec<_>>(), "from {from}");
    }
    let before = disk.ops().reads;
    assert_eq!(scan(&log, 200), [200]);
    assert_eq!(disk.ops().reads - before, 1);
}

#[test]
fn records_carry_what_a_watcher_needs() {
    let disk = SimDisk::new(1);
    let mut log = open(&disk, &[]).unwrap();
    let changes = [put(2, "a", "1"), tombstone(3, "a")];
    let locations = changes.each_ref().map(|change| append(&mut log, change).unwrap());
    log.flush().unwrap();
    let records: Vec<_> = log.reader().scan(Revision::default()).map(Result::unwrap).collect();
    for ((record, change), at) in records.iter().zip(&changes).zip(locations) {
        assert_eq!((record.meta, record.at), (change.meta, at));
        assert_eq!(record.key(), b"a");
        assert_eq!(record.key_value(), change.key_value);
    }
}

#[test]
#[should_panic(expected = "revisions ascend")]
fn a_revision_that_does_not_ascend_is_refused() {
    let mut log = open(&SimDisk::new(1), &[]).unwrap();
    append(&mut log, &put(3, "key", "value")).unwrap();
    let _ = append(&mut log, &put(3, "key", "value"));
}

#[test]
fn opening_cuts_back_to_the_checkpoint_and_goes_on_from_there() {
    let disk = SimDisk::new(1);
    let mut log = open(&disk, &[]).unwrap();
    fill(&mut log, 2..=15);
    let listed = sync(&mut log).unwrap();
    fill(&mut log, 16..=50);
    drop(log);

    let mut log = open(&disk, &listed).unwrap();
    assert_eq!(scan(&log, 0), (2..=15).collect::<Vec<_>>());
    let names = disk.list(Path::new(DIR)).unwrap();
    assert_eq!(names.iter().filter(|name| name.ends_with(".seg")).count(), listed.len());
    fill(&mut log, 16..=30);
    assert_eq!(scan(&log, 0), (2..=30).collect::<Vec<_>>());
    assert_eq!(load(&log).unwrap().len(), 29);
}

#[test]
fn sealed_segments_take_no_more_space_than_their_records() {
    let disk = SimDisk::new(1);
    let mut log = open(&disk, &[]).unwrap();
    fill(&mut log, 2..=30);
    let listed = sync(&mut log).unwrap();
    let sealed = disk.open(&Path::new(DIR).join(format!("{:016x}.seg", listed[0].id))).unwrap();
    assert_eq!(sealed.len().unwrap(), listed[0].length, "a sync gives back what was reserved");
    sealed.set_len(SEGMENT_BYTES).unwrap();
    drop(open(&disk, &listed).unwrap());
    assert_eq!(sealed.len().unwrap(), listed[0].length, "so does opening");
}

#[test]
fn opening_leaves_files_that_are_no_segments_alone() {
    let disk = SimDisk::new(1);
    drop(open(&disk, &[]).unwrap());
    for name in ["notes.txt", "0.seg", "000000000000000x.seg"] {
        disk.create(&Path::new(DIR).join(name)).unwrap();
    }
    drop(open(&disk, &[]).unwrap());
    assert_eq!(disk.list(Path::new(DIR)).unwrap(), ["0.seg", "000000000000000x.seg", "notes.txt"]);
}

#[test]
fn sealed_segments_load_from_sidecars_without_reading_values() {
    let disk = SimDisk::new(1);
    let mut log = open(&disk, &[]).unwrap();
    fill(&mut log, 2..=50);
    let listed = sync(&mut log).unwrap();
    let expected = load(&log).unwrap();
    let path = Path::new(DIR).join(format!("{:016x}.seg", listed[0].id));
    disk.fail_reads(&path, 100..SEGMENT_BYTES).unwrap();
    assert_eq!(load(&open(&disk, &listed).unwrap()).unwrap(), expected);
}

#[test]
fn sidecars_are_made_again_when_missing() {
    let disk = SimDisk::new(1);
    let mut log = open(&disk, &[]).unwrap();
    fill(&mut log, 2..=50);
    let listed = sync(&mut log).unwrap();
    let expected = load(&log).unwrap();
    let sidecar = Path::new(DIR).join(format!("{:016x}.idx", listed[0].id));
    disk.remove(&sidecar).unwrap();

    let mut log = open(&disk, &listed).unwrap();
    assert_eq!(load(&log).unwrap(), expected);
    sync(&mut log).unwrap();
    assert!(disk.open(&sidecar).is_ok());
}

#[test]
fn the_sidecar_of_a_segment_that_was_sealed_earlier_in_a_former_life_is_made_again() {
    let disk = SimDisk::new(1);
    let mut log = open(&disk, &[]).unwrap();
    fill(&mut log, 2..=5);
    let listed = sync(&mut log).unwrap();
    append(&mut log, &put(6, "key", &"v".repeat(2000))).unwrap();
    sync(&mut log).unwrap();
    drop(log);

    let mut log = open(&disk, &listed).unwrap();
    load(&log).unwrap();
    fill(&mut log, 6..=20);
    let listed = sync(&mut log).unwrap();
    let path = Path::new(DIR).join(format!("{:016x}.seg", listed[0].id));
    disk.fail_reads(&path, 100..SEGMENT_BYTES).unwrap();
    assert_eq!(load(&open(&disk, &listed).unwrap()).unwrap().len(), 19);
}

#[test]
fn a_prepared_segment_needs_no_space_later() {
    let disk = SimDisk::new(1);
    let mut log = open(&disk, &[]).unwrap();
    assert!(log.needs_next());
    assert_eq!(log.room(), 0);
    let prepared = log.next_segment().run().unwrap();
    log.adopt(prepared);
    assert!(!log.needs_next());
    disk.set_capacity(Some(disk.used()));
    let room = log.room();
    assert!(room > SEGMENT_BYTES - 100);
    for main in 2.. {
        let change = put(main, "key", "value");
        if log.room() < 200 {
            break;
        }
        append(&mut log, &change).unwrap();
        log.flush().unwrap();
    }
    assert!(log.needs_next());
    assert!(matches!(log.next_segment().run(), Err(Error::NoSpace { .. })));
}

#[test]
fn without_space_an_append_is_refused_and_works_once_there_is_room() {
    let disk = SimDisk::new(1);
    let mut log = open(&disk, &[]).unwrap();
    fill(&mut log, 2..=2);
    let used = disk.used();
    disk.set_capacity(Some(used));
    let long = put(3, "key", &"v".repeat(2000));
    for _ in 0..2 {
        assert!(matches!(append(&mut log, &long), Err(Error::NoSpace { .. })));
        assert_eq!(disk.used(), used, "nothing is left behind");
    }
    disk.set_capacity(None);
    let at = append(&mut log, &long).unwrap();
    log.flush().unwrap();
    assert_eq!(log.read(at).unwrap(), long.key_value);
    assert_eq!(scan(&log, 0), [2, 3]);
}

#[test]
fn a_failed_sync_is_final() {
    let disk = SimDisk::new(1);
    let mut log = open(&disk, &[]).unwrap();
    fill(&mut log, 2..=5);
    let path = Path::new(DIR).join(format!("{:016x}.seg", log.segments()[0].id));
    disk.fail_syncs(&path).unwrap();
    assert!(matches!(sync(&mut log), Err(Error::Io { op: "sync", .. })));
    assert!(matches!(sync(&mut log), Err(Error::Failed { .. })));
}

#[test]
fn a_full_disk_does_not_keep_the_log_from_being_synced() {
    let disk = SimDisk::new(1);
    let mut log = open(&disk, &[]).unwrap();
    fill(&mut log, 2..=30);
    // Less than the sidecars take, but sealing gives back the unused ends of segments first.
    disk.set_capacity(Some(1));
    let listed = sync(&mut log).unwrap();
    disk.set_capacity(None);
    assert_eq!(load(&open(&disk, &listed).unwrap()).unwrap().len(), 29);
}

#[test]
fn a_location_that_is_not_of_the_log_is_refused() {
    let disk = SimDisk::new(1);
    let mut log = open(&disk, &[]).unwrap();
    let at = fill(&mut log, 2..=2)[0];
    let wrong = [
        Location { segment: at.segment + 1, ..at },
        Location { offset: at.offset + 1, ..at },
        Location { len: at.len - 1, ..at },
        Location { len: u32::MAX, offset: u32::MAX, ..at },
    ];
    for at in wrong {
        assert!(matches!(log.read(at), Err(Error::Corrupt { .. })), "{at:?}");
    }
}
