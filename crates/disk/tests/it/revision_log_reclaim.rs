//! Getting space back: which segments are rewritten, who can read what meanwhile, and when files go.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use disk::revision_log::{Moved, Rewritten, Segments};
use disk::{Disk, Error, Location, LogReader, RealDisk, Revision, RevisionLog, SimDisk};
use proto::checkpointpb::Segment;

use crate::revision_log_rig::*;

/// The part of a store that reclaiming needs: the newest location of each key.
#[derive(Default)]
struct Index(BTreeMap<Vec<u8>, (Revision, Location)>);

impl Index {
    /// Writes `key` and marks what it replaces as dead.
    fn write(&mut self, log: &mut RevisionLog, main: i64, key: &str) {
        let change = put(main, key, &"v".repeat(40));
        let at = append(log, &change).unwrap();
        log.flush().unwrap();
        if let Some((_, old)) = self.0.insert(key.as_bytes().to_vec(), (change.meta.revision, at)) {
            log.mark_dead(old);
        }
    }

    fn has(&self, key: &[u8], revision: Revision) -> bool {
        self.0.get(key).is_some_and(|(newest, _)| *newest == revision)
    }

    /// Points to where a rewrite has put the records.
    fn relocate(&mut self, log: &mut RevisionLog, moved: &mut Moved) {
        for (key, revision, to) in moved {
            match self.0.get_mut(&key[..]) {
                Some((newest, at)) if *newest == revision => *at = to,
                _ => log.mark_dead(to),
            }
        }
    }

    /// Carries out one plan, if there is one, and says whether there was.
    fn reclaim(&mut self, log: &mut RevisionLog) -> Result<bool, Error> {
        let Some(plan) = log.reclaim_candidate(false) else { return Ok(false) };
        let mut rewritten = plan.run(&|key, revision| self.has(key, revision))?;
        log.install(&rewritten);
        self.relocate(log, &mut rewritten.moved);
        log.retire(&rewritten);
        Ok(true)
    }

    fn assert_readable(&self, log: &RevisionLog) {
        for (key, (revision, at)) in &self.0 {
            let expected = put(revision.main, std::str::from_utf8(key).unwrap(), &"v".repeat(40));
            assert_eq!(log.read(*at).unwrap(), expected.key_value);
        }
    }
}

fn segment_files(disk: &dyn Disk) -> usize {
    disk.list(Path::new(DIR)).unwrap().iter().filter(|name| name.ends_with(".seg")).count()
}

/// Three keys written over and over.
fn overwritten(disk: &SimDisk) -> (RevisionLog, Index) {
    let mut log = open(disk, &[]).unwrap();
    let mut index = Index::default();
    for key in ["old", "older"] {
        index.write(&mut log, 1 + key.len() as i64, key);
    }
    for main in 10..60 {
        index.write(&mut log, main, "hot");
    }
    (log, index)
}

#[test]
fn nothing_is_rewritten_while_most_bytes_are_live() {
    let mut log = open(&SimDisk::new(1), &[]).unwrap();
    let locations = fill(&mut log, 2..=50);
    assert!(log.reclaim_candidate(false).is_none());
    for at in locations.iter().step_by(6) {
        log.mark_dead(*at);
    }
    assert!(log.reclaim_candidate(false).is_none());
}

#[test]
fn a_log_takes_five_quarters_of_its_live_bytes_whatever_share_is_dead() {
    for dead_of_twenty in 1..20 {
        let mut log = open(&SimDisk::new(1), &[]).unwrap();
        let locations = fill(&mut log, 2..=401);
        let is_live = |main: i64| main * 7 % 20 >= dead_of_twenty;
        for (_, at) in (2..).zip(&locations).filter(|(main, _)| !is_live(*main)) {
            log.mark_dead(*at);
        }
        let mut copied = 0;
        while let Some(plan) = log.reclaim_candidate(false) {
            let mut rewritten = plan.run(&|_, revision| is_live(revision.main)).unwrap();
            log.install(&rewritten);
            copied += rewritten.moved.by_ref().count();
            log.retire(&rewritten);
        }
        let size = log.size();
        let spare = 40 * log.segments().len() as u64 + SEGMENT_BYTES;
        assert!(size.bytes <= size.live_bytes * 5 / 4 + spare, "{dead_of_twenty}: {size:?}");
        assert!(copied <= 2 * locations.len(), "{dead_of_twenty}: {copied} records copied");
    }
}

