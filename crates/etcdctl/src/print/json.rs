//! JSON as Go makes it of etcd's structures, one line an answer.
//!
//! Fields are in the order of the structure. Most are left out when they are zero. Numbers are JSON numbers,
//! bytes are base64.

use proto::etcdserverpb::response_op::Response;
use proto::etcdserverpb::{
    AlarmMember, AlarmResponse, DeleteRangeResponse, HashKvResponse, LeaseTimeToLiveResponse, Member,
    MemberAddResponse, PutResponse, RangeResponse, ResponseHeader, StatusResponse, TxnResponse,
    WatchResponse,
};
use proto::mvccpb::{Event, KeyValue};

use super::json_value::{always, array, base64, bytes, flag, list, nested, number, object, string, text};
use super::{Answer, Health, Refusal};

/// Appends `answer` to `out`.
pub(super) fn write(answer: &Answer, hex: bool, out: &mut Vec<u8>) -> Result<(), Refusal> {
    let line = match answer {
        Answer::Put(response) => put(response),
        Answer::Range(response) => range(response),
        Answer::Delete(response) => delete(response),
        Answer::Txn(response) => txn(response),
        Answer::Watch(response) => watch(response),
        Answer::Grant(response) => {
            let [id, ttl] = [always("ID", response.id), always("TTL", response.ttl)];
            with_header(response.header.as_ref(), [id, ttl, always("Error", string(&response.error))])
        }
        Answer::Revoke(_, response) => object([nested("header", response.header.as_ref().map(header))]),
        Answer::KeepAlive(response) => {
            let fields = [always("ID", response.id), always("TTL", response.ttl)];
            with_header(response.header.as_ref(), fields)
        }
        Answer::TimeToLive { response, .. } => time_to_live(response),
        Answer::Leases(response) => {
            let leases = response.leases.iter().map(|lease| object([always("id", lease.id)]));
            with_header(response.header.as_ref(), [always("leases", array(leases))])
        }
        Answer::Members(response) => members(response.header.as_ref(), &response.members, hex),
        Answer::MemberAdd { response, .. } => member_add(response, hex),
        Answer::MemberRemove(_, response) => members(response.header.as_ref(), &response.members, hex),
        Answer::MemberUpdate(_, response) => members(response.header.as_ref(), &response.members, hex),
        Answer::MemberPromote(_, response) => members(response.header.as_ref(), &response.members, hex),
        Answer::MoveLeader { response, .. } => {
            object([nested("header", response.header.as_ref().map(header))])
        }
        Answer::Downgrade(_, response) => object([
            nested("header", response.header.as_ref().map(header)),
            text("version", &response.version),
        ]),
        Answer::Alarms(response) => alarms(response),
        Answer::Health(list) => array_or_null(list, health),
        Answer::Status(list) => array_or_null(list, |(endpoint, response)| {
            object([always("Endpoint", string(endpoint)), always("Status", status(response))])
        }),
        Answer::HashKv(list) => array_or_null(list, |(endpoint, response)| {
            object([always("Endpoint", string(endpoint)), always("HashKV", hash_kv(response))])
        }),
    };
    out.extend_from_slice(line.as_bytes());
    out.push(b'\n');
    Ok(())
}

/// Go writes a list to which nothing was ever added as null.
fn array_or_null<T>(list: &[T], item: impl Fn(&T) -> String) -> String {
    if list.is_empty() { "null".to_owned() } else { array(list.iter().map(item)) }
}

fn header_fields(header: &ResponseHeader) -> [Option<String>; 4] {
    [
        number("cluster_id", header.cluster_id),
        number("member_id", header.member_id),
        number("revision", header.revision),
        number("raft_term", header.raft_term),
    ]
}

fn header(header: &ResponseHeader) -> String {
    object(header_fields(header))
}

/// An object that has the fields of its header among its own.
fn with_header<const N: usize>(header: Option<&ResponseHeader>, fields: [Option<String>; N]) -> String {
    object(header.into_iter().flat_map(header_fields).chain(fields))
}

fn key_value(kv: &KeyValue) -> String {
    object([
        bytes("key", &kv.key),
        number("create_revision", kv.create_revision),
        number("mod_revision", kv.mod_revision),
        number("version", kv.version),
        bytes("value", &kv.value),
        number("lease", kv.lease),
    ])
}

fn put(response: &PutResponse) -> String {
    object([
        nested("header", response.header.as_ref().map(header)),
        nested("prev_kv", response.prev_kv.as_ref().map(key_value)),
    ])
}

fn range(response: &RangeResponse) -> String {
    object([
        nested("header", response.header.as_ref().map(header)),
        list("kvs", response.kvs.iter().map(key_value)),
        flag("more", response.more),
        number("count", response.count),
    ])
}

fn delete(response: &DeleteRangeResponse) -> String {
    object([
        nested("header", response.header.as_ref().map(header)),
        number("deleted", response.deleted),
        list("prev_kvs", response.prev_kvs.iter().map(key_value)),
    ])
}

