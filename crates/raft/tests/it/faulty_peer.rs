//! A faulty peer may send anything: the member neither panics nor forgets what it has promised.

use bytes::Bytes;
use proptest::prelude::*;
use prost::Message as _;
use proto::raftpb::{
    ConfChange, ConfChangeSingle, ConfChangeV2, ConfState, Entry, EntryType, HardState, Message, MessageType,
    Snapshot, SnapshotMetadata,
};
use raft::{Config, Raft, Restored, Role, Status};

/// Numbers of a message: those that mean something to the member, and the ends of the range.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![6 => 0..8_u64, 1 => Just(u64::MAX), 1 => Just(u64::MAX - 1), 1 => Just(1 << 63)]
}

fn entry() -> impl Strategy<Value = Entry> {
    (number(), number(), -1..4_i32, 0..100_usize).prop_map(|(term, index, r#type, len)| Entry {
        term,
        index,
        r#type,
        data: Bytes::from(vec![0; len]),
    })
}

/// Entries as a leader sends them after `prev`, or any.
fn entries() -> impl Strategy<Value = (u64, Vec<Entry>)> {
    let run = (0..6_u64, prop::collection::vec(1..4_u64, 0..4)).prop_map(|(prev, mut terms)| {
        terms.sort_unstable();
        let entries = (prev + 1..).zip(terms);
        (prev, entries.map(|(index, term)| Entry { term, index, ..Entry::default() }).collect())
    });
    prop_oneof![run, (number(), prop::collection::vec(entry(), 0..4))]
}

fn context() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        Just(Bytes::new()),
        Just(Bytes::from_static(b"CampaignTransfer")),
        number().prop_map(|number| Bytes::copy_from_slice(&number.to_le_bytes())),
        prop::collection::vec(any::<u8>(), 0..80).prop_map(Bytes::from),
    ]
}

/// Mostly a configuration that is possible, joint or not.
fn conf_state() -> impl Strategy<Value = ConfState> {
    let ids = || prop::sample::subsequence(vec![1, 2, 3, 4], 0..4);
    let parts = (ids(), ids(), ids(), ids(), any::<bool>());
    (parts, prop::bool::weighted(0.8)).prop_map(|(parts, is_possible)| {
        let (voters, learners, voters_outgoing, learners_next, auto_leave) = parts;
        let state = ConfState { voters, learners, voters_outgoing, learners_next, auto_leave };
        if is_possible { possible(state) } else { state }
    })
}

/// Takes out what contradicts the rest.
fn possible(state: ConfState) -> ConfState {
    let ConfState { voters, mut learners, mut voters_outgoing, mut learners_next, auto_leave } = state;
    if voters.is_empty() {
        voters_outgoing.clear();
    }
    learners_next.retain(|id| voters_outgoing.contains(id) && !voters.contains(id));
    learners.retain(|id| !voters.contains(id) && !voters_outgoing.contains(id));
    let auto_leave = auto_leave && !voters_outgoing.is_empty();
    ConfState { voters, learners, voters_outgoing, learners_next, auto_leave }
}

fn snapshot() -> impl Strategy<Value = Option<Snapshot>> {
    let metadata = (prop::option::weighted(0.95, conf_state()), number(), number())
        .prop_map(|(conf_state, index, term)| SnapshotMetadata { conf_state, index, term });
    let snapshot = prop::option::weighted(0.95, metadata)
        .prop_map(|metadata| Snapshot { metadata, data: Bytes::from_static(b"data") });
    prop::option::weighted(0.7, snapshot)
}

