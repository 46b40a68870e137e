//! The output format with one `"Name" : value` in each line.

use std::fmt::Display;

use proto::etcdserverpb::response_op::Response;
use proto::etcdserverpb::{
    AlarmType, DeleteRangeResponse, MemberListResponse, PutResponse, RangeResponse, ResponseHeader,
    StatusResponse, TxnResponse,
};
use proto::mvccpb::KeyValue;
use proto::mvccpb::event::EventType;

use super::{Answer, Refusal};
use crate::text::quote;

/// Appends `answer` to `out`.
pub(super) fn write(answer: &Answer, hex: bool, out: &mut Vec<u8>) -> Result<(), Refusal> {
    let mut page = Page { hex, out };
    match answer {
        Answer::Put(response) => page.put(response),
        Answer::Range(response) => page.range(response),
        Answer::Delete(response) => page.delete(response),
        Answer::Txn(response) => page.txn(response),
        Answer::Watch(response) => {
            page.header(response.header.as_ref());
            for event in &response.events {
                let is_put = event.r#type == EventType::Put as i32;
                page.field("Type", if is_put { "PUT" } else { "DELETE" });
                event.prev_kv.iter().for_each(|kv| page.kv("Prev", kv));
                event.kv.iter().for_each(|kv| page.kv("", kv));
            }
        }
        Answer::Grant(response) => page.lease(response.header.as_ref(), response.id, response.ttl),
        Answer::Revoke(_, response) => page.header(response.header.as_ref()),
        Answer::KeepAlive(response) => page.lease(response.header.as_ref(), response.id, response.ttl),
        Answer::TimeToLive { response, .. } => {
            page.lease(response.header.as_ref(), response.id, response.ttl);
            page.field("GrantedTTL", response.granted_ttl);
            response.keys.iter().for_each(|key| page.field("Key", quote(key)));
        }
        Answer::Leases(response) => {
            page.header(response.header.as_ref());
            response.leases.iter().for_each(|lease| page.lease_id("ID", lease.id));
        }
        Answer::Members(response) => page.members(response),
        Answer::MemberAdd { .. }
        | Answer::MemberRemove(..)
        | Answer::MemberUpdate(..)
        | Answer::MemberPromote(..)
        | Answer::MoveLeader { .. }
        | Answer::Downgrade(..) => return Err(Refusal::Unsupported),
        Answer::Alarms(response) => {
            page.header(response.header.as_ref());
            for alarm in &response.alarms {
                page.id("MemberID", alarm.member_id);
                page.field(
                    "AlarmType",
                    AlarmType::try_from(alarm.alarm).map_or("", |kind| kind.as_str_name()),
                );
                page.end();
            }
        }
        Answer::Health(list) => {
            for health in *list {
                page.field("Endpoint", quote(&health.endpoint));
                page.field("Health", health.is_healthy);
                page.field("Took", &health.took);
                page.field("Error", &health.error);
                page.end();
            }
        }
        Answer::Status(list) => list.iter().for_each(|(endpoint, response)| page.status(endpoint, response)),
        Answer::HashKv(list) => {
            for (endpoint, response) in *list {
                page.header(response.header.as_ref());
                page.field("Endpoint", quote(endpoint));
                page.field("Hash", response.hash);
                page.field("HashRevision", response.hash_revision);
                page.end();
            }
        }
    }
    Ok(())
}

struct Page<'a> {
    hex: bool,
    out: &'a mut Vec<u8>,
}

