//! Which changes a leader takes, and how it ends a joint configuration.

use proto::raftpb::{ConfChangeTransition, ConfChangeType};

use super::*;
use crate::raft::tests::{config, from_2, leader, member, settle};
use crate::raft::*;

fn add(node_id: u64) -> ConfChange {
    ConfChange { r#type: ConfChangeType::ConfChangeAddNode as i32, node_id, ..ConfChange::default() }
}

/// A change of voters in V2 form: these are added, those removed.
fn change(transition: ConfChangeTransition, added: &[u64], removed: &[u64]) -> ConfChangeV2 {
    let single = |r#type: ConfChangeType, node_id| ConfChangeSingle { r#type: r#type as i32, node_id };
    let added = added.iter().map(|id| single(ConfChangeType::ConfChangeAddNode, *id));
    let removed = removed.iter().map(|id| single(ConfChangeType::ConfChangeRemoveNode, *id));
    let changes = added.chain(removed).collect();
    ConfChangeV2 { transition: transition as i32, changes, ..ConfChangeV2::default() }
}

fn encoded(change: &impl prost::Message) -> Bytes {
    change.encode_to_vec().into()
}

fn entry(r#type: EntryType, data: Bytes) -> Entry {
    Entry { r#type: r#type as i32, data, ..Entry::default() }
}

/// A leader of 1 to 3 that has applied a change to `after`, entered by `transition`. 2 acknowledges all.
fn leader_in_joint(transition: ConfChangeTransition, added: &[u64], removed: &[u64]) -> Raft {
    let mut raft = leader();
    let change = change(transition, added, removed);
    raft.propose_conf_change_v2(encoded(&change)).unwrap();
    settle(&mut raft);
    acknowledge(&mut raft, 2);
    assert_eq!(raft.ready().unwrap().committed[0].r#type(), EntryType::EntryConfChangeV2);
    raft.apply_conf_change(&change);
    raft.applied_to(2);
    raft
}

/// All voters but this one acknowledge everything up to `index`.
fn acknowledge(raft: &mut Raft, index: u64) {
    let others: Vec<u64> = raft.members().map(|member| member.id).filter(|id| *id != 1).collect();
    for from in others {
        raft.step(Message { from, index, ..from_2(MessageType::MsgAppResp, 1) }).unwrap();
    }
}

/// The types of the entries that the next batch writes.
fn written(raft: &mut Raft) -> Vec<EntryType> {
    let persist = raft.ready().and_then(|ready| ready.persist);
    persist.map_or(Vec::new(), |persist| persist.entries.iter().map(Entry::r#type).collect())
}

#[test]
fn of_several_changes_in_one_message_the_first_is_taken() {
    let mut raft = leader();
    let entries = vec![
        entry(EntryType::EntryNormal, Bytes::from("a")),
        entry(EntryType::EntryConfChange, encoded(&add(4))),
        entry(EntryType::EntryConfChange, encoded(&add(5))),
        entry(EntryType::EntryConfChangeV2, encoded(&single_change(&add(5)))),
        entry(EntryType::EntryNormal, Bytes::from("b")),
    ];
    raft.step(Message { entries, ..from_2(MessageType::MsgProp, 0) }).unwrap();
    let entries = raft.ready().unwrap().persist.unwrap().entries;
    let written: Vec<_> = entries.iter().map(|entry| (entry.r#type(), entry.data.len())).collect();
    let (normal, empty) = ((EntryType::EntryNormal, 1), (EntryType::EntryNormal, 0));
    let first = (EntryType::EntryConfChange, encoded(&add(4)).len());
    assert_eq!(written, [normal, first, empty, empty, normal]);
}

#[test]
fn changes_that_cannot_be_read_or_do_not_fit_are_refused_with_the_reason() {
    let mut raft = leader();
    let unreadable = Err(Error::InvalidConfChange("it cannot be decoded"));
    assert_eq!(raft.propose_conf_change(Bytes::from("?")), unreadable);
    assert_eq!(raft.propose_conf_change_v2(Bytes::from("?")), unreadable);
    let unknown = ConfChange { r#type: 9, ..add(4) };
    assert_eq!(raft.propose_conf_change(encoded(&unknown)), unreadable);
    let explicit = change(ConfChangeTransition::JointExplicit, &[], &[]);
    assert_eq!(raft.propose_conf_change_v2(encoded(&explicit)), unreadable);
    let leave = raft.propose_conf_change_v2(Bytes::new());
    assert_eq!(leave, Err(Error::InvalidConfChange("only a joint configuration can be left")));
    assert_eq!(written(&mut raft), []);
}

#[test]
fn an_implicit_joint_configuration_is_left_once() {
    let mut raft = leader_in_joint(ConfChangeTransition::Auto, &[4, 5], &[]);
    assert_eq!(written(&mut raft), [EntryType::EntryConfChangeV2]);
    raft.tick();
    assert_eq!(written(&mut raft), []);
}

#[test]
fn an_explicit_joint_configuration_is_left_when_asked() {
    let mut raft = leader_in_joint(ConfChangeTransition::JointExplicit, &[4], &[]);
    assert_eq!(written(&mut raft), []);
    let other = raft.propose_conf_change(encoded(&add(5)));
    assert_eq!(other, Err(Error::InvalidConfChange("a joint configuration must be left first")));
    raft.propose_conf_change_v2(Bytes::new()).unwrap();
    assert_eq!(written(&mut raft), [EntryType::EntryConfChangeV2]);
    assert_eq!(raft.propose_conf_change_v2(Bytes::new()), Err(Error::ConfChangePending));
}

#[test]
fn a_joint_configuration_is_left_after_a_transfer_that_failed() {
    let mut raft = leader_in_joint(ConfChangeTransition::Auto, &[4], &[3]);
    raft.transfer_leader(2).unwrap();
    assert_eq!(written(&mut raft), []);
    (0..10).for_each(|_| raft.tick());
    assert_eq!(written(&mut raft), [EntryType::EntryConfChangeV2]);
}

#[test]
fn a_joint_configuration_is_left_although_the_log_is_full() {
    let conf_state =
        ConfState { voters: vec![1], voters_outgoing: vec![1, 2], auto_leave: true, ..ConfState::default() };
    let config = Config { max_uncommitted_bytes: 100, ..config() };
    let mut raft = Raft::new(config, Restored { conf_state, ..Restored::default() }).unwrap();
    raft.campaign();
    settle(&mut raft);
    raft.step(from_2(MessageType::MsgVoteResp, 1)).unwrap();
    settle(&mut raft);
    raft.step(Message { index: 1, ..from_2(MessageType::MsgAppResp, 1) }).unwrap();
    raft.propose([Bytes::from(vec![0; 200])]).unwrap();
    let ready = raft.ready().unwrap();
    raft.persisted(ready.persist.unwrap().seq);
    raft.applied_to(1);
    assert_eq!(raft.propose([Bytes::from("x")]), Err(Error::ProposalDropped));
    assert_eq!(written(&mut raft), [EntryType::EntryConfChangeV2]);
}

#[test]
fn a_leader_that_is_only_an_outgoing_voter_leads_until_the_end() {
    let mut raft = leader_in_joint(ConfChangeTransition::Auto, &[4], &[1]);
    assert_eq!(raft.conf_state().voters, [2, 3, 4]);
    assert_eq!(raft.conf_state().voters_outgoing, [1, 2, 3]);
    settle(&mut raft);
    acknowledge(&mut raft, 3);
    assert_eq!(raft.ready().unwrap().committed.len(), 1);
    raft.apply_conf_change(&ConfChangeV2::default());
    raft.applied_to(3);
    assert_eq!(raft.propose([Bytes::from("x")]), Err(Error::ProposalDropped));
    (0..10).for_each(|_| raft.tick());
    assert_eq!(raft.status().role, Role::Follower);
    (0..100).for_each(|_| raft.tick());
    assert_eq!(raft.status().role, Role::Follower, "it has no vote");
}

#[test]
fn a_candidate_of_a_restored_joint_configuration_leaves_it_as_leader() {
    let mut raft = member(&[1, 2, 3], 1, &[]);
    raft.members.apply(&change(ConfChangeTransition::Auto, &[4], &[3]), 1);
    raft.campaign();
    settle(&mut raft);
    raft.step(Message { from: 2, ..from_2(MessageType::MsgVoteResp, 2) }).unwrap();
    assert_eq!(raft.status().role, Role::Leader, "1 and 2 are a majority of both halves");
    settle(&mut raft);
    assert_eq!(raft.status().last_index, 1, "nothing of its own term is committed");
    raft.step(Message { index: 1, ..from_2(MessageType::MsgAppResp, 2) }).unwrap();
    settle(&mut raft);
    assert_eq!(raft.status().last_index, 2);
}

#[test]
fn learners_are_asked_for_neither_vote_nor_majority() {
    let conf_state = ConfState { voters: vec![1, 2, 3], learners: vec![4, 5], ..ConfState::default() };
    let mut raft = Raft::new(config(), Restored { conf_state, ..Restored::default() }).unwrap();
    raft.campaign();
    let asked: Vec<u64> = settle(&mut raft).iter().map(|message| message.to).collect();
    assert_eq!(asked, [2, 3]);
    for from in [4, 5] {
        raft.step(Message { from, ..from_2(MessageType::MsgVoteResp, 1) }).unwrap();
    }
    assert_eq!(raft.status().role, Role::Candidate);
    raft.step(from_2(MessageType::MsgVoteResp, 1)).unwrap();
    settle(&mut raft);
    for from in [4, 5] {
        raft.step(Message { from, index: 1, ..from_2(MessageType::MsgAppResp, 1) }).unwrap();
    }
    assert_eq!(raft.status().commit, 0);
    raft.step(Message { index: 1, ..from_2(MessageType::MsgAppResp, 1) }).unwrap();
    assert_eq!(raft.status().commit, 1);
}

#[test]
fn a_removal_answers_the_reads_that_the_rest_has_confirmed() {
    let mut raft = leader();
    raft.apply_conf_change(&single_change(&add(4)));
    settle(&mut raft);
    raft.read_index(Bytes::from("read"));
    let messages = raft.ready().unwrap().messages;
    let context = messages.iter().find(|message| !message.context.is_empty()).unwrap().context.clone();
    raft.step(Message { context, ..from_2(MessageType::MsgHeartbeatResp, 1) }).unwrap();
    assert!(raft.ready().is_none_or(|ready| ready.read_states.is_empty()), "two of four");
    raft.apply_conf_change(&change(ConfChangeTransition::Auto, &[], &[4]));
    assert_eq!(raft.ready().unwrap().read_states.len(), 1, "two of three");
}
