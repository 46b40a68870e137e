//! What a member does for itself: compactions carried through, checkpoints, files released.

use std::path::Path;

use disk::{Disk, SimDisk, checkpoint};
use node::{Config, Job, Note};
use proto::etcdserverpb::LeaseGrantRequest;
use store::Request;

use crate::member::{DATA_DIR, Member, WAL_DIR, compact, config, open_log, put, revision};

#[test]
fn a_compaction_is_answered_at_once_but_a_physical_one_only_after_trimming() {
    let mut member = Member::lead(&SimDisk::new(1), config());
    for _ in 0..4 {
        member.apply(put("k", "v")).unwrap();
    }
    let marked = member.propose(compact(3, false));
    member.write_log().unwrap();
    assert_eq!(revision(member.answer(marked)), Some(5));
    let physical = member.propose(compact(4, true));
    member.write_log().unwrap();
    assert!(member.answer(physical).is_none(), "the first compaction is being hashed");
    assert!(member.jobs.iter().any(|job| matches!(job, Job::HashCompaction(_))));
    member.settle().unwrap();
    assert_eq!(revision(member.answer(physical)), Some(5));
    let compacted = |revision| Note::Compacted { revision };
    assert!(member.notes.ends_with(&[compacted(3), compacted(4)]));
}

#[test]
fn a_checkpoint_is_made_when_due_and_the_log_before_it_released() {
    let disk = SimDisk::new(1);
    let few = || Config { checkpoint_entries: 50, checkpoint_ticks: 2, ..config() };
    let mut member = Member::lead(&disk, few());
    for _ in 0..100 {
        member.apply(put("k", vec![0; 2000])).unwrap();
    }
    assert!(checkpoint::load(&disk, Path::new(DATA_DIR)).unwrap().is_none(), "it is not due before its time");
    let files = log_files(&disk);
    assert!(files > 3);
    member.tick(3).unwrap();
    let saved = checkpoint::load(&disk, Path::new(DATA_DIR)).unwrap().unwrap();
    assert_eq!(saved.applied_index, member.node.published().applied());
    assert_eq!((saved.revision, saved.members.len()), (101, 1));
    assert!(member.notes.contains(&Note::Checkpoint { index: saved.applied_index }));
    assert!(log_files(&disk) < files, "the log before it is not needed");

    disk.crash();
    let member = Member::lead(&disk, Config { first_request_id: 1000, ..few() });
    assert_eq!(member.node.view().revision(), 101);
}

#[test]
fn the_log_before_a_checkpoint_is_released_however_many_entries_followers_may_ask_for() {
    let disk = SimDisk::new(1);
    let many = Config { checkpoint_entries: 50, checkpoint_ticks: 2, catchup_entries: u64::MAX, ..config() };
    let mut member = Member::lead(&disk, many);
    for _ in 0..100 {
        member.apply(put("k", vec![0; 2000])).unwrap();
    }
    member.tick(3).unwrap();
    assert_eq!(log_files(&disk), 1);
}

#[test]
fn a_checkpoint_is_made_early_if_the_log_grows_long() {
    let disk = SimDisk::new(1);
    let mut member = Member::lead(&disk, Config { checkpoint_bytes: 50_000, ..config() });
    for _ in 0..30 {
        member.apply(put("k", vec![0; 2000])).unwrap();
    }
    assert!(checkpoint::load(&disk, Path::new(DATA_DIR)).unwrap().is_some());
}

#[test]
fn a_long_checkpoint_is_made_less_often() {
    let n_checkpoints = |n_leases: i64| {
        let mut member = Member::lead(&SimDisk::new(1), Config { checkpoint_bytes: 10_000, ..config() });
        for id in 1..=n_leases {
            member.apply(Request::LeaseGrant(LeaseGrantRequest { id, ttl: 1000 })).unwrap();
        }
        let before = member.notes.len();
        for _ in 0..100 {
            member.apply(put("k", vec![0; 1000])).unwrap();
        }
        let is_checkpoint = |note: &&Note| matches!(note, Note::Checkpoint { .. });
        member.notes[before..].iter().filter(is_checkpoint).count()
    };
    assert!(n_checkpoints(1) >= 9, "one for each 10,000 bytes of log");
    assert!(n_checkpoints(1000) <= 2, "no more than a byte of them for eight of log");
}

#[test]
fn what_compaction_frees_is_given_back() {
    let disk = SimDisk::new(1);
    let mut member = Member::lead(&disk, Config { checkpoint_entries: 50, checkpoint_ticks: 1, ..config() });
    for _ in 0..300 {
        member.apply(put("k", vec![0; 2000])).unwrap();
    }
    member.tick(2).unwrap();
    let before = member.node.published().size_bytes();
    member.apply(compact(300, true)).unwrap();
    // Files leave with a checkpoint that does not list them.
    for _ in 0..120 {
        member.apply(put("k", "v")).unwrap();
    }
    member.tick(4).unwrap();
    let after = member.node.published().size_bytes();
    assert!(after * 3 < before, "{before} bytes before, {after} after");
    assert_eq!(member.keys(), 1);
}

#[test]
fn files_leave_soon_after_a_compaction_though_nothing_more_is_written() {
    let disk = SimDisk::new(1);
    let mut member = Member::lead(&disk, config());
    for _ in 0..300 {
        member.apply(put("k", vec![0; 2000])).unwrap();
    }
    let before = segments(&disk);
    member.apply(compact(300, true)).unwrap();
    member.tick(10).unwrap();
    let after = segments(&disk);
    assert!(after * 3 < before, "{before} segments before, {after} after");
}

#[test]
fn a_member_that_was_never_checkpointed_keeps_its_whole_log() {
    let disk = SimDisk::new(1);
    let mut member = Member::lead(&disk, config());
    for _ in 0..100 {
        member.apply(put("k", vec![0; 2000])).unwrap();
    }
    disk.crash();
    let (_, recovered) = open_log(&disk);
    assert_eq!(recovered.entries[0].index, 1);
}

fn log_files(disk: &SimDisk) -> usize {
    count(disk, Path::new(WAL_DIR), ".wal")
}

fn segments(disk: &SimDisk) -> usize {
    count(disk, Path::new(DATA_DIR), ".seg")
}

fn count(disk: &SimDisk, dir: &Path, ending: &str) -> usize {
    disk.list(dir).unwrap().iter().filter(|name| name.ends_with(ending)).count()
}
