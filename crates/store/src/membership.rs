//! Who belongs to the cluster, and how a committed change of that is checked.
//!
//! A change is checked again when it is applied, on each member and with the same result: members may have been
//! changed since it was proposed. The checks and their order are etcd's.

use std::collections::{BTreeMap, BTreeSet};

use proto::etcdserverpb::Member;
use proto::member_json;
use proto::raftpb::{ConfChange, ConfChangeType};

use crate::Refusal;

/// What a configuration change of the raft log asks of the table of members.
#[derive(Debug, Clone, PartialEq)]
pub enum MemberChange {
    /// A new voter or learner.
    Add(Member),
    /// The learner with this id becomes a voter.
    Promote(u64),
    /// The member with this id has left for good.
    Remove(u64),
    /// A member has other peer URLs: `id` and `peer_ur_ls` count.
    Update(Member),
}

impl MemberChange {
    /// Reads what a configuration change asks for; `None` if it is not one that etcd writes.
    pub fn decode(change: &ConfChange) -> Option<MemberChange> {
        if change.r#type == ConfChangeType::ConfChangeRemoveNode as i32 {
            return Some(MemberChange::Remove(change.node_id));
        }
        let context = member_json::decode_context(&change.context)?;
        if context.member.id != change.node_id {
            return None;
        }
        let is_learner = change.r#type == ConfChangeType::ConfChangeAddLearnerNode as i32;
        match ConfChangeType::try_from(change.r#type).ok()? {
            ConfChangeType::ConfChangeAddNode if context.is_promote => {
                Some(MemberChange::Promote(change.node_id))
            }
            ConfChangeType::ConfChangeAddNode | ConfChangeType::ConfChangeAddLearnerNode => {
                Some(MemberChange::Add(Member { is_learner, ..context.member }))
            }
            ConfChangeType::ConfChangeUpdateNode => Some(MemberChange::Update(context.member)),
            ConfChangeType::ConfChangeRemoveNode => None,
        }
    }

    /// The configuration change that asks for this, proposed under `id`.
    pub fn encode(&self, id: u64) -> ConfChange {
        let (r#type, node_id, context) = match self {
            MemberChange::Add(member) if member.is_learner => {
                (ConfChangeType::ConfChangeAddLearnerNode, member.id, member_json::encode(member))
            }
            MemberChange::Add(member) => {
                (ConfChangeType::ConfChangeAddNode, member.id, member_json::encode(member))
            }
            MemberChange::Promote(member) => {
                (ConfChangeType::ConfChangeAddNode, *member, member_json::encode_promotion(*member))
            }
            MemberChange::Remove(member) => (ConfChangeType::ConfChangeRemoveNode, *member, String::new()),
            MemberChange::Update(member) => {
                (ConfChangeType::ConfChangeUpdateNode, member.id, member_json::encode(member))
            }
        };
        ConfChange { id, r#type: r#type as i32, node_id, context: context.into() }
    }

    /// The member that it concerns.
    pub fn member_id(&self) -> u64 {
        match self {
            MemberChange::Add(member) | MemberChange::Update(member) => member.id,
            MemberChange::Promote(id) | MemberChange::Remove(id) => *id,
        }
    }
}

/// Carries out a change, or refuses it and changes nothing. A cluster has no more than `max_learners` learners.
pub(crate) fn apply(
    members: &mut BTreeMap<u64, Member>,
    removed: &mut BTreeSet<u64>,
    change: &MemberChange,
    max_learners: usize,
) -> Result<(), Refusal> {
    if removed.contains(&change.member_id()) && !disk::seeded_bug!("removed-member-returns") {
        return Err(Refusal::MemberNotFound);
    }
    match change {
        MemberChange::Add(member) => {
            check_addition(members, member, max_learners)?;
            members.insert(member.id, member.clone());
        }
        MemberChange::Promote(id) => {
            let member = members.get_mut(id).ok_or(Refusal::MemberNotFound)?;
            if !member.is_learner {
                return Err(Refusal::NotLearner);
            }
            member.is_learner = false;
        }
        MemberChange::Remove(id) => {
            members.remove(id).ok_or(Refusal::MemberNotFound)?;
            removed.insert(*id);
        }
        MemberChange::Update(update) => {
            let is_used = |other: &Member| other.id != update.id && shares_url(other, update);
            if !members.contains_key(&update.id) {
                return Err(Refusal::MemberNotFound);
            }
            if members.values().any(is_used) {
                return Err(Refusal::PeerUrlExists);
            }
            if let Some(member) = members.get_mut(&update.id) {
                member.peer_ur_ls.clone_from(&update.peer_ur_ls);
            }
        }
    }
    Ok(())
}

