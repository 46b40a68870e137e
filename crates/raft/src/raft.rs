//! One member's part in the agreement.
//!
//! [`Raft`] is a value: calls change it, [`Raft::ready`] says what to do about it. The files beside this one
//! hold its rules by topic: `election`, `transfer`, `proposal`, `conf_change`, `replication` (the leader's
//! side), `follower` (the other side), `snapshot`, `read_index`, `message_check`, `ready`.
//!
//! Does not encode, send, write or apply anything.

mod conf_change;
mod election;
mod follower;
mod message_check;
mod proposal;
mod read_index;
mod ready;
mod replication;
mod snapshot;
mod transfer;

use proto::raftpb::{ConfState, HardState, Message, MessageType, SnapshotMetadata};

pub use self::conf_change::single_change;
pub use self::proposal::Proposed;
use self::read_index::ReadQueue;
pub use self::ready::{Persist, ReadState, Ready, SoftState};
use crate::log::Log;
use crate::members::Members;
use crate::outbox::Outbox;
use crate::progress::Progress;
use crate::rng::Rng;
use crate::{Config, Error, Restored};

/// "No member", where a member id is expected.
const NONE: u64 = 0;

/// How far ahead of this member's term the term of a message may be. Each election raises the term by one,
/// so a correct member is never so far ahead. Without this bound, one message could use up all terms there
/// are.
const TERMS_MISSED_MAX: u64 = 1 << 32;

/// What a member does at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Role {
    /// Follows a leader, or waits for one.
    #[default]
    Follower,
    /// Asks whether it could win an election.
    PreCandidate,
    /// Stands for election.
    Candidate,
    /// Leads its term.
    Leader,
}

/// The numbers a member is judged by, all at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// This member.
    pub id: u64,
    /// Its term.
    pub term: u64,
    /// Whom it voted for in this term; 0 for nobody.
    pub vote: u64,
    /// Who leads this term as far as it knows; 0 for unknown.
    pub leader: u64,
    /// What it does.
    pub role: Role,
    /// Last index known to be committed.
    pub commit: u64,
    /// Last index reported as applied, or that of a snapshot received since, which need not be installed
    /// yet.
    pub applied: u64,
    /// Last index known to be durable on this member.
    pub durable: u64,
    /// Index of the first entry kept in memory, or `last_index + 1`.
    pub first_index: u64,
    /// Index of the last entry, durable or not.
    pub last_index: u64,
    /// On a leader, the member to which leadership is being handed over; 0 for none.
    pub transferee: u64,
    /// How many messages [`Raft::step`] has refused as such that no correct member sends; those that it
    /// refused only as [`Error::ProposalDropped`] do not count.
    pub faulty_messages: u64,
}

/// One member of a raft group.
#[derive(Debug)]
pub struct Raft {
    config: Config,
    term: u64,
    vote: u64,
    leader: u64,
    role: Role,
    log: Log,
    members: Members,
    /// Answers in the election under way.
    votes: Vec<(u64, bool)>,
    /// Ticks since the leader was heard, or since the last quorum check of a leader.
    election_elapsed: u32,
    heartbeat_elapsed: u32,
    /// The randomised timeout in force.
    election_timeout: u32,
    rng: Rng,
    /// The time as the caller last told it.
    now: u64,
    /// Index of the last configuration change in the log that may not be applied yet.
    pending_conf_index: u64,
    /// To whom this leader hands over, or [`NONE`], and ticks since that began.
    transferee: u64,
    transfer_elapsed: u32,
    /// The snapshot that has replaced the log and is not handed out yet.
    received_snapshot: Option<SnapshotMetadata>,
    reads: ReadQueue,
    outbox: Outbox,
    read_states: Vec<ReadState>,
    faulty_messages: u64,
    /// What the last [`Ready`] that mentioned them said.
    handed_hard_state: HardState,
    handed_soft_state: SoftState,
    /// Number of the last batch handed out, of the last such batch that needs a sync, and of the last
    /// durable one.
    handed_seq: u64,
    handed_sync_seq: u64,
    persisted_seq: u64,
}

