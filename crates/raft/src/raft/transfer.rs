//! Leader transfer: a leader lets another member take over at once (Ongaro 2014, §3.10).
//!
//! ```text
//!   asked --> proposals are refused --> the other has the whole log --> MsgTimeoutNow --> it is elected
//!                     |
//!                     +--> not within `election_ticks`: given up, proposals are taken again
//! ```
//!
//! The other stands for election without asking before, and its requests tell the voters not to spare the
//! leader that they still hear.

use proto::raftpb::{Message, MessageType};

use super::{NONE, Raft, Role};
use crate::Error;

impl Raft {
    /// Hands leadership over to member `to`. A follower asks the leader to do so.
    ///
    /// [`Error::InvalidTransferee`] if `to` has no vote, [`Error::NoLeader`] if nobody leads. Success means
    /// only that the attempt has begun: [`SoftState`](super::SoftState) tells when another leads, and
    /// [`Status::transferee`](super::Status::transferee) becomes 0 when the leader gives up. Another attempt
    /// ends an earlier one.
    pub fn transfer_leader(&mut self, to: u64) -> Result<(), Error> {
        if self.role == Role::Leader {
            return self.begin_transfer(to);
        }
        if self.leader == NONE {
            return Err(Error::NoLeader);
        }
        if !self.members.is_voter(to) {
            return Err(Error::InvalidTransferee { id: to });
        }
        if to != self.leader {
            // The protocol names the future leader as the sender.
            let request = self.message(MessageType::MsgTransferLeader, self.leader);
            self.send(Message { from: to, ..request });
        }
        Ok(())
    }

    /// Takes a follower's request; one that cannot be granted is ignored, since it may come late.
    pub(super) fn handle_transfer_request(&mut self, message: &Message) {
        if self.role == Role::Leader {
            let _ = self.begin_transfer(message.from);
        }
    }

    /// Stands for election at once, as the leader asks.
    pub(super) fn handle_timeout_now(&mut self, message: &Message) -> Result<(), Error> {
        if self.leader != NONE && self.leader != message.from {
            return Err(Error::MalformedMessage("only the leader hands over"));
        }
        if self.role == Role::Follower {
            self.campaign_for_transfer();
        }
        Ok(())
    }

    /// Tells the member that is to take over to do so, once it has all entries.
    pub(super) fn hand_over_if_caught_up(&mut self) {
        let last = self.log.last();
        let transferee = self.members.get(self.transferee);
        if transferee.is_some_and(|member| member.matched == last) {
            let message = self.message(MessageType::MsgTimeoutNow, self.transferee);
            self.send(message);
        }
    }

    /// Gives up a transfer that takes too long.
    pub(super) fn tick_transfer(&mut self) {
        if self.transferee == NONE {
            return;
        }
        self.transfer_elapsed += 1;
        if self.transfer_elapsed >= self.config.election_ticks {
            self.transferee = NONE;
        }
    }

    fn begin_transfer(&mut self, to: u64) -> Result<(), Error> {
        if !self.members.is_voter(to) {
            return Err(Error::InvalidTransferee { id: to });
        }
        if to == self.config.id || to == self.transferee {
            return Ok(());
        }
        self.transferee = to;
        self.transfer_elapsed = 0;
        self.hand_over_if_caught_up();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
