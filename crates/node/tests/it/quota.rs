//! The quota on data, the alarm it raises, and getting space back by hand.

use disk::SimDisk;
use node::{Config, Input, Note};
use proto::etcdserverpb::AlarmType;
use proto::membershippb::DowngradeInfoSetRequest;
use store::{Refusal, Request};

use crate::member::{ID, Member, compact, config, delete, put, refusal, revision};

const QUOTA_BYTES: u64 = 20_000;

fn limited() -> Config {
    Config { quota_bytes: Some(QUOTA_BYTES), ..config() }
}

fn has_alarm(member: &Member) -> bool {
    member.node.published().control().alarms().is_raised(AlarmType::Nospace)
}

/// A put of what the tests fill the quota with.
fn big_put() -> Request {
    put("k", vec![0; 1000])
}

fn has_quota(member: &Member) -> bool {
    member.node.published().has_quota_for(store::cost(&big_put()))
}

/// Puts until the quota is used up.
fn fill(member: &mut Member) {
    while has_quota(member) {
        assert_eq!(refusal(&member.apply(big_put()).unwrap()), None);
    }
}

#[test]
fn a_put_over_the_quota_takes_effect_and_is_refused_after_the_alarm() {
    let mut member = Member::lead(&SimDisk::new(1), limited());
    fill(&mut member);
    assert!(!has_alarm(&member));
    let before = member.node.view().revision();
    let waiter = member.propose(big_put());
    member.write_log().unwrap();
    assert_eq!(member.node.view().revision(), before + 1, "it has taken effect");
    assert!(member.answer(waiter).is_none(), "the cluster is told first");
    member.settle().unwrap();
    assert_eq!(refusal(&member.answer(waiter).unwrap()), Some(Refusal::NoSpace));
    assert!(has_alarm(&member));
    let alarm = member.node.published().control().alarms().of_kind(0)[0];
    assert_eq!(alarm.member_id, ID);

    let refused = member.apply(put("k", "v")).unwrap();
    assert_eq!((refusal(&refused), member.node.view().revision()), (Some(Refusal::NoSpace), before + 1));
    assert_eq!(revision(Some(member.apply(delete("k")).unwrap())), Some(before + 2));
}

#[test]
fn who_waits_for_the_alarm_is_told_when_the_member_stops() {
    let mut member = Member::lead(&SimDisk::new(1), limited());
    fill(&mut member);
    let waiter = member.propose(big_put());
    member.write_log().unwrap();
    let mut output = node::Output::default();
    member.node.stop(&mut output);
    member.collect(output);
    assert!(member.answer(waiter).is_some());
}

#[test]
fn defragmenting_gives_back_what_a_compaction_left_in_the_segment_being_written() {
    let disk = SimDisk::new(1);
    let mut member = Member::lead(&disk, limited());
    fill(&mut member);
    let newest = member.node.view().revision();
    member.apply(compact(newest, true)).unwrap();
    member.tick(20).unwrap();
    assert!(!has_quota(&member), "by itself the segment being written stays");

    member.handle(vec![Input::Defragment]).unwrap();
    member.settle().unwrap();
    member.tick(1).unwrap();
    let published = member.node.published();
    assert!(published.has_quota_for(QUOTA_BYTES / 2), "{} bytes are left", published.size_bytes());
    assert!(
        member.notes.iter().any(|note| matches!(note, Note::Checkpoint { .. })),
        "old files are released"
    );
    assert_eq!(member.keys(), 1);
    assert_eq!(revision(Some(member.apply(put("k", "v")).unwrap())), Some(newest + 1));

    disk.crash();
    let member = Member::lead(&disk, Config { first_request_id: 10_000, ..limited() });
    assert_eq!((member.node.view().revision(), member.keys()), (newest + 1, 1));
}

#[test]
fn defragmenting_what_has_no_dead_records_does_nothing() {
    let mut member = Member::lead(&SimDisk::new(1), config());
    member.apply(put("k", "v")).unwrap();
    let before = member.node.published().size_bytes();
    member.handle(vec![Input::Defragment, Input::Defragment]).unwrap();
    member.settle().unwrap();
    assert_eq!(member.node.published().size_bytes(), before);
}

#[test]
fn the_leader_lowers_the_cluster_version_for_a_downgrade_and_raises_it_after() {
    let disk = SimDisk::new(1);
    let downgrade =
        |enabled| Request::SetDowngrade(DowngradeInfoSetRequest { enabled, ver: "3.6.0".to_owned() });
    let mut member = Member::lead(&disk, config());
    let version = |member: &Member| member.node.published().control().cluster_version().to_owned();
    assert_eq!(version(&member), "3.7.0");
    member.apply(downgrade(true)).unwrap();
    assert_eq!(version(&member), "3.6.0");
    disk.crash();
    let mut member = Member::lead(&disk, Config { first_request_id: 10_000, ..config() });
    assert_eq!(version(&member), "3.6.0");
    member.apply(downgrade(false)).unwrap();
    assert_eq!(version(&member), "3.7.0");
}
