//! When proposals and reads are answered, and when they are refused.

use bytes::Bytes;
use disk::SimDisk;
use node::{Answer, Config, Input, Output, Unserved, WalTask};
use store::Refusal;

use crate::member::{ID, Member, compact, config, delete, info, put, refusal, revision};

/// Proposals that may be under way at a time.
const PROPOSALS_MAX: u32 = 100_000;
const PROPOSALS_BYTES_MAX: usize = 256 << 20;

fn one_of_three() -> Config {
    Config { initial_members: vec![info(3), info(ID), info(9)], ..config() }
}

fn is_stopped(answer: &(u32, Answer)) -> bool {
    matches!(answer.1, Answer::Unserved(Unserved::Stopped))
}

#[test]
fn a_proposal_is_answered_only_once_it_is_durable() {
    let mut member = Member::lead(&SimDisk::new(1), config());
    let waiter = member.propose(put("k", "v"));
    member.handle(vec![Input::Tick]).unwrap();
    assert!(member.answers.is_empty());
    assert_eq!(member.keys(), 0, "nor is it applied");
    member.write_log().unwrap();
    assert_eq!(revision(member.answer(waiter)), Some(2));
    assert_eq!(member.keys(), 1);
}

#[test]
fn proposals_that_came_together_are_logged_together_and_answered_in_order() {
    let mut member = Member::lead(&SimDisk::new(1), config());
    let inputs: Vec<_> = (0..5).map(|i| member.proposal(put(&format!("k{i}"), "v")).1).collect();
    member.handle(inputs).unwrap();
    let entries = |task: &WalTask| if let WalTask::Append(batch) = task { batch.entries.len() } else { 0 };
    let written: Vec<usize> = member.tasks.iter().map(entries).filter(|n| *n > 0).collect();
    assert_eq!(written, [5]);
    member.write_log().unwrap();
    let waiters: Vec<u32> = member.answers.iter().map(|(waiter, _)| *waiter).collect();
    assert_eq!(waiters, [1, 2, 3, 4, 5]);
}

#[test]
fn a_refusal_by_the_store_is_an_answer() {
    let mut member = Member::lead(&SimDisk::new(1), config());
    let answer = member.apply(compact(99, false)).unwrap();
    assert_eq!(refusal(&answer), Some(Refusal::FutureRevision));
}

#[test]
fn reads_that_came_together_are_answered_together_after_what_was_committed() {
    let mut member = Member::start(&SimDisk::new(1), config()).unwrap();
    member.handle(Vec::new()).unwrap();
    while member.node.published().leader() != ID {
        member.write_log().unwrap();
    }
    // Nothing of this term is committed yet: what of the last one is, a new leader does not know.
    member.handle(vec![Input::ReadIndex(1), Input::ReadIndex(2)]).unwrap();
    assert!(member.answers.is_empty());
    while member.answers.is_empty() {
        member.write_log().unwrap();
    }
    let waiters: Vec<u32> = member.answers.iter().map(|(waiter, _)| *waiter).collect();
    assert_eq!(waiters, [1, 2], "by one call");
    assert!(member.answers.iter().all(|(_, answer)| matches!(answer, Answer::Readable)));
}

#[test]
fn a_read_asked_for_without_a_leader_is_told_of_the_next_one() {
    let mut member = Member::start(&SimDisk::new(1), config()).unwrap();
    member.handle(vec![Input::ReadIndex(1)]).unwrap();
    member.settle().unwrap();
    assert!(matches!(member.answer(1), Some(Answer::Unserved(Unserved::LeaderChanged))));
}

#[test]
fn a_read_does_not_wait_for_what_is_not_committed() {
    let mut member = Member::lead(&SimDisk::new(1), config());
    member.propose(put("k", "v"));
    member.handle(vec![Input::ReadIndex(9)]).unwrap();
    assert!(matches!(member.answer(9), Some(Answer::Readable)));
}

