//! The members that a cluster starts with, and their default addresses.

use std::net::{IpAddr, UdpSocket};

use super::url::Url;

/// A member named by `--initial-cluster`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitialMember {
    /// Its name.
    pub name: String,
    /// Its peer URLs, sorted.
    pub peer_urls: Vec<Url>,
}

/// Reads `name=URL,name=URL`; a name may come several times. The error is etcd's text.
pub(crate) fn parse_members(text: &str) -> Result<Vec<InitialMember>, String> {
    let mut members: Vec<InitialMember> = Vec::new();
    for pair in text.split(',').filter(|pair| !pair.is_empty()) {
        let (name, url) = pair.split_once('=').unwrap_or((pair, ""));
        let url = Url::parse(url).map_err(|error| format!("error setting up initial cluster: {error}"))?;
        match members.iter_mut().find(|member| member.name == name) {
            Some(member) => member.peer_urls.push(url),
            None => members.push(InitialMember { name: name.to_owned(), peer_urls: vec![url] }),
        }
    }
    for member in &mut members {
        member.peer_urls.sort_by_key(Url::to_string);
        member.peer_urls.dedup();
    }
    members.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(members)
}

/// The address at which others reach this host: the source address of its default route, IPv4 first. `None`
/// without such a route.
pub(crate) fn default_host() -> Option<IpAddr> {
    // Connecting a datagram socket looks up the route and sends nothing. The addresses are for documentation.
    [("0.0.0.0:0", "192.0.2.1:9"), ("[::]:0", "[2001:db8::1]:9")].into_iter().find_map(|(from, to)| {
        let socket = UdpSocket::bind(from).ok()?;
        socket.connect(to).ok()?;
        socket.local_addr().ok().map(|address| address.ip()).filter(|ip| !ip.is_loopback())
    })
}

/// Puts `host` into the first of `advertised` if that is the default, while the first of `listening` listens
/// on all addresses. True if it did.
pub(super) fn substitute_host(
    advertised: &mut [Url],
    default: &str,
    listening: &[Url],
    host: IpAddr,
) -> bool {
    let is_everywhere = listening.first().is_some_and(|url| url.host() == "0.0.0.0");
    let is_default = advertised.len() == 1 && advertised[0].to_string() == default;
    if is_everywhere && is_default {
        advertised[0] = advertised[0].at(host, listening[0].port());
    }
    is_everywhere && is_default
}
