//! A full disk: what takes space is refused, everything else goes on, and service resumes by itself.

use disk::SimDisk;
use node::{Input, Job, Note};
use store::Refusal;

use crate::member::{Member, compact, config, delete, put, refusal, revision};

/// Puts until even the shortest value is refused; returns how often it was not.
fn fill(member: &mut Member) -> i64 {
    fill_from(member, 0)
}

/// The same after so many puts.
fn fill_from(member: &mut Member, before: i64) -> i64 {
    let mut done = 0;
    for len in [1000, 1] {
        loop {
            let answer = member.apply(put("k", vec![0; len])).unwrap();
            if let Some(refusal) = refusal(&answer) {
                assert_eq!(refusal, Refusal::NoSpace);
                break;
            }
            done += 1;
            assert_eq!(revision(Some(answer)), Some(before + done + 1));
            assert!(done < 10_000, "the disk does not fill");
        }
    }
    done
}

#[test]
fn puts_are_refused_deletes_and_reads_are_not_and_all_resumes_with_room() {
    let disk = SimDisk::new(1);
    let mut member = Member::lead(&disk, config());
    disk.set_capacity(Some(disk.used() + (1 << 17)));
    let done = fill(&mut member);
    assert!(done > 10);
    assert!(member.notes.contains(&Note::Space { is_left: false }));

    assert_eq!(revision(Some(member.apply(delete("k")).unwrap())), Some(done + 2));
    member.tick(10).unwrap();
    let answer = member.apply(put("k", vec![0; 1000])).unwrap();
    assert_eq!(refusal(&answer), Some(Refusal::NoSpace), "trying again does not help while the disk is full");

    disk.set_capacity(None);
    member.tick(10).unwrap();
    assert!(member.notes.contains(&Note::Space { is_left: true }));
    assert_eq!(revision(Some(member.apply(put("k", "v")).unwrap())), Some(done + 3));
}

#[test]
fn a_put_waits_for_a_spare_file_that_is_late() {
    let disk = SimDisk::new(1);
    let mut member = Member::lead(&disk, config());
    let mut proposed = Vec::new();
    while member.answers.len() == proposed.len() {
        assert!(proposed.len() < 1000, "room lasts for ever");
        proposed.push(member.propose(put("k", vec![0; 1000])));
        for _ in 0..2 {
            member.write_log().unwrap();
        }
    }
    assert!(!member.jobs.is_empty(), "spare files have been asked for");
    member.settle().unwrap();
    assert_eq!(member.answers.len(), proposed.len());
    assert!(member.answers.iter().all(|(_, answer)| refusal(answer).is_none()));
    assert!(!member.notes.contains(&Note::Space { is_left: false }), "nothing is full");
}

#[test]
fn a_member_on_a_full_disk_starts_and_has_lost_nothing() {
    let disk = SimDisk::new(1);
    let mut member = Member::lead(&disk, config());
    disk.set_capacity(Some(disk.used() + (1 << 17)));
    let done = fill(&mut member);
    disk.crash();
    let mut member = Member::lead(&disk, node::Config { first_request_id: 10_000, ..config() });
    assert_eq!(member.node.view().revision(), done + 1);
    disk.set_capacity(None);
    member.tick(10).unwrap();
    assert_eq!(revision(Some(member.apply(put("k", "v")).unwrap())), Some(done + 2));
}

#[test]
fn what_a_compaction_frees_is_room_without_help_from_outside() {
    let disk = SimDisk::new(1);
    let never = || node::Config { checkpoint_entries: u64::MAX, checkpoint_bytes: u64::MAX, ..config() };
    let mut member = Member::lead(&disk, never());
    disk.set_capacity(Some(disk.used() + (1 << 18)));
    let mut done = fill(&mut member);
    // What checkpoints release is soon used up.
    for _ in 0..5 {
        member.tick(10).unwrap();
        done += fill_from(&mut member, done);
    }
    assert_eq!(revision(Some(member.apply(compact(done + 1, true)).unwrap())), Some(done + 1));
    member.tick(20).unwrap();
    assert_eq!(revision(Some(member.apply(put("k", "v")).unwrap())), Some(done + 2));
}

#[test]
fn defragmenting_on_a_full_disk_waits_for_room_and_takes_none() {
    let disk = SimDisk::new(1);
    let mut member = Member::lead(&disk, config());
    for _ in 0..20 {
        member.apply(put("k", vec![0; 1000])).unwrap();
    }
    member.apply(compact(21, true)).unwrap();
    disk.set_capacity(Some(disk.used()));
    member.handle(vec![Input::Defragment]).unwrap();
    member.tick(10).unwrap();
    assert_eq!(
        revision(Some(member.apply(delete("k")).unwrap())),
        Some(22),
        "what was being written goes on"
    );

    disk.set_capacity(None);
    member.tick(10).unwrap();
    let bytes = member.node.published().size_bytes();
    assert!(bytes < 3000, "{bytes} bytes are left of one put and one delete");
}

#[test]
fn only_what_failed_is_asked_for_again() {
    let disk = SimDisk::new(1);
    let mut member = Member::lead(&disk, config());
    let is_log_file = |job: &Job| matches!(job, Job::PrepareWalFile(_));
    let is_segment = |job: &Job| matches!(job, Job::PrepareSegment(_));
    // Both are asked for, and the one of the log takes its time.
    while !member.jobs.iter().any(is_log_file) {
        member.propose(put("k", vec![0; 1000]));
        member.write_log().unwrap();
        member.run_jobs_that(is_segment);
    }
    while !member.jobs.iter().any(is_segment) {
        member.propose(put("k", vec![0; 1000]));
        member.write_log().unwrap();
    }
    disk.set_capacity(Some(disk.used()));
    member.run_jobs_that(is_segment);
    assert!(!member.jobs.iter().any(is_segment));
    for _ in 0..config().retry_ticks + 2 {
        member.handle(vec![Input::Tick]).unwrap();
        member.write_log().unwrap();
    }
    assert!(member.jobs.iter().any(is_segment), "it failed, and is tried again");
    assert_eq!(member.jobs.iter().filter(|job| is_log_file(job)).count(), 1);
}