#[test]
fn proposals_wait_for_a_leader() {
    let mut member = Member::start(&SimDisk::new(1), one_of_three()).unwrap();
    let waiter = member.propose(put("k", "v"));
    member.tick(3).unwrap();
    assert!(member.answers.is_empty());
    let mut output = Output::default();
    member.node.stop(&mut output);
    member.collect(output);
    assert!(matches!(member.answer(waiter), Some(Answer::Unserved(Unserved::Stopped))));
}

#[test]
fn a_proposal_over_the_limit_is_refused() {
    let mut member = Member::start(&SimDisk::new(1), one_of_three()).unwrap();
    // Few at a time, as the log has not room for all of them at once.
    for _ in 0..PROPOSALS_MAX / 200 {
        let inputs = (0..200).map(|_| member.proposal(delete("k")).1).collect();
        member.handle(inputs).unwrap();
    }
    assert!(member.answers.is_empty());
    let waiter = member.propose(delete("k"));
    assert!(matches!(member.answer(waiter), Some(Answer::Unserved(Unserved::TooManyRequests))));
}

#[test]
fn long_proposals_are_refused_before_there_are_many() {
    let mut member = Member::start(&SimDisk::new(1), one_of_three()).unwrap();
    let long = Bytes::from(vec![b'v'; PROPOSALS_BYTES_MAX / 4]);
    // With the few bytes around each value, the fourth is too much.
    let waiters = [(); 4].map(|()| member.propose(put("k", long.clone())));
    assert!(waiters[..3].iter().all(|waiter| member.answer(*waiter).is_none()));
    assert!(matches!(member.answer(waiters[3]), Some(Answer::Unserved(Unserved::TooManyRequests))));
    let waiter = member.propose(put("k", "short"));
    assert!(member.answer(waiter).is_none());
}

#[test]
fn short_proposals_do_not_wait_for_many_long_ones() {
    let roomy = Config { segment_bytes: 64 << 20, ..config() };
    let mut member = Member::lead(&SimDisk::new(1), roomy);
    let long = Bytes::from(vec![b'v'; 1 << 20]);
    let inputs: Vec<_> = (0..9).map(|_| member.proposal(put("long", long.clone())).1).collect();
    member.handle(inputs).unwrap();
    let short = member.propose(put("short", "v"));
    let mut rounds = Vec::new();
    while !member.tasks.is_empty() {
        let n_before = member.answers.len();
        member.write_log().unwrap();
        rounds.push(member.answers[n_before..].iter().map(|(waiter, _)| *waiter).collect::<Vec<_>>());
    }
    // The two that are over the limit together, and whoever is short; then the next ones in their order.
    assert_eq!(rounds, [vec![1, 2, short], vec![3, 4], vec![5, 6], vec![7, 8], vec![9]]);
}

#[test]
fn a_member_that_stops_answers_those_who_stand_in_line() {
    let roomy = Config { segment_bytes: 64 << 20, ..config() };
    let mut member = Member::lead(&SimDisk::new(1), roomy);
    let long = Bytes::from(vec![b'v'; 1 << 20]);
    let inputs = (0..5).map(|_| member.proposal(put("long", long.clone())).1).collect();
    member.handle(inputs).unwrap();
    let mut output = Output::default();
    member.node.stop(&mut output);
    assert!(output.answers.iter().all(is_stopped));
    assert_eq!(output.answers.len(), 5);
}

#[test]
fn a_member_that_stops_answers_everyone() {
    let mut member = Member::lead(&SimDisk::new(1), config());
    member.apply(put("k", "v")).unwrap();
    let compaction = member.propose(compact(2, true));
    member.write_log().unwrap();
    let put = member.propose(put("k", "w"));
    let mut output = Output::default();
    member.node.stop(&mut output);
    assert!(output.answers.iter().all(is_stopped));
    let mut waiters: Vec<u32> = output.answers.iter().map(|(waiter, _)| *waiter).collect();
    waiters.sort_unstable();
    assert_eq!(waiters, [compaction, put]);
}
