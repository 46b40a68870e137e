//! The list of the members that a cluster begins with, and what must hold of it.

use std::collections::BTreeSet;

use proto::etcdserverpb::Member;

use super::peer_urls::{Names, check_same_place};
use super::{first_eight_bytes, urls};
use crate::config::{Config, InitialMember, Url};

/// The members that a cluster begins with.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FirstMembers {
    pub(crate) members: Vec<InitialMember>,
    /// What their ids are hashed with.
    pub(crate) token: String,
}

impl FirstMembers {
    /// Those of `--initial-cluster`; or why it cannot be read.
    pub(crate) fn listed(config: &Config) -> Result<FirstMembers, String> {
        let members = config.initial_cluster.clone()?;
        Ok(FirstMembers { members, token: config.initial_cluster_token.clone() })
    }

    /// This member in the list.
    pub(super) fn local(&self, config: &Config) -> Result<&InitialMember, String> {
        let named = self.members.iter().find(|member| member.name == config.name);
        named.ok_or_else(|| {
            format!("couldn't find local name {:?} in the initial cluster configuration", config.name)
        })
    }

    /// The peer URLs of the other members, sorted.
    pub(crate) fn other_urls(&self, config: &Config) -> Vec<Url> {
        let others = self.members.iter().filter(|member| member.name != config.name);
        let mut urls: Vec<Url> = others.flat_map(|member| member.peer_urls.clone()).collect();
        urls.sort_by_key(Url::to_string);
        urls
    }

    /// The list must say of this member what it says of itself.
    pub(super) fn check_advertised(&self, config: &Config, names: &mut impl Names) -> Result<(), String> {
        let (listed, advertised) = (&self.local(config)?.peer_urls, &config.initial_advertise_peer_urls);
        let Err(error) = check_same_place(advertised, listed, names) else { return Ok(()) };
        let (name, own_urls) = (&config.name, urls(advertised).join(","));
        let without = |list: &[Url], other: &[Url], prefix: &str| {
            let missing = list.iter().filter(|url| !other.contains(url));
            missing.map(|url| format!("{prefix}{url}")).collect::<Vec<_>>().join(",")
        };
        let missing = without(listed, advertised, &format!("{name}="));
        if !missing.is_empty() {
            return Err(format!(
                "--initial-cluster has {missing} but missing from --initial-advertise-peer-urls={own_urls} ({error})"
            ));
        }
        // etcd prints the URLs of the flag here, not those of the list.
        let missing = without(advertised, listed, "");
        let own_entries = without(advertised, &[], &format!("{name}="));
        if !missing.is_empty() {
            return Err(format!(
                "--initial-advertise-peer-urls has {missing} but missing from --initial-cluster={own_entries}"
            ));
        }
        Err(format!("failed to resolve {own_urls} to match --initial-cluster={own_entries} ({error})"))
    }

    /// No two members have a URL in common. `what` names the list in the error.
    pub(crate) fn check_unique(&self, what: &str) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        let is_unique =
            self.members.iter().flat_map(|member| urls(&member.peer_urls)).all(|url| seen.insert(url));
        if is_unique { Ok(()) } else { Err(format!("{what} {} has duplicate url", self.text())) }
    }

    /// The members with their ids, by ascending id.
    pub(super) fn with_ids(&self) -> Vec<Member> {
        let member = |listed: &InitialMember| Member {
            id: self.id(listed),
            name: listed.name.clone(),
            peer_ur_ls: urls(&listed.peer_urls),
            ..Member::default()
        };
        let mut members: Vec<Member> = self.members.iter().map(member).collect();
        members.sort_by_key(|member| member.id);
        members
    }

    /// The hash of a member's sorted peer URLs, one after the other, and the token.
    pub(super) fn id(&self, member: &InitialMember) -> u64 {
        let mut peer_urls = urls(&member.peer_urls);
        peer_urls.sort();
        first_eight_bytes(format!("{}{}", peer_urls.concat(), self.token).as_bytes())
    }

    /// The list as etcd prints it: sorted pairs of name and URL.
    pub(crate) fn text(&self) -> String {
        let entries =
            self.members.iter().flat_map(|m| m.peer_urls.iter().map(move |url| format!("{}={url}", m.name)));
        let mut entries: Vec<String> = entries.collect();
        entries.sort();
        entries.join(",")
    }
}
