//! The output format for people: each key and value on its own line, sentences for the rest.

use proto::etcdserverpb::response_op::Response;
use proto::etcdserverpb::{
    AlarmType, DeleteRangeResponse, LeaseTimeToLiveResponse, MemberAddResponse, PutResponse, RangeResponse,
    ResponseHeader, TxnResponse,
};
use proto::mvccpb::KeyValue;
use proto::mvccpb::event::EventType;

use super::{Answer, Health, Refusal, rows};
use crate::text::{hex, lossy, quote};

/// Appends `answer` to `out`. The error of an endpoint goes to standard error.
pub(super) fn write(answer: &Answer, hex: bool, values_only: bool, out: &mut Vec<u8>) -> Result<(), Refusal> {
    let mut page = Page { hex, values_only, out };
    match answer {
        Answer::Put(response) => page.put(response),
        Answer::Range(response) => page.range(response),
        Answer::Delete(response) => page.delete(response),
        Answer::Txn(response) => page.txn(response),
        Answer::Watch(response) => {
            for event in &response.events {
                page.line(if event.r#type == EventType::Put as i32 { "PUT" } else { "DELETE" });
                event.prev_kv.iter().chain(&event.kv).for_each(|kv| page.kv(kv));
            }
        }
        Answer::Grant(response) => {
            page.line(format!("lease {:016x} granted with TTL({}s)", response.id, response.ttl));
        }
        Answer::Revoke(id, _) => page.line(format!("lease {id:016x} revoked")),
        Answer::KeepAlive(response) => {
            page.line(format!("lease {:016x} keepalived with TTL({})", response.id, response.ttl));
        }
        Answer::TimeToLive { response, with_keys } => page.time_to_live(response, *with_keys),
        Answer::Leases(response) => {
            page.line(format!("found {} leases", response.leases.len()));
            response.leases.iter().for_each(|lease| page.line(format!("{:016x}", lease.id)));
        }
        Answer::Alarms(response) => {
            for alarm in &response.alarms {
                let name = AlarmType::try_from(alarm.alarm).map_or("", |kind| kind.as_str_name());
                page.line(format!("memberID:{}  alarm:{name}", alarm.member_id));
            }
        }
        Answer::Members(response) => page.rows(&rows::members(response)),
        Answer::MemberAdd { response, name, peer_urls } => page.member_add(response, name, peer_urls),
        Answer::MemberRemove(id, response) => {
            page.member_changed(*id, "removed from", response.header.as_ref());
        }
        Answer::MemberUpdate(id, response) => {
            page.member_changed(*id, "updated in", response.header.as_ref());
        }
        Answer::MemberPromote(id, response) => {
            page.member_changed(*id, "promoted in", response.header.as_ref());
        }
        Answer::MoveLeader { from, to, .. } => {
            page.line(format!("Leadership transferred from {from:x} to {to:x}"));
        }
        Answer::Downgrade(action, response) => {
            page.line(format!("Downgrade {action} success, cluster version {}", response.version));
        }
        Answer::Status(list) => page.rows(&rows::status(list)),
        Answer::HashKv(list) => page.rows(&rows::hash_kv(list)),
        Answer::Health(list) => list.iter().for_each(|health| page.health(health)),
    }
    Ok(())
}

struct Page<'a> {
    hex: bool,
    values_only: bool,
    out: &'a mut Vec<u8>,
}

impl Page<'_> {
    fn line(&mut self, text: impl AsRef<[u8]>) {
        self.out.extend_from_slice(text.as_ref());
        self.out.push(b'\n');
    }

    fn rows(&mut self, rows: &[Vec<String>]) {
        rows.iter().for_each(|row| self.line(row.join(", ")));
    }

    fn kv(&mut self, kv: &KeyValue) {
        if !self.values_only {
            self.bytes(&kv.key);
        }
        self.bytes(&kv.value);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        if self.hex { self.line(hex(bytes)) } else { self.line(bytes) }
    }

    fn time_to_live(&mut self, response: &LeaseTimeToLiveResponse, with_keys: bool) {
        let (id, granted, left) = (response.id, response.granted_ttl, response.ttl);
        if granted == 0 && left == -1 {
            return self.line(format!("lease {id:016x} already expired"));
        }
        let mut text = format!("lease {id:016x} granted with TTL({granted}s), remaining({left}s)");
        if with_keys {
            let keys: Vec<_> = response.keys.iter().map(lossy).collect();
            text += &format!(", attached keys([{}])", keys.join(" "));
        }
        self.line(text);
    }

    fn health(&mut self, health: &Health) {
        let (endpoint, took, error) = (&health.endpoint, &health.took, &health.error);
        if error.is_empty() {
            self.line(format!("{endpoint} is healthy: successfully committed proposal: took = {took}"));
        } else {
            eprintln!("{endpoint} is unhealthy: failed to commit proposal: {error}");
        }
    }

    /// The new member, and the settings with which it is to be started.
    fn member_add(&mut self, response: &MemberAddResponse, name: &str, peer_urls: &str) {
        let member = response.member.clone().unwrap_or_default();
        let change = if member.is_learner { "added as learner to" } else { "added to" };
        self.member_changed(member.id, change, response.header.as_ref());
        let mut cluster = Vec::new();
        for one in &response.members {
            let name = if one.id == member.id { name } else { &one.name };
            cluster.extend(one.peer_ur_ls.iter().map(|url| format!("{name}={url}")));
        }
        self.line("");
        self.line(format!("ETCD_NAME={}", quote(name)));
        self.line(format!("ETCD_INITIAL_CLUSTER={}", quote(cluster.join(","))));
        self.line(format!("ETCD_INITIAL_ADVERTISE_PEER_URLS={}", quote(peer_urls)));
        self.line("ETCD_INITIAL_CLUSTER_STATE=\"existing\"");
    }

    /// etcd fills the ids up with blanks here.
    fn member_changed(&mut self, id: u64, change: &str, header: Option<&ResponseHeader>) {
        let cluster_id = header.map_or(0, |header| header.cluster_id);
        self.line(format!("Member {id:16x} {change} cluster {cluster_id:16x}"));
    }

    fn put(&mut self, response: &PutResponse) {
        self.line("OK");
        response.prev_kv.iter().for_each(|kv| self.kv(kv));
    }

    fn range(&mut self, response: &RangeResponse) {
        response.kvs.iter().for_each(|kv| self.kv(kv));
    }

    fn delete(&mut self, response: &DeleteRangeResponse) {
        self.line(response.deleted.to_string());
        response.prev_kvs.iter().for_each(|kv| self.kv(kv));
    }

    fn txn(&mut self, response: &TxnResponse) {
        self.line(if response.succeeded { "SUCCESS" } else { "FAILURE" });
        for op in &response.responses {
            self.line("");
            match &op.response {
                Some(Response::ResponsePut(response)) => self.put(response),
                Some(Response::ResponseRange(response)) => self.range(response),
                Some(Response::ResponseDeleteRange(response)) => self.delete(response),
                // The grammar of the command has no nested transactions.
                Some(Response::ResponseTxn(_)) | None => {}
            }
        }
    }
}
