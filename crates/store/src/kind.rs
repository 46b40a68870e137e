//! What kind of command it is, for those who count.

use crate::Request;

/// The kind of a [`Request`], in etcd's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Of [`Request::Put`].
    Put,
    /// Of [`Request::DeleteRange`].
    DeleteRange,
    /// Of [`Request::Txn`].
    Txn,
    /// Of [`Request::Compact`].
    Compaction,
    /// Of [`Request::Alarm`].
    Alarm,
    /// Of [`Request::LeaseGrant`].
    LeaseGrant,
    /// Of [`Request::LeaseRevoke`].
    LeaseRevoke,
    /// Of [`Request::LeaseCheckpoint`].
    LeaseCheckpoint,
    /// Of [`Request::SetMemberAttributes`].
    ClusterMemberAttrSet,
    /// Of [`Request::SetClusterVersion`].
    ClusterVersionSet,
    /// Of [`Request::SetDowngrade`].
    DowngradeInfoSet,
    /// Of [`Request::V2`].
    V2,
}

impl Kind {
    /// Each kind, at the place that its number says.
    pub const ALL: [Kind; 12] = [
        Kind::Put,
        Kind::DeleteRange,
        Kind::Txn,
        Kind::Compaction,
        Kind::Alarm,
        Kind::LeaseGrant,
        Kind::LeaseRevoke,
        Kind::LeaseCheckpoint,
        Kind::ClusterMemberAttrSet,
        Kind::ClusterVersionSet,
        Kind::DowngradeInfoSet,
        Kind::V2,
    ];

    /// The name of the field that such a request has in etcd's log entries.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Put => "Put",
            Kind::DeleteRange => "DeleteRange",
            Kind::Txn => "Txn",
            Kind::Compaction => "Compaction",
            Kind::Alarm => "Alarm",
            Kind::LeaseGrant => "LeaseGrant",
            Kind::LeaseRevoke => "LeaseRevoke",
            Kind::LeaseCheckpoint => "LeaseCheckpoint",
            Kind::ClusterMemberAttrSet => "ClusterMemberAttrSet",
            Kind::ClusterVersionSet => "ClusterVersionSet",
            Kind::DowngradeInfoSet => "DowngradeInfoSet",
            Kind::V2 => "V2",
        }
    }
}

impl From<&Request> for Kind {
    fn from(request: &Request) -> Self {
        match request {
            Request::Put(_) => Kind::Put,
            Request::DeleteRange(_) => Kind::DeleteRange,
            Request::Txn(_) => Kind::Txn,
            Request::Compact(_) => Kind::Compaction,
            Request::Alarm(_) => Kind::Alarm,
            Request::LeaseGrant(_) => Kind::LeaseGrant,
            Request::LeaseRevoke(_) => Kind::LeaseRevoke,
            Request::LeaseCheckpoint(_) => Kind::LeaseCheckpoint,
            Request::SetMemberAttributes(_) => Kind::ClusterMemberAttrSet,
            Request::SetClusterVersion(_) => Kind::ClusterVersionSet,
            Request::SetDowngrade(_) => Kind::DowngradeInfoSet,
            Request::V2 => Kind::V2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_stands_at_its_number() {
        assert!(Kind::ALL.iter().enumerate().all(|(at, kind)| *kind as usize == at));
    }
}
