//! Every request that waits has an end, and all that wait have a bound.

use bytes::Bytes;
use disk::SimDisk;
use node::{Answer, Config, Input, LeaseQuery, Note, Output, Unserved};
use proto::etcdserverpb::alarm_request::AlarmAction;
use proto::etcdserverpb::{AlarmRequest, AlarmType, LeaseGrantRequest};
use proto::raftpb::{Entry, Message, MessageType};
use store::Request;

use crate::member::{ID, Member, TICK, config, info, put};

const WHO: u32 = u32::MAX;
/// 5 s and two election timeouts.
const TIMEOUT_TICKS: u32 = 70;
/// Requests that may wait at a time.
const WAITING_MAX: u32 = 100_000;

fn one_of_three() -> Config {
    Config { initial_members: vec![info(3), info(ID), info(9)], ..config() }
}

fn is_timed_out(answer: &Option<Answer>) -> bool {
    matches!(answer, Some(Answer::Unserved(Unserved::TimedOut)))
}

fn is_too_many(answer: &Option<Answer>) -> bool {
    matches!(answer, Some(Answer::Unserved(Unserved::TooManyRequests)))
}

/// A message of member 3 in a term.
fn from_3(r#type: MessageType, term: u64) -> Input<u32> {
    let message = Message { r#type: r#type as i32, from: 3, to: ID, term, ..Message::default() };
    Input::Message(Box::new(message))
}

/// The leader of one member, with a lease that has run out and must not be revoked.
fn with_a_lease_that_cannot_end() -> Member {
    let mut member = Member::lead(&SimDisk::new(1), config());
    member.apply(Request::LeaseGrant(LeaseGrantRequest { id: 1, ttl: 5 })).unwrap();
    let (action, alarm) = (AlarmAction::Activate as i32, AlarmType::Corrupt as i32);
    member.apply(Request::Alarm(AlarmRequest { action, member_id: ID, alarm })).unwrap();
    member.tick(50).unwrap();
    member
}

#[test]
fn whatever_waits_without_a_leader_ends_after_the_request_time() {
    let mut member = Member::start(&SimDisk::new(1), one_of_three()).unwrap();
    let proposal = member.propose(put("k", "v"));
    member.handle(vec![Input::ReadIndex(WHO)]).unwrap();
    for _ in 1..TIMEOUT_TICKS {
        member.now += TICK;
        member.handle(vec![Input::Tick]).unwrap();
    }
    assert!(member.answers.is_empty());
    member.now += TICK;
    member.handle(vec![Input::Tick]).unwrap();
    assert!(is_timed_out(&member.answer(proposal)) && is_timed_out(&member.answer(WHO)));
}

#[test]
fn a_renewal_of_a_lease_that_cannot_end_ends_after_the_request_time() {
    let mut member = with_a_lease_that_cannot_end();
    member.handle(vec![Input::Lease(LeaseQuery::Renew { id: 1 }, WHO)]).unwrap();
    member.tick(TIMEOUT_TICKS - 1).unwrap();
    assert!(member.answers.is_empty());
    member.tick(1).unwrap();
    assert!(is_timed_out(&member.answer(WHO)));
}

#[test]
fn reads_and_renewals_that_wait_are_bounded() {
    let mut reading = Member::start(&SimDisk::new(1), one_of_three()).unwrap();
    reading.handle((0..WAITING_MAX).map(Input::ReadIndex).collect()).unwrap();
    assert!(reading.answers.is_empty());
    reading.handle(vec![Input::ReadIndex(WHO)]).unwrap();
    assert!(is_too_many(&reading.answer(WHO)));
    let proposal = reading.propose(put("k", "v"));
    assert!(is_too_many(&reading.answer(proposal)), "all kinds share the bound");

    let mut renewing = with_a_lease_that_cannot_end();
    let renew = |who| Input::Lease(LeaseQuery::Renew { id: 1 }, who);
    renewing.handle((0..WAITING_MAX).map(renew).collect()).unwrap();
    assert!(renewing.answers.is_empty());
    renewing.handle(vec![renew(WHO)]).unwrap();
    assert!(is_too_many(&renewing.answer(WHO)));
}

#[test]
fn an_election_shortly_after_a_request_is_told_as_the_likely_reason() {
    let mut member = Member::start(&SimDisk::new(1), one_of_three()).unwrap();
    let proposal = member.propose(put("k", "v"));
    member.now += TICK;
    member.handle(vec![from_3(MessageType::MsgHeartbeat, 2), Input::Tick]).unwrap();
    for _ in 0..TIMEOUT_TICKS {
        member.now += TICK;
        member.handle(vec![from_3(MessageType::MsgHeartbeat, 2), Input::Tick]).unwrap();
    }
    let answer = member.answer(proposal);
    assert!(matches!(answer, Some(Answer::Unserved(Unserved::TimedOutInElection))), "{answer:?}");
}

#[test]
fn a_proposal_that_comes_together_with_a_new_leader_is_not_taken_for_lost() {
    let mut member = Member::start(&SimDisk::new(1), one_of_three()).unwrap();
    member.settle().unwrap();
    let append = Message {
        r#type: MessageType::MsgApp as i32,
        from: 3,
        to: ID,
        term: 2,
        index: 3,
        log_term: 1,
        commit: 4,
        entries: vec![Entry { index: 4, term: 2, ..Entry::default() }],
        ..Message::default()
    };
    let (proposal, input) = member.proposal(put("k", "v"));
    member.handle(vec![Input::Message(Box::new(append)), input]).unwrap();
    member.settle().unwrap();
    assert_eq!(member.node.published().applied(), 4);
    let answer = member.answer(proposal);
    assert!(answer.is_none(), "{answer:?}");
}

#[test]
fn the_same_leader_in_a_later_term_is_another_leader() {
    let mut member = Member::start(&SimDisk::new(1), one_of_three()).unwrap();
    member.handle(vec![from_3(MessageType::MsgHeartbeat, 2)]).unwrap();
    member.handle(vec![Input::ReadIndex(WHO)]).unwrap();
    assert!(member.answers.is_empty());
    member.handle(vec![from_3(MessageType::MsgHeartbeat, 4)]).unwrap();
    assert!(matches!(member.answer(WHO), Some(Answer::Unserved(Unserved::LeaderChanged))));
    let leaders: Vec<_> = member.notes.iter().filter(|note| matches!(note, Note::Leader { .. })).collect();
    assert_eq!(leaders, [&Note::Leader { id: 3, term: 2 }, &Note::Leader { id: 3, term: 4 }]);
}

#[test]
fn an_answer_to_a_read_that_was_not_asked_changes_nothing() {
    let mut member = Member::start(&SimDisk::new(1), one_of_three()).unwrap();
    member.handle(vec![from_3(MessageType::MsgHeartbeat, 2), Input::ReadIndex(WHO)]).unwrap();
    let asked = member.messages.iter().find(|m| m.r#type() == MessageType::MsgReadIndex).unwrap();
    let context = asked.entries[0].data.clone();
    let answer = |context: Bytes| {
        let entries = vec![Entry { data: context, ..Entry::default() }];
        let r#type = MessageType::MsgReadIndexResp as i32;
        Input::Message(Box::new(Message { r#type, from: 3, to: ID, term: 2, entries, ..Message::default() }))
    };
    let earlier = u64::from_be_bytes(context[..].try_into().unwrap()) - 1;
    for unasked in [Bytes::new(), Bytes::from_static(b"abc"), earlier.to_be_bytes().to_vec().into()] {
        member.handle(vec![answer(unasked)]).unwrap();
        assert!(member.answers.is_empty());
    }
    member.handle(vec![answer(context)]).unwrap();
    // Index 0 is applied.
    assert!(matches!(member.answer(WHO), Some(Answer::Readable)));
}

#[test]
fn reads_of_another_life_have_other_contexts() {
    let mut contexts = Vec::new();
    for first_request_id in [1, 1 << 40] {
        let mut member =
            Member::start(&SimDisk::new(1), Config { first_request_id, ..one_of_three() }).unwrap();
        member.handle(vec![from_3(MessageType::MsgHeartbeat, 2), Input::ReadIndex(WHO)]).unwrap();
        let asked = member.messages.iter().find(|m| m.r#type() == MessageType::MsgReadIndex).unwrap();
        contexts.push(asked.entries[0].data.clone());
    }
    assert_ne!(contexts[0], contexts[1]);
}

#[test]
fn messages_that_nobody_takes_do_not_pile_up() {
    let mut member = Member::start(&SimDisk::new(1), one_of_three()).unwrap();
    let mut output = Output::default();
    let mut sent = 0;
    for _ in 0..1000 {
        member.now += TICK;
        member.node.handle(member.now, vec![Input::Tick], &mut output).unwrap();
        sent += output.messages.len();
        assert!(output.messages.len() <= 2, "one for each other member");
        for task in output.wal.drain(..) {
            member.tasks.push(task);
        }
        member.write_log().unwrap();
    }
    assert!(sent > 10, "it stands for election again and again");
}