fn txn(response: &TxnResponse) -> String {
    let op = |op: &Option<Response>| {
        nested_response(match op {
            Some(Response::ResponseRange(response)) => Some(("response_range", range(response))),
            Some(Response::ResponsePut(response)) => Some(("response_put", put(response))),
            Some(Response::ResponseDeleteRange(response)) => {
                Some(("response_delete_range", delete(response)))
            }
            Some(Response::ResponseTxn(response)) => Some(("response_txn", txn(response))),
            None => None,
        })
    };
    object([
        nested("header", response.header.as_ref().map(header)),
        flag("succeeded", response.succeeded),
        list("responses", response.responses.iter().map(|response| op(&response.response))),
    ])
}

fn nested_response(named: Option<(&str, String)>) -> String {
    object([always("Response", object(named.map(|(name, response)| always(name, response))))])
}

fn watch(response: &WatchResponse) -> String {
    object([
        always("Header", response.header.as_ref().map_or("null".to_owned(), header)),
        always("Events", array_or_null(&response.events, event)),
        always("CompactRevision", response.compact_revision),
        always("Canceled", response.canceled),
        always("Created", response.created),
        always("CancelReason", string(&response.cancel_reason)),
    ])
}

fn event(event: &Event) -> String {
    object([
        number("type", event.r#type),
        nested("kv", event.kv.as_ref().map(key_value)),
        nested("prev_kv", event.prev_kv.as_ref().map(key_value)),
    ])
}

fn time_to_live(response: &LeaseTimeToLiveResponse) -> String {
    let keys = array_or_null(&response.keys, |key| base64(key));
    let fields = [
        always("id", response.id),
        always("ttl", response.ttl),
        always("granted-ttl", response.granted_ttl),
        always("keys", keys),
    ];
    with_header(response.header.as_ref(), fields)
}

fn members(header: Option<&ResponseHeader>, members: &[Member], hex: bool) -> String {
    let list_of_members = array(members.iter().map(|one| member(one, hex)));
    if hex {
        object([always("header", hex_header_or_null(header)), always("members", list_of_members)])
    } else {
        let list_of_members = (!members.is_empty()).then_some(list_of_members);
        object([nested("header", header.map(self::header)), nested("members", list_of_members)])
    }
}

fn member_add(response: &MemberAddResponse, hex: bool) -> String {
    let header = response.header.as_ref();
    let added = response.member.as_ref().map(|one| member(one, hex));
    let members = response.members.iter().map(|one| member(one, hex));
    if hex {
        let added = added.unwrap_or("null".to_owned());
        let header = always("header", hex_header_or_null(header));
        object([header, always("member", added), always("members", array(members))])
    } else {
        let header = nested("header", header.map(self::header));
        object([header, nested("member", added), list("members", members)])
    }
}

fn hex_header_or_null(header: Option<&ResponseHeader>) -> String {
    let Some(header) = header else { return "null".to_owned() };
    object([
        hex_id("cluster_id", header.cluster_id),
        hex_id("member_id", header.member_id),
        number("revision", header.revision),
        number("raft_term", header.raft_term),
    ])
}

fn hex_id(name: &str, id: u64) -> Option<String> {
    always(name, string(&format!("{id:x}")))
}

fn member(member: &Member, hex: bool) -> String {
    object([
        if hex { hex_id("ID", member.id) } else { number("ID", member.id) },
        text("name", &member.name),
        list("peerURLs", member.peer_ur_ls.iter().map(|url| string(url))),
        list("clientURLs", member.client_ur_ls.iter().map(|url| string(url))),
        flag("isLearner", member.is_learner),
    ])
}

fn alarms(response: &AlarmResponse) -> String {
    let alarm =
        |alarm: &AlarmMember| object([number("memberID", alarm.member_id), number("alarm", alarm.alarm)]);
    object([
        nested("header", response.header.as_ref().map(header)),
        list("alarms", response.alarms.iter().map(alarm)),
    ])
}

fn health(health: &Health) -> String {
    object([
        always("endpoint", string(&health.endpoint)),
        always("health", health.is_healthy),
        always("took", string(&health.took)),
        text("error", &health.error),
    ])
}

fn status(response: &StatusResponse) -> String {
    let downgrade = response
        .downgrade_info
        .as_ref()
        .map(|info| object([flag("enabled", info.enabled), text("targetVersion", &info.target_version)]));
    object([
        nested("header", response.header.as_ref().map(header)),
        text("version", &response.version),
        number("dbSize", response.db_size),
        number("leader", response.leader),
        number("raftIndex", response.raft_index),
        number("raftTerm", response.raft_term),
        number("raftAppliedIndex", response.raft_applied_index),
        list("errors", response.errors.iter().map(|error| string(error))),
        number("dbSizeInUse", response.db_size_in_use),
        flag("isLearner", response.is_learner),
        text("storageVersion", &response.storage_version),
        number("dbSizeQuota", response.db_size_quota),
        nested("downgradeInfo", downgrade),
    ])
}

fn hash_kv(response: &HashKvResponse) -> String {
    object([
        nested("header", response.header.as_ref().map(header)),
        number("hash", response.hash),
        number("compact_revision", response.compact_revision),
        number("hash_revision", response.hash_revision),
    ])
}
