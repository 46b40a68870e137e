//! Which configuration follows from a change of it (Ongaro 2014, chapter 4, in etcd's form).
//!
//! A *simple* change adds or removes one voter, or changes learners. All others go through a *joint*
//! configuration: one entry enters it and another leaves it.
//!
//! ```text
//!   voters 1 2 3 ---- enter ----> incoming 3 4 5, outgoing 1 2 3 ---- leave ----> voters 3 4 5
//! ```
//!
//! A change takes effect whole or not at all. All members see the same configuration before it, so they
//! ignore the same changes.

use proto::raftpb::{ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2};

use super::{MEMBERS_MAX, Members};

/// How a change takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChangeKind {
    /// At once.
    Simple,
    /// It begins a joint configuration, which the leader ends by itself if `auto_leave`.
    Enter { auto_leave: bool },
    /// It ends the joint configuration.
    Leave,
}

/// How `change` takes effect; `None` for one that no correct member makes.
pub(crate) fn kind(change: &ConfChangeV2) -> Option<ChangeKind> {
    let is_known = |single: &ConfChangeSingle| ConfChangeType::try_from(single.r#type).is_ok();
    if change.changes.len() > MEMBERS_MAX || !change.changes.iter().all(is_known) {
        return None;
    }
    match (ConfChangeTransition::try_from(change.transition).ok()?, change.changes.len()) {
        (ConfChangeTransition::Auto, 0) => Some(ChangeKind::Leave),
        (_, 0) => None,
        (ConfChangeTransition::Auto, 1) => Some(ChangeKind::Simple),
        (ConfChangeTransition::Auto | ConfChangeTransition::JointImplicit, _) => {
            Some(ChangeKind::Enter { auto_leave: true })
        }
        (ConfChangeTransition::JointExplicit, _) => Some(ChangeKind::Enter { auto_leave: false }),
    }
}

impl Members {
    /// Applies one change. A new member is sent to from `next` on.
    ///
    /// A node id of 0 stands for a part that the state machine refused. Without effect are: a change of
    /// unknown type; one that would leave no voter or too many members; any during a joint configuration but
    /// that which leaves it; and that one outside a joint configuration.
    pub(crate) fn apply(&mut self, change: &ConfChangeV2, next: u64) {
        let Some(kind) = kind(change) else { return };
        let is_in_order = match kind {
            ChangeKind::Simple => !self.is_joint(),
            ChangeKind::Enter { .. } => !self.is_joint() && self.has_incoming_voter(),
            ChangeKind::Leave => self.is_joint(),
        };
        if !is_in_order {
            return;
        }
        let mut changed = self.clone();
        match kind {
            ChangeKind::Leave => changed.leave(),
            ChangeKind::Simple => changed.apply_each(&change.changes, next),
            ChangeKind::Enter { auto_leave } => {
                changed.enter(auto_leave);
                changed.apply_each(&change.changes, next);
            }
        }
        if changed.has_incoming_voter() && changed.check().is_ok() {
            *self = changed;
        }
    }

    fn enter(&mut self, auto_leave: bool) {
        self.auto_leave = auto_leave;
        for member in &mut self.table {
            member.standing.outgoing = member.standing.incoming;
        }
    }

    fn leave(&mut self) {
        self.auto_leave = false;
        self.table.retain(|member| {
            let standing = member.standing;
            standing.incoming || standing.next_learner || !standing.outgoing
        });
        for member in &mut self.table {
            member.standing.outgoing = false;
            member.standing.next_learner = false;
        }
    }

    fn apply_each(&mut self, changes: &[ConfChangeSingle], next: u64) {
        for change in changes.iter().filter(|change| change.node_id != 0) {
            match change.r#type() {
                ConfChangeType::ConfChangeAddNode => self.add_voter(change.node_id, next),
                ConfChangeType::ConfChangeAddLearnerNode if bugs::seeded_bug!("learner-votes") => {
                    self.add_voter(change.node_id, next);
                }
                ConfChangeType::ConfChangeAddLearnerNode => self.add_learner(change.node_id, next),
                ConfChangeType::ConfChangeRemoveNode if bugs::seeded_bug!("removed-member-counted") => {}
                ConfChangeType::ConfChangeRemoveNode => self.remove(change.node_id),
                // Addresses are the business of the state machine.
                ConfChangeType::ConfChangeUpdateNode => {}
            }
        }
    }

    fn add_voter(&mut self, id: u64, next: u64) {
        self.add(id, next);
        let standing = &mut self.entry(id, next).standing;
        standing.incoming = true;
        standing.next_learner = false;
    }

    /// An outgoing voter keeps its vote until the joint configuration ends, and is a learner from then on.
    fn add_learner(&mut self, id: u64, next: u64) {
        self.add(id, next);
        let standing = &mut self.entry(id, next).standing;
        standing.incoming = false;
        standing.next_learner = standing.outgoing;
    }

    /// An outgoing voter keeps its vote until the joint configuration ends.
    fn remove(&mut self, id: u64) {
        let Ok(at) = self.find(id) else { return };
        let standing = &mut self.table[at].standing;
        standing.incoming = false;
        standing.next_learner = false;
        if !standing.outgoing {
            self.table.remove(at);
        }
    }

    fn add(&mut self, id: u64, next: u64) {
        if self.find(id).is_err() {
            // It had no chance to be heard yet; counting it as silent could unseat the leader that adds it.
            self.entry(id, next).recent_active = true;
        }
    }

    fn has_incoming_voter(&self) -> bool {
        self.table.iter().any(|member| member.standing.incoming)
    }
}
