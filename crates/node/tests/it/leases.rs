//! How a member counts the time of leases: never early, renewed on request, from the start after a restart.

use std::time::Duration;

use disk::SimDisk;
use node::{Answer, Config, Input, LeaseAnswer, LeasePlace, LeaseQuery, LeaseState, Note, Output, Unserved};
use proto::etcdserverpb::alarm_request::AlarmAction;
use proto::etcdserverpb::{
    AlarmRequest, AlarmType, LeaseCheckpoint, LeaseCheckpointRequest, LeaseGrantRequest, LeaseRevokeRequest,
    PutRequest,
};
use store::{Outcome, Refusal, Request};

use crate::member::{ID, Member, config, info, refusal};

/// Ticks before an election, each of a tenth of a second.
const ELECTION_TIMEOUT: Duration = Duration::from_secs(1);
const WHO: u32 = u32::MAX;
/// Leases or keys in an answer, at most.
const PAGE_LEN_MAX: i64 = 1000;

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn grant(id: i64, ttl: i64) -> Request {
    Request::LeaseGrant(LeaseGrantRequest { id, ttl })
}

fn revoke(id: i64) -> Request {
    Request::LeaseRevoke(LeaseRevokeRequest { id })
}

fn put(key: String, lease: i64) -> Request {
    Request::Put(PutRequest { key: key.into(), lease, ..PutRequest::default() })
}

fn write_down(id: i64, remaining_ttl: i64) -> Request {
    let checkpoints = vec![LeaseCheckpoint { id, remaining_ttl }];
    Request::LeaseCheckpoint(LeaseCheckpointRequest { checkpoints })
}

impl Member {
    /// Lets time pass, and the member do what that brings about.
    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.settle().unwrap();
    }

    fn send(&mut self, query: LeaseQuery) {
        self.handle(vec![Input::Lease(query, WHO)]).unwrap();
    }

    fn ask(&mut self, query: LeaseQuery) -> LeaseAnswer {
        self.send(query);
        match self.answer(WHO) {
            Some(Answer::Lease(answer)) => answer,
            other => panic!("answered {other:?}"),
        }
    }

    fn renew(&mut self, id: i64) -> LeaseAnswer {
        self.ask(LeaseQuery::Renew { id })
    }

    /// Seconds left and granted.
    fn ttl(&mut self, id: i64) -> Option<(i64, i64)> {
        match self.ask(LeaseQuery::State { id }) {
            LeaseAnswer::State(state) => {
                state.map(|LeaseState { granted_ttl_s, remaining_ttl_s }| (remaining_ttl_s, granted_ttl_s))
            }
            other => panic!("answered {other:?}"),
        }
    }

    fn leases(&mut self) -> Vec<i64> {
        let mut listed: Vec<LeasePlace> = Vec::new();
        loop {
            let after = listed.last().copied();
            match self.ask(LeaseQuery::List { after }) {
                LeaseAnswer::List(page) if page.is_empty() => break,
                LeaseAnswer::List(page) => listed.extend(page),
                other => panic!("answered {other:?}"),
            }
        }
        listed.into_iter().map(LeasePlace::id).collect()
    }

    /// Applies requests, many at a time.
    fn apply_all(&mut self, requests: impl IntoIterator<Item = Request>) {
        let mut inputs: Vec<_> = requests.into_iter().map(|request| self.proposal(request).1).collect();
        while !inputs.is_empty() {
            let rest = inputs.split_off(inputs.len().min(100));
            self.handle(inputs).unwrap();
            self.settle().unwrap();
            inputs = rest;
        }
        assert!(self.answers.drain(..).all(|(_, answer)| matches!(answer, Answer::Applied(Ok(_)))));
    }
}

#[test]
fn a_lease_ends_at_its_time_and_never_before() {
    let mut member = Member::lead(&SimDisk::new(1), config());
    member.apply_all([grant(1, 5), put("a".into(), 1), put("b".into(), 1)]);
    member.wait(s(5) - Duration::from_nanos(1));
    assert_eq!((member.keys(), member.ttl(1)), (2, Some((0, 5))));
    member.wait(Duration::from_nanos(1));
    assert_eq!((member.keys(), member.ttl(1)), (0, None));
    assert_eq!(member.node.view().revision(), 4, "both keys in one revision");
    assert!(member.notes.contains(&Note::LeaseRevoked { has_expired: true }));
}

