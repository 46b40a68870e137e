//! What an operator does about a member without data that cannot find its place in a cluster.
//!
//! Each text follows etcd's own. It says what this member has, what the others say, and the command that mends it.

use proto::etcdserverpb::Member;

use super::first_members::FirstMembers;
use super::join::RunningCluster;
use super::urls;
use crate::config::{Config, Url};

/// The whole error of a member that begins anew although its cluster knows it.
pub(crate) fn bootstrapped_before(config: &Config, id: u64) -> String {
    let (data_dir, add) = (config.data_dir.display(), addition(config));
    format!(
        "member {id:x} has already been bootstrapped: {data_dir} holds no data, but the cluster has seen this member \
         run. Start it on its data. If the data is lost, run `etcdctl member remove {id:x}` and {add}, then start it \
         with --initial-cluster-state=existing"
    )
}

/// The whole error of a member that finds nobody of the cluster that it should join.
pub(crate) fn no_peer_answers(asked: &[Url]) -> String {
    let reason = match asked {
        [] => "--initial-cluster names this member alone: name the members of the running cluster too"
            .to_owned(),
        _ => format!(
            "none of {} answers: start one of them, or correct --initial-cluster",
            urls(asked).join(", ")
        ),
    };
    format!(
        "cannot fetch cluster info from peer urls: could not retrieve cluster information from the given URLs: {reason}. \
         A member that begins a new cluster is started with --initial-cluster-state=new"
    )
}

/// How the list differs from the members of the cluster, and what to do.
pub(super) fn list_of(config: &Config, first: &FirstMembers, cluster: &RunningCluster) -> String {
    let own_urls = urls(&config.initial_advertise_peer_urls);
    let is_own = |member: &Member| member.peer_ur_ls.iter().any(|url| own_urls.contains(url));
    let mut right: Vec<String> =
        cluster.members.iter().flat_map(|member| entries(member, &config.name, is_own(member))).collect();
    let is_added = cluster.members.iter().any(is_own);
    let mut advice = format!("--initial-cluster is {}, the cluster is {}: ", first.text(), right.join(","));
    if !is_added {
        right.extend(own_urls.iter().map(|url| format!("{}={url}", config.name)));
        advice += &format!("run {}, then ", addition(config));
    }
    advice + &format!("start with --initial-cluster={}", right.join(","))
}

/// The entries of a member in the list. One that was never started has no name yet, so it gets one.
fn entries(member: &Member, own_name: &str, is_own: bool) -> Vec<String> {
    let name = match member.name.as_str() {
        _ if is_own => own_name.to_owned(),
        "" => format!("member-{:x}", member.id),
        name => name.to_owned(),
    };
    member.peer_ur_ls.iter().map(|url| format!("{name}={url}")).collect()
}

fn addition(config: &Config) -> String {
    let (name, peer_urls) = (&config.name, urls(&config.initial_advertise_peer_urls).join(","));
    format!("`etcdctl member add {name} --peer-urls={peer_urls}`")
}
