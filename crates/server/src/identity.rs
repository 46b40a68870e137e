//! The numbers that members and clusters are known by, computed as etcd computes them.

mod join;

use std::collections::BTreeSet;
use std::time::SystemTime;

use disk::wal::Metadata;
use proto::etcdserverpb::Member;
use sha1::{Digest, Sha1};

use crate::config::{Config, InitialMember, Url};

pub(crate) use self::join::{RunningCluster, joining_member, remote_peer_urls, resolve};

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
pub(crate) fn new_member(config: &Config) -> Result<Identity, String> {
    if let Some(setting) = &config.unsupported_bootstrap {
        return Err(format!("{setting} is not supported by this version yet"));
    }
    let listed = config.initial_cluster.as_ref().map_err(String::clone)?;
    let named = local(listed, config)?;
    check_unique(listed)?;
    check_advertised(named, config)?;
    let token = &config.initial_cluster_token;
    let mut initial_members: Vec<Member> = listed.iter().map(|member| listed_member(member, token)).collect();
    initial_members.sort_by_key(|member| member.id);
    let ids: Vec<u8> = initial_members.iter().flat_map(|member| member.id.to_be_bytes()).collect();
    let member = member(config, member_id(named, token), &named.peer_urls);
    Ok(Identity { member, cluster_id: first_eight_bytes(&ids), initial_members })
}

/// The member whose data `metadata` comes from. The list of the first members and everything else that a new member
/// goes by does not count any more, as in etcd: it may have changed since. It counts only if the first start was cut
/// short before anything was committed.
pub(crate) fn restarted_member(config: &Config, metadata: Metadata) -> Identity {
    let began = new_member(config).ok().filter(|identity| {
        (identity.member.id, identity.cluster_id) == (metadata.member_id, metadata.cluster_id)
    });
    Identity {
        member: member(config, metadata.member_id, &config.initial_advertise_peer_urls),
        cluster_id: metadata.cluster_id,
        initial_members: began.map(|identity| identity.initial_members).unwrap_or_default(),
    }
}

/// This member in the list of the first members.
fn local<'a>(listed: &'a [InitialMember], config: &Config) -> Result<&'a InitialMember, String> {
    let named = listed.iter().find(|member| member.name == config.name);
    named.ok_or_else(|| {
        format!("couldn't find local name {:?} in the initial cluster configuration", config.name)
    })
}

/// A member as the list of the first members names it.
fn listed_member(listed: &InitialMember, token: &str) -> Member {
    let (name, peer_ur_ls) = (listed.name.clone(), urls(&listed.peer_urls));
    Member { id: member_id(listed, token), name, peer_ur_ls, ..Member::default() }
}

/// No two members have a URL in common.
fn check_unique(listed: &[InitialMember]) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    let is_unique = listed.iter().flat_map(|member| urls(&member.peer_urls)).all(|url| seen.insert(url));
    if is_unique { Ok(()) } else { Err(format!("initial cluster {} has duplicate url", list_text(listed))) }
}

/// The list as etcd prints it: sorted pairs of name and URL.
fn list_text(listed: &[InitialMember]) -> String {
    let pairs = listed.iter().flat_map(|m| m.peer_urls.iter().map(move |url| format!("{}={url}", m.name)));
    let mut pairs: Vec<String> = pairs.collect();
    pairs.sort();
    pairs.join(",")
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

/// The list must say of this member what it says of itself.
fn check_advertised(named: &InitialMember, config: &Config) -> Result<(), String> {
    let advertised = &config.initial_advertise_peer_urls;
    if let Some(url) = named.peer_urls.iter().find(|url| !advertised.contains(url)) {
        let (name, advertised) = (&config.name, urls(advertised).join(","));
        return Err(format!(
            "--initial-cluster has {name}={url} but missing from --initial-advertise-peer-urls={advertised}"
        ));
    }
    if let Some(url) = advertised.iter().find(|url| !named.peer_urls.contains(url)) {
        let (name, listed) = (&config.name, urls(&named.peer_urls).join(","));
        return Err(format!(
            "--initial-advertise-peer-urls has {url} but missing from --initial-cluster={name}={listed}"
        ));
    }
    Ok(())
}

/// The hash of a member's sorted peer URLs, one after the other, and the cluster's token.
fn member_id(member: &InitialMember, token: &str) -> u64 {
    let mut peer_urls = urls(&member.peer_urls);
    peer_urls.sort();
    first_eight_bytes(format!("{}{token}", peer_urls.concat()).as_bytes())
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
    use super::*;
    use crate::config::Command;

    fn config(args: &[&str]) -> Config {
        match Command::read(args.iter().map(ToString::to_string), []).unwrap() {
            Command::Serve(config) => *config,
            other => panic!("{args:?} asks for {other:?}"),
        }
    }

    /// What etcd 3.5.1 reports for `--name default` with default URLs.
    #[test]
    fn ids_equal_those_of_etcd() {
        let Identity { member, cluster_id, .. } = new_member(&config(&[])).unwrap();
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
                 --initial-advertise-peer-urls=http://localhost:2380",
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
            (vec!["--discovery-srv", "x"], "--discovery-srv is not supported by this version yet"),
        ] {
            assert_eq!(new_member(&config(&args)), Err(text.to_owned()));
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
