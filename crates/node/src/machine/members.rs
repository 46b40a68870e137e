//! What the machine does about the members of the cluster: their changes, this member's own entry, and the version of
//! the cluster.

use std::time::Duration;

use prost::Message as _;
use proto::membershippb::{Attributes, ClusterMemberAttrSetRequest, ClusterVersionSetRequest};
use proto::raftpb::{ConfChange, Entry, EntryType};
use store::{MemberChange, Outcome, Refusal, Request, Store};

use super::{Machine, Moment};
use crate::error::Fatal;
use crate::input::Answer;
use crate::output::{Note, Output};
use crate::waiters::Waiters;

impl Machine {
    /// A leader is known: makes this member's name and client URLs known to the cluster, once in the life of
    /// the process. A proposal may be lost, so it is made again after `retry_after`.
    pub(crate) fn introduce(&mut self, now: Duration, retry_after: Duration) {
        if self.is_published || self.introduced_at.is_some_and(|at| now < at + retry_after) {
            return;
        }
        self.introduced_at = Some(now);
        let (name, client_urls) = (self.member.name.clone(), self.member.client_ur_ls.clone());
        let attributes = Some(Attributes { name, client_urls });
        let request =
            ClusterMemberAttrSetRequest { member_id: self.member.id, member_attributes: attributes };
        let id = self.propose(Request::SetMemberAttributes(request));
        self.introductions.push(id);
    }

    /// Of all members, this is the lowest version.
    pub(crate) fn set_lowest_version(&mut self, lowest: String, moment: Moment) {
        self.lowest_version = Some(lowest);
        if moment.is_leader {
            self.decide_version();
        }
    }

    pub(super) fn apply_conf_change<W>(
        &mut self,
        entry: &Entry,
        waiters: &mut Waiters<W>,
        output: &mut Output<W>,
    ) -> Result<ConfChange, Fatal> {
        let (change, outcome) = change_members(&mut self.store, entry, self.max_learners)?;
        self.published.set_control(self.store.control());
        output.notes.push(Note::Members);
        if outcome.is_ok() && self.store.control().is_removed(self.member.id) {
            output.notes.push(Note::Removed);
        }
        if let Some(waiter) = waiters.take_proposal(change.id) {
            output.answers.push((waiter, Answer::Applied(outcome)));
        }
        Ok(change)
    }

    /// Proposes the cluster version if it is not what it should be: this member's, or the one that the
    /// cluster is being downgraded to.
    ///
    /// In a cluster of several members that is the lowest of theirs. Without a downgrade it never decreases.
    pub(super) fn decide_version(&mut self) {
        let control = self.store.control();
        let is_alone = control.members().count() <= 1;
        let lowest = if is_alone { Some(&self.cluster_version) } else { self.lowest_version.as_ref() };
        let Some(ver) = control.downgrade_target().or(lowest.map(String::as_str)) else { return };
        let is_downgrade = control.downgrade_target().is_some();
        let is_higher = version_number(ver) > version_number(control.cluster_version());
        if ver != control.cluster_version() && (is_downgrade || is_higher) {
            let request = ClusterVersionSetRequest { ver: ver.to_owned() };
            self.propose(Request::SetClusterVersion(request));
        }
    }
}

/// Major and minor of a version; lower than all others for an empty text.
fn version_number(version: &str) -> Option<(u32, u32)> {
    let (major, rest) = version.split_once('.')?;
    let minor = rest.split('.').next()?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Reads a configuration change of the raft log.
pub(super) fn read_conf_change(entry: &Entry) -> Result<(ConfChange, MemberChange), Fatal> {
    let unreadable = Fatal::ConfChange { index: entry.index };
    if entry.r#type() != EntryType::EntryConfChange {
        return Err(unreadable);
    }
    let Ok(change) = ConfChange::decode(entry.data.clone()) else { return Err(unreadable) };
    let Some(of_members) = MemberChange::decode(&change) else { return Err(unreadable) };
    Ok((change, of_members))
}

/// Carries out a committed configuration change. Returns what raft is to make of it, which is nothing if the
/// store refuses it, and the answer to whoever asked for it.
pub(crate) fn change_members(
    store: &mut Store,
    entry: &Entry,
    max_learners: usize,
) -> Result<(ConfChange, Result<Outcome, Refusal>), Fatal> {
    let (mut change, of_members) = read_conf_change(entry)?;
    let outcome = store.change_member(&of_members, max_learners);
    if outcome.is_err() {
        change.node_id = 0;
    }
    let members = || store.control().members().cloned().collect();
    Ok((change, outcome.map(|()| Outcome::Members(members()))))
}
