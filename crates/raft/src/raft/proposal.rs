//! Proposals: a leader appends them, a follower passes them on.

use bytes::Bytes;
use proto::raftpb::{Entry, EntryType, Message, MessageType};

use super::{NONE, Raft, Role};
use crate::Error;

/// What became of a proposal. Neither outcome promises that it will be committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proposed {
    /// This leader appended it: as `count` entries of `term` from `first_index` on.
    Appended {
        /// The leader's term.
        term: u64,
        /// Index of the first entry.
        first_index: u64,
        /// How many entries.
        count: u64,
    },
    /// It was passed on to the leader, and may be lost on the way.
    Forwarded {
        /// The leader.
        leader: u64,
    },
}

impl Raft {
    /// Proposes one entry for each item, in order and without others between them.
    ///
    /// [`Error::ProposalDropped`] if no leader is known, if this leader is about to hand over, or if its log
    /// would hold more than `max_uncommitted_bytes`: nothing was proposed, and a retry is safe.
    pub fn propose(&mut self, data: impl IntoIterator<Item = Bytes>) -> Result<Proposed, Error> {
        let entries: Vec<Entry> = data.into_iter().map(|data| Entry { data, ..Entry::default() }).collect();
        if self.role != Role::Leader {
            return self.forward_proposal(NONE, entries);
        }
        let before = self.log.last();
        self.append_proposed(entries)?;
        Ok(self.appended_since(before))
    }

    /// Takes a proposal that another member passed on.
    pub(super) fn handle_proposal(&mut self, message: Message) -> Result<(), Error> {
        if self.role == Role::Leader {
            self.append_proposed(message.entries)
        } else {
            self.forward_proposal(message.from, message.entries).map(|_| ())
        }
    }

    /// Appends all of `entries` or none.
    fn append_proposed(&mut self, entries: Vec<Entry>) -> Result<(), Error> {
        self.check_may_append(entries.iter().map(crate::log::size).sum())?;
        for entry in entries {
            match entry.r#type() {
                EntryType::EntryNormal => self.log.push(self.term, EntryType::EntryNormal, entry.data),
                EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => self.append_conf_change(entry),
            }
        }
        Ok(())
    }

    /// Passes a proposal of member `from` on to the leader, unless that is where it came from.
    pub(super) fn forward_proposal(&mut self, from: u64, entries: Vec<Entry>) -> Result<Proposed, Error> {
        let leader = self.leader;
        if leader == NONE || leader == from {
            return Err(Error::ProposalDropped);
        }
        if !entries.is_empty() {
            let message = self.message(MessageType::MsgProp, leader);
            // Without a term, as it is a request of a client: it holds in whatever term it arrives.
            let message = Message { term: 0, entries, ..message };
            if bugs::seeded_bug!("proposal-forwarded-twice") {
                self.send(message.clone());
            }
            self.send(message);
        }
        Ok(Proposed::Forwarded { leader })
    }

    /// Whether this leader may append entries of so many bytes.
    ///
    /// A leader that was removed could not count its own copy of them, and one that hands over would keep
    /// its successor from catching up. While nothing is uncommitted, a proposal of any size is taken:
    /// otherwise it never would be.
    pub(super) fn check_may_append(&self, bytes: u64) -> Result<(), Error> {
        let uncommitted = self.log.uncommitted_bytes();
        let has_room =
            uncommitted == 0 || uncommitted.saturating_add(bytes) <= self.config.max_uncommitted_bytes;
        let may_append = has_room && self.transferee == NONE && self.members.is_voter(self.config.id);
        if may_append { Ok(()) } else { Err(Error::ProposalDropped) }
    }

    pub(super) fn appended_since(&self, before: u64) -> Proposed {
        Proposed::Appended { term: self.term, first_index: before + 1, count: self.log.last() - before }
    }
}
