//! A member without data that joins a running cluster: what its settings say is compared with what the cluster says.
//!
//! The ids are the cluster's. The list of `--initial-cluster` must name each of its members, this one among them, by
//! the same peer URLs, as texts or as the addresses that they stand for.

use std::collections::BTreeSet;
use std::net::{SocketAddr, ToSocketAddrs};

use proto::etcdserverpb::Member;

use super::{Identity, check_advertised, check_unique, local, member, urls};
use crate::config::{Config, InitialMember, Url};

/// A cluster as one of its members describes it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RunningCluster {
    pub(crate) id: u64,
    pub(crate) members: Vec<Member>,
}

/// The peer URLs of the other members in the list, to be asked for the cluster; or what is wrong with the list.
pub(crate) fn remote_peer_urls(config: &Config) -> Result<Vec<Url>, String> {
    if let Some(setting) = &config.unsupported_bootstrap
        && setting.starts_with("--discovery")
    {
        return Err("discovery URL should not be set when joining existing initial cluster".to_owned());
    }
    let listed = config.initial_cluster.as_ref().map_err(String::clone)?;
    let named = local(listed, config)?;
    check_unique(listed)?;
    check_advertised(named, config)?;
    let others = listed.iter().filter(|member| member.name != config.name);
    let mut urls: Vec<Url> = others.flat_map(|member| member.peer_urls.clone()).collect();
    urls.sort_by_key(Url::to_string);
    Ok(urls)
}

/// Who this member is in `cluster`. `resolve` finds the addresses of a URL.
pub(crate) fn joining_member(
    config: &Config,
    cluster: &RunningCluster,
    resolve: impl Fn(&Url) -> Vec<SocketAddr>,
) -> Result<Identity, String> {
    let listed = config.initial_cluster.as_ref().map_err(String::clone)?;
    let wrong = |error: String| format!("error validating peerURLs {}: {error}", describe(cluster));
    if listed.len() != cluster.members.len() {
        return Err(wrong("member count is unequal".to_owned()));
    }
    let mut own = None;
    for member in &cluster.members {
        let found = listed.iter().find(|listed| is_at(listed, member, &resolve));
        let Some(found) = found else { return Err(wrong(no_match(member))) };
        if found.name == config.name {
            own = Some(member);
        }
    }
    let Some(own) = own else { return Err(wrong("member count is unequal".to_owned())) };
    let learners = cluster.members.iter().filter(|member| member.is_learner).count();
    if learners > config.max_learners {
        return Err("membership: too many learner members in cluster".to_owned());
    }
    let member =
        Member { is_learner: own.is_learner, ..member(config, own.id, &config.initial_advertise_peer_urls) };
    Ok(Identity { member, cluster_id: cluster.id, initial_members: Vec::new() })
}

/// The addresses of a URL; none if they cannot be found.
pub(crate) fn resolve(url: &Url) -> Vec<SocketAddr> {
    url.address.to_socket_addrs().map(Iterator::collect).unwrap_or_default()
}

/// Whether the list means this member: by the same URLs, or by URLs of the same addresses.
fn is_at(listed: &InitialMember, member: &Member, resolve: &impl Fn(&Url) -> Vec<SocketAddr>) -> bool {
    let mut given = member.peer_ur_ls.clone();
    given.sort();
    if urls(&listed.peer_urls) == given {
        return true;
    }
    let addresses = |urls: &[Url]| -> Option<BTreeSet<SocketAddr>> {
        urls.iter().map(|url| resolve(url).into_iter().min()).collect()
    };
    let given: Result<Vec<Url>, String> = given.iter().map(|url| Url::parse(url)).collect();
    let given = given.ok().and_then(|urls| addresses(&urls));
    given.is_some_and(|given| addresses(&listed.peer_urls) == Some(given))
}

fn no_match(member: &Member) -> String {
    let urls = member.peer_ur_ls.join(" ");
    format!(
        "PeerURLs: no match found for existing member ({:x}, [{urls}]), last resolver error (<nil>)",
        member.id
    )
}

