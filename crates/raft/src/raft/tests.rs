//! Rules of one member that no script shows.

use bytes::Bytes;
use proto::raftpb::{ConfChange, ConfChangeType, ConfState, Entry, EntryType, Snapshot};

use super::*;
use crate::ProgressState;

pub(super) fn config() -> Config {
    Config {
        id: 1,
        election_ticks: 10,
        heartbeat_ticks: 1,
        max_message_bytes: 1 << 20,
        max_inflight: 512,
        max_inflight_bytes: u64::MAX,
        max_committed_bytes: u64::MAX,
        max_uncommitted_bytes: 512 << 20,
        pre_vote: false,
        check_quorum: false,
        seed: 7,
    }
}

pub(super) fn entries(prev: u64, terms: &[u64]) -> Vec<Entry> {
    (prev + 1..).zip(terms).map(|(index, &term)| Entry { term, index, ..Entry::default() }).collect()
}

/// Member 1 of `voters` in `term`, with entries of these terms on disk.
pub(super) fn member(voters: &[u64], term: u64, terms: &[u64]) -> Raft {
    let restored = Restored {
        hard_state: HardState { term, ..HardState::default() },
        conf_state: ConfState { voters: voters.to_vec(), ..ConfState::default() },
        entries: entries(0, terms),
        ..Restored::default()
    };
    Raft::new(config(), restored).unwrap()
}