#[test]
fn survivors_move_and_everything_else_goes() {
    let disk = SimDisk::new(1);
    let (mut log, mut index) = overwritten(&disk);
    let before = log.segments().len();
    assert!(index.reclaim(&mut log).unwrap());
    assert!(!index.reclaim(&mut log).unwrap(), "all dead bytes went at once");
    assert_eq!(log.segments().len(), 2, "the survivors and the tail, of {before}");
    index.assert_readable(&log);
    assert_eq!(scan(&log, 0)[..2], [4, 6]);
    assert!(scan(&log, 0).is_sorted());
}

#[test]
fn segments_without_survivors_go_without_a_successor() {
    let disk = SimDisk::new(1);
    let mut log = open(&disk, &[]).unwrap();
    let mut index = Index::default();
    for main in 2..50 {
        index.write(&mut log, main, "hot");
    }
    assert!(index.reclaim(&mut log).unwrap());
    assert_eq!(log.segments().len(), 1);
    index.assert_readable(&log);
}

#[test]
fn old_and_new_locations_can_be_read_until_the_old_are_retired_and_snapshots_longer() {
    let disk = SimDisk::new(1);
    let (mut log, mut index) = overwritten(&disk);
    let reader = log.reader();
    let snapshot = reader.snapshot();
    let late_sync = log.sync_job();
    let old = index.0[&b"old"[..]].1;
    let plan = log.reclaim_candidate(false).unwrap();
    let mut rewritten = plan.run(&|key, revision| index.has(key, revision)).unwrap();
    log.install(&rewritten);
    index.relocate(&mut log, &mut rewritten.moved);
    let new = index.0[&b"old"[..]].1;
    assert_ne!(old, new);
    assert_eq!(reader.read(old).unwrap(), reader.read(new).unwrap());

    log.retire(&rewritten);
    assert!(reader.read(old).is_err());
    let listed = sync(&mut log).unwrap();
    log.release(&listed).run().unwrap();
    assert_eq!(snapshot.read(old).unwrap(), reader.read(new).unwrap());
    // A sync that was asked for before has the segments too, and closes the files that it made durable.
    late_sync.run().unwrap();
    assert_eq!(snapshot.read(old).unwrap(), reader.read(new).unwrap());
    assert!(disk.open(&Path::new(DIR).join(format!("{:016x}.seg", old.segment))).is_err());
}

#[test]
fn a_record_that_dies_during_the_rewrite_is_counted_as_dead_in_its_new_place() {
    let disk = SimDisk::new(1);
    let (mut log, mut index) = overwritten(&disk);
    let plan = log.reclaim_candidate(false).unwrap();
    let mut rewritten = plan.run(&|key, revision| index.has(key, revision)).unwrap();
    index.write(&mut log, 100, "old");
    log.install(&rewritten);
    index.write(&mut log, 101, "older");
    index.relocate(&mut log, &mut rewritten.moved);
    log.retire(&rewritten);
    assert!(index.reclaim(&mut log).unwrap(), "the new segment is all dead");
    assert_eq!(log.segments().len(), 1);
    index.assert_readable(&log);
}

#[test]
fn files_stay_as_long_as_the_durable_checkpoint_lists_them() {
    let disk = SimDisk::new(1);
    let (mut log, mut index) = overwritten(&disk);
    let durable = sync(&mut log).unwrap();
    let files = segment_files(&disk);
    index.reclaim(&mut log).unwrap();
    log.release(&durable).run().unwrap();
    assert_eq!(segment_files(&disk), files + 1);
    assert_eq!(load(&open(&disk, &durable).unwrap()).unwrap().len(), 52);

    let (mut log, mut index) = overwritten(&SimDisk::new(1));
    index.reclaim(&mut log).unwrap();
    let listed = sync(&mut log).unwrap();
    log.release(&listed).run().unwrap();
    log.release(&listed).run().unwrap();
}

#[test]
fn after_a_restart_the_rewritten_segment_stands_in_its_place() {
    let disk = SimDisk::new(1);
    let (mut log, mut index) = overwritten(&disk);
    index.reclaim(&mut log).unwrap();
    index.write(&mut log, 70, "newest");
    let listed = sync(&mut log).unwrap();
    assert!(listed[0].id > listed[1].id, "order is by revision, not by id");
    let expected = load(&log).unwrap();
    drop(log);
    let log = open(&disk, &listed).unwrap();
    assert_eq!(segment_files(&disk), listed.len());
    assert_eq!(load(&log).unwrap(), expected);
    index.assert_readable(&log);
}

