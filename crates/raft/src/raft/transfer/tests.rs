//! Who takes part in a transfer of leadership, and what a faulty member cannot do with it.

use bytes::Bytes;

use crate::raft::tests::{config, from_2, leader, member, settle};
use crate::raft::*;

#[test]
fn a_repeated_request_to_hand_over_does_not_put_off_its_end_nor_the_quorum_check() {
    let conf_state = ConfState { voters: vec![1, 2, 3], ..ConfState::default() };
    let config = Config { check_quorum: true, ..config() };
    let mut raft = Raft::new(config, Restored { conf_state, ..Restored::default() }).unwrap();
    raft.campaign();
    settle(&mut raft);
    raft.step(from_2(MessageType::MsgVoteResp, 1)).unwrap();
    settle(&mut raft);
    for _ in 0..10 {
        for from in [2, 3] {
            raft.step(Message { from, ..from_2(MessageType::MsgTransferLeader, 1) }).unwrap();
        }
        raft.tick();
    }
    assert_eq!(raft.status().role, Role::Follower, "it has heard nobody for an election timeout");

    let mut raft = leader();
    for _ in 0..10 {
        raft.step(from_2(MessageType::MsgTransferLeader, 1)).unwrap();
        raft.tick();
    }
    assert_eq!(raft.status().transferee, 0);
}

#[test]
fn requests_that_cannot_be_granted_change_nothing() {
    let mut raft = leader();
    for from in [1, 9] {
        raft.step(Message { from, ..from_2(MessageType::MsgTransferLeader, 1) }).unwrap();
    }
    assert_eq!((raft.status().transferee, raft.status().faulty_messages), (0, 0));
    let mut follower = member(&[1, 2, 3], 1, &[]);
    follower.step(from_2(MessageType::MsgHeartbeat, 1)).unwrap();
    settle(&mut follower);
    follower.step(Message { from: 3, ..from_2(MessageType::MsgTransferLeader, 1) }).unwrap();
    assert!(follower.ready().is_none(), "only its own requests are passed on");
}

#[test]
fn without_a_leader_nobody_hands_over() {
    assert_eq!(member(&[1, 2, 3], 1, &[]).transfer_leader(2), Err(Error::NoLeader));
}

#[test]
fn only_the_leader_makes_a_member_stand_at_once() {
    let mut raft = member(&[1, 2, 3], 1, &[]);
    raft.step(from_2(MessageType::MsgHeartbeat, 1)).unwrap();
    let refusal = raft.step(Message { from: 3, ..from_2(MessageType::MsgTimeoutNow, 1) });
    assert!(matches!(refusal, Err(Error::MalformedMessage(_))));
    assert_eq!(raft.status().role, Role::Follower);
    raft.step(from_2(MessageType::MsgTimeoutNow, 1)).unwrap();
    assert_eq!((raft.status().role, raft.status().term), (Role::Candidate, 2));
}

#[test]
fn a_member_without_a_vote_does_not_take_over() {
    let mut raft = member(&[2, 3], 1, &[]);
    raft.step(from_2(MessageType::MsgTimeoutNow, 1)).unwrap();
    assert_eq!(raft.status().role, Role::Follower);
}

#[test]
fn reads_are_answered_while_a_transfer_is_under_way() {
    let mut raft = leader();
    raft.transfer_leader(2).unwrap();
    raft.read_index(Bytes::from("read"));
    let messages = raft.ready().unwrap().messages;
    let context = messages.iter().find(|message| !message.context.is_empty()).unwrap().context.clone();
    raft.step(Message { context, ..from_2(MessageType::MsgHeartbeatResp, 1) }).unwrap();
    assert_eq!(raft.ready().unwrap().read_states.len(), 1);
}