impl Page<'_> {
    fn field(&mut self, name: &str, value: impl Display) {
        self.out.extend_from_slice(format!("\"{name}\" : {value}\n").as_bytes());
    }

    /// The empty line after a block.
    fn end(&mut self) {
        self.out.push(b'\n');
    }

    /// The number of a member or a cluster.
    fn id(&mut self, name: &str, id: u64) {
        if self.hex { self.field(name, format_args!("{id:x}")) } else { self.field(name, id) }
    }

    fn lease_id(&mut self, name: &str, id: i64) {
        if self.hex { self.field(name, format_args!("{id:016x}")) } else { self.field(name, id) }
    }

    fn header(&mut self, header: Option<&ResponseHeader>) {
        let header = header.copied().unwrap_or_default();
        self.id("ClusterID", header.cluster_id);
        self.id("MemberID", header.member_id);
        // Responses that are not about keys have none.
        if header.revision > 0 {
            self.field("Revision", header.revision);
        }
        self.field("RaftTerm", header.raft_term);
    }

    fn kv(&mut self, prefix: &str, kv: &KeyValue) {
        self.field(&format!("{prefix}Key"), quote(&kv.key));
        self.field(&format!("{prefix}CreateRevision"), kv.create_revision);
        self.field(&format!("{prefix}ModRevision"), kv.mod_revision);
        self.field(&format!("{prefix}Version"), kv.version);
        self.field(&format!("{prefix}Value"), quote(&kv.value));
        self.lease_id(&format!("{prefix}Lease"), kv.lease);
    }

    fn put(&mut self, response: &PutResponse) {
        self.header(response.header.as_ref());
        response.prev_kv.iter().for_each(|kv| self.kv("Prev", kv));
    }

    fn range(&mut self, response: &RangeResponse) {
        self.header(response.header.as_ref());
        response.kvs.iter().for_each(|kv| self.kv("", kv));
        self.field("More", response.more);
        self.field("Count", response.count);
    }

    fn delete(&mut self, response: &DeleteRangeResponse) {
        self.header(response.header.as_ref());
        self.field("Deleted", response.deleted);
        response.prev_kvs.iter().for_each(|kv| self.kv("Prev", kv));
    }

    fn txn(&mut self, response: &TxnResponse) {
        self.header(response.header.as_ref());
        self.field("Succeeded", response.succeeded);
        for op in &response.responses {
            match &op.response {
                Some(Response::ResponsePut(response)) => self.put(response),
                Some(Response::ResponseRange(response)) => self.range(response),
                Some(Response::ResponseDeleteRange(response)) => self.delete(response),
                // The grammar of the command has no nested transactions.
                Some(Response::ResponseTxn(_)) | None => {}
            }
        }
    }

    fn lease(&mut self, header: Option<&ResponseHeader>, id: i64, ttl: i64) {
        self.header(header);
        self.lease_id("ID", id);
        self.field("TTL", ttl);
    }

    fn members(&mut self, response: &MemberListResponse) {
        self.header(response.header.as_ref());
        for member in &response.members {
            self.id("ID", member.id);
            self.field("Name", quote(&member.name));
            member.peer_ur_ls.iter().for_each(|url| self.field("PeerURL", quote(url)));
            member.client_ur_ls.iter().for_each(|url| self.field("ClientURL", quote(url)));
            self.field("IsLearner", member.is_learner);
            self.end();
        }
    }

    fn status(&mut self, endpoint: &str, response: &StatusResponse) {
        let downgrade = response.downgrade_info.clone().unwrap_or_default();
        self.header(response.header.as_ref());
        self.field("Version", quote(&response.version));
        self.field("StorageVersion", quote(&response.storage_version));
        self.field("DBSize", response.db_size);
        self.field("DBSizeInUse", response.db_size_in_use);
        self.field("DBSizeQuota", response.db_size_quota);
        self.field("Leader", response.leader);
        self.field("IsLearner", response.is_learner);
        self.field("RaftIndex", response.raft_index);
        self.field("RaftTerm", response.raft_term);
        self.field("RaftAppliedIndex", response.raft_applied_index);
        self.field("Errors", format_args!("[{}]", response.errors.join(" ")));
        self.field("Endpoint", quote(endpoint));
        self.field("DowngradeTargetVersion", quote(&downgrade.target_version));
        self.field("DowngradeEnabled", downgrade.enabled);
        self.end();
    }
}
