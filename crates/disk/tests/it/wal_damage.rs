//! Torn ends are mended, damage is refused: at every length, every sector and every bit of a small log.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use disk::wal::Recovered;
use disk::{Disk, Error, SimDisk, Wal};
use proptest::prelude::*;
use proto::raftpb::{Entry, HardState};

use crate::wal_rig::{DIR, MEMBER, create, entry, open, snapshot};

/// A log of several files, each step synced.
fn log() -> SimDisk {
    let disk = SimDisk::new(1);
    let mut wal = create(&disk).unwrap();
    let state = |commit| HardState { term: 3, vote: MEMBER.member_id, commit };
    for index in 1..=12 {
        wal.append(&[entry(3, index, 60 * index as usize)], Some(&state(index - 1))).unwrap();
        wal.sync().unwrap();
    }
    wal.record_snapshot(&snapshot(4, 3)).unwrap();
    wal.append(&[entry(3, 13, 0), entry(3, 14, 600)], Some(&state(13))).unwrap();
    wal.sync().unwrap();
    disk
}

fn files(disk: &SimDisk) -> Vec<PathBuf> {
    disk.list(Path::new(DIR)).unwrap().iter().map(|name| Path::new(DIR).join(name)).collect()
}

fn bytes_of(disk: &SimDisk, path: &Path) -> Vec<u8> {
    let file = disk.open(path).unwrap();
    file.read(0, file.len().unwrap() as usize).unwrap()
}

/// Where the records of the last file end.
fn end_of(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|&byte| byte != 0).unwrap() / 8 * 8 + 8
}

#[test]
fn a_flipped_bit_is_found_or_changes_nothing() {
    let mut disk = log();
    let whole = open(&disk, 0).unwrap().1;
    let paths = files(&disk);
    assert_eq!(paths.len(), 2);
    let (mut refused, mut harmless) = (0, 0);
    for path in &paths {
        let end = end_of(&bytes_of(&disk, path)) as u64;
        for (offset, bit) in (0..end + 16).flat_map(|offset| (0..8).map(move |bit| (offset, bit))) {
            disk.flip_bit(path, offset, bit).unwrap();
            match open(&disk, 0) {
                Ok((_, found)) => {
                    harmless += 1;
                    assert_eq!(Recovered { repaired: None, ..found }, whole, "{path:?} {offset}.{bit}");
                    disk = log();
                    continue;
                }
                Err(Error::Corrupt { path: named, offset: at, .. }) => {
                    refused += 1;
                    assert!(&named == path && at <= offset, "{path:?} {offset}.{bit}: {named:?} {at}");
                }
                Err(error) => panic!("{path:?} {offset}.{bit}: {error}"),
            }
            disk.flip_bit(path, offset, bit).unwrap();
        }
    }
    assert!(harmless * 20 < refused, "{harmless} flips went by, {refused} did not: more than the padding");
}

#[test]
fn a_file_cut_anywhere_in_its_last_records_is_mended() {
    let path = files(&log()).pop().unwrap();
    let end = end_of(&bytes_of(&log(), &path));
    for len in end - 700..end {
        let disk = log();
        disk.open(&path).unwrap().set_len(len as u64).unwrap();
        let (mut wal, found) = open(&disk, 0).unwrap_or_else(|error| panic!("cut to {len}: {error}"));
        let whole_until = found.entries.len() as u64;
        assert!((12..=14).contains(&whole_until), "cut to {len}: {whole_until} entries");
        assert_eq!(found.hard_state.commit, 11, "the last state was cut");
        wal.append(&[entry(3, whole_until + 1, 300)], None).unwrap();
        let again = open(&disk, 0).unwrap().1;
        assert_eq!((again.entries.len() as u64, again.repaired), (whole_until + 1, None), "cut to {len}");
    }
}

