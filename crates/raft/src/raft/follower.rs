//! The follower's side of replication: taking entries and answering.

use proto::raftpb::{Message, MessageType};

use super::Raft;
use crate::Error;

impl Raft {
    /// Appends the leader's entries if they follow what is here, and acknowledges them once they are
    /// durable; otherwise refuses with a hint at where both logs may agree.
    pub(super) fn handle_append(&mut self, message: Message) {
        self.follow(message.from);
        let mut answer = self.message(MessageType::MsgAppResp, message.from);
        let committed = self.log.committed();
        if message.index < committed {
            // An old message: all of it up to the commit is here, and the rest will be sent again.
            answer.index = committed;
        } else if let Some(last) = self.log.append_after(message.index, message.log_term, message.entries) {
            let is_all = bugs::seeded_bug!("commit-of-all-appended");
            self.log.commit_to(if is_all { last } else { message.commit.min(last) });
            answer.index = last;
        } else {
            answer.reject = true;
            answer.index = message.index;
            (answer.reject_hint, answer.log_term) = self.log.guess_agreement(message.index, message.log_term);
        }
        self.send(answer);
    }

    /// Notes that the leader lives and what it has committed, and echoes its context to the byte.
    ///
    /// A leader tells no higher commit than what this member has acknowledged. So a higher one comes from a
    /// faulty leader, or this member's disk has lost entries; in both cases the member must not answer.
    pub(super) fn handle_heartbeat(&mut self, message: Message) -> Result<(), Error> {
        if message.commit > self.log.last() {
            return Err(Error::MalformedMessage(
                "a heartbeat commits only what its receiver has acknowledged",
            ));
        }
        self.follow(message.from);
        self.log.commit_to(message.commit);
        let answer = self.message(MessageType::MsgHeartbeatResp, message.from);
        self.send(Message { context: message.context, ..answer });
        Ok(())
    }

    /// Takes `leader` for the leader of this term, which ends any election under way here.
    pub(super) fn follow(&mut self, leader: u64) {
        if self.leader != leader {
            self.become_follower(self.term, leader);
        }
        self.election_elapsed = 0;
    }
}
