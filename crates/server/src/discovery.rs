//! How a member without data finds out with whom it begins a cluster, if no list of members is given.
//!
//! SRV records of the DNS name the members at once: [`srv`] asks through [`dns`]. A discovery service is another
//! cluster, where each member writes itself down and waits for the others: [`service`] speaks with it through
//! [`registry`]. Both yield a list as `--initial-cluster` would. `docs/cluster.md` describes them for operators.

mod dns;
mod registry;
mod service;
mod srv;

use std::io;

use tokio::runtime::Builder;
use tracing::{error, info, warn};

use self::dns::Resolver;
use self::registry::ClusterRegistry;
use crate::config::{Config, Discovery, DiscoveryService, InitialMember, SrvDomain};
use crate::identity::{FirstMembers, SystemNames};

/// The first members as far as they are known before a discovery service is asked: there that is this member alone.
/// Blocks while the DNS is asked.
pub(crate) fn first_members(config: &Config) -> Result<FirstMembers, String> {
    match &config.discovery {
        None => FirstMembers::listed(config),
        Some(Discovery::Srv(domain)) => by_srv(config, domain),
        Some(Discovery::Service(service)) => {
            let (name, peer_urls) = (config.name.clone(), config.initial_advertise_peer_urls.clone());
            let members = vec![InitialMember { name, peer_urls }];
            Ok(FirstMembers { members, token: service.token.clone() })
        }
    }
}

fn by_srv(config: &Config, domain: &SrvDomain) -> Result<FirstMembers, String> {
    let failed = |error: String| format!("error setting up initial cluster: {error}");
    let mut resolver = Resolver::of_system();
    let members = srv::find(config, domain, &mut resolver, &mut SystemNames::new()).map_err(failed)?;
    Ok(FirstMembers { members, token: config.initial_cluster_token.clone() })
}

/// Writes this member, `id`, down at the discovery service and waits until all first members are there. Blocks as long
/// as that takes. `own` holds this member alone.
pub(crate) fn join_service(
    service: &DiscoveryService,
    id: u64,
    own: &FirstMembers,
) -> Result<FirstMembers, String> {
    let failed = |error: String| format!("failed to join discovery cluster ({error})");
    if let Some(flag) = service.unsupported {
        return Err(failed(format!("--{flag} is not supported by this version yet")));
    }
    let (token, endpoints) = (&service.token, service.endpoints.join(","));
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error: io::Error| failed(error.to_string()))?;
    let joined = runtime.block_on(async {
        let registry = ClusterRegistry::connect(service).map_err(service::Error::Registry)?;
        service::join(&registry, token, id, &own.text()).await
    });
    match &joined {
        Ok(members) => {
            let cluster = FirstMembers { members: members.clone(), token: token.clone() };
            info!(
                "discovery-token" = token,
                "discovery-endpoints" = endpoints,
                cluster = cluster.text(),
                "discovery joined cluster successfully"
            );
            cluster.check_unique("discovery cluster")?;
            Ok(cluster)
        }
        Err(reason) => {
            error!("discovery-token" = token, "discovery-endpoints" = endpoints, error = %reason,
                "discovery failed to join cluster");
            Err(failed(reason.to_string()))
        }
    }
}

/// Says what the operator should know when a discovery service was of no help.
pub(crate) fn log_failure(service: &DiscoveryService, error: &str) {
    warn!("discovery-token" = service.token, "discovery-endpoints" = ?service.endpoints, error,
        "failed to bootstrap; discovery token was already used");
    warn!("do not reuse discovery token; generate a new one to bootstrap a cluster");
}
