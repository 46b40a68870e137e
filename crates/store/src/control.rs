//! The control tables: what the cluster knows of itself, beside the keys.
//!
//! They live in memory and in the checkpoint, and change only by applied log entries. There is one membership
//! table.

use std::collections::{BTreeMap, BTreeSet};

use proto::checkpointpb::Checkpoint;
use proto::etcdserverpb::Member;
use proto::membershippb::ClusterMemberAttrSetRequest;

/// Members and cluster version.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Control {
    members: BTreeMap<u64, Member>,
    removed: BTreeSet<u64>,
    cluster_version: String,
}

impl Control {
    pub(crate) fn restore(checkpoint: &Checkpoint) -> Control {
        Control {
            members: checkpoint.members.iter().map(|m| (m.id, m.clone())).collect(),
            removed: checkpoint.removed_members.iter().copied().collect(),
            cluster_version: checkpoint.cluster_version.clone(),
        }
    }

    pub(crate) fn describe(&self, checkpoint: &mut Checkpoint) {
        checkpoint.members = self.members.values().cloned().collect();
        checkpoint.removed_members = self.removed.iter().copied().collect();
        checkpoint.cluster_version.clone_from(&self.cluster_version);
    }

    /// The members, by ascending id.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// One member.
    pub fn member(&self, id: u64) -> Option<&Member> {
        self.members.get(&id)
    }

    /// The decided cluster version such as `3.7.0`; empty until it is decided.
    pub fn cluster_version(&self) -> &str {
        &self.cluster_version
    }

    pub(crate) fn set_cluster_version(&mut self, version: &str) {
        version.clone_into(&mut self.cluster_version);
    }

    /// Adds or replaces a member; one that was removed stays removed.
    pub(crate) fn put_member(&mut self, member: Member) {
        if !self.removed.contains(&member.id) {
            self.members.insert(member.id, member);
        }
    }

    /// Sets a member's name and client URLs; without effect on an unknown member.
    pub(crate) fn set_attributes(&mut self, request: &ClusterMemberAttrSetRequest) {
        let attributes = request.member_attributes.clone().unwrap_or_default();
        if let Some(member) = self.members.get_mut(&request.member_id) {
            member.name = attributes.name;
            member.client_ur_ls = attributes.client_urls;
        }
    }
}

#[cfg(test)]
mod tests {
    use proto::membershippb::Attributes;

    use super::*;

    #[test]
    fn a_checkpoint_holds_all_of_it() {
        let mut control = Control::default();
        control.put_member(Member { id: 7, peer_ur_ls: vec!["http://a:2380".into()], ..Member::default() });
        control.set_cluster_version("3.7.0");
        let member_attributes =
            Some(Attributes { name: "a".into(), client_urls: vec!["http://a:2379".into()] });
        control.set_attributes(&ClusterMemberAttrSetRequest { member_id: 7, member_attributes });
        let mut checkpoint = Checkpoint::default();
        control.describe(&mut checkpoint);
        assert_eq!(Control::restore(&checkpoint), control);
        assert_eq!(control.member(7).unwrap().name, "a");
    }

    #[test]
    fn attributes_of_an_unknown_member_change_nothing() {
        let mut control = Control::default();
        control.set_attributes(&ClusterMemberAttrSetRequest { member_id: 7, member_attributes: None });
        assert_eq!(control, Control::default());
    }

    #[test]
    fn a_removed_member_does_not_come_back() {
        let mut control = Control::restore(&Checkpoint { removed_members: vec![7], ..Checkpoint::default() });
        control.put_member(Member { id: 7, ..Member::default() });
        assert_eq!(control.members().count(), 0);
    }
}