fn message() -> impl Strategy<Value = Message> {
    let r#type = prop_oneof![20 => 0..20_i32, 1 => any::<i32>()];
    let head = (r#type, number(), number(), prop::bool::weighted(0.95));
    let body = (number(), number(), number(), any::<bool>(), entries(), context());
    (head, body, snapshot()).prop_map(|((r#type, from, term, is_for_us), body, snapshot)| {
        let (log_term, commit, reject_hint, reject, (index, entries), context) = body;
        let to = if is_for_us { 1 } else { 2 };
        Message {
            r#type,
            to,
            from,
            term,
            log_term,
            index,
            entries,
            commit,
            reject,
            reject_hint,
            context,
            snapshot,
            ..Message::default()
        }
    })
}

/// A change of members, of either kind, encoded; or any bytes.
fn change() -> impl Strategy<Value = (bool, Bytes)> {
    let single = (-1..5_i32, 0..6_u64).prop_map(|(r#type, node_id)| ConfChangeSingle { r#type, node_id });
    let change = (-1..4_i32, prop::collection::vec(single, 0..4)).prop_map(|(transition, changes)| {
        ConfChangeV2 { transition, changes, ..ConfChangeV2::default() }.encode_to_vec().into()
    });
    let simple = (0..4_i32, 0..6_u64).prop_map(|(r#type, node_id)| {
        ConfChange { r#type, node_id, ..ConfChange::default() }.encode_to_vec().into()
    });
    prop_oneof![
        simple.prop_map(|change| (false, change)),
        change.prop_map(|change| (true, change)),
        (any::<bool>(), context()),
    ]
}

/// What happens to the member.
#[derive(Debug, Clone)]
enum Event {
    Message(Box<Message>),
    Tick,
    Campaign,
    Propose,
    /// A change of members, in V2 form if so.
    Change(bool, Bytes),
    Read,
    Transfer(u64),
    /// The end of a snapshot to this member.
    Report(u64, bool),
    Unreachable(u64),
    Compact,
    /// Takes a `Ready`, and confirms its write if so.
    Ready(bool),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        20 => message().prop_map(|message| Event::Message(Box::new(message))),
        1 => Just(Event::Tick),
        1 => Just(Event::Campaign),
        1 => Just(Event::Propose),
        1 => Just(Event::Read),
        2 => change().prop_map(|(is_v2, change)| Event::Change(is_v2, change)),
        1 => (0..5_u64).prop_map(Event::Transfer),
        1 => (0..5_u64, any::<bool>()).prop_map(|(id, is_ok)| Event::Report(id, is_ok)),
        1 => (0..5_u64).prop_map(Event::Unreachable),
        1 => Just(Event::Compact),
        6 => any::<bool>().prop_map(Event::Ready),
    ]
}

/// Member 1: alone, of three voters, a learner, not yet a member, or in any other configuration; with some
/// entries, applied up to one of them.
fn member() -> impl Strategy<Value = Raft> {
    let members = [(vec![1], vec![]), (vec![1, 2, 3], vec![]), (vec![2, 3], vec![1]), (vec![], vec![])];
    let usual = prop::sample::select(members.to_vec()).prop_map(|(voters, learners)| ConfState {
        voters,
        learners,
        ..ConfState::default()
    });
    let flags = (any::<bool>(), any::<bool>());
    (prop_oneof![usual, conf_state()], flags, 0..4_u64, 0..4_u64, 1..9_u64).prop_filter_map(
        "the configuration contradicts itself",
        |(conf_state, (pre_vote, check_quorum), n_entries, commit, max_message_bytes)| {
            let config = Config {
                id: 1,
                election_ticks: 3,
                heartbeat_ticks: 1,
                max_message_bytes: 40 * max_message_bytes,
                max_inflight: 2,
                max_inflight_bytes: 60 * max_message_bytes,
                max_committed_bytes: 40 * max_message_bytes,
                max_uncommitted_bytes: 400 * max_message_bytes,
                pre_vote,
                check_quorum,
                seed: 1,
            };
            let entries =
                (1..=n_entries).map(|index| Entry { term: 1 + index / 3, index, ..Entry::default() });
            let commit = commit.min(n_entries);
            let restored = Restored {
                hard_state: HardState { term: 2, vote: 0, commit },
                conf_state,
                entries: entries.collect(),
                applied: commit,
                ..Restored::default()
            };
            Raft::new(config, restored).ok()
        },
    )
}

/// What no message may do to a member.
fn check(before: &Status, now: &Status) {
    assert!(now.term >= before.term && now.commit >= before.commit && now.applied >= before.applied);
    assert!(now.term > before.term || before.vote == 0 || now.vote == before.vote, "one vote a term");
    assert!(now.applied <= now.commit && now.commit <= now.last_index && now.durable <= now.last_index);
    let stayed_leader = before.role == Role::Leader && now.role == Role::Leader && before.term == now.term;
    assert!(!stayed_leader || now.last_index >= before.last_index, "a leader removes no entries");
}

fn take_ready(raft: &mut Raft, is_confirmed: bool) {
    let Some(ready) = raft.ready() else { return };
    for message in &ready.messages {
        assert!(message.to != 1 && MessageType::try_from(message.r#type).is_ok());
    }
    for entry in &ready.committed {
        // A state machine refuses what it cannot read.
        match entry.r#type() {
            EntryType::EntryNormal => {}
            EntryType::EntryConfChange => {
                let change = ConfChange::decode(entry.data.clone()).unwrap_or_default();
                raft.apply_conf_change(&raft::single_change(&change));
            }
            EntryType::EntryConfChangeV2 => {
                raft.apply_conf_change(&ConfChangeV2::decode(entry.data.clone()).unwrap_or_default());
            }
        }
        raft.applied_to(entry.index);
    }
    if let Some(persist) = ready.persist.filter(|_| is_confirmed) {
        raft.persisted(persist.seq);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn any_messages_in_any_state_neither_panic_nor_undo_promises(
        mut raft in member(),
        events in prop::collection::vec(event(), 1..40),
    ) {
        let mut reads = 0_u64;
        for event in events {
            let before = raft.status();
            match event {
                Event::Message(message) => {
                    let result = raft.step(*message);
                    let is_faulty = result.is_err_and(|error| error != raft::Error::ProposalDropped);
                    prop_assert_eq!(raft.status().faulty_messages, before.faulty_messages + u64::from(is_faulty));
                }
                Event::Tick => raft.tick(),
                Event::Campaign => raft.campaign(),
                Event::Propose => drop(raft.propose([Bytes::from_static(b"data")])),
                Event::Change(false, change) => drop(raft.propose_conf_change(change)),
                Event::Change(true, change) => drop(raft.propose_conf_change_v2(change)),
                Event::Transfer(to) => drop(raft.transfer_leader(to)),
                Event::Report(id, is_ok) => raft.report_snapshot(id, is_ok),
                Event::Unreachable(id) => raft.report_unreachable(id),
                Event::Compact => raft.compact(before.applied, u64::MAX),
                Event::Read => {
                    reads += 1;
                    raft.read_index(Bytes::copy_from_slice(&reads.to_be_bytes()));
                }
                Event::Ready(is_confirmed) => take_ready(&mut raft, is_confirmed),
            }
            check(&before, &raft.status());
        }
    }
}
