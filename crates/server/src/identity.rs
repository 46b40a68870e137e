//! The numbers that members and clusters are known by, computed as etcd computes them.

mod first_members;
mod join;
mod peer_urls;
mod remedy;
mod version_check;

use std::time::SystemTime;

use disk::wal::Metadata;
use proto::etcdserverpb::Member;
use sha1::{Digest, Sha1};

use crate::config::{Config, Url};

pub(crate) use self::first_members::FirstMembers;
pub(crate) use self::join::{RunningCluster, check_joinable, check_learners, joining_member};
pub(crate) use self::peer_urls::{Names, SystemNames};
pub(crate) use self::remedy::{bootstrapped_before, no_peer_answers};
pub(crate) use self::version_check::check_versions;

/// Who a member is, and with whom it begins.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Identity {
    pub(crate) member: Member,
    pub(crate) cluster_id: u64,
    /// The members a new cluster begins with, by ascending id. Empty if the member does not begin a new one.
    pub(crate) initial_members: Vec<Member>,
}

/// A member that has no data yet and begins a new cluster, from the list of the first members; or what is wrong
/// with the list. Texts are etcd's where it has one.
pub(crate) fn new_member(
    config: &Config,
    first: &FirstMembers,
    names: &mut impl Names,
) -> Result<Identity, String> {
    first.local(config)?;
    first.check_advertised(config, names)?;
    first.check_unique("initial cluster")?;
    began(config, first)
}

/// A member of the cluster that begins with `first`.
pub(crate) fn began(config: &Config, first: &FirstMembers) -> Result<Identity, String> {
    let named = first.local(config)?;
    let initial_members = first.with_ids();
    let ids: Vec<u8> = initial_members.iter().flat_map(|member| member.id.to_be_bytes()).collect();
    let member = member(config, first.id(named), &named.peer_urls);
    Ok(Identity { member, cluster_id: first_eight_bytes(&ids), initial_members })
}

/// The member whose data `metadata` comes from. The list of the first members and everything else that a new member
/// goes by does not count any more, as in etcd: it may have changed since. It counts only if the first start was cut
/// short before anything was committed.
pub(crate) fn restarted_member(config: &Config, metadata: Metadata) -> Identity {
    let listed = FirstMembers::listed(config).ok().and_then(|first| began(config, &first).ok());
    let listed = listed.filter(|identity| {
        (identity.member.id, identity.cluster_id) == (metadata.member_id, metadata.cluster_id)
    });
    Identity {
        member: member(config, metadata.member_id, &config.initial_advertise_peer_urls),
        cluster_id: metadata.cluster_id,
        initial_members: listed.map(|identity| identity.initial_members).unwrap_or_default(),
    }
}

fn member(config: &Config, id: u64, peer_urls: &[Url]) -> Member {
    Member {
        id,
        name: config.name.clone(),
        peer_ur_ls: urls(peer_urls),
        client_ur_ls: urls(&config.advertise_client_urls),
        is_learner: false,
    }
}

/// The id of a member that is added to a running cluster: the hash of its sorted peer URLs and of the time, in
/// seconds since 1970.
pub(crate) fn added_member_id(peer_urls: &[String], seconds: u64) -> u64 {
    first_eight_bytes(format!("{}{seconds}", peer_urls.concat()).as_bytes())
}

fn urls(urls: &[Url]) -> Vec<String> {
    urls.iter().map(ToString::to_string).collect()
}

fn first_eight_bytes(bytes: &[u8]) -> u64 {
    let digest = Sha1::digest(bytes);
    u64::from_be_bytes(digest[..8].try_into().expect("a SHA-1 has twenty bytes"))
}

/// The first id that this run gives to a proposal: 16 bits of the member, 40 bits of the time in milliseconds,
/// 8 bits to count with; counting goes on into the time. Greater than any id of an earlier run, as long as the
/// clock does not go back further than the last run lasted.
pub(crate) fn first_request_id(member_id: u64) -> u64 {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let millis = since_epoch.as_millis() as u64 & ((1 << 40) - 1);
    member_id << 48 | millis << 8
}

#[cfg(test)]
mod tests {
    use super::peer_urls::tests::FakeNames;
    use super::*;
    use crate::config::Command;

    fn config(args: &[&str]) -> Config {
        match Command::read(args.iter().map(ToString::to_string), []).unwrap() {
            Command::Serve(config) => *config,
            other => panic!("{args:?} asks for {other:?}"),
        }
    }

    fn new(args: &[&str]) -> Result<Identity, String> {
        let config = config(args);
        new_member(&config, &FirstMembers::listed(&config)?, &mut FakeNames::default())
    }

    /// What etcd 3.5.1 reports for `--name default` with default URLs.
    #[test]
    fn ids_equal_those_of_etcd() {
        let Identity { member, cluster_id, .. } = new(&[]).unwrap();
        assert_eq!(format!("{:x}", member.id), "8e9e05c52164694d");
        assert_eq!(format!("{cluster_id:x}"), "cdf818194e3a8c32");
        assert_eq!(member.client_ur_ls, ["http://localhost:2379"]);
    }

    #[test]
    fn a_list_that_does_not_fit_the_member_is_refused() {
        for (args, text) in [
            (
                vec!["--initial-cluster", "b=http://localhost:2380"],
                "couldn't find local name \"default\" in the initial cluster configuration",
            ),
            (
                vec!["--initial-cluster", "default=http://localhost:1"],
                "--initial-cluster has default=http://localhost:1 but missing from \
                 --initial-advertise-peer-urls=http://localhost:2380 (resolved urls: \
                 \"http://localhost:2380\" != \"http://localhost:1\")",
            ),
            (
                vec!["--initial-advertise-peer-urls", "http://localhost:1,http://localhost:2380"],
                "--initial-advertise-peer-urls has http://localhost:1 but missing from \
                 --initial-cluster=default=http://localhost:1,default=http://localhost:2380",
            ),
            (
                vec!["--initial-cluster", "default=http://localhost:2380,b=http://localhost:2380"],
                "initial cluster b=http://localhost:2380,default=http://localhost:2380 has duplicate url",
            ),
            (
                vec!["--initial-cluster", "default"],
                "error setting up initial cluster: URL scheme must be http, https, unix, or unixs: ",
            ),
            (
                vec!["--initial-cluster", ""],
                "couldn't find local name \"default\" in the initial cluster configuration",
            ),
        ] {
            assert_eq!(new(&args), Err(text.to_owned()));
        }
    }

    #[test]
    fn member_with_data_is_who_its_data_says() {
        let metadata = Metadata { member_id: 7, cluster_id: 9 };
        for args in [
            vec!["--initial-cluster", "b=http://localhost:1,c=http://localhost:2"],
            vec!["--initial-cluster", ""],
            vec!["--initial-cluster-state", "existing", "--initial-cluster-token", "t"],
            vec!["--initial-advertise-peer-urls", "http://10.0.0.2:2380"],
            vec!["--discovery-token", "t", "--discovery-endpoints", "http://localhost:1"],
        ] {
            let Identity { member, initial_members, .. } = restarted_member(&config(&args), metadata);
            assert_eq!((member.id, &*member.name), (7, "default"), "{args:?}");
            assert!(initial_members.is_empty());
        }
    }

    #[test]
    fn request_ids_begin_with_the_member() {
        assert_eq!(first_request_id(0xabcd_ef12) >> 48, 0xef12);
    }
}
