//! A full disk: what takes space is refused, everything else goes on, and service resumes by itself.

use bytes::Bytes;
use disk::SimDisk;
use node::{Input, Job, Note};
use proto::etcdserverpb::{DeleteRangeRequest, LeaseGrantRequest, PutRequest};
use store::{Refusal, Request};

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

/// No segment is dead as a whole, so the first rewriting needs space before any comes back.
#[test]
fn files_that_the_log_keeps_for_use_again_make_room_for_a_rewriting() {
    let disk = SimDisk::new(1);
    let often =
        node::Config { checkpoint_entries: 1, checkpoint_bytes: 5 * config().segment_bytes, ..config() };
    let mut member = Member::lead(&disk, often);
    disk.set_capacity(Some(20 * config().segment_bytes));
    let filled = (0..).find(|i| {
        let key = if i % 3 == 0 { "k".to_owned() } else { format!("key-{i:05}") };
        refusal(&member.apply(put(&key, vec![0; 1000])).unwrap()).is_some()
    });
    assert!(filled > Some(300), "several segments");
    let newest = member.node.view().revision();
    assert_eq!(revision(Some(member.apply(compact(newest, true)).unwrap())), Some(newest));
    member.tick(50).unwrap();
    assert_eq!(refusal(&member.apply(put("k", vec![0; 1000])).unwrap()), None);
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
    member.handle(vec![Input::Defragment(0)]).unwrap();
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

fn delete_prefix(from: &'static str, to: &'static str) -> Request {
    Request::DeleteRange(DeleteRangeRequest {
        key: from.into(),
        range_end: to.into(),
        ..DeleteRangeRequest::default()
    })
}

/// A member with so many keys and no space on its disk for anything more.
fn full_member_with_keys(disk: &SimDisk, n: usize) -> Member {
    let mut member = Member::lead(disk, config());
    for i in 0..n {
        member.apply(put(&format!("key-{i:05}"), "v")).unwrap();
    }
    disk.set_capacity(Some(disk.used()));
    fill_from(&mut member, n as i64);
    member
}

#[test]
fn a_delete_that_writes_more_than_there_is_room_for_is_refused_and_smaller_ones_are_carried_out() {
    let disk = SimDisk::new(1);
    let mut member = full_member_with_keys(&disk, 3000);
    let answer = member.apply(delete_prefix("key-", "key.")).unwrap();
    assert_eq!(refusal(&answer), Some(Refusal::NoSpace));
    let before = member.keys();
    let answer = member.apply(delete_prefix("key-00000", "key-00050")).unwrap();
    assert!(revision(Some(answer)).is_some());
    assert_eq!(member.keys(), before - 50);

    disk.set_capacity(None);
    member.tick(10).unwrap();
    let answer = member.apply(delete_prefix("key-", "key.")).unwrap();
    assert!(revision(Some(answer)).is_some());
    assert_eq!(member.keys(), 1);
}

#[test]
fn a_lease_with_many_keys_that_runs_out_on_a_full_disk_is_revoked_once_there_is_room() {
    let disk = SimDisk::new(1);
    let mut member = Member::lead(&disk, config());
    for id in [5, 6] {
        member.apply(Request::LeaseGrant(LeaseGrantRequest { id, ttl: 60 })).unwrap();
    }
    let put_with = |key: String, lease| {
        Request::Put(PutRequest { key: key.into(), value: "v".into(), lease, ..PutRequest::default() })
    };
    member.apply(put_with("short".to_owned(), 6)).unwrap();
    for i in 0..3000 {
        member.apply(put_with(format!("key-{i:05}"), 5)).unwrap();
    }
    disk.set_capacity(Some(disk.used()));
    fill_from(&mut member, 3001);
    member.tick(700).unwrap();
    assert_eq!(member.node.leases().iter().map(|(id, _)| id).collect::<Vec<_>>(), [5], "6 is not held up");
    assert_eq!(member.keys(), 3001);

    disk.set_capacity(None);
    member.tick(10).unwrap();
    assert_eq!((member.node.leases().iter().count(), member.keys()), (0, 1));
}

/// Puts that keep values of 10,000 bytes, together: each is an entry of some 30 bytes and a record of 10,000.
fn keep_values(member: &mut Member) -> Vec<u32> {
    let proposals: Vec<_> = (0..40)
        .map(|i| {
            let key = Bytes::from(format!("key-{i:05}"));
            member.proposal(Request::Put(PutRequest { key, ignore_value: true, ..PutRequest::default() }))
        })
        .collect();
    let (waiters, inputs) = proposals.into_iter().unzip();
    member.handle(inputs).unwrap();
    waiters
}

#[test]
fn commands_that_write_more_than_there_is_room_for_wait_for_it_and_reads_go_on() {
    let disk = SimDisk::new(1);
    let mut member = Member::lead(&disk, config());
    for i in 0..40 {
        member.apply(put(&format!("key-{i:05}"), vec![7; 10_000])).unwrap();
    }
    disk.set_capacity(Some(disk.used()));
    let waiters = keep_values(&mut member);
    member.settle().unwrap();
    let applied = waiters.iter().filter(|waiter| revision(member.answer(**waiter)).is_some()).count();
    assert!(applied < 40, "there was no room for all");
    assert_eq!(member.keys(), 40);
    assert_eq!(refusal(&member.apply(put("k", "v")).unwrap()), Some(Refusal::NoSpace));
    let published = member.node.published();
    let late = published.committed() - published.applied();

    // A start finds the same entries committed, and waits as well.
    disk.crash();
    // What the member gives up by itself is no room either.
    disk.set_capacity(Some(0));
    let mut member = Member::start(&disk, node::Config { first_request_id: 10_000, ..config() }).unwrap();
    member.settle().unwrap();
    member.tick(20).unwrap();
    let published = member.node.published();
    assert!(late == 0 || published.applied() < published.committed());

    disk.set_capacity(None);
    member.tick(10).unwrap();
    assert!(member.node.published().reads_at_once());
    assert!(member.node.view().revision() > 41);
    assert!(revision(Some(member.apply(put("k", "v")).unwrap())).is_some());
}

#[test]
fn a_command_longer_than_a_segment_is_carried_out() {
    let mut member = Member::lead(&SimDisk::new(1), config());
    for i in 0..3000 {
        member.apply(put(&format!("key-{i:05}"), "v")).unwrap();
    }
    member.apply(put("long", vec![0; 30_000])).unwrap();
    let segment_bytes = config().segment_bytes;
    assert!(3000 * 60 > 2 * segment_bytes, "the delete fits no two segments");
    let answer = member.apply(delete_prefix("key-", "key.")).unwrap();
    assert_eq!((revision(Some(answer)), member.keys()), (Some(3003), 1));
}
