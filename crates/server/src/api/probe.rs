//! What the HTTP pages want to know of a member.

use proto::etcdserverpb::{AlarmMember, AlarmType, RangeRequest};
use serde_json::{Value, json};

use super::auth::FIRST_REVISION;
use super::maintenance::UNLIMITED;
use super::{Api, Error};
use crate::config::ETCD_VERSION;
use crate::metrics::Metrics;
use crate::read_budget::ReadShare;

impl Api {
    /// Whether a client could read: the smallest read there is, as clients do it.
    pub(crate) async fn probe(&self, is_serializable: bool) -> Result<(), Error> {
        if !is_serializable {
            // Not by the range: clients must not read like this at a learner, but a learner can be healthy.
            self.wait_read_index().await?;
        }
        let (key, range_end) = (vec![0].into(), vec![0].into());
        let request = RangeRequest {
            key,
            range_end,
            limit: 1,
            keys_only: true,
            serializable: true,
            ..RangeRequest::default()
        };
        self.range(request, &ReadShare::default()).await.map(drop)
    }

    /// Names of the alarms that are raised; one for each member that raised it.
    pub(crate) fn alarm_names(&self) -> Vec<&'static str> {
        let alarms = self.published.control().alarms().of_kind(AlarmType::None as i32);
        alarms.iter().map(alarm_name).collect()
    }

    /// The newest revision.
    pub(crate) fn revision(&self) -> i64 {
        self.view.revision()
    }

    /// Whether this member leads its cluster.
    pub(crate) fn is_leader(&self) -> bool {
        self.published.leader() == self.settings.member_id
    }

    /// This member.
    pub(crate) fn member_id(&self) -> u64 {
        self.settings.member_id
    }

    /// The voters of the cluster but this member.
    pub(crate) fn other_voters(&self) -> Vec<u64> {
        let control = self.published.control();
        let voters = control.members().filter(|member| !member.is_learner).map(|member| member.id);
        voters.filter(|id| *id != self.settings.member_id).collect()
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
        let (published, scrape) = (&self.published, metrics.scrape());
        let flag = |is_true: bool| f64::from(u8::from(is_true));
        let operations = self.view.operations();
        let quota = published.quota_bytes().map_or(UNLIMITED, u64::cast_signed);
        for (name, value) in [
            ("etcd_server_has_leader", flag(self.has_leader())),
            ("etcd_server_is_leader", flag(self.is_leader())),
            ("etcd_server_is_learner", flag(self.is_learner())),
            ("etcd_server_proposals_committed_total", published.committed() as f64),
            ("etcd_server_proposals_applied_total", published.applied() as f64),
            ("etcd_server_quota_backend_bytes", quota as f64),
            ("etcd_mvcc_db_total_size_in_bytes", published.size_bytes() as f64),
            ("etcd_mvcc_db_total_size_in_use_in_bytes", published.size_in_use_bytes() as f64),
            ("etcd_debugging_mvcc_keys_total", self.view.keys() as f64),
            ("etcd_debugging_auth_revision", FIRST_REVISION as f64),
            ("etcd_debugging_mvcc_slow_watcher_total", self.watch_hub.catching_up() as f64),
            ("etcd_debugging_mvcc_total_put_size_in_bytes", operations.put_bytes as f64),
            ("etcd_debugging_mvcc_watch_stream_total", self.watch_hub.streams() as f64),
            ("etcd_mvcc_db_open_read_transactions", self.view.open_reads() as f64),
            ("etcd_debugging_mvcc_watcher_total", self.watch_hub.watchers() as f64),
            ("etcd_debugging_mvcc_current_revision", self.view.revision() as f64),
            ("etcd_debugging_mvcc_compact_revision", self.view.compact_revision() as f64),
        ] {
            scrape.set(name, value);
        }
        for (name, value) in [
            ("etcd_debugging_mvcc_db_compaction_keys_total", operations.compacted),
            ("etcd_mvcc_range_total", operations.ranges),
            ("etcd_mvcc_put_total", operations.puts),
            ("etcd_mvcc_delete_total", operations.deletes),
            ("etcd_mvcc_txn_total", operations.txns),
        ] {
            scrape.set_counter(name, value);
        }
        let control = published.control();
        let alarms = control.alarms().of_kind(AlarmType::None as i32);
        scrape.set_alarms(alarms.iter().map(|alarm| (alarm.member_id, alarm_name(alarm))));
        scrape.set_known_peers(self.settings.member_id, control.members().map(|member| member.id));
        if let Some((minor, _patch)) = control.cluster_version().rsplit_once('.') {
            scrape.set_cluster_version(minor);
        }
    }
}

fn alarm_name(alarm: &AlarmMember) -> &'static str {
    AlarmType::try_from(alarm.alarm).map_or("UNKNOWN", |kind| kind.as_str_name())
}
