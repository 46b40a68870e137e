//! A raft member among faulty peers: any messages, in any order, must neither cause a panic nor undo what
//! the member has promised.
//!
//! An input is one byte that chooses the member's state, and then events: a byte that chooses the kind,
//! which is followed by a message with its length if the kind is a message, or by a change of members if it
//! is that.

use ::raft::{Config, Raft, Restored, Status};
use bytes::{Buf, Bytes};
use prost::Message as _;
use proto::raftpb::{
    ConfChangeSingle, ConfChangeType, ConfChangeV2, ConfState, Entry, EntryType, HardState, Message,
    MessageType, Snapshot, SnapshotMetadata,
};

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
const CHANGE: u8 = 7;
const TRANSFER: u8 = 8;
const SNAPSHOT_SENT: u8 = 9;
const SNAPSHOT_FAILED: u8 = 10;
const COMPACT: u8 = 11;

/// Bytes that choose the state at the start; others are taken modulo their number.
const ALONE: u8 = 0;
const ONE_OF_THREE: u8 = 1;
const LEARNER: u8 = 2;
const JOINT: u8 = 4;

/// What peers send, between ticks, proposals and writes.
pub fn raft(data: &[u8]) {
    run(data);
}

/// The member after all events; `None` if the input chooses none.
fn run(data: &[u8]) -> Option<Raft> {
    let mut input = Bytes::copy_from_slice(data);
    let mut raft = input.try_get_u8().ok().map(member)?;
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
            CHANGE => {
                let len = input.try_get_u8().map_or(0, usize::from).min(input.len());
                drop(raft.propose_conf_change_v2(input.split_to(len)));
            }
            TRANSFER => drop(raft.transfer_leader(2)),
            SNAPSHOT_SENT => raft.report_snapshot(2, true),
            SNAPSHOT_FAILED => raft.report_snapshot(2, false),
            COMPACT => raft.compact(before.applied, u64::MAX),
            _ => match Message::decode_length_delimited(&mut input) {
                Ok(message) => drop(raft.step(Message { to: ID, ..message })),
                Err(_) => return Some(raft),
            },
        }
        check(&before, &raft.status());
    }
    Some(raft)
}

/// A member with three entries, of which two are applied.
fn member(state: u8) -> Raft {
    let (voters, learners, voters_outgoing) = match state % 5 {
        ALONE => (vec![ID], vec![], vec![]),
        ONE_OF_THREE => (vec![ID, 2, 3], vec![], vec![]),
        LEARNER => (vec![2, 3], vec![ID], vec![]),
        JOINT => (vec![ID, 2], vec![4], vec![ID, 2, 3]),
        _ => (vec![], vec![], vec![]),
    };
    let auto_leave = !voters_outgoing.is_empty();
    let config = Config {
        id: ID,
        election_ticks: 3,
        heartbeat_ticks: 1,
        max_message_bytes: 200,
        max_inflight: 2,
        max_inflight_bytes: 150,
        max_committed_bytes: 100,
        max_uncommitted_bytes: 1000,
        pre_vote: state & 64 != 0,
        check_quorum: state & 128 != 0,
        seed: 1,
    };
    let restored = Restored {
        hard_state: HardState { term: 2, vote: 0, commit: 2 },
        conf_state: ConfState { voters, learners, voters_outgoing, auto_leave, ..ConfState::default() },
        entries: [1, 1, 2].into_iter().zip(1..).map(|(term, index)| entry(term, index)).collect(),
        applied: 2,
        ..Restored::default()
    };
    Raft::new(config, restored).expect("the state is sound")
}

fn take_ready(raft: &mut Raft, is_confirmed: bool) {
    let Some(ready) = raft.ready() else { return };
    assert!(ready.messages.iter().all(|message| message.to != ID));
    for entry in &ready.committed {
        if entry.r#type() != EntryType::EntryNormal {
            // A state machine refuses what it cannot read.
            raft.apply_conf_change(&ConfChangeV2::decode(entry.data.clone()).unwrap_or_default());
        }
        raft.applied_to(entry.index);
    }
    if let Some(persist) = ready.persist.filter(|_| is_confirmed) {
        raft.persisted(persist.seq);
    }
}

fn check(before: &Status, now: &Status) {
    assert!(now.term >= before.term && now.commit >= before.commit);
    assert!(now.term > before.term || before.vote == 0 || now.vote == before.vote);
    assert!(now.applied >= before.applied && now.applied <= now.commit && now.commit <= now.last_index);
}

fn entry(term: u64, index: u64) -> Entry {
    Entry { term, index, data: Bytes::from_static(b"data"), ..Entry::default() }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
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
    let learner = sequence(LEARNER + 5 * 38, &[&append, &heartbeat], &[TICK, READY_UNCONFIRMED]);
    let snapshots = [receiver_of_snapshots(), sender_of_a_snapshot(), leader_that_hands_over()];
    [follower, leader, alone, learner, leader_in_joint()].into_iter().chain(snapshots).collect()
}

