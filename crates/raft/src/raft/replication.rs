//! The leader's side of replication: sending the log, counting what is durable where, committing (Ongaro &
//! Ousterhout 2014, §5.3 and §5.4.2).
//!
//! Calls only change what is known of a member. Messages are made in one place, [`Raft::send_appends`], when
//! the caller asks for them: however many proposals and answers came before, a member gets one MsgApp for
//! all.

use proto::raftpb::{Message, MessageType};

use super::{NONE, Raft, Role};
use crate::inflight::InflightLimit;
use crate::log::size;

impl Raft {
    pub(super) fn tick_leader(&mut self) {
        self.election_elapsed += 1;
        self.heartbeat_elapsed += 1;
        if self.election_elapsed >= self.config.election_ticks {
            self.election_elapsed = 0;
            let has_quorum = self.members.take_quorum_activity(self.config.id) || !self.config.check_quorum;
            if !has_quorum || !self.members.is_voter(self.config.id) {
                self.become_follower(self.term, NONE);
                return;
            }
        }
        self.tick_transfer();
        if self.heartbeat_elapsed >= self.config.heartbeat_ticks {
            self.heartbeat_elapsed = 0;
            self.reads.start_proof(self.now);
            self.send_heartbeats();
        }
    }

    /// Tells each other member that this leader is alive, and asks it to confirm the last read round.
    pub(super) fn send_heartbeats(&mut self) {
        let context = self.reads.heartbeat_context();
        let committed = self.log.committed();
        let template = self.message(MessageType::MsgHeartbeat, NONE);
        for member in self.members.iter().filter(|member| member.id != self.config.id) {
            // A member may hold entries above `matched` that are not ours, so it must not commit those.
            let is_unbounded = bugs::seeded_bug!("heartbeat-commits-unmatched");
            let commit = if is_unbounded { committed } else { member.matched.min(committed) };
            self.outbox.push(Message { to: member.id, commit, context: context.clone(), ..template.clone() });
        }
    }

    /// Makes every MsgApp and MsgSnap that is due.
    pub(super) fn send_appends(&mut self) {
        if self.role != Role::Leader {
            return;
        }
        let (last, commit) = (self.log.last(), self.log.committed());
        let limit = self.inflight_limit();
        let template = self.message(MessageType::MsgApp, NONE);
        for member in self.members.iter_mut().filter(|member| member.id != self.config.id) {
            while member.wants_append(last, commit, limit) {
                if self.log.term(member.next - 1).is_none() {
                    member.skip_to(self.log.first());
                }
                let index = member.next - 1;
                let log_term = self.log.term(index).expect("the term before the first entry is kept");
                let entries = if member.takes_entries(last, limit) {
                    self.log.entries_from(member.next, self.config.max_message_bytes)
                } else {
                    Vec::new()
                };
                member.sent(entries.len() as u64, entries.iter().map(size).sum(), commit);
                let to = member.id;
                self.outbox.push(Message { to, index, log_term, entries, commit, ..template.clone() });
            }
        }
        self.send_snapshots();
    }

    pub(super) fn handle_append_response(&mut self, message: &Message) {
        let Some(member) = self.members.get_mut(message.from) else { return };
        member.recent_active = true;
        if message.reject {
            // Without a term the hint stands as it is: the other log is compacted there.
            let hint = match message.log_term {
                0 => message.reject_hint,
                term => self.log.guess_agreement(message.reject_hint, term).0,
            };
            member.refused(message.index, hint, self.log.first());
        } else if message.index <= self.log.last() {
            if member.acknowledged(message.index, self.log.first()) {
                self.advance_commit();
            }
            if message.from == self.transferee {
                self.hand_over_if_caught_up();
            }
        }
    }

    pub(super) fn handle_heartbeat_response(&mut self, message: &Message) {
        let Some(member) = self.members.get_mut(message.from) else { return };
        member.alive(self.log.last());
        let round = super::read_index::decode_round(&message.context);
        if let Some(round) = round.filter(|round| self.reads.has_started(*round)) {
            member.read_round = member.read_round.max(round);
            self.confirm_reads();
        }
    }

    /// Counts what this leader itself has made durable.
    pub(super) fn note_own_durability(&mut self) {
        let (durable, first) = (self.log.durable(), self.log.first());
        if let Some(member) = self.members.get_mut(self.config.id)
            && member.acknowledged(durable, first)
        {
            self.advance_commit();
        }
    }

    /// Commits what a majority holds, provided that it ends in an entry of this term: an older entry that a
    /// majority holds could still be replaced (§5.4.2, figure 8).
    pub(super) fn advance_commit(&mut self) {
        let reached = self.members.reached_by_majority(|member| member.matched);
        if reached > self.log.committed() && self.log.term(reached) == Some(self.term) {
            self.log.commit_to(reached);
            self.release_reads();
        }
    }

    fn inflight_limit(&self) -> InflightLimit {
        InflightLimit { messages: self.config.max_inflight, bytes: self.config.max_inflight_bytes }
    }
}
