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

    /// The reason why this member cannot serve, or nothing if it can: a linearizable read, as clients do it, decides.
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

    fn response_header(&self, revision: i64) -> ResponseHeader {
        let header = self.header(revision);
        ResponseHeader {
            cluster_id: header.cluster_id,
            member_id: header.member_id,
            revision: header.revision,
            raft_term: header.raft_term,
        }
    }
}
