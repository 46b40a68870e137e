//! The URLs on which a member listens and which it advertises.
//!
//! A list of them is trimmed, sorted and free of repetitions, as etcd keeps it: member identifiers are hashed
//! from its text. Error texts are etcd's.

use std::fmt;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

/// How an endpoint is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Plain TCP.
    Http,
    /// TCP with TLS.
    Https,
    /// A Unix socket.
    Unix,
    /// A Unix socket with TLS.
    Unixs,
}

impl Scheme {
    fn name(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
            Scheme::Unix => "unix",
            Scheme::Unixs => "unixs",
        }
    }
}

/// A scheme and the address that follows it, nothing else. Displays as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// What stands before `://`.
    pub scheme: Scheme,
    /// `host:port`, with brackets around an IPv6 address, or the path of a socket.
    pub address: String,
}

impl Url {
    /// Reads one URL.
    pub fn parse(text: &str) -> Result<Url, String> {
        let text = text.trim();
        let unknown_scheme = || format!("URL scheme must be http, https, unix, or unixs: {text}");
        if text.starts_with(':') {
            return Err(format!("parse {text:?}: missing protocol scheme"));
        }
        if text.starts_with(|first: char| !first.is_ascii_alphabetic()) && text.contains(':') {
            return Err(format!("parse {text:?}: first path segment in URL cannot contain colon"));
        }
        let (scheme, rest) = text.split_once("://").ok_or_else(unknown_scheme)?;
        let scheme = match scheme {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            "unix" => Scheme::Unix,
            "unixs" => Scheme::Unixs,
            _ => return Err(unknown_scheme()),
        };
        if matches!(scheme, Scheme::Http | Scheme::Https) {
            let (address, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let no_port = || format!("URL address does not have the form \"host:port\": {text}");
            let (_, port) = split_host_port(address).ok_or_else(no_port)?;
            if !port.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(format!("parse {text:?}: invalid port {:?} after host", format!(":{port}")));
            }
            if !path.is_empty() {
                return Err(format!("URL must not contain a path: {text}"));
            }
        }
        Ok(Url { scheme, address: rest.to_owned() })
    }

    /// Reads a comma-separated list; sorts it and drops repetitions. Never empty.
    pub fn parse_list(text: &str) -> Result<Vec<Url>, String> {
        let mut urls = text.split(',').map(Url::parse).collect::<Result<Vec<_>, _>>()?;
        urls.sort_by_key(Url::to_string);
        urls.dedup();
        Ok(urls)
    }

    /// The host without brackets; empty for a Unix socket.
    pub fn host(&self) -> &str {
        match split_host_port(&self.address) {
            Some((host, _)) if matches!(self.scheme, Scheme::Http | Scheme::Https) => host,
            _ => "",
        }
    }

    /// The port as it was given; empty for a Unix socket.
    pub fn port(&self) -> &str {
        match split_host_port(&self.address) {
            Some((_, port)) if matches!(self.scheme, Scheme::Http | Scheme::Https) => port,
            _ => "",
        }
    }

    /// A URL of the same scheme at another address.
    pub fn at(&self, ip: IpAddr, port: &str) -> Url {
        let address = match ip {
            IpAddr::V4(ip) => format!("{ip}:{port}"),
            IpAddr::V6(ip) => format!("[{ip}]:{port}"),
        };
        Url { scheme: self.scheme, address }
    }

    /// Refuses a name other than `localhost`: one cannot bind to it reliably.
    pub fn check_bindable(&self) -> Result<(), String> {
        let is_socket = matches!(self.scheme, Scheme::Unix | Scheme::Unixs);
        if is_socket || self.host() == "localhost" || self.host().parse::<IpAddr>().is_ok() {
            return Ok(());
        }
        Err(format!("expected IP in URL for binding ({self})"))
    }

    /// The address to bind, IPv4 first for `localhost`. `None` if it has none, as a Unix socket.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        let (_, port) = split_host_port(&self.address)?;
        let port: u16 = port.parse().ok()?;
        if let Ok(ip) = self.host().parse::<IpAddr>() {
            return Some(SocketAddr::new(ip, port));
        }
        let found: Vec<SocketAddr> = (self.host(), port).to_socket_addrs().ok()?.collect();
        found.iter().find(|addr| addr.is_ipv4()).or(found.first()).copied()
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.name(), self.address)
    }
}

/// Host and port of `host:port`, the host without brackets. The port may be empty.
fn split_host_port(address: &str) -> Option<(&str, &str)> {
    let (host, port) = address.rsplit_once(':')?;
    if let Some(inner) = host.strip_prefix('[') {
        return Some((inner.strip_suffix(']')?, port));
    }
    (!host.contains([':', ']'])).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_is_trimmed_sorted_and_unique() {
        let urls = Url::parse_list("http://b:2, http://a:1 ,http://b:2").unwrap();
        let texts: Vec<String> = urls.iter().map(Url::to_string).collect();
        assert_eq!(texts, ["http://a:1", "http://b:2"]);
    }

    #[test]
    fn malformed_urls_get_the_texts_of_etcd() {
        for (text, error) in [
            ("", "URL scheme must be http, https, unix, or unixs: "),
            ("http://a:x", "parse \"http://a:x\": invalid port \":x\" after host"),
            ("http://a", "URL address does not have the form \"host:port\": http://a"),
            ("http://a:1/x", "URL must not contain a path: http://a:1/x"),
            ("http://a:1/", "URL must not contain a path: http://a:1/"),
            ("localhost:1", "URL scheme must be http, https, unix, or unixs: localhost:1"),
            ("127.0.0.1:1", "parse \"127.0.0.1:1\": first path segment in URL cannot contain colon"),
            ("ftp://a:1", "URL scheme must be http, https, unix, or unixs: ftp://a:1"),
            ("http://::1:1", "URL address does not have the form \"host:port\": http://::1:1"),
        ] {
            assert_eq!(Url::parse_list(text).unwrap_err(), error);
        }
    }

    #[test]
    fn only_addresses_and_localhost_can_be_bound() {
        for text in ["http://127.0.0.1:1", "http://[::1]:1", "https://localhost:1", "unix://sock"] {
            assert_eq!(Url::parse(text).unwrap().check_bindable(), Ok(()), "{text}");
        }
        let error = Url::parse("http://example.com:1").unwrap().check_bindable().unwrap_err();
        assert_eq!(error, "expected IP in URL for binding (http://example.com:1)");
    }

    #[test]
    fn address_is_resolved() {
        let addr = |text| Url::parse(text).unwrap().socket_addr();
        assert_eq!(addr("http://[::1]:7"), Some("[::1]:7".parse().unwrap()));
        assert_eq!(addr("http://localhost:7"), Some("127.0.0.1:7".parse().unwrap()));
        assert_eq!(addr("unix://sock"), None);
    }
}