#[test]
fn any_sectors_of_an_unsynced_batch_may_be_missing() {
    for lost in 0..64_u32 {
        let disk = SimDisk::new(1);
        let mut wal = create(&disk).unwrap();
        wal.append(&[entry(1, 1, 60)], None).unwrap();
        let path = files(&disk).pop().unwrap();
        let end = end_of(&bytes_of(&disk, &path));
        wal.append(&[entry(1, 2, 1200), entry(1, 3, 20), entry(1, 4, 1300), entry(1, 5, 10)], None).unwrap();
        for sector in (0..6).filter(|sector| lost & 1 << sector != 0) {
            let start = (sector * 512).max(end);
            disk.open(&path).unwrap().write_at(start as u64, &vec![0; (sector + 1) * 512 - start]).unwrap();
        }
        let (mut wal, found) = open(&disk, 0).unwrap_or_else(|error| panic!("lost {lost:06b}: {error}"));
        let expected =
            [entry(1, 1, 60), entry(1, 2, 1200), entry(1, 3, 20), entry(1, 4, 1300), entry(1, 5, 10)];
        assert_eq!(found.entries, expected[..found.entries.len()], "lost {lost:06b}");
        assert!(!found.entries.is_empty());
        // With its first sector the batch loses its first length word: a clean end, whatever stands behind it.
        assert_eq!(found.repaired.is_some(), lost != 0 && lost & 1 == 0, "lost {lost:06b}");
        let next = entry(1, found.entries.len() as u64 + 1, 1000);
        wal.append(std::slice::from_ref(&next), None).unwrap();
        let (_, again) = open(&disk, 0).unwrap_or_else(|error| panic!("lost {lost:06b}: {error}"));
        assert_eq!((again.entries.last(), again.repaired), (Some(&next), None), "lost {lost:06b}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn overwritten_bytes_never_yield_other_entries(
        file in 0..2_usize,
        at in 0..4500_u64,
        garbage in prop_oneof![
            prop::collection::vec(any::<u8>(), 1..700),
            (1..2000_usize).prop_map(|len| vec![0; len]),
        ],
    ) {
        let disk = log();
        let whole = open(&disk, 0).unwrap().1;
        let path = &files(&disk)[file];
        disk.open(path).unwrap().write_at(at, &garbage).unwrap();
        match open(&disk, 0) {
            Ok((_, found)) => {
                prop_assert!(whole.entries.starts_with(&found.entries));
                prop_assert!(found.hard_state.commit <= found.entries.len() as u64);
            }
            Err(error) => prop_assert!(matches!(error, Error::Corrupt { .. }), "{}", error),
        }
    }
}

/// Bytes of one long file, enough for fifty entries.
const LONG: u64 = 1 << 20;

/// Fifty entries of `data`, each synced before the next is written.
fn log_of_synced(data: &[u8]) -> SimDisk {
    let disk = SimDisk::new(1);
    let mut wal = Wal::create_sized(Arc::new(disk.clone()), Path::new(DIR), MEMBER, LONG).unwrap();
    for index in 1..=50 {
        let entry = Entry { term: 1, index, data: data.to_vec().into(), ..Entry::default() };
        let state = HardState { term: 1, vote: MEMBER.member_id, commit: index - 1 };
        wal.append(&[entry], Some(&state)).unwrap();
        wal.sync().unwrap();
    }
    disk
}

#[test]
fn a_flipped_bit_in_a_value_of_zeros_is_damage() {
    let disk = log_of_synced(&[0; 1500]);
    let path = files(&disk).remove(0);
    let before = bytes_of(&disk, &path);
    disk.flip_bit(&path, 10_000, 3).unwrap();
    let damaged = bytes_of(&disk, &path);
    assert_ne!(before, damaged);
    match open(&disk, 0) {
        Err(Error::Corrupt { path: named, offset, .. }) => assert!(named == path && offset < 10_000),
        other => panic!("{other:?}"),
    }
    assert_eq!(bytes_of(&disk, &path), damaged, "nothing was cut");
}

#[test]
fn a_sector_of_synced_records_that_reads_as_zero_is_damage() {
    // Unless the sector holds the length of a record: then nothing says where the next sync mark is.
    let (mut refused, mut unnoticed) = (0, 0);
    for sector in 1..140 {
        let disk = log_of_synced(&[7; 1500]);
        let path = files(&disk).remove(0);
        disk.open(&path).unwrap().write_at(sector * 512, &[0; 512]).unwrap();
        match open(&disk, 0) {
            Err(Error::Corrupt { path: named, offset, .. }) => {
                assert!(named == path && offset < (sector + 1) * 512);
                refused += 1;
            }
            Ok(_) => unnoticed += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(refused > unnoticed, "{refused} refused, {unnoticed} taken for the end");
}

#[test]
fn a_log_that_ends_before_the_checkpoint_is_refused_and_left_alone() {
    for sector in 1..90 {
        let disk = SimDisk::new(1);
        let mut wal = Wal::create_sized(Arc::new(disk.clone()), Path::new(DIR), MEMBER, LONG).unwrap();
        // One batch: nothing but the checkpoint tells that it was durable.
        let entries: Vec<Entry> = (1..=50).map(|index| entry(1, index, 900)).collect();
        wal.append(&entries, None).unwrap();
        drop(wal);
        let path = files(&disk).remove(0);
        disk.open(&path).unwrap().write_at(sector * 512, &[0; 512]).unwrap();
        let damaged = bytes_of(&disk, &path);
        let (_, found) = open(&disk, 0).unwrap();
        let kept = found.entries.len() as u64;
        assert!(kept < 50);

        disk.open(&path).unwrap().write_at(0, &damaged).unwrap();
        match open(&disk, 50) {
            Err(Error::EndsEarly { path: named, last_index, needed_index: 50, .. }) => {
                assert_eq!((named, last_index), (path.clone(), kept));
            }
            other => panic!("sector {sector}: {other:?}"),
        }
        assert_eq!(bytes_of(&disk, &path), damaged, "nothing was cut");
        open(&disk, kept).unwrap();
    }
}

#[test]
fn only_the_last_file_may_have_a_torn_end() {
    let first = files(&log()).remove(0);
    let len = bytes_of(&log(), &first).len() as u64;
    for cut in [1, 8, 100, 600] {
        let disk = log();
        disk.open(&first).unwrap().set_len(len - cut).unwrap();
        assert!(matches!(open(&disk, 0), Err(Error::Corrupt { .. })), "cut by {cut}");
    }
}

#[test]
fn a_write_that_landed_elsewhere_is_found() {
    let disk = log();
    let paths = files(&disk);
    let (mut wal, found) = open(&disk, 0).unwrap();
    let next = found.entries.len() as u64 + 1;
    disk.misdirect_next_write(&paths[1], &paths[0], 1024).unwrap();
    wal.append(&[entry(3, next, 300)], None).unwrap();
    wal.append(&[entry(3, next + 1, 300)], None).unwrap();
    wal.sync().unwrap();
    assert!(matches!(open(&disk, 0), Err(Error::Corrupt { path, .. }) if path == paths[0]));
}

#[test]
fn an_unreadable_file_is_an_error_of_the_disk_not_of_the_log() {
    let disk = log();
    let path = files(&disk).pop().unwrap();
    disk.fail_reads(&path, 100..101).unwrap();
    assert!(matches!(open(&disk, 0), Err(Error::Unreadable { path: named, .. }) if named == path));
}

#[test]
fn files_of_two_logs_do_not_mix() {
    let disk = log();
    let other = SimDisk::new(1);
    let stranger = disk::wal::Metadata { member_id: 1, ..MEMBER };
    drop(
        disk::Wal::create_sized(std::sync::Arc::new(other.clone()), Path::new(DIR), stranger, 4096).unwrap(),
    );
    let foreign = bytes_of(&other, &files(&other)[0]);
    let last = files(&disk).pop().unwrap();
    disk.open(&last).unwrap().write_at(0, &foreign).unwrap();
    assert!(matches!(open(&disk, 0), Err(Error::Corrupt { path, offset: 0, .. }) if path == last));
}