pub(super) fn from_2(r#type: MessageType, term: u64) -> Message {
    Message { r#type: r#type as i32, from: 2, to: 1, term, ..Message::default() }
}

/// A snapshot of the leader 2 in term 1.
pub(super) fn snapshot(index: u64, term: u64, voters: &[u64]) -> Message {
    let conf_state = Some(ConfState { voters: voters.to_vec(), ..ConfState::default() });
    let metadata = Some(SnapshotMetadata { conf_state, index, term });
    let snapshot = Some(Snapshot { metadata, ..Snapshot::default() });
    Message { snapshot, ..from_2(MessageType::MsgSnap, 1) }
}

/// Takes and confirms everything until nothing is left; returns the messages.
pub(super) fn settle(raft: &mut Raft) -> Vec<Message> {
    let mut messages = Vec::new();
    while let Some(ready) = raft.ready() {
        messages.extend(ready.messages);
        if let Some(persist) = ready.persist {
            raft.persisted(persist.seq);
        }
        if let Some(last) = ready.committed.last() {
            raft.applied_to(last.index);
        }
    }
    messages
}

/// A leader of voters 1 to 3 whose first entry 2 has acknowledged.
pub(super) fn leader() -> Raft {
    let mut raft = member(&[1, 2, 3], 0, &[]);
    raft.campaign();
    settle(&mut raft);
    raft.step(from_2(MessageType::MsgVoteResp, 1)).unwrap();
    settle(&mut raft);
    raft.step(Message { index: 1, ..from_2(MessageType::MsgAppResp, 1) }).unwrap();
    settle(&mut raft);
    assert_eq!((raft.status().role, raft.status().commit), (Role::Leader, 1));
    raft
}

#[test]
fn configuration_that_cannot_work_is_refused() {
    let refused = |config| matches!(Raft::new(config, Restored::default()), Err(Error::InvalidConfig(_)));
    assert!(refused(Config { id: 0, ..config() }));
    assert!(refused(Config { heartbeat_ticks: 0, ..config() }));
    assert!(refused(Config { election_ticks: 1, ..config() }));
    assert!(refused(Config { max_inflight: 0, ..config() }));
    assert!(refused(Config { election_ticks: 1 << 31, ..config() }));
}

#[test]
fn torn_hard_state_leaves_the_term_of_the_last_entry_and_no_vote() {
    let restored = Restored {
        hard_state: HardState { term: 1, vote: 2, commit: 0 },
        conf_state: ConfState { voters: vec![1, 2, 3], ..ConfState::default() },
        entries: entries(0, &[1, 3]),
        ..Restored::default()
    };
    let mut raft = Raft::new(config(), restored).unwrap();
    let status = raft.status();
    assert_eq!((status.term, status.vote), (3, 0), "the vote was for the leader of term 1");
    let persist = raft.ready().unwrap().persist.unwrap();
    assert_eq!(persist.hard_state.unwrap().term, 3);
    assert!(persist.must_sync);
}

#[test]
fn restart_without_news_has_nothing_to_do() {
    assert!(member(&[1, 2, 3], 1, &[1, 1]).ready().is_none());
}

#[test]
fn election_timeout_is_between_one_and_two_election_ticks() {
    for seed in 0..50 {
        let conf_state = ConfState { voters: vec![1, 2], ..ConfState::default() };
        let restored = Restored { conf_state, ..Restored::default() };
        let mut raft = Raft::new(Config { seed, ..config() }, restored).unwrap();
        let ticks = (1..)
            .find(|_| {
                raft.tick();
                raft.status().role == Role::Candidate
            })
            .unwrap();
        assert!((10..20).contains(&ticks), "{ticks}");
    }
}

#[test]
fn member_without_a_vote_never_campaigns() {
    let mut raft = member(&[2, 3], 1, &[]);
    (0..100).for_each(|_| raft.tick());
    raft.campaign();
    assert_eq!(raft.status().role, Role::Follower);
}

#[test]
fn only_what_the_leader_sent_is_acknowledged_and_committed() {
    let mut raft = member(&[1, 2, 3], 1, &[1, 1, 1]);
    let append = Message { index: 1, log_term: 1, commit: 9, ..from_2(MessageType::MsgApp, 2) };
    raft.step(Message { entries: entries(1, &[1]), ..append }).unwrap();
    let answer = settle(&mut raft).pop().unwrap();
    assert_eq!((answer.index, answer.reject), (2, false));
    assert_eq!(raft.status().commit, 2);
}

#[test]
fn append_below_the_commit_is_answered_with_the_commit() {
    let mut raft = member(&[1, 2, 3], 1, &[1, 1, 1]);
    raft.step(Message { commit: 2, index: 3, log_term: 1, ..from_2(MessageType::MsgApp, 1) }).unwrap();
    raft.step(Message { index: 1, log_term: 1, ..from_2(MessageType::MsgApp, 1) }).unwrap();
    assert_eq!(settle(&mut raft).pop().unwrap().index, 2);
}

#[test]
fn vote_granted_in_a_known_term_waits_for_its_own_write() {
    let mut raft = member(&[1, 2, 3], 1, &[]);
    raft.step(from_2(MessageType::MsgVote, 1)).unwrap();
    let ready = raft.ready().unwrap();
    assert!(ready.messages.is_empty());
    let persist = ready.persist.unwrap();
    assert!(persist.must_sync);
    assert_eq!(persist.hard_state.unwrap().vote, 2);
    raft.persisted(persist.seq);
    assert_eq!(raft.ready().unwrap().messages[0].r#type(), MessageType::MsgVoteResp);
}

#[test]
fn granted_vote_puts_off_the_own_campaign() {
    let mut raft = member(&[1, 2, 3], 1, &[]);
    (0..9).for_each(|_| raft.tick());
    raft.step(from_2(MessageType::MsgVote, 1)).unwrap();
    (0..9).for_each(|_| raft.tick());
    assert_eq!(raft.status().role, Role::Follower);
}

#[test]
fn vote_request_of_a_transfer_breaks_the_lease() {
    let conf_state = ConfState { voters: vec![1, 2, 3], ..ConfState::default() };
    let config = Config { check_quorum: true, ..config() };
    let mut raft = Raft::new(config, Restored { conf_state, ..Restored::default() }).unwrap();
    raft.step(Message { from: 3, ..from_2(MessageType::MsgHeartbeat, 1) }).unwrap();
    raft.step(from_2(MessageType::MsgVote, 2)).unwrap();
    assert_eq!((raft.status().term, raft.status().vote), (1, 0));
    let context = Bytes::from_static(b"CampaignTransfer");
    raft.step(Message { context, ..from_2(MessageType::MsgVote, 2) }).unwrap();
    assert_eq!((raft.status().term, raft.status().vote), (2, 2));
}

#[test]
fn nobody_campaigns_before_a_committed_configuration_change_is_applied() {
    let mut entries = entries(0, &[1, 1]);
    entries[1].r#type = EntryType::EntryConfChange as i32;
    let conf_state = ConfState { voters: vec![1, 2], ..ConfState::default() };
    let hard_state = HardState { term: 1, vote: 0, commit: 2 };
    let restored = Restored { hard_state, conf_state, entries, ..Restored::default() };
    let mut raft = Raft::new(config(), restored).unwrap();
    raft.ready();
    raft.campaign();
    assert_eq!(raft.status().role, Role::Follower);
    raft.applied_to(2);
    raft.campaign();
    assert_eq!(raft.status().role, Role::Candidate);
}

#[test]
fn proposal_is_not_sent_back_to_where_it_came_from() {
    let mut raft = member(&[1, 2, 3], 1, &[]);
    raft.step(from_2(MessageType::MsgHeartbeat, 1)).unwrap();
    let proposal = Message { entries: entries(0, &[0]), ..from_2(MessageType::MsgProp, 0) };
    assert_eq!(raft.step(proposal.clone()), Err(Error::ProposalDropped));
    assert_eq!(raft.step(Message { from: 3, ..proposal }), Ok(()));
    assert_eq!(settle(&mut raft).last().unwrap().to, 2);
}

/// etcd's members pass on once more what was passed on to them, and leave the sender as it is.
#[test]
fn own_proposals_may_come_back_from_a_member_that_passes_them_on() {
    let mut raft = leader();
    let proposal = Message { from: 1, entries: entries(0, &[0]), ..from_2(MessageType::MsgProp, 0) };
    raft.step(proposal.clone()).unwrap();
    assert_eq!(raft.status().last_index, 2);
    raft.step(Message { r#type: MessageType::MsgReadIndex as i32, ..proposal.clone() }).unwrap();
    assert!(settle(&mut raft).iter().all(|message| message.r#type() == MessageType::MsgApp));
    let mut follower = member(&[1, 2, 3], 1, &[]);
    assert_eq!(follower.step(proposal), Err(Error::ProposalDropped), "it knows no leader");
    assert_eq!((raft.status().faulty_messages, follower.status().faulty_messages), (0, 0));
}

#[test]
fn empty_proposal_sends_nothing() {
    let mut raft = member(&[1, 2, 3], 1, &[]);
    raft.step(from_2(MessageType::MsgHeartbeat, 1)).unwrap();
    settle(&mut raft);
    assert_eq!(raft.propose([]), Ok(Proposed::Forwarded { leader: 2 }));
    assert!(raft.ready().is_none());
}

#[test]
fn new_member_counts_as_heard_until_the_next_quorum_check() {
    let conf_state = ConfState { voters: vec![1], ..ConfState::default() };
    let config = Config { check_quorum: true, ..config() };
    let mut raft = Raft::new(config, Restored { conf_state, ..Restored::default() }).unwrap();
    raft.campaign();
    settle(&mut raft);
    raft.apply_conf_change(&single_change(&ConfChange { node_id: 2, ..ConfChange::default() }));
    (0..10).for_each(|_| raft.tick());
    assert_eq!(raft.status().role, Role::Leader);
    (0..10).for_each(|_| raft.tick());
    assert_eq!(raft.status().role, Role::Follower);
}

#[test]
fn heartbeat_context_is_echoed_to_the_byte() {
    let mut raft = member(&[1, 2, 3], 1, &[]);
    let context = Bytes::from_static(b"any length\0");
    raft.step(Message { context: context.clone(), ..from_2(MessageType::MsgHeartbeat, 1) }).unwrap();
    assert_eq!(settle(&mut raft)[0].context, context);
}

#[test]
fn messages_that_no_member_sends_are_refused() {
    let of_bytes = |len| vec![Entry { data: Bytes::from(vec![0; len]), ..Entry::default() }];
    let of_type = |r#type| vec![Entry { r#type, term: 1, index: 1, ..Entry::default() }];
    let no_change = |r#type| vec![Entry { r#type, data: Bytes::from("?"), ..Entry::default() }];
    let mut raft = member(&[1, 2, 3], 1, &[]);
    let refusal = |raft: &mut Raft, message| raft.step(message).unwrap_err();
    for r#type in [MessageType::MsgHup, MessageType::MsgBeat, MessageType::MsgStorageAppend] {
        assert_eq!(refusal(&mut raft, from_2(r#type, 1)), Error::UnexpectedMessage { r#type: r#type as i32 });
    }
    let unknown = Message { r#type: 99, ..from_2(MessageType::MsgApp, 1) };
    assert_eq!(refusal(&mut raft, unknown), Error::UnexpectedMessage { r#type: 99 });
    let astray = Message { to: 3, ..from_2(MessageType::MsgApp, 1) };
    assert_eq!(refusal(&mut raft, astray), Error::Misaddressed { to: 3 });
    for malformed in [
        Message { from: 0, ..from_2(MessageType::MsgVote, 1) },
        from_2(MessageType::MsgVote, 0),
        from_2(MessageType::MsgProp, 0),
        from_2(MessageType::MsgReadIndexResp, 1),
        from_2(MessageType::MsgReadIndex, 0),
        Message { entries: entries(0, &[0]), ..from_2(MessageType::MsgReadIndexResp, 0) },
        Message { entries: entries(0, &[0, 0]), ..from_2(MessageType::MsgReadIndex, 0) },
        Message { entries: of_bytes(65), ..from_2(MessageType::MsgReadIndex, 0) },
        Message { entries: no_change(1), ..from_2(MessageType::MsgProp, 0) },
        Message { entries: no_change(2), ..from_2(MessageType::MsgProp, 0) },
        Message { entries: of_type(9), ..from_2(MessageType::MsgProp, 0) },
        Message { entries: of_type(9), ..from_2(MessageType::MsgApp, 1) },
        from_2(MessageType::MsgTransferLeader, 0),
        from_2(MessageType::MsgTimeoutNow, 0),
        from_2(MessageType::MsgSnap, 1),
        snapshot(0, 1, &[1, 2]),
        snapshot(1, 0, &[1, 2]),
        snapshot(1, 2, &[1, 2]),
        snapshot(u64::MAX, 1, &[1, 2]),
        snapshot(1, 1, &[]),
        snapshot(1, 1, &[2, 2]),
        Message { term: 0, ..snapshot(1, 1, &[1, 2]) },
        Message { entries: entries(1, &[1]), ..from_2(MessageType::MsgApp, 1) },
        Message { entries: entries(0, &[2]), ..from_2(MessageType::MsgApp, 1) },
        Message { index: u64::MAX, log_term: 2, ..from_2(MessageType::MsgApp, 1) },
        Message { log_term: 1, ..from_2(MessageType::MsgVote, 1) },
        Message { from: 1, ..from_2(MessageType::MsgVoteResp, 1) },
        Message { commit: 1, ..from_2(MessageType::MsgHeartbeat, 1) },
        from_2(MessageType::MsgHeartbeat, u64::MAX),
        from_2(MessageType::MsgVote, 2 + (1 << 32)),
    ] {
        let refusal = refusal(&mut raft, malformed.clone());
        assert!(matches!(refusal, Error::MalformedMessage(_)), "{malformed:?}: {refusal}");
    }
    assert_eq!((raft.status().term, raft.status().leader), (1, 0));
    assert_eq!(raft.status().faulty_messages, 35);
}

#[test]
fn second_leader_of_a_term_is_reported() {
    let error = leader().step(from_2(MessageType::MsgHeartbeat, 1)).unwrap_err();
    assert_eq!(error, Error::TwoLeaders { term: 1, other: 2 });
}

#[test]
fn a_follower_takes_nothing_of_a_second_leader_of_its_term() {
    let mut raft = member(&[1, 2, 3], 1, &[]);
    raft.step(from_2(MessageType::MsgHeartbeat, 1)).unwrap();
    let append = Message { from: 3, entries: entries(0, &[1]), ..from_2(MessageType::MsgApp, 1) };
    assert_eq!(raft.step(append), Err(Error::TwoLeaders { term: 1, other: 3 }));
    assert_eq!((raft.status().leader, raft.status().last_index), (2, 0));
}

#[test]
fn the_same_leader_in_a_later_term_is_reported() {
    let mut raft = member(&[1, 2, 3], 1, &[]);
    let mut leader_after = |term| {
        raft.step(from_2(MessageType::MsgHeartbeat, term)).unwrap();
        let soft_state = raft.ready().unwrap().soft_state.unwrap();
        (soft_state.term, soft_state.leader)
    };
    assert_eq!(leader_after(1), (1, 2));
    assert_eq!(leader_after(3), (3, 2));
}

#[test]
fn only_answers_to_own_requests_from_the_own_leader_are_read_states() {
    let mut raft = member(&[1, 2, 3], 1, &[]);
    raft.step(from_2(MessageType::MsgHeartbeat, 1)).unwrap();
    raft.read_index(Bytes::from("asked"));
    settle(&mut raft);
    let mut states_after = |from, context: &'static str| {
        let entries = vec![Entry { data: Bytes::from(context), ..Entry::default() }];
        let answer = from_2(MessageType::MsgReadIndexResp, 1);
        raft.step(Message { from, entries, index: 7, ..answer }).unwrap();
        raft.ready().map_or(0, |ready| ready.read_states.len())
    };
    assert_eq!(states_after(2, "not asked"), 0);
    assert_eq!(states_after(3, "asked"), 0, "3 does not lead");
    assert_eq!(states_after(2, "asked"), 1);
    assert_eq!(states_after(2, "asked"), 0, "it is answered already");
}

#[test]
fn a_follower_remembers_only_its_latest_requests() {
    let mut raft = member(&[1, 2, 3], 1, &[]);
    raft.step(from_2(MessageType::MsgHeartbeat, 1)).unwrap();
    (0..5000_u32).for_each(|n| raft.read_index(Bytes::copy_from_slice(&n.to_le_bytes())));
    raft.ready();
    for n in 0..5000_u32 {
        let entries = vec![Entry { data: Bytes::copy_from_slice(&n.to_le_bytes()), ..Entry::default() }];
        raft.step(Message { entries, ..from_2(MessageType::MsgReadIndexResp, 1) }).unwrap();
    }
    assert_eq!(raft.ready().unwrap().read_states.len(), 4096);
}

#[test]
fn a_leader_takes_no_proposals_beyond_the_limit_of_uncommitted_bytes() {
    let mut raft = leader();
    let megabyte = Bytes::from(vec![0; 1 << 20]);
    let proposal = Message {
        entries: vec![Entry { data: megabyte.clone(), ..Entry::default() }],
        ..from_2(MessageType::MsgProp, 0)
    };
    let taken = (0..600).take_while(|_| raft.step(proposal.clone()).is_ok()).count();
    assert_eq!(taken, 511, "each entry has a little overhead");
    assert_eq!(raft.propose([megabyte.clone()]), Err(Error::ProposalDropped));
    settle(&mut raft);
    let index = raft.status().last_index;
    raft.step(Message { index, ..from_2(MessageType::MsgAppResp, 1) }).unwrap();
    assert!(raft.propose([megabyte]).is_ok());
}

#[test]
fn repeated_vote_requests_take_no_memory_while_the_disk_is_slow() {
    let mut raft = member(&[1, 2, 3], 1, &[]);
    (0..100).for_each(|_| raft.step(from_2(MessageType::MsgVote, 1)).unwrap());
    (2..100).for_each(|term| raft.step(from_2(MessageType::MsgVote, term)).unwrap());
    let grants = settle(&mut raft);
    assert_eq!(grants.iter().map(|message| message.term).collect::<Vec<_>>(), [99]);
}

#[test]
fn only_voters_are_counted_and_remembered_in_an_election() {
    let mut raft = member(&[1, 2, 3], 0, &[]);
    raft.campaign();
    settle(&mut raft);
    for from in 4..100 {
        raft.step(Message { from, ..from_2(MessageType::MsgVoteResp, 1) }).unwrap();
    }
    assert_eq!(raft.votes, [(1, true)]);
}

#[test]
fn a_voter_counts_once_in_an_election_however_often_it_answers() {
    let mut raft = member(&[1, 2, 3, 4, 5], 0, &[]);
    raft.campaign();
    settle(&mut raft);
    raft.step(from_2(MessageType::MsgVoteResp, 1)).unwrap();
    raft.step(from_2(MessageType::MsgVoteResp, 1)).unwrap();
    assert_eq!(raft.status().role, Role::Candidate);
    let refusal = Message { reject: true, ..from_2(MessageType::MsgVoteResp, 1) };
    (0..3).for_each(|_| raft.step(refusal.clone()).unwrap());
    assert_eq!(raft.status().role, Role::Candidate, "the first answer stands");
    raft.step(Message { from: 3, ..from_2(MessageType::MsgVoteResp, 1) }).unwrap();
    assert_eq!(raft.status().role, Role::Leader);
}

#[test]
fn a_candidate_commits_only_what_a_voter_refuses_with_and_it_has_itself() {
    let mut raft = member(&[1, 2, 3], 1, &[1, 1]);
    raft.campaign();
    settle(&mut raft);
    let mut commit_after = |from, commit, log_term, reject| {
        raft.step(Message { from, commit, log_term, reject, ..from_2(MessageType::MsgVoteResp, 2) }).unwrap();
        raft.status().commit
    };
    assert_eq!(commit_after(4, 2, 1, true), 0, "4 has no vote");
    assert_eq!(commit_after(2, 2, 2, true), 0, "its entry is another");
    assert_eq!(commit_after(2, 9, 1, true), 0, "it is not here");
    assert_eq!(commit_after(2, 1, 1, true), 1);
}

#[test]
fn a_member_whose_terms_are_used_up_does_not_campaign() {
    let mut raft = member(&[1], u64::MAX, &[]);
    raft.campaign();
    assert_eq!((raft.status().term, raft.status().role), (u64::MAX, Role::Follower));
}

/// Ongaro 2014, §6.4: without a majority's word the leader may have been replaced, and writes may have
/// happened.
#[test]
fn one_confirmation_of_four_does_not_answer_a_read() {
    let mut raft = member(&[1, 2, 3, 4, 5], 0, &[]);
    let everyone_says = |raft: &mut Raft, message: Message| {
        (2..=5).for_each(|from| raft.step(Message { from, ..message.clone() }).unwrap());
        settle(raft);
    };
    raft.campaign();
    settle(&mut raft);
    everyone_says(&mut raft, from_2(MessageType::MsgVoteResp, 1));
    everyone_says(&mut raft, Message { index: 1, ..from_2(MessageType::MsgAppResp, 1) });
    raft.read_index(Bytes::from("read"));
    let context = raft.ready().unwrap().messages[0].context.clone();
    let confirmation = Message { context, ..from_2(MessageType::MsgHeartbeatResp, 1) };
    raft.step(confirmation.clone()).unwrap();
    raft.step(confirmation.clone()).unwrap();
    assert!(raft.ready().is_none(), "2 counts once, however often it answers");
    raft.step(Message { from: 3, ..confirmation }).unwrap();
    assert_eq!(raft.ready().unwrap().read_states.len(), 1);
}

#[test]
fn confirmation_of_a_round_that_was_not_started_counts_for_no_later_one() {
    let mut raft = leader();
    let context = Bytes::copy_from_slice(&u64::MAX.to_le_bytes());
    raft.step(Message { context, ..from_2(MessageType::MsgHeartbeatResp, 1) }).unwrap();
    raft.read_index(Bytes::from("read"));
    assert!(raft.ready().unwrap().read_states.is_empty());
}

#[test]
fn configuration_change_waits_for_the_first_commit_of_the_term() {
    let mut raft = member(&[1], 1, &[1]);
    raft.campaign();
    let persist = raft.ready().unwrap().persist.unwrap();
    raft.persisted(persist.seq);
    assert_eq!(raft.propose_conf_change(Bytes::new()), Err(Error::ConfChangePending));
    settle(&mut raft);
    assert!(raft.propose_conf_change(Bytes::new()).is_ok());
}

#[test]
fn one_message_carries_all_that_was_proposed_since_the_last_ready() {
    let mut raft = leader();
    for data in ["a", "b", "c"] {
        raft.propose([Bytes::from(data)]).unwrap();
    }
    let messages = raft.ready().unwrap().messages;
    let to_2: Vec<&Message> = messages.iter().filter(|message| message.to == 2).collect();
    assert_eq!((to_2.len(), to_2[0].entries.len()), (1, 3));
}

#[test]
fn read_waits_for_a_majority_and_a_late_confirmation_counts_for_earlier_rounds() {
    let mut raft = leader();
    raft.read_index(Bytes::from("first"));
    let round = raft.ready().unwrap().messages[0].context.clone();
    raft.read_index(Bytes::from("second"));
    let later = raft.ready().unwrap().messages[0].context.clone();
    assert_ne!(round, later);
    raft.step(from_2(MessageType::MsgHeartbeatResp, 1)).unwrap();
    assert!(raft.ready().is_none(), "an answer without a round confirms nothing");
    raft.step(Message { context: later, ..from_2(MessageType::MsgHeartbeatResp, 1) }).unwrap();
    let contexts: Vec<Bytes> = raft.ready().unwrap().read_states.into_iter().map(|r| r.context).collect();
    assert_eq!(contexts, ["first", "second"]);
}

#[test]
fn reads_beyond_the_limits_wait_or_are_dropped() {
    let mut raft = leader();
    for n in 0..70_u32 {
        raft.read_index(Bytes::copy_from_slice(&n.to_le_bytes()));
        raft.ready();
    }
    raft.tick();
    let context = raft.ready().unwrap().messages[0].context.clone();
    assert_eq!(context[..], 64_u64.to_le_bytes(), "only so many rounds are open");
    (0..5000).for_each(|_| raft.read_index(Bytes::from("more")));
    raft.step(Message { context, ..from_2(MessageType::MsgHeartbeatResp, 1) }).unwrap();
    let ready = raft.ready().unwrap();
    assert_eq!(ready.read_states.len(), 64);
    let context = ready.messages[0].context.clone();
    raft.step(Message { context, ..from_2(MessageType::MsgHeartbeatResp, 1) }).unwrap();
    assert_eq!(raft.ready().unwrap().read_states.len(), 4096);
}

#[test]
fn removal_of_a_silent_member_commits_what_the_rest_holds() {
    let mut raft = member(&[1, 2], 0, &[]);
    raft.campaign();
    settle(&mut raft);
    raft.step(from_2(MessageType::MsgVoteResp, 1)).unwrap();
    settle(&mut raft);
    raft.read_index(Bytes::from("read"));
    assert_eq!(raft.status().commit, 0);
    let remove =
        ConfChange { r#type: ConfChangeType::ConfChangeRemoveNode as i32, node_id: 2, ..Default::default() };
    raft.apply_conf_change(&single_change(&remove));
    assert_eq!(raft.status().commit, 1);
    assert_eq!(raft.ready().unwrap().read_states[0].index, 1);
}

#[test]
fn acknowledgement_of_entries_that_the_leader_lacks_is_ignored() {
    let mut raft = leader();
    raft.step(Message { index: 50, ..from_2(MessageType::MsgAppResp, 1) }).unwrap();
    let member = raft.members().find(|member| member.id == 2).unwrap();
    assert_eq!((member.matched, member.state), (1, ProgressState::Replicate));
}

#[test]
#[should_panic(expected = "was never handed out")]
fn confirmation_of_an_unknown_batch_is_a_bug() {
    member(&[1], 1, &[]).persisted(1);
}