#[test]
fn a_lease_is_granted_for_no_less_than_an_election_takes() {
    let mut member = Member::lead(&SimDisk::new(1), config());
    match member.apply(grant(1, 1)).unwrap() {
        Answer::Applied(Ok(Outcome::LeaseGrant(granted))) => assert_eq!(granted.ttl_s, 2),
        other => panic!("answered {other:?}"),
    }
    assert_eq!(refusal(&member.apply(grant(1, 5)).unwrap()), Some(Refusal::LeaseExists));
}

#[test]
fn a_renewal_gives_the_whole_time_again() {
    let mut member = Member::lead(&SimDisk::new(1), config());
    member.apply_all([grant(1, 5)]);
    for _ in 0..3 {
        member.wait(s(4));
        assert_eq!(member.ttl(1), Some((1, 5)));
        assert_eq!(member.renew(1), LeaseAnswer::Renewed(5));
        assert_eq!(member.ttl(1), Some((5, 5)));
    }
    member.wait(s(5));
    assert_eq!(member.ttl(1), None);
    assert_eq!(member.renew(1), LeaseAnswer::Renewed(0));
}

#[test]
fn a_renewal_past_the_node_counts_as_much() {
    let mut member = Member::lead(&SimDisk::new(1), config());
    let renewer = member.node.lease_renewer();
    member.apply_all([grant(1, 5), put("a".into(), 1)]);
    member.wait(s(4));
    assert_eq!(renewer.renew(1, member.now), Some(5));
    member.wait(s(5) - Duration::from_nanos(1));
    assert_eq!((member.keys(), member.ttl(1)), (1, Some((0, 5))));
    member.wait(Duration::from_nanos(1));
    assert_eq!((member.keys(), renewer.renew(1, member.now)), (0, None));
}

#[test]
fn a_renewal_past_the_node_that_was_held_up_finds_the_lease_ended() {
    let mut member = Member::lead(&SimDisk::new(1), config());
    let (renewer, start) = (member.node.lease_renewer(), member.now);
    member.apply_all([grant(1, 5)]);
    member.now += s(5);
    member.handle(vec![]).unwrap();
    assert_eq!(renewer.renew(1, start), None, "its revocation is under way");
}

#[test]
fn the_renewal_of_a_lease_that_has_run_out_waits_for_its_end() {
    let mut member = Member::lead(&SimDisk::new(1), config());
    member.apply_all([grant(1, 5)]);
    member.now += s(5);
    member.send(LeaseQuery::Renew { id: 1 });
    assert!(member.answers.is_empty());
    member.write_log().unwrap();
    assert!(matches!(member.answer(WHO), Some(Answer::Lease(LeaseAnswer::Renewed(0)))));
}

#[test]
fn whoever_waits_for_a_renewal_is_told_when_the_member_stops() {
    let mut member = Member::lead(&SimDisk::new(1), config());
    member.apply_all([grant(1, 5)]);
    member.now += s(5);
    member.send(LeaseQuery::Renew { id: 1 });
    let mut output = Output::default();
    member.node.stop(&mut output);
    assert!(matches!(output.answers[..], [(WHO, Answer::Unserved(Unserved::Stopped))]));
}

#[test]
fn a_lease_revoked_before_its_time_does_not_come_up_again() {
    let mut member = Member::lead(&SimDisk::new(1), config());
    member.apply_all([grant(1, 5), revoke(1), grant(1, 9)]);
    member.wait(s(8));
    assert_eq!(member.ttl(1), Some((1, 9)));
    member.wait(s(1));
    assert_eq!(member.ttl(1), None);
}

#[test]
fn a_restart_gives_every_lease_its_whole_time_and_an_election_timeout() {
    let disk = SimDisk::new(1);
    let mut member = Member::lead(&disk, Config { checkpoint_entries: 1, ..config() });
    member.apply_all([grant(1, 50), put("a".into(), 1)]);
    // One lease comes back from the checkpoint, one from the log.
    member.tick(config().checkpoint_ticks).unwrap();
    assert!(member.notes.iter().any(|note| matches!(note, Note::Checkpoint { .. })));
    member.apply_all([grant(2, 70)]);
    member.wait(s(30));
    disk.crash();
    let mut member = Member::lead(&disk, Config { first_request_id: 1000, ..config() });
    assert_eq!((member.ttl(1), member.ttl(2)), (Some((51, 50)), Some((71, 70))));
    member.wait(s(50) + ELECTION_TIMEOUT);
    assert_eq!((member.leases(), member.keys()), (vec![2], 0));
    member.wait(s(20));
    assert!(member.leases().is_empty());
}

