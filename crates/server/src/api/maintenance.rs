//! How the member is doing.

use prost::Message;
use proto::etcdserverpb::{DowngradeInfo, HashKvRequest, HashKvResponse, ResponseHeader, StatusResponse};
use tokio::task::yield_now;

use super::encode::Encoded;
use super::{Api, Error};
use crate::config::ETCD_VERSION;

/// The quota reported when there is no limit: etcd reports what was configured, a negative number.
const UNLIMITED: i64 = -1;

impl Api {
    /// The state of this member, without asking anyone.
    pub(crate) fn status(&self) -> Encoded {
        let published = &self.published;
        let has_leader = published.leader() != 0;
        let response = StatusResponse {
            header: Some(self.response_header(self.view.revision())),
            version: ETCD_VERSION.to_owned(),
            db_size: published.size_bytes().cast_signed(),
            leader: published.leader(),
            raft_index: published.committed(),
            raft_term: published.term(),
            raft_applied_index: published.applied(),
            errors: if has_leader { Vec::new() } else { vec![Error::NoLeader.text().into_owned()] },
            db_size_in_use: published.size_in_use_bytes().cast_signed(),
            is_learner: false,
            storage_version: published.control().cluster_version().to_owned(),
            db_size_quota: self.settings.quota_bytes.map_or(UNLIMITED, u64::cast_signed),
            downgrade_info: Some(DowngradeInfo::default()),
        };
        Encoded { chunks: vec![response.encode_to_vec().into()] }
    }

    /// One number for all the store holds at a revision.
    pub(crate) async fn hash_kv(&self, request: HashKvRequest) -> Result<Encoded, Error> {
        let mut read = self.view.hash(request.revision).map_err(|e| self.store_error(e))?;
        while !read.step().map_err(|e| self.store_error(e))? {
            yield_now().await;
        }
        let (revision, hash) = read.finish();
        let response = HashKvResponse {
            header: Some(self.response_header(revision)),
            hash: hash.hash,
            compact_revision: hash.compact_revision,
            hash_revision: hash.revision,
        };
        Ok(Encoded { chunks: vec![response.encode_to_vec().into()] })
    }

    /// The reason why this member cannot serve, or nothing if it can: a linearizable read, as clients do it,
    /// decides.
    pub(crate) async fn unhealthy_reason(&self, is_serializable: bool) -> Option<String> {
        if !self.has_leader() {
            return Some("RAFT NO LEADER".to_owned());
        }
        if is_serializable {
            return None;
        }
        self.wait_readable().await.err().map(|error| format!("RANGE ERROR:{}", error.text()))
    }

    /// Server and cluster version, as `/version` tells them.
    pub(crate) fn versions(&self) -> (&'static str, String) {
        (ETCD_VERSION, self.published.control().cluster_version().to_owned())
    }

    /// Numbers of the moment for `/metrics`: name, help, value.
    pub(crate) fn gauges(&self) -> Vec<(&'static str, &'static str, f64)> {
        let published = &self.published;
        let is_leader = published.leader() == self.settings.member_id;
        let quota = self.settings.quota_bytes.map_or(UNLIMITED, u64::cast_signed);
        let flag = |is_true: bool| f64::from(u8::from(is_true));
        vec![
            (
                "etcd_server_has_leader",
                "Whether or not a leader exists. 1 is existence, 0 is not.",
                flag(self.has_leader()),
            ),
            (
                "etcd_server_is_leader",
                "Whether or not this member is a leader. 1 if is, 0 otherwise.",
                flag(is_leader),
            ),
            (
                "etcd_server_proposals_committed_total",
                "The total number of consensus proposals committed.",
                published.committed() as f64,
            ),
            (
                "etcd_server_proposals_applied_total",
                "The total number of consensus proposals applied.",
                published.applied() as f64,
            ),
            ("etcd_server_quota_backend_bytes", "Current backend storage quota size in bytes.", quota as f64),
            (
                "etcd_mvcc_db_total_size_in_bytes",
                "Total size of the underlying database physically allocated in bytes.",
                published.size_bytes() as f64,
            ),
            (
                "etcd_mvcc_db_total_size_in_use_in_bytes",
                "Total size of the underlying database logically in use in bytes.",
                published.size_in_use_bytes() as f64,
            ),
            ("etcd_debugging_mvcc_keys_total", "Total number of keys.", self.view.keys() as f64),
            (
                "etcd_debugging_mvcc_watcher_total",
                "Total number of watchers.",
                self.watch_hub.watchers() as f64,
            ),
            (
                "etcd_debugging_mvcc_current_revision",
                "The current revision of store.",
                self.view.revision() as f64,
            ),
            (
                "etcd_debugging_mvcc_compact_revision",
                "The revision of the last compaction in store.",
                self.view.compact_revision() as f64,
            ),
        ]
    }

    pub(super) fn response_header(&self, revision: i64) -> ResponseHeader {
        let header = self.header(revision);
        ResponseHeader {
            cluster_id: header.cluster_id,
            member_id: header.member_id,
            revision: header.revision,
            raft_term: header.raft_term,
        }
    }
}
