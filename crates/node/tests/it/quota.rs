//! The quota on data, the alarm it raises, and getting space back by hand.

use disk::SimDisk;
use node::{Answer, Config, Input, Note, Unserved};
use proto::etcdserverpb::alarm_request::AlarmAction;
use proto::etcdserverpb::{AlarmRequest, AlarmType};
use proto::membershippb::DowngradeInfoSetRequest;
use store::{Refusal, Request};

use crate::member::{ID, Member, compact, config, delete, put, refusal, revision};

const QUOTA_BYTES: u64 = 20_000;
const WHO: u32 = u32::MAX;

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

/// The answer to a request to defragment that is made now.
fn defragment(member: &mut Member) -> Option<Answer> {
    member.handle(vec![Input::Defragment(WHO)]).unwrap();
    member.settle().unwrap();
    member.answer(WHO)
}

#[test]
fn compaction_alone_brings_the_data_below_the_quota() {
    for segment_bytes in [1 << 16, 1 << 20] {
        let mut member = Member::lead(&SimDisk::new(1), Config { segment_bytes, ..limited() });
        fill(&mut member);
        let newest = member.node.view().revision();
        member.apply(compact(newest, false)).unwrap();
        member.tick(20).unwrap();
        assert!(has_quota(&member), "{} bytes are left", member.node.published().size_bytes());
    }
}

#[test]
fn defragmenting_gives_back_what_a_compaction_left_in_the_active_segment() {
    let disk = SimDisk::new(1);
    let mut member = Member::lead(&disk, limited());
    fill(&mut member);
    let newest = member.node.view().revision();
    member.apply(compact(newest, true)).unwrap();
    let published = member.node.published();
    let bytes_before = published.size_bytes();
    assert!(matches!(defragment(&mut member), Some(Answer::Defragmented)));
    let bytes_after = published.size_bytes();
    assert!(bytes_after < 2000 && bytes_before > QUOTA_BYTES / 2, "{bytes_before}, {bytes_after}");
    assert!(member.notes.contains(&Note::Defragmented { bytes_before, bytes_after }));
    let is_checkpoint = |note: &Note| matches!(note, Note::Checkpoint { .. });
    assert!(member.notes.iter().any(is_checkpoint), "old files are released");
    assert_eq!(member.keys(), 1);
    assert_eq!(revision(Some(member.apply(put("k", "v")).unwrap())), Some(newest + 1));

    disk.crash();
    let member = Member::lead(&disk, Config { first_request_id: 10_000, ..limited() });
    assert_eq!((member.node.view().revision(), member.keys()), (newest + 1, 1));
}

/// What etcd's documentation tells to do when the quota is used up, each step at once after the one before.
#[test]
fn the_steps_against_a_used_up_quota_work_without_a_pause() {
    let alarm_off = || {
        let (action, alarm) = (AlarmAction::Deactivate as i32, AlarmType::Nospace as i32);
        Request::Alarm(AlarmRequest { action, member_id: ID, alarm })
    };
    for quota_bytes in [QUOTA_BYTES, 4 << 16] {
        let mut member =
            Member::lead(&SimDisk::new(1), Config { quota_bytes: Some(quota_bytes), ..config() });
        fill(&mut member);
        member.apply(big_put()).unwrap();
        assert!(has_alarm(&member));
        let newest = member.node.view().revision();

        // The compaction is answered before anything is trimmed; the request to defragment waits for that.
        let compaction = member.propose(compact(newest, false));
        member.write_log().unwrap();
        assert!(revision(member.answer(compaction)).is_some());
        assert!(matches!(defragment(&mut member), Some(Answer::Defragmented)));
        assert_eq!(refusal(&member.apply(alarm_off()).unwrap()), None);
        assert_eq!(revision(Some(member.apply(big_put()).unwrap())), Some(newest + 1));
        assert!(!has_alarm(&member));
    }
}

#[test]
fn defragmenting_what_has_no_dead_records_does_nothing() {
    let mut member = Member::lead(&SimDisk::new(1), config());
    member.apply(put("k", "v")).unwrap();
    let before = member.node.published().size_bytes();
    for _ in 0..2 {
        assert!(matches!(defragment(&mut member), Some(Answer::Defragmented)));
    }
    assert_eq!(member.node.published().size_bytes(), before);
}

#[test]
fn a_defragmentation_that_is_stuck_is_answered_and_goes_on_later() {
    let disk = SimDisk::new(1);
    let mut member = Member::lead(&disk, config());
    for _ in 0..20 {
        member.apply(put("k", vec![0; 1000])).unwrap();
    }
    let before = member.node.published().size_bytes();
    member.apply(compact(21, true)).unwrap();
    disk.set_capacity(Some(disk.used()));
    assert!(defragment(&mut member).is_none(), "there is no space for another segment");
    member.tick(69).unwrap();
    assert!(member.answer(WHO).is_none());
    member.tick(3).unwrap();
    assert!(matches!(member.answer(WHO), Some(Answer::Unserved(Unserved::TimedOut))));
    disk.set_capacity(None);
    member.tick(10).unwrap();
    assert!(member.node.published().size_bytes() < before / 2);
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
