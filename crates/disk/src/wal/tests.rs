//! The log against a sound disk, a full one and a failing one.

use std::any::Any;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use prost::bytes::Bytes;
use proto::raftpb::ConfState;

use super::*;
use crate::files::{Dir, File};
use crate::sim::SimDisk;

const MEMBER: Metadata = Metadata { member_id: 0x8e9e_05c5_2164_694d, cluster_id: 0xcdf8_18e9_7e83_2e2a };
const DIR: &str = "/wal";
const SEGMENT: u64 = 8192;

fn entry(term: u64, index: u64, len: usize) -> Entry {
    Entry { term, index, data: Bytes::from(vec![index as u8 | 1; len]), ..Entry::default() }
}

fn entries(indexes: std::ops::RangeInclusive<u64>, len: usize) -> Vec<Entry> {
    indexes.map(|index| entry(1, index, len)).collect()
}

fn state(commit: u64) -> HardState {
    HardState { term: 1, vote: MEMBER.member_id, commit }
}

fn snapshot(index: u64) -> walpb::Snapshot {
    let conf_state = Some(ConfState { voters: vec![MEMBER.member_id], ..ConfState::default() });
    walpb::Snapshot { index, term: 1, conf_state }
}

fn create(disk: &SimDisk) -> Wal {
    Wal::create_sized(Arc::new(disk.clone()), Path::new(DIR), MEMBER, SEGMENT).unwrap()
}

fn open(disk: &SimDisk, from_index: u64) -> Result<(Wal, Recovered), Error> {
    Wal::open_sized(Arc::new(disk.clone()), Path::new(DIR), from_index, SEGMENT)
}

fn names(disk: &SimDisk) -> Vec<String> {
    disk.list(Path::new(DIR)).unwrap()
}

#[test]
fn what_was_appended_is_recovered() {
    let disk = SimDisk::new(1);
    let mut wal = create(&disk);
    wal.append(&entries(1..=3, 100), Some(&state(2))).unwrap();
    wal.append(&[entry(2, 3, 5)], None).unwrap();
    wal.record_snapshot(&snapshot(2)).unwrap();
    drop(wal);
    let (mut wal, recovered) = open(&disk, 0).unwrap();
    assert_eq!(recovered.metadata, MEMBER);
    assert_eq!(recovered.entries, [entry(1, 1, 100), entry(1, 2, 100), entry(2, 3, 5)]);
    assert_eq!(recovered.hard_state, HardState { term: 2, vote: 0, commit: 2 });
    assert_eq!(recovered.snapshots, [walpb::Snapshot::default(), snapshot(2)]);
    assert_eq!(recovered.repaired, None);
    wal.append(&[entry(2, 4, 5)], None).unwrap();
    assert_eq!(open(&disk, 2).unwrap().1.entries, [entry(2, 3, 5), entry(2, 4, 5)]);
}

#[test]
fn committed_entries_are_read_in_batches_and_the_rest_when_the_log_is_opened() {
    let disk = SimDisk::new(1);
    let mut wal = create(&disk);
    for index in 1..=4000 {
        wal.append(&[entry(1, index, 900)], Some(&state(index - 1))).unwrap();
    }
    drop(wal);
    let (wal, recovered) = Wal::open_for_replay(Arc::new(disk), Path::new(DIR), 10, SEGMENT).unwrap();
    assert_eq!(recovered.entries, [entry(1, 4000, 900)]);
    let (mut next, mut longest) = (11, 0);
    let mut take = |batch: Vec<Entry>| {
        longest = longest.max(batch.len());
        for found in batch {
            assert_eq!(found, entry(1, next, 900));
            next += 1;
        }
        Ok::<_, Error>(())
    };
    wal.read_committed(10, &mut take).unwrap();
    assert_eq!(next, 4000);
    assert!((500..1200).contains(&longest), "a megabyte at a time: {longest} entries");
    let mut refuse = |_| Err(Error::Failed { path: "/elsewhere".into() });
    assert!(matches!(wal.read_committed(10, &mut refuse), Err(Error::Failed { .. })));
}

#[test]
fn a_full_file_is_followed_by_the_next() {
    let disk = SimDisk::new(1);
    let mut wal = create(&disk);
    for index in 1..=30 {
        wal.append(&[entry(1, index, 900)], Some(&state(index))).unwrap();
    }
    drop(wal);
    assert_eq!(
        names(&disk),
        [
            "0000000000000000-0000000000000000.wal",
            "0000000000000001-000000000000000a.wal",
            "0000000000000002-0000000000000013.wal",
            "0000000000000003-000000000000001c.wal",
        ]
    );
    let recovered = open(&disk, 0).unwrap().1;
    assert_eq!((recovered.entries.len(), recovered.hard_state), (30, state(30)));
    let recovered = open(&disk, 18).unwrap().1;
    assert_eq!((recovered.entries[0].index, recovered.hard_state), (19, state(30)));
}