impl Raft {
    /// A follower that continues from `restored`.
    ///
    /// Fails if the configuration or the restored state contradicts itself.
    pub fn new(config: Config, mut restored: Restored) -> Result<Raft, Error> {
        config.check()?;
        let log = Log::new(&mut restored)?;
        let HardState { mut term, mut vote, .. } = restored.hard_state;
        // A batch writes entries before the hard state; if its end was torn, the term is that of the
        // entries, and no vote in it can have left this member.
        if log.last_term() > term {
            (term, vote) = (log.last_term(), NONE);
        }
        if bugs::seeded_bug!("vote-forgotten-at-restart") {
            vote = NONE;
        }
        let mut raft = Raft {
            rng: Rng::new(config.seed ^ config.id.rotate_left(32)),
            config,
            term,
            vote,
            leader: NONE,
            role: Role::Follower,
            members: Members::new(&restored.conf_state, log.last() + 1)?,
            log,
            votes: Vec::new(),
            election_elapsed: 0,
            heartbeat_elapsed: 0,
            election_timeout: 0,
            now: 0,
            pending_conf_index: 0,
            transferee: NONE,
            transfer_elapsed: 0,
            received_snapshot: None,
            reads: ReadQueue::default(),
            outbox: Outbox::default(),
            read_states: Vec::new(),
            faulty_messages: 0,
            handed_hard_state: restored.hard_state,
            handed_soft_state: SoftState::default(),
            handed_seq: 0,
            handed_sync_seq: 0,
            persisted_seq: 0,
        };
        raft.become_follower(term, NONE);
        raft.handed_soft_state = raft.soft_state();
        Ok(raft)
    }

    /// One unit of time has passed.
    pub fn tick(&mut self) {
        match self.role {
            Role::Leader => self.tick_leader(),
            Role::Follower | Role::PreCandidate | Role::Candidate => self.tick_election(),
        }
    }

    /// Takes a message that came from another member.
    ///
    /// Messages may be lost, repeated, delayed and reordered, and a faulty member may send anything: no
    /// message panics. An error concerns this message alone and leaves the state as it was, except that a
    /// higher term may have been adopted.
    pub fn step(&mut self, message: Message) -> Result<(), Error> {
        let result = self.take_message(message);
        if result.as_ref().is_err_and(|error| *error != Error::ProposalDropped) {
            self.faulty_messages += 1;
        }
        result
    }