#[test]
fn a_full_disk_or_damage_during_a_rewrite_leaves_the_log_as_it_is() {
    let disk = SimDisk::new(1);
    let (mut log, mut index) = overwritten(&disk);
    let listed = sync(&mut log).unwrap();
    let used = disk.used();
    disk.set_capacity(Some(used));
    assert!(matches!(index.reclaim(&mut log), Err(Error::NoSpace { .. })));
    disk.set_capacity(None);
    let old = index.0[&b"old"[..]].1;
    let path = Path::new(DIR).join(format!("{:016x}.seg", old.segment));
    disk.flip_bit(&path, u64::from(old.offset) + 60, 0).unwrap();
    assert!(matches!(index.reclaim(&mut log), Err(Error::Corrupt { .. })));
    disk.flip_bit(&path, u64::from(old.offset) + 60, 0).unwrap();
    assert_eq!(disk.used(), used, "nothing is left behind");
    assert_eq!(log.segments(), listed);
    assert!(index.reclaim(&mut log).unwrap());
    index.assert_readable(&log);
}

#[test]
fn the_number_of_segments_is_bounded_under_steady_overwrites() {
    let disk = SimDisk::new(1);
    let mut log = open(&disk, &[]).unwrap();
    let mut index = Index::default();
    let mut most = 0;
    for main in 2..3000 {
        // A few keys change all the time, many now and then, some never again.
        let key = match main % 4 {
            0 if main < 200 => format!("once-{main}"),
            1 => format!("sometimes-{}", main * 7919 % 40),
            _ => format!("often-{}", main % 3),
        };
        index.write(&mut log, main, &key);
        while index.reclaim(&mut log).unwrap() {}
        most = most.max(log.segments().len());
        if main % 100 == 0 {
            let listed = sync(&mut log).unwrap();
            log.release(&listed).run().unwrap();
        }
    }
    index.assert_readable(&log);
    let live_bytes = index.0.len() as u64 * 130;
    let bound = usize::try_from(4 * live_bytes / SEGMENT_BYTES + 8).unwrap();
    assert!(most <= bound, "{most} segments, {bound} allowed");
    let listed = sync(&mut log).unwrap();
    log.release(&listed).run().unwrap();
    assert_eq!(segment_files(&disk), listed.len(), "no file is forgotten");
}

/// A log whose first segment is live but for a put of `doomed`, which a tombstone in a later segment deletes; nothing
/// in later segments is live. Gives the locations of the live records.
fn deleted_late(disk: &SimDisk) -> (RevisionLog, Vec<Location>) {
    let mut log = open(disk, &[]).unwrap();
    let put_at = append(&mut log, &put(2, "doomed", "value")).unwrap();
    let live = fill(&mut log, 3..=9);
    append(&mut log, &tombstone(10, "never-put")).unwrap();
    let mut dead = fill(&mut log, 100..=130);
    dead.push(append(&mut log, &tombstone(140, "doomed")).unwrap());
    dead.push(append(&mut log, &tombstone(141, "never-put")).unwrap());
    dead.extend(fill(&mut log, 150..=190));
    for at in dead.into_iter().chain([put_at]).filter(|at| live.iter().all(|live| live.segment != at.segment))
    {
        log.mark_dead(at);
    }
    log.mark_dead(put_at);
    (log, live)
}

/// Carries out all plans of a log that keeps `live` mains alone, and gives the mains left.
fn reclaim_all(log: &mut RevisionLog, live: std::ops::RangeInclusive<i64>) -> Vec<i64> {
    let keep = |_: &[u8], revision: Revision| live.contains(&revision.main);
    for _ in 0..20 {
        let Some(plan) = log.reclaim_candidate(false) else {
            return load(log).unwrap().iter().map(|(_, meta, _)| meta.revision.main).collect();
        };
        let mut rewritten = plan.run(&keep).unwrap();
        log.install(&rewritten);
        for (_, revision, to) in rewritten.moved.by_ref() {
            if !live.contains(&revision.main) {
                log.mark_dead(to);
            }
        }
        log.retire(&rewritten);
    }
    panic!("plans without end");
}