#[test]
fn a_prepared_file_is_used_and_counts_as_room() {
    let disk = SimDisk::new(1);
    let mut wal = create(&disk);
    wal.append(&entries(1..=5, 900), None).unwrap();
    assert!(wal.needs_next() && wal.room() < SEGMENT / 2);
    let prepared = wal.next_file().run().unwrap();
    wal.adopt(prepared);
    assert_eq!(wal.room(), SEGMENT, "a batch goes into one of both");
    assert!(!wal.needs_next());
    wal.append(&entries(6..=10, 900), None).unwrap();
    assert_eq!(names(&disk).len(), 2, "the file overshoots, the prepared one waits");
    wal.append(&entries(11..=11, 900), None).unwrap();
    assert_eq!(names(&disk)[1], "0000000000000001-000000000000000b.wal");
    assert!(wal.needs_next() && wal.room() < SEGMENT);
}

#[test]
fn a_prepared_file_keeps_a_log_on_a_full_disk_going() {
    let disk = SimDisk::new(1);
    let mut wal = create(&disk);
    wal.append(&entries(1..=7, 900), None).unwrap();
    wal.adopt(wal.next_file().run().unwrap());
    disk.set_capacity(Some(disk.used()));
    wal.append(&entries(8..=15, 900), Some(&state(14))).unwrap();
    disk.set_capacity(Some(disk.used()));
    assert!(matches!(wal.append(&entries(16..=16, 900), None), Err(Error::NoSpace { .. })));
    let recovered = open(&disk, 0).unwrap().1;
    assert_eq!((recovered.entries.len(), recovered.hard_state), (15, state(14)));
}

#[test]
fn a_full_disk_changes_nothing_and_the_call_may_be_repeated() {
    let disk = SimDisk::new(1);
    let mut wal = create(&disk);
    wal.append(&entries(1..=7, 900), None).unwrap();
    disk.set_capacity(Some(disk.used()));
    let overshooting = entries(8..=20, 900);
    assert!(matches!(wal.append(&overshooting, None), Err(Error::NoSpace { .. })));
    wal.append(&overshooting[..1], None).unwrap();
    disk.set_capacity(None);
    wal.append(&overshooting[1..], Some(&state(20))).unwrap();
    disk.set_capacity(Some(disk.used()));
    assert!(matches!(wal.append(&[entry(1, 21, 1)], None), Err(Error::NoSpace { .. })), "the next file");
    disk.set_capacity(None);
    wal.append(&[entry(1, 21, 1)], None).unwrap();
    assert_eq!(open(&disk, 0).unwrap().1.entries.len(), 21);
}

#[test]
fn a_file_that_comes_late_is_still_good() {
    let disk = SimDisk::new(1);
    let mut wal = create(&disk);
    let late = wal.next_file().run().unwrap();
    for index in 1..=10 {
        wal.append(&[entry(1, index, 900)], None).unwrap();
    }
    assert_eq!(names(&disk).len(), 3, "one in a hurry, and the late one: {:?}", names(&disk));
    wal.adopt(late);
    for index in 11..=20 {
        wal.append(&[entry(1, index, 900)], None).unwrap();
    }
    wal.sync().unwrap();
    assert_eq!(open(&disk, 0).unwrap().1.entries.len(), 20);
}

#[test]
fn a_failed_sync_is_final() {
    let disk = SimDisk::new(1);
    let mut wal = create(&disk);
    wal.append(&entries(1..=1, 10), None).unwrap();
    disk.fail_syncs(&Path::new(DIR).join(&names(&disk)[0])).unwrap();
    assert!(matches!(wal.sync(), Err(Error::Io { op: "sync", .. })));
    assert!(matches!(wal.sync(), Err(Error::Failed { .. })));
    assert!(matches!(wal.append(&entries(2..=2, 10), None), Err(Error::Failed { .. })));
    assert!(matches!(wal.record_snapshot(&snapshot(1)), Err(Error::Failed { .. })));
}

#[test]
fn syncing_twice_costs_one_sync() {
    let disk = SimDisk::new(1);
    let mut wal = create(&disk);
    wal.append(&entries(1..=1, 10), None).unwrap();
    let before = disk.ops().syncs;
    wal.sync().unwrap();
    wal.sync().unwrap();
    assert_eq!(disk.ops().syncs, before + 1);
}

