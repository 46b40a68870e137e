//! A member without data that joins a running cluster: what its settings say is compared with what the cluster says.
//!
//! The ids are the cluster's. The list of `--initial-cluster` must name each of its members, this one among them, by
//! the same peer URLs, as texts or as the addresses that they stand for.

use proto::etcdserverpb::Member;

use super::first_members::FirstMembers;
use super::peer_urls::{Names, are_equal, check_same_place};
use super::{Identity, member, remedy};
use crate::config::{Config, Discovery, InitialMember, Url};

/// A cluster as one of its members describes it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RunningCluster {
    pub(crate) id: u64,
    pub(crate) members: Vec<Member>,
}

/// Checks what the settings of a member that joins a cluster say of it.
pub(crate) fn check_joinable(config: &Config, first: &FirstMembers) -> Result<(), String> {
    first.local(config)?;
    first.check_unique("initial cluster")?;
    if matches!(config.discovery, Some(Discovery::Service(_))) {
        return Err("discovery URL should not be set when joining existing initial cluster".to_owned());
    }
    Ok(())
}

/// Who this member is in `cluster`.
pub(crate) fn joining_member(
    config: &Config,
    first: &FirstMembers,
    cluster: &RunningCluster,
    names: &mut impl Names,
) -> Result<Identity, String> {
    let own = own_entry(config, first, cluster, names).map_err(|error| {
        let text = describe(cluster);
        format!("error validating peerURLs {text}: {error}. {}", remedy::list_of(config, first, cluster))
    })?;
    let member =
        Member { is_learner: own.is_learner, ..member(config, own.id, &config.initial_advertise_peer_urls) };
    Ok(Identity { member, cluster_id: cluster.id, initial_members: Vec::new() })
}

/// Checks that the cluster has no more learners than the settings allow.
pub(crate) fn check_learners(config: &Config, cluster: &RunningCluster) -> Result<(), String> {
    let learners = cluster.members.iter().filter(|member| member.is_learner).count();
    if learners <= config.max_learners {
        return Ok(());
    }
    let max = config.max_learners;
    Err(format!(
        "membership: too many learner members in cluster: it has {learners}, and this member is started with \
         --max-learners={max}"
    ))
}

/// This member in the cluster. Each member must be in the list, and nobody else.
fn own_entry<'a>(
    config: &Config,
    first: &FirstMembers,
    cluster: &'a RunningCluster,
    names: &mut impl Names,
) -> Result<&'a Member, String> {
    let unequal = || "member count is unequal".to_owned();
    if first.members.len() != cluster.members.len() {
        return Err(unequal());
    }
    let mut own = None;
    for member in &cluster.members {
        let found = entry_of(&first.members, member, names).map_err(|error| no_match(member, &error))?;
        if found.name == config.name {
            own = Some(member);
        }
    }
    own.ok_or_else(unequal)
}

/// The entry of the list that means this member: by the same URLs, or by URLs of the same addresses. The error says
/// why the last entry does not. All texts are compared before a name is looked up.
fn entry_of<'a>(
    listed: &'a [InitialMember],
    member: &Member,
    names: &mut impl Names,
) -> Result<&'a InitialMember, String> {
    let parsed: Result<Vec<Url>, String> = member.peer_ur_ls.iter().map(|url| Url::parse(url)).collect();
    let peer_urls = parsed?;
    if let Some(equal) = listed.iter().find(|entry| are_equal(&entry.peer_urls, &peer_urls)) {
        return Ok(equal);
    }
    let mut error = "<nil>".to_owned();
    for entry in listed {
        match check_same_place(&peer_urls, &entry.peer_urls, names) {
            Ok(()) => return Ok(entry),
            Err(reason) => error = reason,
        }
    }
    Err(error)
}

fn no_match(member: &Member, error: &str) -> String {
    let urls = member.peer_ur_ls.join(" ");
    format!(
        "PeerURLs: no match found for existing member ({:x}, [{urls}]), last resolver error ({error})",
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
    use crate::identity::peer_urls::tests::FakeNames;

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

    fn join(list: &str, members: &[(u64, &str, bool)], names: &mut FakeNames) -> Result<Identity, String> {
        let config = config(list);
        let first = FirstMembers::listed(&config)?;
        check_joinable(&config, &first)?;
        joining_member(&config, &first, &running(members), names)
    }

    #[test]
    fn ids_are_those_of_the_running_cluster() {
        let members = [(1, "http://a:1", false), (2, "http://b:1", true)];
        let identity = join("a=http://a:1,b=http://b:1", &members, &mut FakeNames::default()).unwrap();
        assert_eq!((identity.member.id, identity.cluster_id), (2, 9));
        assert!(identity.member.is_learner && identity.initial_members.is_empty());
        assert_eq!(identity.member.name, "b");
    }

    #[test]
    fn urls_may_differ_if_they_stand_for_the_same_addresses() {
        let mut names = FakeNames::of(&[("a:1", "10.0.0.1:1"), ("b:1", "10.0.0.2:1")]);
        let members = [(1, "http://10.0.0.1:1", false), (2, "http://b:1", false)];
        assert_eq!(join("a=http://a:1,b=http://b:1", &members, &mut names).unwrap().member.id, 2);
    }

    #[test]
    fn a_list_that_is_not_that_of_the_cluster_is_refused_with_the_right_one() {
        let refused = |members: &[(u64, &str, bool)]| {
            join("a=http://a:1,b=http://b:1", members, &mut FakeNames::default()).unwrap_err()
        };
        let text = refused(&[(1, "http://a:1", false)]);
        let cluster = "{ClusterID:9 Members:[&{ID:1 RaftAttributes:{PeerURLs:[http://a:1] IsLearner:false} \
                       Attributes:{Name: ClientURLs:[]}}] RemovedMemberIDs:[]}";
        let start = format!("error validating peerURLs {cluster}: member count is unequal. ");
        assert!(text.starts_with(&start), "{text}");
        assert!(text.contains("`etcdctl member add b --peer-urls=http://b:1`"), "{text}");
        let text = refused(&[(1, "http://a:1", false), (2, "http://c:1", false)]);
        let reason = "PeerURLs: no match found for existing member (2, [http://c:1]), last resolver error \
                      (failed to resolve \"http://c:1\" (lookup c: no such host))";
        assert!(text.contains(reason), "{text}");
        let text = refused(&[(1, "http://z:1", false), (2, "http://b:1", false), (3, "http://c:1", false)]);
        assert!(
            text.ends_with(
                "start with --initial-cluster=member-1=http://z:1,b=http://b:1,member-3=http://c:1"
            ),
            "{text}"
        );
    }

    #[test]
    fn a_cluster_with_more_learners_than_allowed_is_not_joined() {
        let config = config("a=http://a:1,b=http://b:1");
        let cluster = running(&[(1, "http://a:1", true), (2, "http://b:1", true)]);
        let text = check_learners(&config, &cluster).unwrap_err();
        assert!(text.starts_with("membership: too many learner members in cluster"), "{text}");
        assert!(check_learners(&config, &running(&[(1, "http://a:1", true)])).is_ok());
    }

    #[test]
    fn a_member_that_joins_is_in_its_list_and_does_not_discover() {
        for (list, text) in [
            ("a=http://a:1", "couldn't find local name \"b\" in the initial cluster configuration"),
            ("a=http://b:1,b=http://b:1", "initial cluster a=http://b:1,b=http://b:1 has duplicate url"),
        ] {
            let error = join(list, &[], &mut FakeNames::default()).unwrap_err();
            assert_eq!(error, text);
        }
    }
}
