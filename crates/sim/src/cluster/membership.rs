//! Who belongs to the cluster after each committed change, by etcd's rules.
//!
//! Written from the rules alone, like [`crate::model`]. It shares with the store only how a change is read from an
//! entry of the raft log.

use std::collections::{BTreeMap, BTreeSet};

use proto::etcdserverpb::Member;
use store::{Control, MemberChange, Refusal};

use crate::member::{LEARNERS_MAX, identity};

/// The members of the cluster at one place in the raft log.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Membership {
    members: BTreeMap<u64, Known>,
    removed: BTreeSet<u64>,
}

/// What is known of one member, beside what it says of itself.
#[derive(Debug, Clone, PartialEq)]
struct Known {
    is_learner: bool,
    peer_urls: Vec<String>,
}

impl Known {
    fn of(member: &Member) -> Known {
        Known { is_learner: member.is_learner, peer_urls: member.peer_ur_ls.clone() }
    }
}

impl Membership {
    /// The first members of a new cluster, so many of them.
    pub(super) fn initial(members: usize) -> Membership {
        let known = (0..members).map(identity).map(|member| (member.id, Known::of(&member)));
        Membership { members: known.collect(), removed: BTreeSet::new() }
    }

    /// Ids of all members, ascending.
    pub(super) fn ids(&self) -> impl Iterator<Item = u64> {
        self.members.keys().copied()
    }

    /// Ids of the members that vote, ascending.
    pub(super) fn voters(&self) -> impl Iterator<Item = u64> {
        self.members.iter().filter(|(_, known)| !known.is_learner).map(|(id, _)| *id)
    }

    /// Ids of the members that do not vote, ascending.
    pub(super) fn learners(&self) -> impl Iterator<Item = u64> {
        self.members.iter().filter(|(_, known)| known.is_learner).map(|(id, _)| *id)
    }

    pub(super) fn contains(&self, id: u64) -> bool {
        self.members.contains_key(&id)
    }

    pub(super) fn is_voter(&self, id: u64) -> bool {
        self.members.get(&id).is_some_and(|known| !known.is_learner)
    }

    pub(super) fn is_removed(&self, id: u64) -> bool {
        self.removed.contains(&id)
    }

    /// Carries out a change, or says why it is refused.
    pub(super) fn apply(&mut self, change: &MemberChange) -> Result<(), Refusal> {
        let id = change.member_id();
        if self.removed.contains(&id) {
            return Err(Refusal::MemberNotFound);
        }
        match change {
            MemberChange::Add(_) if self.contains(id) => Err(Refusal::MemberExists),
            MemberChange::Add(member) if self.is_url_used(member) => Err(Refusal::PeerUrlExists),
            MemberChange::Add(member) if member.is_learner && self.learners().count() >= LEARNERS_MAX => {
                Err(Refusal::TooManyLearners)
            }
            MemberChange::Add(member) => {
                self.members.insert(id, Known::of(member));
                Ok(())
            }
            _ if !self.contains(id) => Err(Refusal::MemberNotFound),
            MemberChange::Promote(_) if self.is_voter(id) => Err(Refusal::NotLearner),
            MemberChange::Promote(_) => {
                self.members.entry(id).and_modify(|known| known.is_learner = false);
                Ok(())
            }
            MemberChange::Remove(_) => {
                self.members.remove(&id);
                self.removed.insert(id);
                Ok(())
            }
            MemberChange::Update(member) if self.is_url_used(member) => Err(Refusal::PeerUrlExists),
            MemberChange::Update(member) => {
                self.members.entry(id).and_modify(|known| known.peer_urls.clone_from(&member.peer_ur_ls));
                Ok(())
            }
        }
    }

    /// Whether a store's table of members is this one.
    pub(super) fn compare(&self, control: &Control) -> Result<(), String> {
        self.compare_list(control.members())?;
        if control.removed_members().eq(self.removed.iter().copied()) {
            return Ok(());
        }
        let found: Vec<u64> = control.removed_members().collect();
        Err(format!("the removed members are {found:x?}, but must be {:x?}", self.removed))
    }

    /// Whether a list of members is this one.
    pub(super) fn compare_list<'a>(&self, list: impl Iterator<Item = &'a Member>) -> Result<(), String> {
        let found: BTreeMap<u64, Known> = list.map(|member| (member.id, Known::of(member))).collect();
        if found == self.members {
            return Ok(());
        }
        Err(format!("the members are {found:x?}, but must be {:x?}", self.members))
    }

    fn is_url_used(&self, member: &Member) -> bool {
        let others = self.members.iter().filter(|(id, _)| **id != member.id);
        let mut urls = others.flat_map(|(_, known)| &known.peer_urls);
        urls.any(|url| member.peer_ur_ls.contains(url))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learner(place: usize) -> Member {
        Member { is_learner: true, ..identity(place) }
    }

    #[test]
    fn a_removed_member_never_returns() {
        let mut membership = Membership::initial(3);
        let id = identity(2).id;
        membership.apply(&MemberChange::Remove(id)).unwrap();
        for change in [MemberChange::Add(identity(2)), MemberChange::Promote(id), MemberChange::Remove(id)] {
            assert_eq!(membership.apply(&change), Err(Refusal::MemberNotFound));
        }
        assert!(membership.is_removed(id) && membership.voters().count() == 2);
    }

    #[test]
    fn a_learner_votes_once_it_is_promoted() {
        let mut membership = Membership::initial(1);
        let id = identity(1).id;
        membership.apply(&MemberChange::Add(learner(1))).unwrap();
        assert_eq!(membership.apply(&MemberChange::Add(learner(2))), Err(Refusal::TooManyLearners));
        assert!(membership.contains(id) && !membership.is_voter(id));
        membership.apply(&MemberChange::Promote(id)).unwrap();
        assert!(membership.is_voter(id));
        assert_eq!(membership.apply(&MemberChange::Promote(id)), Err(Refusal::NotLearner));
    }

    #[test]
    fn a_url_belongs_to_one_member() {
        let mut membership = Membership::initial(2);
        let moved = Member { peer_ur_ls: identity(1).peer_ur_ls, ..identity(0) };
        assert_eq!(membership.apply(&MemberChange::Update(moved)), Err(Refusal::PeerUrlExists));
        assert!(membership.compare_list([identity(0), identity(1)].iter()).is_ok());
        assert!(membership.compare_list([identity(0)].iter()).is_err());
    }
}