#[test]
fn files_are_released_once_no_entry_above_the_index_is_in_them() {
    let disk = SimDisk::new(1);
    let mut wal = create(&disk);
    for index in 1..=30 {
        wal.append(&[entry(1, index, 900)], None).unwrap();
    }
    assert_eq!(wal.release(9).unwrap(), Vec::<PathBuf>::new());
    assert_eq!(wal.release(10).unwrap(), [Path::new(DIR).join("0000000000000000-0000000000000000.wal")]);
    assert_eq!(wal.release(1000).unwrap().len(), 2, "never the current one");
    assert_eq!(open(&disk, 28).unwrap().1.entries.len(), 2);
    assert!(matches!(open(&disk, 27), Err(Error::Missing { .. })));
}

#[test]
fn each_file_begins_with_the_state_so_far() {
    let disk = SimDisk::new(1);
    let mut wal = create(&disk);
    wal.append(&entries(1..=1, 900), Some(&state(1))).unwrap();
    for index in 2..=30 {
        wal.append(&[entry(1, index, 900)], None).unwrap();
    }
    wal.release(28).unwrap();
    assert_eq!(open(&disk, 28).unwrap().1.hard_state, state(1));
}

#[test]
fn a_missing_file_is_named() {
    let disk = SimDisk::new(1);
    let mut wal = create(&disk);
    for index in 1..=30 {
        wal.append(&[entry(1, index, 900)], None).unwrap();
    }
    drop(wal);
    disk.remove(&Path::new(DIR).join("0000000000000002-0000000000000013.wal")).unwrap();
    let message = open(&disk, 0).unwrap_err().to_string();
    assert!(message.contains("0000000000000002-*.wal"), "{message}");
}

#[test]
fn a_checkpoint_beyond_the_log_moves_the_next_entry() {
    let disk = SimDisk::new(1);
    let mut wal = create(&disk);
    wal.record_snapshot(&snapshot(500)).unwrap();
    wal.append(&entries(501..=502, 10), Some(&state(501))).unwrap();
    assert_eq!(open(&disk, 500).unwrap().1.entries.len(), 2);
    assert!(matches!(open(&disk, 0), Err(Error::Corrupt { .. })), "entries 1 to 500 are nowhere");
}

#[test]
#[should_panic(expected = "entry 3 leaves a gap")]
fn a_gap_is_not_written() {
    let mut wal = create(&SimDisk::new(1));
    let _ = wal.append(&entries(3..=3, 10), None);
}

#[test]
#[should_panic(expected = "commits what is not in the log")]
fn a_state_that_commits_missing_entries_is_not_written() {
    let mut wal = create(&SimDisk::new(1));
    let _ = wal.append(&entries(1..=2, 10), Some(&state(3)));
}

#[test]
#[should_panic(expected = "entry 2 replaces a committed one")]
fn a_committed_entry_is_not_replaced() {
    let mut wal = create(&SimDisk::new(1));
    wal.append(&entries(1..=2, 10), Some(&state(2))).unwrap();
    let _ = wal.append(&[entry(2, 2, 10)], None);
}

#[test]
fn a_log_is_not_created_over_another() {
    let disk = SimDisk::new(1);
    drop(create(&disk));
    let again = Wal::create_sized(Arc::new(disk), Path::new(DIR), MEMBER, SEGMENT);
    assert!(matches!(again, Err(Error::Io { op: "create a log in", .. })));
}

#[test]
fn a_log_is_created_in_a_directory_that_is_there() {
    let disk = SimDisk::new(1);
    disk.create_dir(&Path::new(DIR).join("lost+found")).unwrap();
    disk.create(&Path::new(DIR).join("0.tmp")).unwrap();
    drop(create(&disk));
    assert_eq!(names(&disk), ["0000000000000000-0000000000000000.wal", "lost+found"]);
    assert_eq!(open(&disk, 0).unwrap().1.entries, []);
}

#[test]
fn a_torn_end_is_cut_off_and_kept_aside() {
    let disk = SimDisk::new(1);
    let mut wal = create(&disk);
    wal.append(&entries(1..=1, 10), None).unwrap();
    let end = wal.active.offset;
    wal.append(&entries(2..=2, 3000), None).unwrap();
    let path = wal.active.path.clone();
    wal.active.file.write_at(1024, &[0; 512]).unwrap();
    drop(wal);
    let (_, recovered) = open(&disk, 0).unwrap();
    assert_eq!(recovered.entries, entries(1..=1, 10));
    let repair = recovered.repaired.unwrap();
    assert_eq!((&repair.path, repair.offset), (&path, end));
    let copy = disk.open(&repair.copy.unwrap()).unwrap();
    assert_eq!(copy.len().unwrap(), end + repair.cut_bytes);
    assert_eq!(open(&disk, 0).unwrap().1.repaired, None);
}

#[test]
fn a_full_disk_does_not_keep_a_torn_log_from_opening() {
    let disk = SimDisk::new(1);
    let mut wal = create(&disk);
    wal.append(&entries(1..=1, 3000), None).unwrap();
    wal.active.file.write_at(1024, &[0; 512]).unwrap();
    drop(wal);
    disk.set_capacity(Some(disk.used()));
    let (_, recovered) = open(&disk, 0).unwrap();
    assert_eq!(recovered.repaired.unwrap().copy, None);
    assert_eq!(names(&disk).len(), 1);
}