#[test]
fn a_tombstone_stays_while_an_older_put_of_its_key_lies_before_the_run() {
    let (mut log, _) = deleted_late(&SimDisk::new(1));
    let left = reclaim_all(&mut log, 3..=9);
    assert!(left.starts_with(&[2, 3]), "the first segment is mostly live: {left:?}");
    assert!(left.contains(&140), "a restart would bring the deleted key back: {left:?}");
    assert!(!left.contains(&141), "nothing to delete: {left:?}");
}

#[test]
fn a_pinned_tombstone_goes_once_the_put_is_gone() {
    let (mut log, live) = deleted_late(&SimDisk::new(1));
    reclaim_all(&mut log, 3..=9);
    for at in &live[2..] {
        log.mark_dead(*at);
    }
    let left = reclaim_all(&mut log, 3..=4);
    assert!(left.starts_with(&[3, 4]) && !left.contains(&140), "{left:?}");
}

#[test]
fn many_small_segments_are_merged_even_if_all_their_bytes_are_live() {
    let disk = SimDisk::new(1);
    let mut log = open(&disk, &[]).unwrap();
    let mut index = Index::default();
    let mut most = 0;
    for main in 2..40 {
        index.write(&mut log, main, &format!("k{main}"));
        // A record that fits no segment seals the one before it; it dies, and a small segment is left.
        let mut long = put(main, "long", &"v".repeat(2000));
        long.meta.revision.sub = 1;
        let at = append(&mut log, &long).unwrap();
        log.flush().unwrap();
        log.mark_dead(at);
        while index.reclaim(&mut log).unwrap() {}
        most = most.max(log.segments().len());
    }
    assert!(most <= 20, "{most} segments for 38 records of a tenth of a segment");
    index.assert_readable(&log);
}

/// Reads every record of the log again and again, through snapshots and scans, until told to stop.
fn keep_reading(reader: &LogReader, newest: &AtomicI64, stop: &AtomicBool) -> usize {
    let mut n = 0;
    while !stop.load(Ordering::Acquire) {
        let reached = newest.load(Ordering::Acquire);
        let snapshot: Segments = reader.snapshot();
        let records: Vec<_> = reader.scan(Revision::default()).map(Result::unwrap).collect();
        assert!(records.is_sorted_by(|a, b| a.meta.revision < b.meta.revision));
        assert!(records.last().map_or(0, main_of) >= reached, "what was flushed can be scanned");
        for record in &records {
            if record.meta.revision.main <= reached
                && let Ok(key_value) = snapshot.read(record.at)
            {
                assert_eq!(key_value, record.key_value());
                n += 1;
            }
        }
    }
    n
}

#[test]
fn readers_on_other_threads_never_see_anything_torn_on_a_real_disk() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open_on(Arc::new(RealDisk), dir.path(), &[]).unwrap();
    let mut index = Index::default();
    let (newest, stop) = (AtomicI64::new(0), AtomicBool::new(false));
    let reader = log.reader();
    let (reads, listed) = std::thread::scope(|scope| {
        let readers = [(); 2].map(|()| scope.spawn(|| keep_reading(&reader, &newest, &stop)));
        for main in 2..2000 {
            index.write(&mut log, main, &format!("k{}", main * main % 17));
            newest.store(main, Ordering::Release);
            index.reclaim(&mut log).unwrap();
        }
        let listed: Vec<Segment> = sync(&mut log).unwrap();
        log.release(&listed).run().unwrap();
        stop.store(true, Ordering::Release);
        (readers.map(|reader| reader.join().unwrap()), listed)
    });
    assert!(reads.iter().all(|n| *n > 0));
    index.assert_readable(&log);
    let expected = load(&log).unwrap();
    drop(log);
    assert_eq!(load(&open_on(Arc::new(RealDisk), dir.path(), &listed).unwrap()).unwrap(), expected);
}

#[test]
fn jobs_can_run_on_another_thread() {
    fn is_send<T: Send>() {}
    is_send::<disk::revision_log::ReclaimPlan>();
    is_send::<Rewritten>();
    is_send::<disk::revision_log::SyncJob>();
    is_send::<disk::revision_log::Removal>();
    is_send::<disk::revision_log::PrepareSegment>();
}
