//! The invariants of Raft, over everything that was ever seen of a cluster.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proto::raftpb::{ConfState, Entry, Message, MessageType, SnapshotMetadata};
use raft::{ReadState, Role, Status};

use crate::disk::Disk;

#[derive(Default)]
pub(crate) struct Checker {
    /// Who led each term.
    leaders: BTreeMap<u64, u64>,
    /// When a leader of each term was first seen.
    elected_at: BTreeMap<u64, u64>,
    /// How often a leader has proven another time at which it led.
    proofs: BTreeSet<(u64, u64)>,
    /// Each entry ever appended, by index and term: its data, and the term of the entry before it. If all
    /// members agree on these, logs match by induction.
    appended: BTreeMap<(u64, u64), (Bytes, u64)>,
    /// Each entry ever applied, from index 1 on.
    applied: Vec<Applied>,
    /// The configuration from the start and after each change of it, by index.
    conf_states: BTreeMap<u64, ConfState>,
    /// The highest commit index any member ever knew.
    commit: u64,
    /// For each read under way, what was committed anywhere when it was asked for.
    reads: BTreeMap<Bytes, u64>,
    reads_answered: usize,
}

#[derive(Clone)]
struct Applied {
    term: u64,
    r#type: i32,
    data: Bytes,
    /// The term of the member that applied it first: the entry was committed in this term or before.
    committed_in: u64,
}

impl Checker {
    /// Log matching: `entry` follows an entry of `prev_term` on some member.
    pub(crate) fn appended(&mut self, entry: &Entry, prev_term: u64) {
        let seen =
            self.appended.entry((entry.index, entry.term)).or_insert_with(|| (entry.data.clone(), prev_term));
        assert_eq!(seen, &(entry.data.clone(), prev_term), "logs do not match at {}", entry.index);
    }

    /// State machine safety: the same entry is applied at an index by all, and indexes come in order. `term`
    /// is that of the member that applies it.
    pub(crate) fn applied(&mut self, entry: &Entry, applied_before: u64, term: u64) {
        assert_eq!(entry.index, applied_before + 1, "entries are applied in order and once");
        let at = usize::try_from(applied_before).unwrap();
        if at == self.applied.len() {
            let Entry { r#type, data, .. } = entry.clone();
            self.applied.push(Applied { term: entry.term, r#type, data, committed_in: term });
        }
        let seen = &self.applied[at];
        assert_eq!((entry.term, &entry.data), (seen.term, &seen.data), "members apply different entries");
    }

    /// Election safety, leader completeness and a commit index that never falls, given what a member said
    /// before and its log.
    pub(crate) fn status(&mut self, before: &Status, now: &Status, log: &[Entry]) {
        assert!(now.term >= before.term, "terms never fall");
        assert!(now.commit >= before.commit, "the commit index never falls");
        assert!(now.applied <= now.commit);
        self.commit = self.commit.max(now.commit);
        if now.role != Role::Leader || self.leaders.get(&now.term) == Some(&now.id) {
            return;
        }
        let earlier = self.leaders.insert(now.term, now.id);
        assert_eq!(earlier, None, "two leaders in term {}", now.term);
        // A leader elected late, when a later term has begun already, need not know what that has committed.
        let committed = self.applied.iter().zip(1..).filter(|(entry, _)| entry.committed_in < now.term);
        for (entry, index) in committed {
            let own = log.get(index - 1).map(|entry| entry.term);
            assert_eq!(own, Some(entry.term), "a leader lacks the committed entry {index}");
        }
    }

    /// Durable promises: whatever `message` lets its receiver rely on is on the sender's disk.
    pub(crate) fn sent(message: &Message, sender: &Status, disk: &Disk) {
        let state = disk.hard_state();
        let is_promise = match message.r#type() {
            MessageType::MsgVote => true,
            MessageType::MsgVoteResp | MessageType::MsgAppResp => !message.reject,
            _ => false,
        };
        // A promise of an earlier term was kept until the disk went on to a later one.
        if !is_promise || state.term > message.term {
            return;
        }
        assert_eq!(state.term, message.term, "a promise leaves before its term is durable");
        match message.r#type() {
            MessageType::MsgVote => {
                assert_eq!(state.vote, message.from, "a candidate's own vote is not durable");
                // A candidate that lost the election since may have replaced its log; votes no longer help
                // it.
                let has_log = disk.term(message.index) == Some(message.log_term);
                assert!(has_log || sender.role != Role::Candidate, "a candidate's log is not durable");
            }
            MessageType::MsgVoteResp => assert_eq!(state.vote, message.to, "a granted vote is not durable"),
            _ => assert!(disk.term(message.index).is_some(), "acknowledged entries are not durable"),
        }
    }

    /// A leader's proof holds: nobody was elected in a later term before the time at which it says it led.
    pub(crate) fn leadership(&mut self, now: u64, status: &Status, led_at: Option<u64>) {
        if status.role == Role::Leader {
            self.elected_at.entry(status.term).or_insert(now);
        }
        let Some(led_at) = led_at else { return };
        self.proofs.insert((status.term, led_at));
        let later = self.elected_at.range(status.term + 1..).find(|(_, elected_at)| **elected_at < led_at);
        assert_eq!(later, None, "the leader of term {} did not lead at {led_at}", status.term);
    }

    pub(crate) fn proofs(&self) -> usize {
        self.proofs.len()
    }

    /// The applied entries up to `index`, which is what a snapshot stands for; it must name the right term.
    pub(crate) fn state(&self, snapshot: &SnapshotMetadata) -> Vec<Entry> {
        let applied = &self.applied[..usize::try_from(snapshot.index).unwrap()];
        assert_eq!(
            applied.last().map(|entry| entry.term),
            Some(snapshot.term),
            "a snapshot of another entry"
        );
        let members = self.conf_states.range(..=snapshot.index).next_back();
        assert_eq!(
            members.map(|(_, state)| state),
            snapshot.conf_state.as_ref(),
            "a snapshot of other members"
        );
        let entries = applied.iter().zip(1..).map(|(entry, index)| {
            let Applied { term, r#type, data, .. } = entry.clone();
            Entry { term, index, r#type, data }
        });
        entries.collect()
    }

    /// All members agree on the configuration after `index`.
    pub(crate) fn configured(&mut self, index: u64, conf_state: &ConfState) {
        let seen = self.conf_states.entry(index).or_insert_with(|| conf_state.clone());
        assert_eq!(seen, conf_state, "members disagree on the configuration after entry {index}");
    }

    pub(crate) fn read_asked(&mut self, context: Bytes) {
        self.reads.insert(context, self.commit);
    }

    /// Linearizability of reads: the index covers what was committed when the read was asked for.
    pub(crate) fn read_answered(&mut self, state: &ReadState) {
        let committed = self.reads.get(&state.context).expect("an answer belongs to a request");
        assert!(state.index >= *committed, "a read misses a write that came before it");
        self.reads_answered += 1;
    }

    pub(crate) fn last_applied(&self) -> u64 {
        self.applied.len() as u64
    }

    pub(crate) fn reads_answered(&self) -> usize {
        self.reads_answered
    }

    pub(crate) fn elections(&self) -> usize {
        self.leaders.len()
    }
}