/// A disk whose directories' syncs fail from the nth on, for want of space.
#[derive(Debug)]
struct NoRoomForNames {
    disk: SimDisk,
    syncs_left: Arc<AtomicU64>,
}

#[derive(Debug)]
struct NoRoomForName(Arc<dyn Dir>, Arc<AtomicU64>);

impl Dir for NoRoomForName {
    fn sync(&self) -> io::Result<()> {
        match self.1.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)) {
            Ok(_) => self.0.sync(),
            Err(_) => Err(io::ErrorKind::StorageFull.into()),
        }
    }
}

impl Disk for NoRoomForNames {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.disk.create(path)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.disk.open(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.create_dir(dir)
    }

    fn open_dir(&self, dir: &Path) -> io::Result<Arc<dyn Dir>> {
        Ok(Arc::new(NoRoomForName(self.disk.open_dir(dir)?, self.syncs_left.clone())))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Any + Send>> {
        self.disk.lock(path)
    }
}

#[test]
fn a_sync_of_the_directory_that_fails_for_want_of_space_is_final() {
    let syncs_left = Arc::new(AtomicU64::new(u64::MAX));
    let disk = NoRoomForNames { disk: SimDisk::new(1), syncs_left: syncs_left.clone() };
    let mut wal = Wal::create_sized(Arc::new(disk), Path::new(DIR), MEMBER, SEGMENT).unwrap();
    for index in 1..=9 {
        wal.append(&[entry(1, index, 900)], None).unwrap();
    }
    syncs_left.store(0, Ordering::Relaxed);
    assert!(matches!(wal.append(&[entry(1, 10, 900)], None), Err(Error::Io { op: "sync", .. })));
    assert!(matches!(wal.append(&[entry(1, 10, 1)], None), Err(Error::Failed { .. })));
}

#[test]
fn a_released_file_is_used_again() {
    let disk = SimDisk::new(1);
    let mut wal = create(&disk);
    for index in 1..=19 {
        wal.append(&[entry(1, index, 900)], Some(&state(index))).unwrap();
    }
    wal.release(19).unwrap();
    assert_eq!(names(&disk).iter().filter(|name| name.ends_with(".tmp")).count(), 2);
    assert!(!wal.needs_next() && wal.room() >= SEGMENT);
    let before = disk.ops().written_bytes;
    for index in 20..=36 {
        wal.append(&[entry(1, index, 900)], Some(&state(index))).unwrap();
        wal.sync().unwrap();
    }
    assert!(disk.ops().written_bytes - before < 2 * 17 * 960, "no file was filled with zeros");
    assert_eq!(names(&disk).len(), 3, "two in use, one still waits");
    let (mut wal, recovered) = open(&disk, 19).unwrap();
    assert_eq!((recovered.entries.len(), recovered.repaired), (17, None));
    wal.append(&[entry(1, 37, 3000)], None).unwrap();
    wal.append(&[entry(1, 38, 10)], None).unwrap();
    assert_eq!(open(&disk, 19).unwrap().1.entries.len(), 19);
}

#[test]
fn a_file_that_waits_for_its_next_use_is_found_when_the_log_is_opened() {
    let disk = SimDisk::new(1);
    let mut wal = create(&disk);
    for index in 1..=19 {
        wal.append(&[entry(1, index, 900)], None).unwrap();
    }
    wal.release(19).unwrap();
    drop(wal);
    let (wal, _) = open(&disk, 19).unwrap();
    assert_eq!(wal.spares.len(), 2);
    drop(wal);
    let longer = Wal::open_sized(Arc::new(disk.clone()), Path::new(DIR), 19, 2 * SEGMENT).unwrap().0;
    assert!(longer.spares.is_empty() && names(&disk).len() == 1, "what is too short is removed");
}

#[test]
fn a_log_of_longer_files_goes_on_with_shorter_ones() {
    let disk = SimDisk::new(1);
    let (shared, dir) = (Arc::new(disk.clone()), Path::new(DIR));
    let mut wal = Wal::create_sized(shared, dir, MEMBER, 4 * SEGMENT).unwrap();
    for index in 1..=50 {
        wal.append(&[entry(1, index, 900)], Some(&state(index))).unwrap();
    }
    wal.release(50).unwrap();
    drop(wal);
    let mut wal = open(&disk, 50).unwrap().0;
    for index in 51..=70 {
        wal.append(&[entry(1, index, 900)], Some(&state(index))).unwrap();
    }
    assert!(wal.files.len() >= 3, "files are full sooner");
    assert_eq!(open(&disk, 50).unwrap().1.entries.len(), 20);
}
