//! The numbers that members and clusters are known by, computed as etcd computes them.

use std::time::SystemTime;

use proto::etcdserverpb::Member;
use sha1::{Digest, Sha1};

use crate::config::{Config, InitialMember};

/// The members of a new cluster by ascending id, and the cluster's id.
pub(crate) fn initial_members(config: &Config) -> (Vec<Member>, u64) {
    let mut members: Vec<Member> =
        config.initial_cluster.iter().map(|m| initial_member(m, &config.initial_cluster_token)).collect();
    members.sort_by_key(|member| member.id);
    let ids: Vec<u8> = members.iter().flat_map(|member| member.id.to_be_bytes()).collect();
    let cluster_id = first_eight_bytes(&ids);
    (members, cluster_id)
}

/// A member's id is the hash of its sorted peer URLs, one after the other, and the cluster's token.
fn initial_member(member: &InitialMember, token: &str) -> Member {
    let mut peer_urls: Vec<String> = member.peer_urls.iter().map(ToString::to_string).collect();
    peer_urls.sort();
    let id = first_eight_bytes(format!("{}{token}", peer_urls.concat()).as_bytes());
    Member { id, name: member.name.clone(), peer_ur_ls: peer_urls, ..Member::default() }
}

fn first_eight_bytes(bytes: &[u8]) -> u64 {
    let digest = Sha1::digest(bytes);
    u64::from_be_bytes(digest[..8].try_into().expect("a SHA-1 has twenty bytes"))
}

/// The first id that this run gives to a proposal: 16 bits of the member, 40 bits of the time in milliseconds, 8 bits to count with; counting goes
/// on into the time. Greater than any id of an earlier run, as long as the clock does not go back further than the last run lasted.
pub(crate) fn first_request_id(member_id: u64) -> u64 {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let millis = since_epoch.as_millis() as u64 & ((1 << 40) - 1);
    member_id << 48 | millis << 8
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What etcd 3.5.1 reports for `--name default` with default URLs.
    #[test]
    fn ids_equal_those_of_etcd() {
        let url = crate::config::Url::parse("http://localhost:2380").unwrap();
        let member =
            initial_member(&InitialMember { name: "default".into(), peer_urls: vec![url] }, "etcd-cluster");
        assert_eq!(format!("{:x}", member.id), "8e9e05c52164694d");
        assert_eq!(format!("{:x}", first_eight_bytes(&member.id.to_be_bytes())), "cdf818194e3a8c32");
    }

    #[test]
    fn request_ids_begin_with_the_member() {
        assert_eq!(first_request_id(0xabcd_ef12) >> 48, 0xef12);
    }
}