fn check_addition(
    members: &BTreeMap<u64, Member>,
    member: &Member,
    max_learners: usize,
) -> Result<(), Refusal> {
    if members.contains_key(&member.id) {
        return Err(Refusal::MemberExists);
    }
    if members.values().any(|other| shares_url(other, member)) {
        return Err(Refusal::PeerUrlExists);
    }
    let learners = members.values().filter(|member| member.is_learner).count();
    if member.is_learner && learners >= max_learners {
        return Err(Refusal::TooManyLearners);
    }
    Ok(())
}

fn shares_url(a: &Member, b: &Member) -> bool {
    a.peer_ur_ls.iter().any(|url| b.peer_ur_ls.contains(url))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: u64, url: &str) -> Member {
        Member { id, peer_ur_ls: vec![url.to_owned()], ..Member::default() }
    }

    fn learner(id: u64, url: &str) -> Member {
        Member { is_learner: true, ..member(id, url) }
    }

    #[derive(Default)]
    struct Table {
        members: BTreeMap<u64, Member>,
        removed: BTreeSet<u64>,
    }

    impl Table {
        fn apply(&mut self, change: &MemberChange) -> Result<(), Refusal> {
            // The way through the raft log is part of what is tested.
            let decoded = MemberChange::decode(&change.encode(1)).unwrap();
            assert_eq!(&decoded, change);
            apply(&mut self.members, &mut self.removed, &decoded, 1)
        }
    }

    #[test]
    fn members_come_are_promoted_move_and_leave_for_good() {
        let mut table = Table::default();
        table.apply(&MemberChange::Add(member(1, "http://a:1"))).unwrap();
        table.apply(&MemberChange::Add(learner(2, "http://b:1"))).unwrap();
        assert!(table.members[&2].is_learner);
        table.apply(&MemberChange::Promote(2)).unwrap();
        assert!(!table.members[&2].is_learner);
        table.apply(&MemberChange::Update(member(2, "http://c:1"))).unwrap();
        assert_eq!(table.members[&2].peer_ur_ls, ["http://c:1"]);
        table.apply(&MemberChange::Remove(2)).unwrap();
        assert_eq!(table.members.len(), 1);
        for change in [
            MemberChange::Add(member(2, "http://d:1")),
            MemberChange::Promote(2),
            MemberChange::Update(member(2, "http://d:1")),
            MemberChange::Remove(2),
        ] {
            assert_eq!(table.apply(&change), Err(Refusal::MemberNotFound));
        }
    }

    #[test]
    fn a_change_that_no_longer_fits_changes_nothing() {
        let mut table = Table::default();
        table.apply(&MemberChange::Add(member(1, "http://a:1"))).unwrap();
        table.apply(&MemberChange::Add(learner(2, "http://b:1"))).unwrap();
        let before = table.members.clone();
        for (change, refusal) in [
            (MemberChange::Add(member(1, "http://z:1")), Refusal::MemberExists),
            (MemberChange::Add(member(3, "http://a:1")), Refusal::PeerUrlExists),
            (MemberChange::Add(learner(3, "http://z:1")), Refusal::TooManyLearners),
            (MemberChange::Promote(1), Refusal::NotLearner),
            (MemberChange::Promote(9), Refusal::MemberNotFound),
            (MemberChange::Remove(9), Refusal::MemberNotFound),
            (MemberChange::Update(member(9, "http://z:1")), Refusal::MemberNotFound),
            (MemberChange::Update(member(2, "http://a:1")), Refusal::PeerUrlExists),
        ] {
            assert_eq!(table.apply(&change), Err(refusal));
        }
        assert_eq!((table.members, table.removed.len()), (before, 0));
    }

    #[test]
    fn a_change_about_another_member_than_it_names_is_unreadable() {
        let mut change = MemberChange::Add(member(1, "http://a:1")).encode(1);
        change.node_id = 2;
        assert_eq!(MemberChange::decode(&change), None);
        change.context = "no json".into();
        assert_eq!(MemberChange::decode(&change), None);
        assert_eq!(MemberChange::decode(&ConfChange { r#type: 9, ..change }), None);
    }
}
