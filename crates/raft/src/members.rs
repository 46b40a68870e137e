//! The members of the cluster as of the last applied configuration change, with the leader's view of each.
//!
//! Owns the only membership table of this crate; the configuration state handed to the log and to snapshots is
//! derived from it. Joint consensus would add a second set of voters here and ask both majorities in
//! [`Members::reached_by_majority`] and [`Members::tally`]; until then a joint configuration is refused.

use proto::raftpb::{ConfChange, ConfChangeType, ConfState};

use crate::Error;
use crate::progress::Progress;
use crate::quorum::{self, Tally};

#[derive(Debug)]
pub(crate) struct Members {
    /// Sorted by id.
    table: Vec<Progress>,
    /// One number a voter; kept to spare an allocation for each commit.
    scratch: Vec<u64>,
}

impl Members {
    /// The members of `conf_state`, each to be sent to from `next` on.
    ///
    /// Fails if the configuration is joint, names a member twice, or has a member 0.
    pub(crate) fn new(conf_state: &ConfState, next: u64) -> Result<Members, Error> {
        let ConfState { voters_outgoing, learners_next, auto_leave, .. } = conf_state;
        if !voters_outgoing.is_empty() || !learners_next.is_empty() || *auto_leave {
            return Err(Error::InvalidConfState("joint configurations are not supported yet"));
        }
        let voters = conf_state.voters.iter().map(|&id| Progress::new(id, false, next));
        let learners = conf_state.learners.iter().map(|&id| Progress::new(id, true, next));
        let mut table: Vec<Progress> = voters.chain(learners).collect();
        table.sort_by_key(|member| member.id);
        if table.windows(2).any(|pair| pair[0].id == pair[1].id) {
            return Err(Error::InvalidConfState("each member is named once"));
        }
        if table.first().is_some_and(|member| member.id == 0) {
            return Err(Error::InvalidConfState("no member has the id 0"));
        }
        Ok(Members { table, scratch: Vec::new() })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Progress> {
        self.table.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Progress> {
        self.table.iter_mut()
    }

    pub(crate) fn voters(&self) -> impl Iterator<Item = &Progress> {
        self.table.iter().filter(|member| !member.is_learner)
    }

    pub(crate) fn get_mut(&mut self, id: u64) -> Option<&mut Progress> {
        let at = self.table.binary_search_by_key(&id, |member| member.id).ok()?;
        Some(&mut self.table[at])
    }

    pub(crate) fn is_voter(&self, id: u64) -> bool {
        self.voters().any(|member| member.id == id)
    }

    /// Whether `id` is a voter and there is no other.
    pub(crate) fn is_only_voter(&self, id: u64) -> bool {
        self.is_voter(id) && self.voters().count() == 1
    }

    /// The largest value of `number` that a majority of the voters has reached.
    pub(crate) fn reached_by_majority(&mut self, number: impl Fn(&Progress) -> u64) -> u64 {
        self.scratch.clear();
        self.scratch.extend(self.table.iter().filter(|member| !member.is_learner).map(number));
        quorum::reached_by_majority(&mut self.scratch)
    }

    /// The state of an election after `votes`; answers of members without a vote do not count.
    pub(crate) fn tally(&self, votes: &[(u64, bool)]) -> Tally {
        let counted = votes.iter().filter(|(id, _)| self.is_voter(*id));
        let (granted, refused) =
            counted.fold(
                (0, 0),
                |(granted, refused), (_, vote)| {
                    if *vote { (granted + 1, refused) } else { (granted, refused + 1) }
                },
            );
        quorum::tally(self.voters().count(), granted, refused)
    }

    /// Whether a majority of the voters was heard from since the last call.
    pub(crate) fn take_quorum_activity(&mut self, own_id: u64) -> bool {
        let reached =
            self.reached_by_majority(|member| u64::from(member.recent_active || member.id == own_id));
        for member in &mut self.table {
            member.recent_active = false;
        }
        reached == 1
    }

    /// Starts a leader's term: nothing is known of the others but that `next` is worth trying.
    pub(crate) fn reset(&mut self, next: u64) {
        for member in &mut self.table {
            *member = Progress::new(member.id, member.is_learner, next);
        }
    }

    /// Applies one change; a node id of 0 stands for a change that the state machine refused. A new member is
    /// sent to from `next` on.
    ///
    /// A change of unknown type and one that would leave no voter have no effect. All members see the same
    /// configuration before the change, so they ignore the same changes.
    pub(crate) fn apply(&mut self, change: &ConfChange, next: u64) {
        let id = change.node_id;
        let Ok(r#type) = ConfChangeType::try_from(change.r#type) else { return };
        if id == 0 {
            return;
        }
        match r#type {
            ConfChangeType::ConfChangeAddNode => self.add(id, false, next),
            ConfChangeType::ConfChangeAddLearnerNode if !self.is_only_voter(id) => self.add(id, true, next),
            ConfChangeType::ConfChangeRemoveNode if !self.is_only_voter(id) => {
                self.table.retain(|member| member.id != id);
            }
            ConfChangeType::ConfChangeAddLearnerNode | ConfChangeType::ConfChangeRemoveNode => {}
            // Addresses are the business of the state machine.
            ConfChangeType::ConfChangeUpdateNode => {}
        }
    }

    pub(crate) fn conf_state(&self) -> ConfState {
        let ids = |learner: bool| -> Vec<u64> {
            self.table.iter().filter(|member| member.is_learner == learner).map(|member| member.id).collect()
        };
        ConfState { voters: ids(false), learners: ids(true), ..ConfState::default() }
    }

    fn add(&mut self, id: u64, is_learner: bool, next: u64) {
        match self.table.binary_search_by_key(&id, |member| member.id) {
            Ok(at) => self.table[at].is_learner = is_learner,
            Err(at) => {
                let mut member = Progress::new(id, is_learner, next);
                // It had no chance to be heard yet; counting it as silent could unseat the leader that adds it.
                member.recent_active = true;
                self.table.insert(at, member);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(voters: &[u64], learners: &[u64]) -> Members {
        Members::new(
            &ConfState { voters: voters.to_vec(), learners: learners.to_vec(), ..ConfState::default() },
            1,
        )
        .unwrap()
    }

    fn change(r#type: ConfChangeType, node_id: u64) -> ConfChange {
        ConfChange { r#type: r#type as i32, node_id, ..ConfChange::default() }
    }

    #[test]
    fn learners_count_neither_for_commit_nor_for_votes() {
        let mut members = members(&[1, 2, 3], &[4, 5]);
        for id in [1, 4, 5] {
            members.get_mut(id).unwrap().matched = 7;
        }
        assert_eq!(members.reached_by_majority(|member| member.matched), 0);
        assert_eq!(members.tally(&[(1, true), (4, true), (5, true)]), Tally::Pending);
        assert_eq!(members.tally(&[(1, true), (2, true)]), Tally::Won);
    }

    #[test]
    fn adding_a_learner_as_voter_promotes_it_and_keeps_its_progress() {
        let mut members = members(&[1], &[2]);
        members.get_mut(2).unwrap().matched = 9;
        members.apply(&change(ConfChangeType::ConfChangeAddNode, 2), 1);
        assert_eq!(members.conf_state().voters, [1, 2]);
        assert_eq!(members.get_mut(2).unwrap().matched, 9);
    }

    #[test]
    fn refused_and_address_changes_leave_the_members() {
        let mut members = members(&[1, 2], &[]);
        members.apply(&change(ConfChangeType::ConfChangeRemoveNode, 0), 1);
        members.apply(&change(ConfChangeType::ConfChangeUpdateNode, 2), 1);
        assert_eq!(members.conf_state().voters, [1, 2]);
    }

    #[test]
    fn quorum_activity_counts_oneself_and_is_forgotten_once_asked() {
        let mut members = members(&[1, 2, 3], &[]);
        assert!(!members.take_quorum_activity(1));
        members.get_mut(3).unwrap().recent_active = true;
        assert!(members.take_quorum_activity(1));
        assert!(!members.take_quorum_activity(1));
    }

    #[test]
    fn the_only_voter_is_neither_removed_nor_demoted() {
        let mut members = members(&[1], &[2]);
        members.apply(&change(ConfChangeType::ConfChangeRemoveNode, 1), 1);
        members.apply(&change(ConfChangeType::ConfChangeAddLearnerNode, 1), 1);
        assert_eq!(members.conf_state().voters, [1]);
    }

    #[test]
    fn change_of_unknown_type_adds_nobody() {
        let mut members = members(&[1], &[]);
        members.apply(&ConfChange { r#type: 9, node_id: 2, ..ConfChange::default() }, 1);
        assert_eq!(members.conf_state().voters, [1]);
    }

    #[test]
    fn joint_and_contradictory_configurations_are_refused() {
        let joint = [
            ConfState { voters_outgoing: vec![1, 2, 3], ..ConfState::default() },
            ConfState { learners_next: vec![4], ..ConfState::default() },
            ConfState { auto_leave: true, ..ConfState::default() },
        ];
        let contradictory = [
            ConfState { voters: vec![1, 1], ..ConfState::default() },
            ConfState { voters: vec![1], learners: vec![1], ..ConfState::default() },
            ConfState { voters: vec![0, 1], ..ConfState::default() },
        ];
        for conf_state in joint.iter().chain(&contradictory) {
            assert!(matches!(Members::new(conf_state, 1), Err(Error::InvalidConfState(_))), "{conf_state:?}");
        }
    }
}
