//! What a member makes of a snapshot, and what a leader sends.

use bytes::Bytes;

use crate::raft::tests::{entries, from_2, leader, member, settle, snapshot};
use crate::raft::*;

/// A follower of 2 in term 1 with three entries, of which the first is committed and applied.
fn follower() -> Raft {
    let mut raft = member(&[1, 2, 3], 1, &[1, 1, 1]);
    raft.step(Message { commit: 1, ..from_2(MessageType::MsgHeartbeat, 1) }).unwrap();
    settle(&mut raft);
    raft
}

#[test]
fn a_snapshot_replaces_the_log_and_is_acknowledged_once_it_is_durable() {
    let mut raft = follower();
    raft.step(snapshot(7, 1, &[2, 3, 4])).unwrap();
    let ready = raft.ready().unwrap();
    assert!(ready.messages.is_empty() && ready.committed.is_empty());
    let persist = ready.persist.unwrap();
    assert_eq!(persist.snapshot.as_ref().map(|snapshot| (snapshot.index, snapshot.term)), Some((7, 1)));
    assert_eq!((persist.hard_state.unwrap().commit, persist.must_sync), (7, true));
    let status = raft.status();
    assert_eq!((status.first_index, status.last_index, status.commit, status.applied), (8, 7, 7, 7));
    assert!(status.durable < 7);
    assert_eq!(raft.conf_state().voters, [2, 3, 4], "this member is no longer among them");
    raft.persisted(persist.seq);
    let acknowledgement = raft.ready().unwrap().messages.pop().unwrap();
    assert_eq!((acknowledgement.r#type(), acknowledgement.index), (MessageType::MsgAppResp, 7));
    assert_eq!(raft.status().durable, 7);
    raft.applied_to(7);
}

#[test]
fn entries_behind_a_snapshot_are_applied_once_both_are_durable() {
    let mut raft = follower();
    raft.step(snapshot(7, 1, &[1, 2])).unwrap();
    let append = Message { index: 7, log_term: 1, commit: 8, ..from_2(MessageType::MsgApp, 1) };
    let first = raft.ready().unwrap().persist.unwrap();
    raft.step(Message { entries: entries(7, &[1, 1]), ..append }).unwrap();
    let second = raft.ready().unwrap();
    assert!(second.committed.is_empty());
    raft.persisted(first.seq);
    let acknowledgements = raft.ready().unwrap().messages;
    assert_eq!(acknowledgements.iter().map(|message| message.index).collect::<Vec<_>>(), [7]);
    raft.persisted(second.persist.unwrap().seq);
    let ready = raft.ready().unwrap();
    assert_eq!(ready.committed.iter().map(|entry| entry.index).collect::<Vec<_>>(), [8]);
    assert_eq!(ready.messages[0].index, 9);
}

#[test]
fn a_snapshot_and_what_follows_it_may_be_one_batch() {
    let mut raft = follower();
    raft.step(snapshot(7, 1, &[1, 2])).unwrap();
    let append = Message { index: 7, log_term: 1, commit: 8, ..from_2(MessageType::MsgApp, 1) };
    raft.step(Message { entries: entries(7, &[1]), ..append }).unwrap();
    let persist = raft.ready().unwrap().persist.unwrap();
    assert_eq!((persist.snapshot.unwrap().index, persist.entries[0].index), (7, 8));
    raft.persisted(persist.seq);
    assert_eq!(raft.ready().unwrap().committed[0].index, 8);
}

#[test]
fn of_several_snapshots_the_last_is_installed() {
    let mut raft = follower();
    raft.step(snapshot(7, 1, &[1, 2])).unwrap();
    raft.step(snapshot(9, 1, &[1, 2, 3])).unwrap();
    raft.step(snapshot(8, 1, &[1, 2])).unwrap();
    let persist = raft.ready().unwrap().persist.unwrap();
    assert_eq!(persist.snapshot.unwrap().index, 9);
    assert_eq!(raft.conf_state().voters, [1, 2, 3]);
    raft.persisted(persist.seq);
    assert_eq!(raft.ready().unwrap().messages.len(), 1, "one acknowledgement says it all");
}

#[test]
fn a_write_from_before_the_snapshot_makes_nothing_of_it_durable() {
    let mut raft = follower();
    let append =
        Message { index: 3, log_term: 1, entries: entries(3, &[1, 1]), ..from_2(MessageType::MsgApp, 1) };
    raft.step(append).unwrap();
    let before = raft.ready().unwrap().persist.unwrap();
    raft.step(snapshot(9, 1, &[1, 2])).unwrap();
    let with_snapshot = raft.ready().unwrap().persist.unwrap();
    raft.persisted(before.seq);
    assert!(raft.status().durable <= 1);
    raft.persisted(with_snapshot.seq);
    assert_eq!(raft.status().durable, 9);
}

#[test]
fn a_snapshot_that_ends_in_a_known_entry_only_tells_the_commit() {
    let mut raft = follower();
    raft.step(snapshot(2, 1, &[2, 3])).unwrap();
    let ready = raft.ready().unwrap();
    assert!(ready.persist.unwrap().snapshot.is_none());
    assert_eq!((ready.messages[0].index, ready.committed[0].index), (2, 2));
    let status = raft.status();
    assert_eq!((status.commit, status.last_index), (2, 3));
    assert_eq!(raft.conf_state().voters, [1, 2, 3]);
}

#[test]
fn a_snapshot_behind_the_commit_is_answered_with_the_commit() {
    let mut raft = follower();
    raft.step(Message { commit: 3, ..from_2(MessageType::MsgHeartbeat, 1) }).unwrap();
    settle(&mut raft);
    raft.step(snapshot(2, 1, &[2])).unwrap();
    let messages = settle(&mut raft);
    assert_eq!((messages[0].r#type(), messages[0].index), (MessageType::MsgAppResp, 3));
    assert_eq!(raft.conf_state().voters, [1, 2, 3]);
}

#[test]
fn a_snapshot_of_a_term_before_the_committed_one_is_refused() {
    let mut raft = member(&[1, 2, 3], 3, &[2, 2]);
    raft.step(Message { commit: 2, ..from_2(MessageType::MsgHeartbeat, 3) }).unwrap();
    let refusal = raft.step(Message { term: 3, ..snapshot(5, 1, &[1, 2]) });
    assert!(matches!(refusal, Err(Error::MalformedMessage(_))));
    assert_eq!(raft.status().last_index, 2);
}

#[test]
fn a_candidate_follows_the_leader_whose_snapshot_it_gets() {
    let mut raft = member(&[1, 2, 3], 0, &[]);
    raft.campaign();
    settle(&mut raft);
    raft.step(snapshot(5, 1, &[1, 2, 3])).unwrap();
    assert_eq!((raft.status().role, raft.status().leader), (Role::Follower, 2));
}

#[test]
fn a_restored_joint_configuration_decides_by_both_halves() {
    let mut raft = follower();
    let mut message = snapshot(7, 1, &[1]);
    let metadata = message.snapshot.as_mut().unwrap().metadata.as_mut().unwrap();
    metadata.conf_state.as_mut().unwrap().voters_outgoing = vec![1, 2, 3];
    raft.step(message).unwrap();
    settle(&mut raft);
    raft.campaign();
    settle(&mut raft);
    assert_eq!(raft.status().role, Role::Candidate, "its own vote is enough in one half only");
    raft.step(Message { from: 3, ..from_2(MessageType::MsgVoteResp, 2) }).unwrap();
    assert_eq!(raft.status().role, Role::Leader);
}

#[test]
fn only_the_leader_of_the_term_may_send_a_snapshot() {
    let refusal = leader().step(snapshot(9, 1, &[1, 2, 3]));
    assert_eq!(refusal, Err(Error::TwoLeaders { term: 1, other: 2 }));
}

#[test]
fn a_leader_keeps_what_follows_a_snapshot_on_its_way_within_the_bytes() {
    let first_index_after = |recent_active, bytes| {
        let mut raft = leader();
        raft.propose((0..9).map(|_| Bytes::from("entry"))).unwrap();
        settle(&mut raft);
        raft.step(Message { index: 10, ..from_2(MessageType::MsgAppResp, 1) }).unwrap();
        settle(&mut raft);
        let member = raft.members.get_mut(3).unwrap();
        member.pending_snapshot = 4;
        member.recent_active = recent_active;
        raft.compact(8, bytes);
        raft.status().first_index
    };
    assert_eq!(first_index_after(true, u64::MAX), 5);
    assert_eq!(first_index_after(false, u64::MAX), 9, "a member that does not answer holds nothing");
    assert_eq!(first_index_after(true, 80), 9, "two entries have less than 80 bytes, three have more");
}
