//! How a member comes up: new, again, and after every crash in between.

use std::path::Path;
use std::sync::Arc;

use disk::wal::{Metadata, Wal};
use disk::{Disk, SimDisk};
use node::{Config, Fatal, Input, Note};
use proto::member_json;
use proto::raftpb::EntryType;

use crate::member::{ID, Member, WAL_DIR, conf_change, config, info, open_log, put, revision};

#[test]
fn a_new_member_writes_one_configuration_change_for_each_initial_member() {
    let disk = SimDisk::new(1);
    let initial_members = vec![info(3), info(ID), info(9)];
    drop(Member::start(&disk, Config { initial_members, ..config() }).unwrap());
    disk.crash();
    let (_, recovered) = open_log(&disk);
    assert_eq!((recovered.hard_state.term, recovered.hard_state.commit), (1, 3));
    assert_eq!((recovered.metadata.member_id, recovered.metadata.cluster_id), (ID, 99));
    for (entry, id) in recovered.entries.iter().zip([3, ID, 9]) {
        assert_eq!((entry.term, entry.r#type()), (1, EntryType::EntryConfChange));
        let change = conf_change(&entry.data);
        let member = member_json::decode(&change.context).unwrap();
        assert_eq!((change.node_id, member.id, member.peer_ur_ls), (id, id, info(id).peer_ur_ls));
        assert!(member.client_ur_ls.is_empty(), "a member names its client URLs itself, once it serves them");
    }
    assert_eq!(recovered.entries.len(), 3);
}

#[test]
fn a_lone_member_leads_without_waiting_for_a_tick_and_makes_itself_known() {
    let mut member = Member::start(&SimDisk::new(1), config()).unwrap();
    member.settle().unwrap();
    assert!(!member.is_restart);
    let leader = Note::Leader { id: ID, term: 2 };
    let told = [Note::Members, leader, Note::Published, Note::ClusterVersion("3.7.0".to_owned())];
    assert_eq!(member.notes, told);
    let published = member.node.published();
    assert_eq!((published.leader(), published.term(), published.reads_at_once()), (ID, 2, true));
    assert_eq!(published.control().member(ID), Some(&info(ID)));
    assert_eq!(published.applied(), published.committed());
}

#[test]
fn a_member_of_three_waits_for_the_others() {
    let initial_members = vec![info(3), info(ID), info(9)];
    let mut member = Member::start(&SimDisk::new(1), Config { initial_members, ..config() }).unwrap();
    member.tick(5).unwrap();
    let published = member.node.published();
    assert_eq!((published.leader(), published.reads_at_once()), (0, false));
    assert_eq!(published.control().members().count(), 3);
}

#[test]
fn a_restart_replays_the_log() {
    let disk = SimDisk::new(1);
    let mut member = Member::lead(&disk, config());
    for i in 0..10 {
        let answer = member.apply(put(&format!("k{i}"), "v")).unwrap();
        assert_eq!(revision(Some(answer)), Some(i + 2));
    }
    disk.crash();
    let mut member = Member::lead(&disk, Config { first_request_id: 1000, ..config() });
    assert!(member.is_restart);
    assert_eq!((member.keys(), member.node.view().revision()), (10, 11));
    assert_eq!(revision(Some(member.apply(put("k0", "w")).unwrap())), Some(12));
    assert!(!member.notes.contains(&Note::ClusterVersion(String::new())), "it is decided once");
}

#[test]
fn what_is_committed_is_applied_before_the_member_runs() {
    let disk = SimDisk::new(1);
    let mut member = Member::lead(&disk, config());
    for i in 0..2000 {
        member.apply(put("k", format!("{i}"))).unwrap();
    }
    disk.crash();
    let member = Member::start(&disk, Config { first_request_id: 10_000, ..config() }).unwrap();
    // The commit index of the last put comes with a batch that was never written.
    assert!((2000..=2001).contains(&member.node.view().revision()), "{}", member.node.view().revision());
    assert_eq!(member.node.published().control().members().count(), 1, "its configuration is known too");
}

#[test]
fn a_start_cut_short_anywhere_is_made_good_by_the_next() {
    for n in 0.. {
        let disk = SimDisk::new(n);
        disk.crash_at_op(n);
        let is_complete = Member::start(&disk, config()).and_then(|mut m| m.settle()).is_ok();
        assert!(is_complete || disk.has_crashed());
        disk.crash();
        let mut member = Member::lead(&disk, config());
        assert_eq!(member.node.published().control().members().count(), 1);
        assert_eq!(revision(Some(member.apply(put("k", "v")).unwrap())), Some(2), "after effect {n}");
        if is_complete {
            assert!(n > 10, "the start had effects to cut");
            return;
        }
    }
}

#[test]
fn what_was_answered_survives_a_crash_at_any_effect() {
    // Every checkpoint, reclaiming and spare file of this short life is cut once.
    let config = || Config { checkpoint_entries: 4, checkpoint_ticks: 1, catchup_entries: 2, ..config() };
    for n in 0.. {
        let disk = SimDisk::new(n);
        let mut member = Member::lead(&disk, config());
        disk.crash_at_op(n);
        let answered = live(&mut member);
        let is_complete = !disk.has_crashed();
        disk.crash();
        let member = Member::lead(&disk, Config { first_request_id: 1000, ..config() });
        let kept = member.node.view().revision() - 1;
        assert!(kept >= answered, "after effect {n}: {answered} answered, {kept} kept");
        if is_complete {
            assert_eq!(answered, PUTS);
            return;
        }
    }
}

/// A member that has made a checkpoint and gone on.
fn with_checkpoint(disk: &SimDisk) {
    let mut member = Member::lead(disk, Config { checkpoint_entries: 10, checkpoint_ticks: 1, ..config() });
    for i in 0..20 {
        member.apply(put("k", format!("{i}"))).unwrap();
    }
    member.tick(5).unwrap();
    assert!(member.notes.iter().any(|note| matches!(note, Note::Checkpoint { .. })));
    member.apply(put("k", "after")).unwrap();
}

fn refused_start(disk: &SimDisk) -> Fatal {
    Member::start(disk, Config { first_request_id: 1000, ..config() }).map(|_| ()).unwrap_err()
}

#[test]
fn a_checkpoint_without_a_log_is_refused_and_both_are_named() {
    let (wal_dir, elsewhere) = (Path::new(WAL_DIR), Path::new("/elsewhere"));
    for is_empty_dir_left in [false, true] {
        let disk = SimDisk::new(1);
        with_checkpoint(&disk);
        // The file system of the log is not mounted.
        disk.rename(wal_dir, elsewhere).unwrap();
        if is_empty_dir_left {
            disk.create_dir(&wal_dir.join("lost+found")).unwrap();
        }
        for _ in 0..2 {
            let fatal = refused_start(&disk);
            assert!(matches!(&fatal, Fatal::NoLog { wal_dir: named, .. } if named == wal_dir), "{fatal}");
            let message = fatal.to_string();
            assert!(message.contains("/wal ") && message.contains("/data/checkpoint"), "{message}");
            disk.kill();
        }
        if !is_empty_dir_left {
            disk.rename(elsewhere, wal_dir).unwrap();
            let member = Member::lead(&disk, Config { first_request_id: 1000, ..config() });
            assert_eq!(member.node.view().revision(), 22, "mounted again, it goes on");
        }
    }
}

#[test]
fn a_segment_without_a_log_is_refused_also_before_the_first_checkpoint() {
    let (wal_dir, elsewhere) = (Path::new(WAL_DIR), Path::new("/elsewhere"));
    let disk = SimDisk::new(1);
    let mut member = Member::lead(&disk, config());
    member.apply(put("k", "v")).unwrap();
    drop(member);
    disk.rename(wal_dir, elsewhere).unwrap();
    let fatal = refused_start(&disk);
    assert!(matches!(&fatal, Fatal::NoLogOfSegment { wal_dir: named, .. } if named == wal_dir), "{fatal}");
    let message = fatal.to_string();
    assert!(message.contains("/wal ") && message.contains("/data/") && message.contains(".seg"), "{message}");
    disk.kill();
    disk.rename(elsewhere, wal_dir).unwrap();
    let member = Member::lead(&disk, Config { first_request_id: 1000, ..config() });
    assert_eq!(member.node.view().revision(), 2, "mounted again, it goes on");
}

#[test]
fn a_log_of_another_life_is_refused_and_both_are_named() {
    let disk = SimDisk::new(1);
    with_checkpoint(&disk);
    // As after a restore from a copy that was made before: the log ends before the checkpoint.
    for name in disk.list(Path::new(WAL_DIR)).unwrap() {
        disk.remove(&Path::new(WAL_DIR).join(name)).unwrap();
    }
    let metadata = Metadata { member_id: ID, cluster_id: 99 };
    drop(Wal::create(Arc::new(disk.clone()), Path::new(WAL_DIR), metadata).unwrap());
    let fatal = refused_start(&disk);
    let is_early = |error: &disk::Error| matches!(error, disk::Error::EndsEarly { last_index: 0, .. });
    assert!(matches!(&fatal, Fatal::LogMismatch { source, .. } if is_early(source)), "{fatal}");
    let message = fatal.to_string();
    assert!(message.contains("/wal/0000") && message.contains("/data/checkpoint"), "{message}");

    // And the other way round: it begins behind the checkpoint.
    let first = Path::new(WAL_DIR).join("0000000000000000-0000000000000000.wal");
    disk.rename(&first, &Path::new(WAL_DIR).join("0000000000000005-00000000000003e8.wal")).unwrap();
    let fatal = refused_start(&disk);
    let is_missing = |error: &disk::Error| matches!(error, disk::Error::Missing { .. });
    assert!(matches!(&fatal, Fatal::LogMismatch { source, .. } if is_missing(source)), "{fatal}");
}

/// Enough for several files of the log and of the revision log.
const PUTS: i64 = 30;

/// Puts until the disk fails; returns how many were answered.
fn live(member: &mut Member) -> i64 {
    for i in 0..PUTS {
        let Ok(answer) = member.apply(put(&format!("k{}", i % 3), vec![0; 6000])) else { return i };
        assert_eq!(revision(Some(answer)), Some(i + 2));
        if member.tick(1).is_err() {
            return i + 1;
        }
    }
    PUTS
}

#[test]
fn a_member_that_was_told_so_waits_less_for_a_leader() {
    let ticks_until_it_stands = |advance: Option<u32>| {
        let initial_members = vec![info(3), info(ID), info(9)];
        let mut member = Member::start(&SimDisk::new(1), Config { initial_members, ..config() }).unwrap();
        member.settle().unwrap();
        let advances = advance.map(|ticks| Input::AdvanceElection { ticks });
        member.handle(advances.into_iter().collect()).unwrap();
        member.settle().unwrap();
        assert!(member.messages.is_empty(), "it does not stand at once");
        let mut ticks = 0;
        while member.messages.is_empty() {
            member.tick(1).unwrap();
            member.settle().unwrap();
            ticks += 1;
        }
        ticks
    };
    let usual = ticks_until_it_stands(None);
    assert_eq!(ticks_until_it_stands(Some(8)), usual - 8);
    assert_eq!(ticks_until_it_stands(Some(u32::MAX)), usual - 9, "all but one of an election timeout");
}
