//! What a member without data asks of those that its list names: their cluster, or whether it had data before.

use std::time::Duration;

use crate::config::{Config, Url};
use crate::identity::{Identity, joining_member, new_member, remote_peer_urls, resolve};
use crate::peers::ask_cluster;

/// How long each member of a cluster may take to describe it to one that joins.
const JOIN_LIMIT: Duration = Duration::from_secs(10);

/// How long all members together may take to say whether they know one that is new.
const KNOWN_LIMIT: Duration = Duration::from_secs(1);

/// Who a member without data is, by its settings and by what the others say.
pub(super) fn identity(config: &Config) -> Result<Identity, String> {
    if config.is_joining { joining(config) } else { new(config) }
}

fn joining(config: &Config) -> Result<Identity, String> {
    let urls = remote_peer_urls(config)?;
    let failed = |reason: &str| format!("cannot fetch cluster info from peer urls: {reason}");
    if urls.is_empty() {
        return Err(failed("failed to get raft cluster member(s) from the given URLs"));
    }
    let cluster = ask_cluster(&urls, JOIN_LIMIT)
        .map_err(|_| failed("could not retrieve cluster information from the given URLs"))?;
    joining_member(config, &cluster, resolve)
}

fn new(config: &Config) -> Result<Identity, String> {
    let identity = new_member(config)?;
    let urls = other_urls(config);
    if let Ok(limit) = u32::try_from(urls.len()).map(|n| KNOWN_LIMIT / n.max(1))
        && let Ok(cluster) = ask_cluster(&urls, limit)
    {
        let is_self = |id: u64| id == identity.member.id;
        // A member has client URLs once it was started.
        if cluster.members.iter().any(|member| is_self(member.id) && !member.client_ur_ls.is_empty()) {
            return Err(format!("member {:x} has already been bootstrapped", identity.member.id));
        }
    }
    Ok(identity)
}

/// The peer URLs of the others in the list.
fn other_urls(config: &Config) -> Vec<Url> {
    let listed = config.initial_cluster.iter().flatten();
    listed.filter(|member| member.name != config.name).flat_map(|member| member.peer_urls.clone()).collect()
}
