//! Where a member without data finds the first members of its cluster, if not in `--initial-cluster`.

use std::time::Duration;

use crate::flags::{Flags, Support};

/// A source of the list of the first members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Discovery {
    /// SRV records of the DNS.
    Srv(SrvDomain),
    /// Another cluster, where the members write themselves down.
    Service(DiscoveryService),
}

/// Which SRV records are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SrvDomain {
    /// The domain that has the records.
    pub domain: String,
    /// What is added to the name of the service; empty for nothing.
    pub name_suffix: String,
}

/// The cluster that keeps the list, and how it is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiscoveryService {
    /// Names the list. Member and cluster identifiers are hashed from it.
    pub token: String,
    /// Members of the cluster that keeps the list.
    pub endpoints: Vec<String>,
    /// Time of an attempt to connect.
    pub dial_timeout: Duration,
    /// Time of a call.
    pub request_timeout: Duration,
    /// Silence after which the service is pinged.
    pub keepalive_time: Duration,
    /// Time that it has to answer a ping.
    pub keepalive_timeout: Duration,
    /// The flag, if any, that asks for a way to call the service which this version does not know.
    pub unsupported: Option<&'static str>,
}

impl Discovery {
    /// What the flags ask for; `None` means the list of `--initial-cluster`.
    pub(super) fn from_flags(flags: &Flags) -> Option<Discovery> {
        let text = |name| flags.value(name).into_text();
        let duration = |name| flags.value(name).into_duration();
        let endpoints = flags.value("discovery-endpoints").into_words();
        let domain = text("discovery-srv");
        if !endpoints.is_empty() {
            return Some(Discovery::Service(DiscoveryService {
                token: text("discovery-token"),
                endpoints,
                dial_timeout: duration("discovery-dial-timeout"),
                request_timeout: duration("discovery-request-timeout"),
                keepalive_time: duration("discovery-keepalive-time"),
                keepalive_timeout: duration("discovery-keepalive-timeout"),
                unsupported: flags.first_changed(Support::NotYetForNew),
            }));
        }
        let name_suffix = text("discovery-srv-name");
        (!domain.is_empty()).then_some(Discovery::Srv(SrvDomain { domain, name_suffix }))
    }
}