fn from_2(r#type: MessageType, term: u64) -> Message {
    Message { r#type: r#type as i32, from: 2, to: ID, term, ..Message::default() }
}

/// A follower that gets a snapshot, entries behind it, a second snapshot, and then leadership.
fn receiver_of_snapshots() -> Vec<u8> {
    let snapshot = |index, voters: &[u64]| {
        let conf_state = Some(ConfState { voters: voters.to_vec(), ..ConfState::default() });
        let metadata = Some(SnapshotMetadata { conf_state, index, term: 3 });
        let snapshot = Some(Snapshot { metadata, ..Snapshot::default() });
        Message { snapshot, ..from_2(MessageType::MsgSnap, 3) }
    };
    let entries = vec![entry(3, 8), entry(3, 9)];
    let append = Message { index: 7, log_term: 3, entries, commit: 8, ..from_2(MessageType::MsgApp, 3) };
    let first = snapshot(7, &[ID, 2, 3, 4]);
    let second = snapshot(12, &[ID, 2]);
    let takeover = from_2(MessageType::MsgTimeoutNow, 3);
    sequence(ONE_OF_THREE, &[&first, &append, &second, &takeover], &[READY_UNCONFIRMED, READY])
}

/// A leader with a compacted log, whose follower refuses what is left of it.
fn sender_of_a_snapshot() -> Vec<u8> {
    let elected = [ONE_OF_THREE, CAMPAIGN, READY, READY];
    let grant = from_2(MessageType::MsgVoteResp, 3);
    let acknowledgement = Message { from: 3, index: 4, ..from_2(MessageType::MsgAppResp, 3) };
    let alive = from_2(MessageType::MsgHeartbeatResp, 3);
    let refusal = |index| Message { index, reject: true, ..from_2(MessageType::MsgAppResp, 3) };
    let compacting = sequence(0, &[&grant, &acknowledgement], &[READY, READY, COMPACT]);
    let sending = sequence(0, &[&refusal(3), &alive, &refusal(4)], &[READY, TICK]);
    [&elected[..], &compacting[1..], &sending[1..]].concat()
}

/// The same, until the snapshot has come and another member is to lead.
fn leader_that_hands_over() -> Vec<u8> {
    let alive = from_2(MessageType::MsgHeartbeatResp, 3);
    let handover = Message { from: 3, ..from_2(MessageType::MsgTransferLeader, 3) };
    let reported = sequence(0, &[&alive, &handover], &[SNAPSHOT_FAILED, READY, SNAPSHOT_SENT]);
    [&sender_of_a_snapshot()[..], &reported[1..], &[TRANSFER, READY]].concat()
}

/// A leader that leaves a joint configuration by itself, and enters another.
fn leader_in_joint() -> Vec<u8> {
    let elected = [JOINT, CAMPAIGN, READY, READY];
    let grant = from_2(MessageType::MsgVoteResp, 3);
    let acknowledgement = |index| Message { index, ..from_2(MessageType::MsgAppResp, 3) };
    let left = sequence(0, &[&grant, &acknowledgement(4), &acknowledgement(5)], &[READY, READY]);
    let single = |r#type: ConfChangeType, node_id| ConfChangeSingle { r#type: r#type as i32, node_id };
    let changes =
        vec![single(ConfChangeType::ConfChangeAddNode, 4), single(ConfChangeType::ConfChangeRemoveNode, 2)];
    let change = ConfChangeV2 { changes, ..ConfChangeV2::default() }.encode_to_vec();
    let entered = sequence(0, &[&acknowledgement(6), &acknowledgement(7)], &[READY, READY]);
    let change =
        [&[CHANGE, u8::try_from(change.len()).expect("a short change")], &change[..], &[READY]].concat();
    [&elected[..], &left[1..], &change, &entered[1..]].concat()
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
    fn the_receiver_of_snapshots_has_installed_both() {
        let status = run(&receiver_of_snapshots()).unwrap().status();
        assert_eq!((status.faulty_messages, status.first_index, status.term), (0, 13, 4));
    }

    #[test]
    fn the_sender_sends_a_snapshot_and_hands_over() {
        let raft = run(&sender_of_a_snapshot()).unwrap();
        let sent_to = raft.members().find(|member| member.pending_snapshot != 0).map(|member| member.id);
        assert_eq!((sent_to, raft.status().faulty_messages), (Some(2), 0));
        let raft = run(&leader_that_hands_over()).unwrap();
        assert_eq!((raft.status().transferee, raft.status().faulty_messages), (2, 0));
    }

    #[test]
    fn the_leader_in_joint_leaves_one_and_enters_another() {
        let raft = run(&leader_in_joint()).unwrap();
        assert_eq!((raft.conf_state().voters, raft.conf_state().voters_outgoing), (vec![1, 4], vec![1, 2]));
    }

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
