//! A raft member among faulty peers: any messages, in any order, must neither cause a panic nor undo what the
//! member has promised.
//!
//! An input is one byte that chooses the member's state, and then events: a byte that chooses the kind, which
//! is followed by a message with its length if the kind is a message.

use ::raft::{Config, Raft, Restored, Status};
use bytes::{Buf, Bytes};
use prost::Message as _;
use proto::raftpb::{ConfState, Entry, HardState, Message, MessageType};

/// The member under test.
const ID: u64 = 1;

/// Bytes that choose what happens; all others stand for a message too.
const MESSAGE: u8 = 0;
const TICK: u8 = 1;
const CAMPAIGN: u8 = 2;
const PROPOSE: u8 = 3;
const READ: u8 = 4;
const READY: u8 = 5;
const READY_UNCONFIRMED: u8 = 6;

/// Bytes that choose the state at the start; others are taken modulo their number.
const ALONE: u8 = 0;
const ONE_OF_THREE: u8 = 1;
const LEARNER: u8 = 2;

/// What peers send, between ticks, proposals and writes.
pub fn raft(data: &[u8]) {
    let mut input = Bytes::copy_from_slice(data);
    let Some(mut raft) = input.try_get_u8().ok().map(member) else { return };
    let mut reads = 0_u64;
    while let Ok(kind) = input.try_get_u8() {
        let before = raft.status();
        match kind {
            TICK => raft.tick(),
            CAMPAIGN => raft.campaign(),
            PROPOSE => drop(raft.propose([Bytes::from_static(b"data")])),
            READ => {
                reads += 1;
                raft.read_index(Bytes::copy_from_slice(&reads.to_be_bytes()));
            }
            READY => take_ready(&mut raft, true),
            READY_UNCONFIRMED => take_ready(&mut raft, false),
            _ => match Message::decode_length_delimited(&mut input) {
                Ok(message) => drop(raft.step(Message { to: ID, ..message })),
                Err(_) => return,
            },
        }
        check(&before, &raft.status());
    }
}

/// A member with three entries, of which two are applied.
fn member(state: u8) -> Raft {
    let (voters, learners) = match state % 4 {
        ALONE => (vec![ID], vec![]),
        ONE_OF_THREE => (vec![ID, 2, 3], vec![]),
        LEARNER => (vec![2, 3], vec![ID]),
        _ => (vec![], vec![]),
    };
    let config = Config {
        id: ID,
        election_ticks: 3,
        heartbeat_ticks: 1,
        max_message_bytes: 200,
        max_inflight: 2,
        max_inflight_bytes: 150,
        max_committed_bytes: 100,
        max_uncommitted_bytes: 1000,
        pre_vote: state & 4 != 0,
        check_quorum: state & 8 != 0,
        seed: 1,
    };
    let restored = Restored {
        hard_state: HardState { term: 2, vote: 0, commit: 2 },
        conf_state: ConfState { voters, learners, ..ConfState::default() },
        entries: [1, 1, 2].into_iter().zip(1..).map(|(term, index)| entry(term, index)).collect(),
        applied: 2,
        ..Restored::default()
    };
    Raft::new(config, restored).expect("the state is sound")
}

fn take_ready(raft: &mut Raft, is_confirmed: bool) {
    let Some(ready) = raft.ready() else { return };
    assert!(ready.messages.iter().all(|message| message.to != ID));
    if let Some(last) = ready.committed.last() {
        raft.applied_to(last.index);
    }
    if let Some(persist) = ready.persist.filter(|_| is_confirmed) {
        raft.persisted(persist.seq);
    }
}

fn check(before: &Status, now: &Status) {
    assert!(now.term >= before.term && now.commit >= before.commit);
    assert!(now.term > before.term || before.vote == 0 || now.vote == before.vote);
    assert!(now.applied <= now.commit && now.commit <= now.last_index);
}

fn entry(term: u64, index: u64) -> Entry {
    Entry { term, index, data: Bytes::from_static(b"data"), ..Entry::default() }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let from_2 = |r#type: MessageType, term: u64| Message {
        r#type: r#type as i32,
        from: 2,
        to: ID,
        term,
        ..Message::default()
    };
    let append = Message {
        index: 3,
        log_term: 2,
        entries: vec![entry(3, 4), entry(3, 5)],
        commit: 4,
        ..from_2(MessageType::MsgApp, 3)
    };
    let heartbeat = Message { commit: 3, ..from_2(MessageType::MsgHeartbeat, 3) };
    let vote = Message { index: 3, log_term: 2, ..from_2(MessageType::MsgVote, 4) };
    let follower = sequence(ONE_OF_THREE, &[&append, &heartbeat, &vote], &[READ, READY]);

    let grant = from_2(MessageType::MsgVoteResp, 3);
    let acknowledgement = Message { index: 4, ..from_2(MessageType::MsgAppResp, 3) };
    let refusal = Message { reject: true, reject_hint: 2, log_term: 1, ..acknowledgement.clone() };
    let context = Bytes::copy_from_slice(&1_u64.to_le_bytes());
    let confirmation = Message { context, ..from_2(MessageType::MsgHeartbeatResp, 3) };
    let proposal = Message { entries: vec![entry(0, 0)], ..from_2(MessageType::MsgProp, 0) };
    let read = Message { entries: vec![entry(0, 0)], ..from_2(MessageType::MsgReadIndex, 0) };
    let messages = [&grant, &acknowledgement, &proposal, &refusal, &read, &confirmation];
    let leader =
        [&[ONE_OF_THREE, CAMPAIGN, READY, READY], &sequence(0, &messages, &[READ, READY])[1..]].concat();

    let alone = vec![ALONE, CAMPAIGN, READY, READY, PROPOSE, READ, READY, READY_UNCONFIRMED, TICK, READY];
    let learner = sequence(LEARNER | 12, &[&append, &heartbeat], &[TICK, READY_UNCONFIRMED]);
    vec![follower, leader, alone, learner]
}

/// A state, and each message followed by `events`.
fn sequence(state: u8, messages: &[&Message], events: &[u8]) -> Vec<u8> {
    let mut input = vec![state];
    for message in messages {
        input.push(MESSAGE);
        input.extend(message.encode_length_delimited_to_vec());
        input.extend(events);
    }
    input
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_leaders_seed_leads_to_a_leader() {
        let mut raft = member(ONE_OF_THREE);
        raft.campaign();
        take_ready(&mut raft, true);
        take_ready(&mut raft, true);
        let grant = Message {
            r#type: MessageType::MsgVoteResp as i32,
            from: 2,
            to: ID,
            term: 3,
            ..Message::default()
        };
        raft.step(grant).unwrap();
        assert_eq!(raft.status().role, ::raft::Role::Leader);
    }
}
