//! What the caller has to do, and what it reports back as durable.
//!
//! ```text
//!   ready() --> Persist 1 ------> disk -----> persisted(1) --> own vote counts, messages leave
//!   ready() --> Persist 2 ------> disk (in order) --> ...
//!           \-> messages, committed entries, read states: at once
//! ```
//!
//! A message that promises durability (a vote, a request for votes, an acknowledgement) is kept here until
//! the batch it depends on is confirmed: the one that holds the newest term, vote and entries at the time
//! the message was made. Everything else leaves at once, a leader's MsgApp in parallel with its own write.

use bytes::Bytes;
use proto::raftpb::{Entry, HardState, Message, MessageType, SnapshotMetadata};

use super::{Raft, Role};

/// What to do now. The parts may be done in any order and in parallel, except that batches are written in
/// the order of their numbers.
#[derive(Debug, Default)]
pub struct Ready {
    /// The term, the leader and the role, if any of them changed.
    pub soft_state: Option<SoftState>,
    /// What to write.
    pub persist: Option<Persist>,
    /// What to send; none of it waits for `persist`.
    pub messages: Vec<Message>,
    /// Entries to apply, in order. They are durable on this member and on a quorum. There may be more of
    /// them: call [`Raft::ready`] again.
    pub committed: Vec<Entry>,
    /// Reads that may be served once the state has reached their index.
    pub read_states: Vec<ReadState>,
}

impl Ready {
    fn is_empty(&self) -> bool {
        self.soft_state.is_none()
            && self.persist.is_none()
            && self.messages.is_empty()
            && self.committed.is_empty()
            && self.read_states.is_empty()
    }
}

/// One batch for the log on disk. Several may be in flight.
#[derive(Debug, Clone)]
pub struct Persist {
    /// Number to report to [`Raft::persisted`]; counts up by one from 1.
    pub seq: u64,
    /// Where the snapshot ends whose state is to be installed before anything else of the batch; its MsgSnap
    /// was given to [`Raft::step`]. The batch is durable once the state is.
    ///
    /// It replaces the whole log: no entry of an earlier batch counts any more, not even one above its
    /// index, and no such entry may come back after a restart. The snapshot contains what was handed out to
    /// be applied before, so none of that may be applied any more, changes of members least of all. The
    /// states of other snapshots that were given to raft before this batch are not needed. Report
    /// [`Raft::applied_to`] its index once the state is in use.
    pub snapshot: Option<SnapshotMetadata>,
    /// The hard state to write, if it changed.
    pub hard_state: Option<HardState>,
    /// Entries to write. The first replaces whatever was written at its index and after it.
    pub entries: Vec<Entry>,
    /// Whether the batch counts as durable only after a sync; false if nothing but the commit index moved.
    pub must_sync: bool,
}

/// Who leads, for those who wait for a leader or depend on one. Nothing of it has to be written down.
///
/// A leader that was re-elected is another leader: it may have forgotten requests that were passed on to it.
/// So the term belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SoftState {
    /// The term of this member.
    pub term: u64,
    /// Who leads the term; 0 for unknown.
    pub leader: u64,
    /// What this member does.
    pub role: Role,
}

/// The answer to [`Raft::read_index`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadState {
    /// A state that includes this index may serve the read.
    pub index: u64,
    /// What the request carried.
    pub context: Bytes,
}

impl Raft {
    /// Everything that is to be done and was not handed out before; `None` if there is nothing.
    ///
    /// Call it after each group of inputs, until it returns `None`. It need not wait for earlier batches.
    pub fn ready(&mut self) -> Option<Ready> {
        self.leave_joint_if_due();
        self.start_read_round();
        self.send_appends();
        let ready = Ready {
            soft_state: self.take_soft_state(),
            persist: self.take_persist(),
            messages: self.outbox.take(),
            committed: self.log.emit_committed(self.config.max_committed_bytes),
            read_states: std::mem::take(&mut self.read_states),
        };
        (!ready.is_empty()).then_some(ready)
    }

    /// Notes that every batch up to number `seq` is durable. Panics if it was not handed out.
    pub fn persisted(&mut self, seq: u64) {
        assert!(seq <= self.handed_seq, "batch {seq} was never handed out (up to {})", self.handed_seq);
        self.persisted_seq = self.persisted_seq.max(seq);
        self.log.persisted(seq);
        while let Some(message) = self.outbox.pop_released(seq) {
            if message.to == self.config.id {
                self.take_own_vote(&message);
            } else {
                self.outbox.push(message);
            }
        }
        if self.role == Role::Leader {
            self.note_own_durability();
        }
    }

    /// Sends `message`: at once, or when what it promises is durable.
    pub(super) fn send(&mut self, message: Message) {
        let needed = if self.has_unhanded_sync() { self.handed_seq + 1 } else { self.handed_sync_seq };
        if promises_durability(&message) && needed > self.persisted_seq {
            self.outbox.withhold(needed, message);
        } else {
            self.outbox.push(message);
        }
    }

    fn take_soft_state(&mut self) -> Option<SoftState> {
        let soft_state = self.soft_state();
        let changed = soft_state != self.handed_soft_state;
        self.handed_soft_state = soft_state;
        changed.then_some(soft_state)
    }

    pub(super) fn soft_state(&self) -> SoftState {
        SoftState { term: self.term, leader: self.leader, role: self.role }
    }

    fn take_persist(&mut self) -> Option<Persist> {
        let hard_state = self.hard_state();
        let must_sync = self.has_unhanded_sync();
        let changed = hard_state != self.handed_hard_state;
        if !must_sync && !changed {
            return None;
        }
        self.handed_seq += 1;
        if must_sync {
            self.handed_sync_seq = self.handed_seq;
        }
        self.handed_hard_state = hard_state;
        Some(Persist {
            seq: self.handed_seq,
            snapshot: self.received_snapshot.take(),
            hard_state: changed.then_some(hard_state),
            entries: self.log.hand_out(self.handed_seq),
            must_sync,
        })
    }

    /// Whether anything but the commit index waits to be handed out for writing.
    fn has_unhanded_sync(&self) -> bool {
        let handed = &self.handed_hard_state;
        (self.term, self.vote) != (handed.term, handed.vote)
            || self.log.has_unhanded()
            || self.received_snapshot.is_some()
    }

    fn hard_state(&self) -> HardState {
        HardState { term: self.term, vote: self.vote, commit: self.log.committed() }
    }
}

/// Whether the receiver of `message` may rely on something being durable here.
fn promises_durability(message: &Message) -> bool {
    match message.r#type() {
        MessageType::MsgVote => true,
        MessageType::MsgAppResp if bugs::seeded_bug!("append-acknowledged-before-durable") => false,
        MessageType::MsgVoteResp if bugs::seeded_bug!("vote-answered-before-durable") => false,
        MessageType::MsgVoteResp | MessageType::MsgAppResp => !message.reject,
        _ => false,
    }
}
