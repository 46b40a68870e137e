//! Answers as rows of cells, for the formats that show them so.

use proto::etcdserverpb::{HashKvResponse, MemberListResponse, StatusResponse};

use super::Health;
use crate::text::humanize;

pub(super) const MEMBERS: [&str; 6] = ["ID", "Status", "Name", "Peer Addrs", "Client Addrs", "Is Learner"];

pub(super) fn members(response: &MemberListResponse) -> Vec<Vec<String>> {
    let row = |member: &proto::etcdserverpb::Member| {
        vec![
            format!("{:x}", member.id),
            if member.name.is_empty() { "unstarted" } else { "started" }.to_owned(),
            member.name.clone(),
            member.peer_ur_ls.join(","),
            member.client_ur_ls.join(","),
            member.is_learner.to_string(),
        ]
    };
    response.members.iter().map(row).collect()
}

pub(super) const HEALTH: [&str; 4] = ["endpoint", "health", "took", "error"];

pub(super) fn health(list: &[Health]) -> Vec<Vec<String>> {
    let row = |health: &Health| {
        vec![
            health.endpoint.clone(),
            health.is_healthy.to_string(),
            health.took.clone(),
            health.error.clone(),
        ]
    };
    list.iter().map(row).collect()
}

pub(super) const STATUS: [&str; 16] = [
    "endpoint",
    "ID",
    "version",
    "storage version",
    "db size",
    "in use",
    "percentage not in use",
    "quota",
    "is leader",
    "is learner",
    "raft term",
    "raft index",
    "raft applied index",
    "errors",
    "downgrade target version",
    "downgrade enabled",
];

pub(super) fn status(list: &[(String, StatusResponse)]) -> Vec<Vec<String>> {
    let row = |(endpoint, response): &(String, StatusResponse)| {
        let member_id = response.header.as_ref().map_or(0, |header| header.member_id);
        let downgrade = response.downgrade_info.clone().unwrap_or_default();
        vec![
            endpoint.clone(),
            format!("{member_id:x}"),
            response.version.clone(),
            response.storage_version.clone(),
            size(response.db_size),
            size(response.db_size_in_use),
            format!("{}%", percentage_not_in_use(response)),
            size(response.db_size_quota),
            (response.leader == member_id).to_string(),
            response.is_learner.to_string(),
            response.raft_term.to_string(),
            response.raft_index.to_string(),
            response.raft_applied_index.to_string(),
            response.errors.join(", "),
            downgrade.target_version,
            downgrade.enabled.to_string(),
        ]
    };
    list.iter().map(row).collect()
}

fn size(bytes: i64) -> String {
    humanize(bytes.cast_unsigned())
}

/// A store without a size is taken to be in use.
fn percentage_not_in_use(response: &StatusResponse) -> i64 {
    let percentage = response.db_size_in_use.saturating_mul(100).checked_div(response.db_size);
    100 - percentage.unwrap_or(100)
}

pub(super) const HASH_KV: [&str; 3] = ["endpoint", "hash", "hash_revision"];

pub(super) fn hash_kv(list: &[(String, HashKvResponse)]) -> Vec<Vec<String>> {
    let row = |(endpoint, response): &(String, HashKvResponse)| {
        vec![endpoint.clone(), response.hash.to_string(), response.hash_revision.to_string()]
    };
    list.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use proto::etcdserverpb::{DowngradeInfo, ResponseHeader};

    use super::*;

    #[test]
    fn a_status_has_sixteen_cells() {
        let response = StatusResponse {
            header: Some(ResponseHeader { member_id: 0xab, ..ResponseHeader::default() }),
            version: "3.7.1".to_owned(),
            db_size: 20_480,
            db_size_in_use: 16_384,
            db_size_quota: 2 << 30,
            leader: 0xab,
            raft_term: 2,
            raft_index: 35,
            raft_applied_index: 34,
            errors: vec!["memberID:171 alarm:NOSPACE".to_owned(), "other".to_owned()],
            is_learner: false,
            storage_version: "3.7.0".to_owned(),
            downgrade_info: Some(DowngradeInfo::default()),
        };
        let row = status(&[("ep".to_owned(), response)]).remove(0).join(", ");
        let expected = "ep, ab, 3.7.1, 3.7.0, 20 kB, 16 kB, 20%, 2.1 GB, true, false, 2, 35, 34, \
                        memberID:171 alarm:NOSPACE, other, , false";
        assert_eq!(row, expected);
    }

    #[test]
    fn a_store_without_a_size_is_in_use() {
        assert_eq!(percentage_not_in_use(&StatusResponse::default()), 0);
    }
}
