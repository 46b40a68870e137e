//! Proposals: a leader appends them, a follower passes them on.

use bytes::Bytes;
use proto::raftpb::{Entry, EntryType, Message, MessageType};

use super::{NONE, Raft, Role};
use crate::Error;

/// Bytes of uncommitted entries in the log above which a leader takes no more proposals. They pile up while no
/// majority answers.
const UNCOMMITTED_BYTES_MAX: u64 = 512 << 20;

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
    /// [`Error::ProposalDropped`] if no leader is known, or if this leader has 512 MiB of uncommitted entries: nothing
    /// was proposed, and a retry is safe.
    pub fn propose(&mut self, data: impl IntoIterator<Item = Bytes>) -> Result<Proposed, Error> {
        if self.role != Role::Leader {
            let entries = data.into_iter().map(|data| Entry { data, ..Entry::default() }).collect();
            return self.forward_proposal(NONE, entries);
        }
        self.check_may_append()?;
        let before = self.log.last();
        for data in data {
            self.log.push(self.term, EntryType::EntryNormal, data);
        }
        Ok(self.appended_since(before))
    }

    /// Proposes a configuration change: `change` is an encoded `raftpb.ConfChange`.
    ///
    /// [`Error::ConfChangePending`] on a leader while an earlier one is not applied. A follower passes the change
    /// on, and a leader that has one pending then puts an empty entry in its place.
    pub fn propose_conf_change(&mut self, change: Bytes) -> Result<Proposed, Error> {
        let entry = Entry { r#type: EntryType::EntryConfChange as i32, data: change, ..Entry::default() };
        if self.role != Role::Leader {
            return self.forward_proposal(NONE, vec![entry]);
        }
        self.check_may_append()?;
        if self.is_conf_change_pending() {
            return Err(Error::ConfChangePending);
        }
        let before = self.log.last();
        self.append_proposed(entry);
        Ok(self.appended_since(before))
    }

    /// Takes a proposal that another member passed on.
    pub(super) fn handle_proposal(&mut self, message: Message) -> Result<(), Error> {
        if self.role != Role::Leader {
            return self.forward_proposal(message.from, message.entries).map(|_| ());
        }
        self.check_may_append()?;
        for entry in message.entries {
            self.append_proposed(entry);
        }
        Ok(())
    }

    fn append_proposed(&mut self, entry: Entry) {
        if entry.r#type == EntryType::EntryNormal as i32 {
            self.log.push(self.term, EntryType::EntryNormal, entry.data);
        } else if self.is_conf_change_pending() {
            // Two changes at once could have majorities that do not meet (Ongaro 2014, §4.1).
            self.log.push(self.term, EntryType::EntryNormal, Bytes::new());
        } else {
            self.log.push(self.term, EntryType::EntryConfChange, entry.data);
            self.pending_conf_index = self.log.last();
        }
    }

    /// Passes a proposal of member `from` on to the leader, unless that is where it came from.
    fn forward_proposal(&mut self, from: u64, entries: Vec<Entry>) -> Result<Proposed, Error> {
        let leader = self.leader;
        if leader == NONE || leader == from {
            return Err(Error::ProposalDropped);
        }
        if !entries.is_empty() {
            let message = self.message(MessageType::MsgProp, leader);
            // Without a term, as it is a request of a client: it holds in whatever term it arrives.
            self.send(Message { term: 0, entries, ..message });
        }
        Ok(Proposed::Forwarded { leader })
    }

    /// A leader that was removed could not count its own copy of an entry.
    fn check_may_append(&self) -> Result<(), Error> {
        let has_room = self.log.uncommitted_bytes() < UNCOMMITTED_BYTES_MAX;
        if has_room && self.members.is_voter(self.config.id) { Ok(()) } else { Err(Error::ProposalDropped) }
    }

    fn appended_since(&self, before: u64) -> Proposed {
        Proposed::Appended { term: self.term, first_index: before + 1, count: self.log.last() - before }
    }

    fn is_conf_change_pending(&self) -> bool {
        self.pending_conf_index > self.log.applied()
    }
}
