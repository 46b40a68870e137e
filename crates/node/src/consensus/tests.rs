//! Tests of consensus that need to see the queues.

use proto::etcdserverpb::Member;
use proto::raftpb::MessageType;
use raft::Restored;
use store::Request;

use super::*;

const S: Duration = Duration::from_secs(1);

/// A follower of three members that has room for everything and knows no leader.
fn follower() -> Consensus<u64> {
    let member = Member { id: 7, ..Member::default() };
    let config = Config {
        member: member.clone(),
        cluster_id: 1,
        initial_members: vec![member],
        force_new_cluster: false,
        pre_vote: true,
        max_learners: 1,
        cluster_version: "3.7.0".to_owned(),
        tick: S / 10,
        election_ticks: 10,
        seed: 1,
        first_request_id: 1,
        checkpoint_entries: 1000,
        checkpoint_bytes: 1 << 20,
        checkpoint_ticks: 100,
        catchup_entries: 5,
        retry_ticks: 3,
        quota_bytes: None,
        segment_bytes: 64 << 20,
    };
    let conf_state = ConfState { voters: vec![3, 7, 9], ..ConfState::default() };
    let raft = Raft::new(crate::start::raft_config(&config), Restored { conf_state, ..Restored::default() })
        .unwrap();
    Consensus::new(&config, raft, 1 << 30, EntryId::default())
}

fn proposal(id: u64) -> Proposal {
    Proposal::new(id, Request::DeleteRange(proto::etcdserverpb::DeleteRangeRequest::default()))
}

#[test]
fn a_call_without_news_looks_at_one_queued_proposal_however_many_there_are() {
    let (mut consensus, mut waiters, mut output) = (follower(), Waiters::default(), Output::default());
    for id in 0..100_000 {
        consensus.propose(proposal(id), 10, 7 * S, id, &mut waiters, &mut output);
    }
    assert_eq!(consensus.queue.len(), 100_000);
    let before = consensus.queue.n_looks.get();
    consensus.admit_queued(&mut waiters, &mut output);
    assert!(!consensus.can_admit_queued());
    consensus.take_expired(S, |_, _| panic!("none is due"));
    assert!(consensus.queue.n_looks.get() - before <= 3);
    assert!(output.answers.is_empty());
}

#[test]
fn queued_proposals_go_out_in_order_as_far_as_there_is_room() {
    let (mut consensus, mut waiters, mut output) = (follower(), Waiters::default(), Output::default());
    for id in 0..10 {
        consensus.propose(proposal(id), 1 << 20, 7 * S, id, &mut waiters, &mut output);
    }
    let heartbeat =
        Message { r#type: MessageType::MsgHeartbeat as i32, from: 3, to: 7, term: 2, ..Message::default() };
    consensus.step(heartbeat);
    assert!(consensus.look_for_leader(S, &mut output));
    consensus.set_revision_room(RevisionRoom { bytes: 6 << 20, is_disk_full: false }, &mut output);
    consensus.admit_queued(&mut waiters, &mut output);
    let admitted: Vec<u64> = consensus.batch.iter().map(|proposal| proposal.id).collect();
    assert_eq!(admitted, [0, 1, 2, 3], "a quarter of the reserve is left");
    assert!(consensus.is_waiting_for_room());
    assert_eq!(consensus.queue.len(), 6);
}
