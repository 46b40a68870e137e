//! What the HTTP pages want to know of a member.

use proto::etcdserverpb::{AlarmMember, AlarmType, RangeRequest};
use serde_json::{Value, json};

use super::maintenance::UNLIMITED;
use super::{Api, Error};
use crate::config::ETCD_VERSION;
use crate::metrics::Metrics;

impl Api {
    /// Whether a client could read: the smallest read there is, as clients do it.
    pub(crate) async fn probe(&self, is_serializable: bool) -> Result<(), Error> {
        let (key, range_end) = (vec![0].into(), vec![0].into());
        let request = RangeRequest {
            key,
            range_end,
            limit: 1,
            keys_only: true,
            serializable: is_serializable,
            ..RangeRequest::default()
        };
        self.range(&request).await.map(drop)
    }

    /// Names of the alarms that are raised; one for each member that raised it.
    pub(crate) fn alarm_names(&self) -> Vec<&'static str> {
        let alarms = self.published.control().alarms().of_kind(AlarmType::None as i32);
        let name = |alarm: &AlarmMember| {
            AlarmType::try_from(alarm.alarm).map_or("UNKNOWN", |kind| kind.as_str_name())
        };
        alarms.iter().map(name).collect()
    }

    /// The newest revision.
    pub(crate) fn revision(&self) -> i64 {
        self.view.revision()
    }

    /// Whether this member leads its cluster.
    pub(crate) fn is_leader(&self) -> bool {
        self.published.leader() == self.settings.member_id
    }

    /// Server and cluster version, as `/version` tells them.
    pub(crate) fn versions(&self) -> (&'static str, String) {
        (ETCD_VERSION, self.published.control().cluster_version().to_owned())
    }

    /// Where raft stands, as `/debug/vars` tells it.
    pub(crate) fn raft_status(&self) -> Value {
        let published = &self.published;
        json!({
            "id": format!("{:x}", self.settings.member_id),
            "term": published.term(),
            "commit": published.committed(),
            "lead": format!("{:x}", published.leader()),
            "raftState": if self.is_leader() { "StateLeader" } else { "StateFollower" },
            "applied": published.applied(),
        })
    }

    /// Sets the gauges of this moment.
    pub(crate) fn observe(&self, metrics: &Metrics) {
        let (published, moment) = (&self.published, metrics.moment());
        let flag = |is_true: bool| f64::from(u8::from(is_true));
        let quota = published.quota_bytes().map_or(UNLIMITED, u64::cast_signed);
        for (name, value) in [
            ("etcd_server_has_leader", flag(self.has_leader())),
            ("etcd_server_is_leader", flag(self.is_leader())),
            ("etcd_server_proposals_committed_total", published.committed() as f64),
            ("etcd_server_proposals_applied_total", published.applied() as f64),
            ("etcd_server_quota_backend_bytes", quota as f64),
            ("etcd_mvcc_db_total_size_in_bytes", published.size_bytes() as f64),
            ("etcd_mvcc_db_total_size_in_use_in_bytes", published.size_in_use_bytes() as f64),
            ("etcd_debugging_mvcc_keys_total", self.view.keys() as f64),
            ("etcd_debugging_mvcc_watcher_total", self.watch_hub.watchers() as f64),
            ("etcd_debugging_mvcc_current_revision", self.view.revision() as f64),
            ("etcd_debugging_mvcc_compact_revision", self.view.compact_revision() as f64),
        ] {
            moment.set(name, value);
        }
        let version = published.control().cluster_version().to_owned();
        if let Some((minor, _patch)) = version.rsplit_once('.') {
            moment.set_cluster_version(minor);
        }
    }
}