#[test]
fn time_that_was_written_down_as_left_counts_after_a_restart_until_a_renewal() {
    let disk = SimDisk::new(1);
    let mut member = Member::lead(&disk, config());
    member.apply_all([grant(1, 100), grant(2, 100), write_down(1, 10), write_down(2, 10)]);
    assert_eq!(member.node.lease_renewer().renew(2, member.now), None, "that is more than the clock knows");
    member.send(LeaseQuery::Renew { id: 2 });
    assert!(member.answers.is_empty(), "a crash now would forget the renewal");
    member.write_log().unwrap();
    assert!(matches!(member.answer(WHO), Some(Answer::Lease(LeaseAnswer::Renewed(100)))));
    disk.crash();
    let mut member = Member::lead(&disk, Config { first_request_id: 1000, ..config() });
    assert_eq!((member.ttl(1), member.ttl(2)), (Some((11, 100)), Some((101, 100))));
}

#[test]
fn lists_come_in_pages_those_first_that_run_out_first() {
    let mut member = Member::lead(&SimDisk::new(1), config());
    let ids: Vec<i64> = (1..PAGE_LEN_MAX + 100).collect();
    member.apply_all(ids.iter().map(|id| grant(*id, 5000 - id)));
    assert_eq!(member.leases(), ids.iter().rev().copied().collect::<Vec<_>>());

    member.apply_all(ids.iter().map(|i| put(format!("k{i:05}"), 7)));
    let LeaseAnswer::Keys(first) = member.ask(LeaseQuery::Keys { id: 7, after: None }) else { panic!() };
    let after = first.last().cloned();
    let LeaseAnswer::Keys(second) = member.ask(LeaseQuery::Keys { id: 7, after }) else { panic!() };
    let keys: Vec<_> = first.iter().chain(&second).map(|key| String::from_utf8_lossy(key)).collect();
    assert_eq!(keys, ids.iter().map(|i| format!("k{i:05}")).collect::<Vec<_>>());
    assert_eq!(first.len() as i64, PAGE_LEN_MAX);
}

#[test]
fn many_leases_that_run_out_together_are_revoked_as_far_as_the_log_has_room_then_the_rest() {
    let mut member = Member::lead(&SimDisk::new(1), config());
    member.apply_all((1..3000).map(|id| grant(id, 1000)));
    member.wait(s(1000));
    assert!(member.leases().is_empty());
}

#[test]
fn a_lease_that_may_not_be_revoked_is_revoked_once_the_alarm_is_cleared() {
    let alarm = |action: AlarmAction| {
        let (action, alarm) = (action as i32, AlarmType::Corrupt as i32);
        Request::Alarm(AlarmRequest { action, member_id: ID, alarm })
    };
    let mut member = Member::lead(&SimDisk::new(1), config());
    member.apply_all([grant(1, 5), put("a".into(), 1), alarm(AlarmAction::Activate)]);
    member.wait(s(5));
    assert_eq!((member.keys(), member.ttl(1)), (1, Some((0, 5))));
    member.send(LeaseQuery::Renew { id: 1 });
    member.settle().unwrap();
    assert!(member.answers.is_empty(), "it has run out all the same");
    member.apply(alarm(AlarmAction::Deactivate)).unwrap();
    member.settle().unwrap();
    assert_eq!(member.keys(), 0);
    assert!(matches!(member.answer(WHO), Some(Answer::Lease(LeaseAnswer::Renewed(0)))));
}

#[test]
fn a_lease_granted_again_behind_its_revocation_has_its_whole_time() {
    let mut member = Member::lead(&SimDisk::new(1), config());
    member.apply_all([grant(1, 5), put("a".into(), 1)]);
    member.now += s(5);
    member.apply_all([revoke(1), grant(1, 9)]);
    assert_eq!((member.keys(), member.ttl(1)), (0, Some((9, 9))));
}

#[test]
fn leases_are_the_leaders_affair() {
    let initial_members = vec![info(3), info(ID), info(9)];
    let mut member = Member::start(&SimDisk::new(1), Config { initial_members, ..config() }).unwrap();
    assert_eq!(member.node.lease_renewer().renew(1, member.now), None);
    member.send(LeaseQuery::Renew { id: 1 });
    assert!(matches!(member.answer(WHO), Some(Answer::Unserved(Unserved::NotLeader))));
    assert!(member.leases().is_empty(), "a list needs no leader");
}