/// The cluster as etcd prints it.
fn describe(cluster: &RunningCluster) -> String {
    let members = cluster.members.iter().map(|member| {
        format!(
            "&{{ID:{:x} RaftAttributes:{{PeerURLs:[{}] IsLearner:{}}} Attributes:{{Name:{} ClientURLs:[{}]}}}}",
            member.id,
            member.peer_ur_ls.join(" "),
            member.is_learner,
            member.name,
            member.client_ur_ls.join(" ")
        )
    });
    let members: Vec<String> = members.collect();
    format!("{{ClusterID:{:x} Members:[{}] RemovedMemberIDs:[]}}", cluster.id, members.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Command;

    fn config(initial_cluster: &str) -> Config {
        let args = [
            "--name",
            "b",
            "--initial-advertise-peer-urls",
            "http://b:1",
            "--initial-cluster-state",
            "existing",
            "--initial-cluster",
            initial_cluster,
        ];
        match Command::read(args.map(str::to_owned), []).unwrap() {
            Command::Serve(config) => *config,
            other => panic!("{other:?}"),
        }
    }

    fn running(members: &[(u64, &str, bool)]) -> RunningCluster {
        let members = members.iter().map(|(id, url, is_learner)| Member {
            id: *id,
            peer_ur_ls: vec![(*url).to_owned()],
            is_learner: *is_learner,
            ..Member::default()
        });
        RunningCluster { id: 9, members: members.collect() }
    }

    fn no_addresses(_: &Url) -> Vec<SocketAddr> {
        Vec::new()
    }

    #[test]
    fn ids_are_those_of_the_running_cluster() {
        let config = config("a=http://a:1,b=http://b:1");
        let urls: Vec<String> = remote_peer_urls(&config).unwrap().iter().map(Url::to_string).collect();
        assert_eq!(urls, ["http://a:1"]);
        let cluster = running(&[(1, "http://a:1", false), (2, "http://b:1", true)]);
        let identity = joining_member(&config, &cluster, no_addresses).unwrap();
        assert_eq!((identity.member.id, identity.cluster_id), (2, 9));
        assert!(identity.member.is_learner && identity.initial_members.is_empty());
        assert_eq!(identity.member.name, "b");
    }

    #[test]
    fn urls_may_differ_if_they_stand_for_the_same_addresses() {
        let resolve = |url: &Url| match url.to_string().as_str() {
            "http://a:1" | "http://10.0.0.1:1" => vec!["10.0.0.1:1".parse().unwrap()],
            _ => Vec::new(),
        };
        let cluster = running(&[(1, "http://10.0.0.1:1", false), (2, "http://b:1", false)]);
        assert!(joining_member(&config("a=http://a:1,b=http://b:1"), &cluster, resolve).is_ok());
    }

    #[test]
    fn a_list_that_is_not_that_of_the_cluster_is_refused() {
        let config = config("a=http://a:1,b=http://b:1");
        let refused = |members: &[(u64, &str, bool)]| {
            joining_member(&config, &running(members), no_addresses).unwrap_err()
        };
        let text = refused(&[(1, "http://a:1", false)]);
        let cluster = "{ClusterID:9 Members:[&{ID:1 RaftAttributes:{PeerURLs:[http://a:1] IsLearner:false} \
                       Attributes:{Name: ClientURLs:[]}}] RemovedMemberIDs:[]}";
        assert_eq!(text, format!("error validating peerURLs {cluster}: member count is unequal"));
        let text = refused(&[(1, "http://a:1", false), (2, "http://c:1", false)]);
        let reason =
            "PeerURLs: no match found for existing member (2, [http://c:1]), last resolver error (<nil>)";
        assert!(text.ends_with(reason), "{text}");
        let text = refused(&[(1, "http://a:1", true), (2, "http://b:1", true)]);
        assert_eq!(text, "membership: too many learner members in cluster");
    }
}
