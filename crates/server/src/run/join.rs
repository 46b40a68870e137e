//! How a member without data finds out who it is: from its settings, a discovery service, and the other members.

use std::io;
use std::time::Duration;

use proto::etcdserverpb::Member;
use tracing::{info, warn};

use super::Error;
use crate::config::{Config, Discovery, Url};
use crate::discovery::{first_members, join_service};
use crate::identity::{
    FirstMembers, Identity, SystemNames, began, bootstrapped_before, check_joinable, check_learners,
    check_versions, joining_member, new_member, no_peer_answers,
};
use crate::peers::{MemberUrls, Question, ask_cluster, ask_members};

/// How long each member of a cluster may take to describe it to one that joins.
const JOIN_LIMIT: Duration = Duration::from_secs(10);

/// How long all members together may take to say whether they know one that is new.
const KNOWN_LIMIT: Duration = Duration::from_secs(1);

/// How long each may take to say of which version the cluster is, beside two election timeouts.
const VERSION_LIMIT: Duration = Duration::from_secs(5);

/// Who a member without data is, by its settings and by what the others say. Blocks; with a discovery service until all
/// members are there.
pub(super) fn identity(config: &Config) -> Result<Identity, Error> {
    let first = first_members(config).map_err(Error::Cluster)?;
    if config.is_joining {
        return joining(config, &first).map_err(Error::Cluster);
    }
    let identity = new(config, &first).map_err(Error::Cluster)?;
    let Some(Discovery::Service(service)) = &config.discovery else { return Ok(identity) };
    info!("Bootstrapping cluster using v3 discovery.");
    let discovered = join_service(service, identity.member.id, &first).map_err(Error::Discovery)?;
    began(config, &discovered).map_err(Error::Cluster)
}

fn joining(config: &Config, first: &FirstMembers) -> Result<Identity, String> {
    check_joinable(config, first)?;
    let urls = first.other_urls(config);
    let failed = |url: &Url, error: &io::Error| {
        let address = format!("{url}/members");
        warn!(address, %error, "failed to get cluster response");
    };
    let cluster = ask_cluster(&urls, JOIN_LIMIT, failed).map_err(|_| no_peer_answers(&urls))?;
    let identity = joining_member(config, first, &cluster, &mut SystemNames::new())?;
    let others = cluster.members.iter().filter(|member| member.id != identity.member.id);
    let others: Vec<MemberUrls> = others.map(urls_of).collect();
    let ask = |question: &Question| {
        let limit = VERSION_LIMIT + 2 * config.election_timeout;
        ask_members(&others, question, limit).map_err(|error| error.to_string())
    };
    let versions = ask(&Question::version())?.into_iter();
    let told = versions.filter_map(|(id, reply)| Some((id, reply.ok()?.version().ok()?.cluster_text)));
    // The answer comes from a read that all members agree on: one is enough.
    let downgrades = ask(&Question::downgrade_enabled())?.into_iter();
    let is_downgrading = downgrades.filter_map(|(_, reply)| reply.ok()?.downgrade_enabled()).next();
    check_versions(&told.collect::<Vec<_>>(), is_downgrading.unwrap_or_default())?;
    check_learners(config, &cluster)?;
    Ok(identity)
}

/// A member's id and its peer URLs.
fn urls_of(member: &Member) -> MemberUrls {
    (member.id, member.peer_ur_ls.iter().filter_map(|url| Url::parse(url).ok()).collect())
}

fn new(config: &Config, first: &FirstMembers) -> Result<Identity, String> {
    let identity = new_member(config, first, &mut SystemNames::new())?;
    let urls = first.other_urls(config);
    if let Ok(limit) = u32::try_from(urls.len()).map(|n| KNOWN_LIMIT / n.max(1))
        && let Ok(cluster) = ask_cluster(&urls, limit, |_, _| {})
    {
        let is_self = |id: u64| id == identity.member.id;
        // A member has client URLs once it was started.
        if cluster.members.iter().any(|member| is_self(member.id) && !member.client_ur_ls.is_empty()) {
            return Err(bootstrapped_before(config, identity.member.id));
        }
    }
    Ok(identity)
}
