//! Changes of the configuration: which may be proposed, and what applying one does.
//!
//! One change at a time: two could have majorities that do not meet (Ongaro 2014, §4.1). So a leader
//! proposes none while an earlier one is not applied, nor before it has committed an entry of its own term:
//! majorities of changes begun under two leaders need not meet either.
//!
//! A joint configuration can be left only, and the leader leaves it by itself if the change that entered it
//! says so.

use bytes::Bytes;
use prost::Message as _;
use proto::raftpb::{ConfChange, ConfChangeSingle, ConfChangeV2, ConfState, Entry, EntryType};

use super::{NONE, Proposed, Raft, Role};
use crate::Error;
use crate::members::{ChangeKind, kind};

/// The change of one member in the form that [`Raft::apply_conf_change`] takes.
pub fn single_change(change: &ConfChange) -> ConfChangeV2 {
    let single = ConfChangeSingle { r#type: change.r#type, node_id: change.node_id };
    ConfChangeV2 { changes: vec![single], context: change.context.clone(), ..ConfChangeV2::default() }
}

/// The change that a log entry of either kind holds; `None` if it holds none that a correct member proposes.
pub(super) fn decode(entry: &Entry) -> Option<ConfChangeV2> {
    let change = match entry.r#type() {
        EntryType::EntryNormal => return None,
        EntryType::EntryConfChange => single_change(&ConfChange::decode(entry.data.clone()).ok()?),
        EntryType::EntryConfChangeV2 => ConfChangeV2::decode(entry.data.clone()).ok()?,
    };
    kind(&change).map(|_| change)
}

impl Raft {
    /// Proposes the change of one member: `change` is an encoded `raftpb.ConfChange`.
    ///
    /// [`Error::ConfChangePending`] on a leader while an earlier one is not applied, and
    /// [`Error::InvalidConfChange`] if this one may not follow from the present configuration. A follower
    /// passes the change on, and a leader that cannot take it then puts an empty entry in its place.
    pub fn propose_conf_change(&mut self, change: Bytes) -> Result<Proposed, Error> {
        self.propose_change_entry(EntryType::EntryConfChange, change)
    }

    /// Proposes a change of any number of members: `change` is an encoded `raftpb.ConfChangeV2`. Otherwise
    /// like [`Raft::propose_conf_change`].
    ///
    /// Published versions of etcd neither propose nor apply such a change.
    pub fn propose_conf_change_v2(&mut self, change: Bytes) -> Result<Proposed, Error> {
        self.propose_change_entry(EntryType::EntryConfChangeV2, change)
    }

    /// Applies a committed configuration change and returns the configuration after it.
    ///
    /// Call it while applying the entry, before [`Raft::applied_to`] its index; for an entry of type
    /// `EntryConfChange` with its [`single_change`], and with node id 0 for what the state machine refused.
    /// A change that would leave no voter, that is of an unknown type, or that may not follow from the
    /// present configuration changes nothing. A leader that is no voter afterwards takes no more proposals,
    /// and steps down after `election_ticks`: until then it tells the others that the change is committed.
    pub fn apply_conf_change(&mut self, change: &ConfChangeV2) -> ConfState {
        self.members.apply(change, self.log.last() + 1);
        if self.role == Role::Leader {
            // A removal may leave a majority that has reached more.
            self.advance_commit();
            self.confirm_reads();
            self.release_reads();
            if !self.members.is_voter(self.config.id) {
                self.election_elapsed = 0;
            }
            if !self.members.is_voter(self.transferee) {
                self.transferee = NONE;
            }
        }
        self.members.conf_state()
    }

    /// Ends a joint configuration that is to end by itself, once the change that entered it is applied.
    pub(super) fn leave_joint_if_due(&mut self) {
        let is_due = self.role == Role::Leader
            && self.members.leaves_by_itself()
            && self.transferee == NONE
            && !self.is_conf_change_pending()
            && self.members.is_voter(self.config.id);
        if is_due {
            // This change is encoded in no bytes.
            self.push_conf_change(EntryType::EntryConfChangeV2, Bytes::new());
        }
    }

    /// Appends a change that was passed on, or an empty entry if it may not be proposed now.
    pub(super) fn append_conf_change(&mut self, entry: Entry) {
        if decode(&entry).is_some_and(|change| self.check_conf_change(&change).is_ok()) {
            self.push_conf_change(entry.r#type(), entry.data);
        } else {
            self.log.push(self.term, EntryType::EntryNormal, Bytes::new());
        }
    }

    fn propose_change_entry(&mut self, r#type: EntryType, data: Bytes) -> Result<Proposed, Error> {
        let entry = Entry { r#type: r#type as i32, data, ..Entry::default() };
        let change = decode(&entry).ok_or(Error::InvalidConfChange("it cannot be decoded"))?;
        if self.role != Role::Leader {
            return self.forward_proposal(NONE, vec![entry]);
        }
        self.check_conf_change(&change)?;
        self.check_may_append(crate::log::size(&entry))?;
        let before = self.log.last();
        self.push_conf_change(r#type, entry.data);
        Ok(self.appended_since(before))
    }

    /// Whether `change` may be proposed by this leader now.
    fn check_conf_change(&self, change: &ConfChangeV2) -> Result<(), Error> {
        let is_leave = kind(change) == Some(ChangeKind::Leave);
        if self.is_conf_change_pending() {
            return Err(Error::ConfChangePending);
        }
        match (self.members.is_joint(), is_leave) {
            (true, false) => Err(Error::InvalidConfChange("a joint configuration must be left first")),
            (false, true) => Err(Error::InvalidConfChange("only a joint configuration can be left")),
            (true, true) | (false, false) => Ok(()),
        }
    }

    fn push_conf_change(&mut self, r#type: EntryType, data: Bytes) {
        self.log.push(self.term, r#type, data);
        self.pending_conf_index = self.log.last();
    }

    fn is_conf_change_pending(&self) -> bool {
        self.pending_conf_index > self.log.applied() && !bugs::seeded_bug!("member-changes-overlap")
    }
}

#[cfg(test)]
mod tests;