    fn take_message(&mut self, message: Message) -> Result<(), Error> {
        if message.to != self.config.id {
            return Err(Error::Misaddressed { to: message.to });
        }
        message_check::check(&message)?;
        if message.from == self.config.id {
            match message.r#type() {
                // etcd passes on what another member has passed on, and leaves its first sender in it. A
                // request to hand over names the future leader as its sender.
                MessageType::MsgProp | MessageType::MsgTransferLeader => {}
                // The answer would come too late for whoever asked when this member did not lead.
                MessageType::MsgReadIndex => return Ok(()),
                _ => return Err(Error::MalformedMessage("a member sends no messages to itself")),
            }
        }
        if message.term > self.term.saturating_add(TERMS_MISSED_MAX) {
            return Err(Error::MalformedMessage("terms rise by one with each election"));
        }
        if message.term != 0 && !self.settle_term(&message) {
            return Ok(());
        }
        match (message.r#type(), self.role) {
            (MessageType::MsgVote | MessageType::MsgPreVote, _) => self.handle_vote_request(&message),
            (MessageType::MsgVoteResp, Role::Candidate) => self.handle_vote_response(&message),
            (MessageType::MsgPreVoteResp, Role::PreCandidate) => self.handle_vote_response(&message),
            // On a leader, that is itself.
            (MessageType::MsgApp | MessageType::MsgHeartbeat | MessageType::MsgSnap, _)
                if self.leader != NONE && self.leader != message.from =>
            {
                return Err(Error::TwoLeaders { term: self.term, other: message.from });
            }
            (MessageType::MsgApp, _) => self.handle_append(message),
            (MessageType::MsgHeartbeat, _) => return self.handle_heartbeat(message),
            (MessageType::MsgSnap, _) => return self.handle_snapshot(&message),
            (MessageType::MsgTransferLeader, _) => self.handle_transfer_request(&message),
            (MessageType::MsgTimeoutNow, _) => return self.handle_timeout_now(&message),
            (MessageType::MsgAppResp, Role::Leader) => self.handle_append_response(&message),
            (MessageType::MsgHeartbeatResp, Role::Leader) => self.handle_heartbeat_response(&message),
            (MessageType::MsgProp, _) => return self.handle_proposal(message),
            (MessageType::MsgReadIndex, _) => self.handle_read_index(message),
            (MessageType::MsgReadIndexResp, Role::Follower) => self.handle_read_index_response(message),
            // Answers to a role that this member no longer has.
            _ => {}
        }
        Ok(())
    }

    /// Notes that a message to member `id` was lost, so that the pipeline to it starts over early.
    pub fn report_unreachable(&mut self, id: u64) {
        if let Some(member) = self.members.get_mut(id) {
            member.unreachable();
        }
    }

    /// Notes that entries up to `index` are applied. Panics if they were never handed out.
    pub fn applied_to(&mut self, index: u64) {
        self.log.applied_to(index);
    }

    /// Forgets the entries up to `index`, keeping the term of the last, and as many after it as are over
    /// `bytes`, of those that are applied. Panics if `index` is not applied.
    ///
    /// Within `bytes`, a leader keeps also those behind a snapshot that a member is being sent: without them
    /// the member would need another when it has this one.
    pub fn compact(&mut self, index: u64, bytes: u64) {
        assert!(
            index <= self.log.applied(),
            "compaction to {index} passes the applied {}",
            self.log.applied()
        );
        let awaited =
            self.members.iter().filter(|member| member.recent_active && member.pending_snapshot != 0);
        let kept_from = awaited.map(|member| member.pending_snapshot).min().unwrap_or(index);
        self.log.compact(index.min(kept_from));
        self.log.compact(self.log.compaction_to_bytes(bytes));
    }

    /// The numbers of this moment.
    pub fn status(&self) -> Status {
        Status {
            id: self.config.id,
            term: self.term,
            vote: self.vote,
            leader: self.leader,
            role: self.role,
            commit: self.log.committed(),
            applied: self.log.applied(),
            durable: self.log.durable(),
            first_index: self.log.first(),
            last_index: self.log.last(),
            transferee: self.transferee,
            faulty_messages: self.faulty_messages,
        }
    }

    /// Term of the entry at `index`, or of the last one that [`Raft::compact`] forgot; `None` for all others that are
    /// not in memory.
    pub fn entry_term(&self, index: u64) -> Option<u64> {
        self.log.term(index)
    }

    /// The members by id. On a leader, each with what is known of its log; one in the state
    /// [`ProgressState::Snapshot`](crate::ProgressState) cannot catch up from the log alone.
    pub fn members(&self) -> impl Iterator<Item = &Progress> {
        self.members.iter()
    }

    /// The configuration as of the last applied change.
    pub fn conf_state(&self) -> ConfState {
        self.members.conf_state()
    }

    /// Compares the term of `message` with our own and adopts a higher one. False if there is nothing left
    /// to do with the message.
    fn settle_term(&mut self, message: &Message) -> bool {
        let r#type = message.r#type();
        if message.term > self.term {
            let asks_vote = matches!(r#type, MessageType::MsgVote | MessageType::MsgPreVote);
            if asks_vote && self.is_leader_leased() && message.context != election::TRANSFER {
                return false;
            }
            // A pre-vote is about a term that nobody has entered yet.
            let is_hypothetical = r#type == MessageType::MsgPreVote
                || (r#type == MessageType::MsgPreVoteResp && !message.reject);
            if !is_hypothetical {
                self.become_follower(message.term, NONE);
            }
        } else if message.term < self.term {
            self.answer_lower_term(message);
            return false;
        }
        true
    }

    /// Tells a member that is behind about our term where silence could leave it stuck.
    fn answer_lower_term(&mut self, message: &Message) {
        match message.r#type() {
            // A leader cut off from the rest would otherwise never learn of the new term, since its own
            // lease-protected followers ignore votes.
            MessageType::MsgApp | MessageType::MsgHeartbeat
                if self.config.check_quorum || self.config.pre_vote =>
            {
                self.send(self.message(MessageType::MsgAppResp, message.from));
            }
            MessageType::MsgPreVote => {
                let answer = self.message(MessageType::MsgPreVoteResp, message.from);
                self.send(Message { reject: true, ..answer });
            }
            _ => {}
        }
    }

    /// Whether a leader was heard from so recently that no election is due anywhere.
    fn is_leader_leased(&self) -> bool {
        self.config.check_quorum && self.leader != NONE && self.election_elapsed < self.config.election_ticks
    }

    /// A message of this member in its term.
    fn message(&self, r#type: MessageType, to: u64) -> Message {
        Message { r#type: r#type as i32, to, from: self.config.id, term: self.term, ..Message::default() }
    }
}

#[cfg(test)]
mod tests;
