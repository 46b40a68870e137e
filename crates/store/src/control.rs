//! The control tables: what the cluster knows of itself, beside the keys.
//!
//! They live in memory and in the checkpoint, and change only by applied log entries. There is one
//! membership table.

use std::collections::{BTreeMap, BTreeSet};

use proto::checkpointpb::Checkpoint;
use proto::etcdserverpb::{AlarmType, Member};
use proto::membershippb::{ClusterMemberAttrSetRequest, DowngradeInfoSetRequest};

use crate::Refusal;
use crate::alarm::Alarms;
use crate::membership::{self, MemberChange};

/// Members, cluster version and alarms.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Control {
    members: BTreeMap<u64, Member>,
    removed: BTreeSet<u64>,
    cluster_version: String,
    /// Empty while none is under way.
    downgrade_target: String,
    alarms: Alarms,
}

impl Control {
    pub(crate) fn restore(checkpoint: &Checkpoint) -> Control {
        Control {
            members: checkpoint.members.iter().map(|m| (m.id, m.clone())).collect(),
            removed: checkpoint.removed_members.iter().copied().collect(),
            cluster_version: checkpoint.cluster_version.clone(),
            downgrade_target: checkpoint.downgrade_target.clone(),
            alarms: Alarms::restore(&checkpoint.alarms),
        }
    }

    pub(crate) fn describe(&self, checkpoint: &mut Checkpoint) {
        checkpoint.members = self.members.values().cloned().collect();
        if !disk::seeded_bug!("removals-not-in-checkpoint") {
            checkpoint.removed_members = self.removed.iter().copied().collect();
        }
        checkpoint.cluster_version.clone_from(&self.cluster_version);
        checkpoint.downgrade_target.clone_from(&self.downgrade_target);
        if !disk::seeded_bug!("alarms-not-in-checkpoint") {
            checkpoint.alarms = self.alarms.of_kind(AlarmType::None as i32);
        }
    }

    /// The members, by ascending id.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// One member.
    pub fn member(&self, id: u64) -> Option<&Member> {
        self.members.get(&id)
    }

    /// The ids of members that were removed, ascending.
    pub fn removed_members(&self) -> impl Iterator<Item = u64> {
        self.removed.iter().copied()
    }

    /// Whether a member of this id was removed.
    pub fn is_removed(&self, id: u64) -> bool {
        self.removed.contains(&id)
    }

    /// The decided cluster version such as `3.7.0`; empty until it is decided.
    pub fn cluster_version(&self) -> &str {
        &self.cluster_version
    }

    pub(crate) fn set_cluster_version(&mut self, version: &str) {
        version.clone_into(&mut self.cluster_version);
    }

    /// The version that the cluster is being downgraded to, such as `3.6.0`, if it is.
    pub fn downgrade_target(&self) -> Option<&str> {
        Some(&*self.downgrade_target).filter(|target| !target.is_empty())
    }

    pub(crate) fn set_downgrade(&mut self, request: &DowngradeInfoSetRequest) {
        let target = if request.enabled { &*request.ver } else { "" };
        target.clone_into(&mut self.downgrade_target);
    }

    /// The alarms.
    pub fn alarms(&self) -> &Alarms {
        &self.alarms
    }

    pub(crate) fn alarms_mut(&mut self) -> &mut Alarms {
        &mut self.alarms
    }

    /// Changes the members; see [`membership::apply`].
    pub(crate) fn change_member(
        &mut self,
        change: &MemberChange,
        max_learners: usize,
    ) -> Result<(), Refusal> {
        membership::apply(&mut self.members, &mut self.removed, change, max_learners)
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
    use proto::etcdserverpb::AlarmRequest;
    use proto::membershippb::Attributes;

    use super::*;

    #[test]
    fn a_checkpoint_holds_all_of_it() {
        let mut control = Control::default();
        let member = Member { id: 7, peer_ur_ls: vec!["http://a:2380".into()], ..Member::default() };
        control.change_member(&MemberChange::Add(member), 1).unwrap();
        control.set_cluster_version("3.7.0");
        let member_attributes =
            Some(Attributes { name: "a".into(), client_urls: vec!["http://a:2379".into()] });
        control.set_attributes(&ClusterMemberAttrSetRequest { member_id: 7, member_attributes });
        control.set_downgrade(&DowngradeInfoSetRequest { enabled: true, ver: "3.6.0".into() });
        control.alarms_mut().apply(&AlarmRequest { action: 1, member_id: 7, alarm: 1 });
        let mut checkpoint = Checkpoint::default();
        control.describe(&mut checkpoint);
        assert_eq!(Control::restore(&checkpoint), control);
        assert_eq!(control.member(7).unwrap().name, "a");
        assert_eq!(control.downgrade_target(), Some("3.6.0"));
    }

    #[test]
    fn attributes_of_an_unknown_member_change_nothing() {
        let mut control = Control::default();
        control.set_attributes(&ClusterMemberAttrSetRequest { member_id: 7, member_attributes: None });
        assert_eq!(control, Control::default());
    }
}
