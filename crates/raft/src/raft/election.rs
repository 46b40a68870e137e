//! Elections: when to stand, whom to vote for, and the changes of role that follow (Ongaro & Ousterhout
//! 2014, §5.2 and §5.4.1; Ongaro 2014, §9.6 for the pre-vote and §6.2 for the quorum check).
//!
//! A candidate's requests and its vote for itself wait until its term, vote and log are durable. If it
//! crashed before, a stale grant could otherwise elect a shorter log than the one that was voted for.

use bytes::Bytes;
use proto::raftpb::{EntryType, Message, MessageType};

use super::{NONE, Raft, Role};
use crate::quorum::Tally;

/// Context of a vote request that a leader itself has asked for, by which it gives up its lease.
pub(super) const TRANSFER: &[u8] = b"CampaignTransfer";

impl Raft {
    /// Stands for election now instead of at the timeout.
    ///
    /// Does nothing on a leader, on a member without a vote, and while a committed configuration change
    /// waits to be applied: the majority to ask is not known before.
    pub fn campaign(&mut self) {
        if !self.may_stand() {
            return;
        }
        if self.config.pre_vote {
            self.become_pre_candidate();
            self.request_votes(MessageType::MsgPreVote, self.term + 1, &Bytes::new());
            self.record_vote(self.config.id, true);
        } else {
            self.stand(&Bytes::new());
        }
    }

    /// Stands for election without a pre-vote, since the leader itself asks for it.
    pub(super) fn campaign_for_transfer(&mut self) {
        if self.may_stand() {
            self.stand(&Bytes::from_static(TRANSFER));
        }
    }

    fn may_stand(&self) -> bool {
        self.role != Role::Leader
            && self.members.is_voter(self.config.id)
            && self.term < u64::MAX
            && !self.log.has_unapplied_conf_change()
    }

    pub(super) fn tick_election(&mut self) {
        self.election_elapsed = self.election_elapsed.saturating_add(1);
        if self.election_elapsed >= self.election_timeout {
            self.campaign();
        }
    }

    /// Follows `leader`, or nobody yet, in `term`.
    pub(super) fn become_follower(&mut self, term: u64, leader: u64) {
        self.role = Role::Follower;
        self.leader = leader;
        self.start_term(term);
    }

    /// Votes for the sender if its log holds all that ours does and our vote is free.
    pub(super) fn handle_vote_request(&mut self, message: &Message) {
        let is_real = message.r#type() == MessageType::MsgVote;
        let is_free = bugs::seeded_bug!("two-votes-in-a-term")
            || self.vote == message.from
            || (self.vote == NONE && self.leader == NONE)
            || (!is_real && message.term > self.term);
        let granted = is_free && self.log.is_up_to_date(message.index, message.log_term);
        if granted && is_real {
            self.vote = message.from;
            self.election_elapsed = 0;
        }
        let r#type = if is_real { MessageType::MsgVoteResp } else { MessageType::MsgPreVoteResp };
        let mut answer = self.message(r#type, message.from);
        answer.reject = !granted;
        if granted {
            // A pre-vote is granted for the term asked about, which is not ours.
            answer.term = message.term;
        } else {
            answer.commit = self.log.committed();
            answer.log_term = self.log.term(answer.commit).expect("the term of the committed entry is kept");
        }
        self.send(answer);
    }

    /// Counts an answer, and takes over what a refusal says is committed.
    ///
    /// The candidate may not know that a change of members is committed, and still ask a member that lost
    /// its vote by it. If that one led before, its log may be longer than all others: then nobody could ever
    /// win.
    pub(super) fn handle_vote_response(&mut self, message: &Message) {
        let is_known = self.log.term(message.commit) == Some(message.log_term);
        if message.reject && is_known && self.members.is_voter(message.from) {
            self.log.commit_to(message.commit);
        }
        self.record_vote(message.from, !message.reject);
    }

    /// Counts this candidate's vote for itself, which is durable now. An election that is over or lost needs
    /// it no more.
    pub(super) fn take_own_vote(&mut self, vote: &Message) {
        if self.role == Role::Candidate && vote.term == self.term {
            self.record_vote(self.config.id, true);
        }
    }

    fn stand(&mut self, context: &Bytes) {
        self.become_candidate();
        self.request_votes(MessageType::MsgVote, self.term, context);
        let own = self.message(MessageType::MsgVoteResp, self.config.id);
        self.send(own);
    }

    fn request_votes(&mut self, r#type: MessageType, term: u64, context: &Bytes) {
        let own = self.config.id;
        let others: Vec<u64> =
            self.members.voters().map(|member| member.id).filter(|&id| id != own).collect();
        for id in others {
            let request = Message { term, context: context.clone(), ..self.message(r#type, id) };
            self.send(Message { index: self.log.last(), log_term: self.log.last_term(), ..request });
        }
    }

    /// Counts one answer and acts if it decides the election. The first answer of a voter stands.
    fn record_vote(&mut self, from: u64, granted: bool) {
        if !self.members.is_voter(from) {
            return;
        }
        if self.votes.iter().all(|(id, _)| *id != from) {
            self.votes.push((from, granted));
        }
        match (self.members.tally(&self.votes), self.role) {
            (Tally::Won, Role::PreCandidate) => self.stand(&Bytes::new()),
            (Tally::Won, _) => self.become_leader(),
            (Tally::Lost, _) => self.become_follower(self.term, NONE),
            (Tally::Pending, _) => {}
        }
    }

    fn become_pre_candidate(&mut self) {
        self.role = Role::PreCandidate;
        self.leader = NONE;
        self.votes.clear();
        self.election_elapsed = 0;
    }

    fn become_candidate(&mut self) {
        self.role = Role::Candidate;
        self.leader = NONE;
        self.start_term(self.term + 1);
        self.vote = self.config.id;
    }

    fn become_leader(&mut self) {
        self.role = Role::Leader;
        self.start_term(self.term);
        self.leader = self.config.id;
        self.members.reset(self.log.last() + 1);
        // An entry of its own term is what lets a leader commit those before it (§5.4.2).
        self.log.push(self.term, EntryType::EntryNormal, Bytes::new());
        // Any inherited entry may be a configuration change, and even without one the next has to wait until
        // this term has committed: majorities of changes begun under two leaders need not meet (Ongaro 2014,
        // §4.1).
        self.pending_conf_index = self.log.last();
        self.note_own_durability();
    }

    fn start_term(&mut self, term: u64) {
        if self.term != term {
            self.term = term;
            self.vote = NONE;
            self.outbox.drop_withheld_before(term);
        }
        self.votes.clear();
        self.reads.clear();
        self.transferee = NONE;
        self.election_elapsed = 0;
        self.heartbeat_elapsed = 0;
        self.election_timeout = self.config.election_ticks + self.rng.below(self.config.election_ticks);
    }
}
