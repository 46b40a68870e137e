//! The calls that give a member addresses. The addresses are checked before anything is sent.
//!
//! The texts are those of etcd's client: the server has one text for all faults, here the fault is named.

use proto::etcdserverpb::{MemberAddRequest, MemberAddResponse, MemberUpdateRequest, MemberUpdateResponse};

use crate::client::{Client, Effect};
use crate::error::Error;

impl Client {
    /// Adds a member, as a voter or as a learner. The other members agree to it before the member itself is
    /// started.
    pub async fn member_add(&self, request: MemberAddRequest) -> Result<MemberAddResponse, Error> {
        check(&request.peer_ur_ls)?;
        self.unary("/etcdserverpb.Cluster/MemberAdd", Effect::Writes, request).await
    }

    /// Changes the addresses at which the other members reach a member.
    pub async fn member_update(&self, request: MemberUpdateRequest) -> Result<MemberUpdateResponse, Error> {
        check(&request.peer_ur_ls)?;
        self.unary("/etcdserverpb.Cluster/MemberUpdate", Effect::Writes, request).await
    }
}

fn check(peer_urls: &[String]) -> Result<(), Error> {
    if peer_urls.is_empty() {
        return Err(Error::Config("no valid URLs given".to_owned()));
    }
    peer_urls.iter().try_for_each(|url| check_url(url.trim())).map_err(Error::Config)
}

fn check_url(url: &str) -> Result<(), String> {
    if url.starts_with(':') {
        return Err(format!("parse {url:?}: missing protocol scheme"));
    }
    let starts_with_letter = url.starts_with(|first: char| first.is_ascii_alphabetic());
    if !starts_with_letter && !url.starts_with('/') && first_segment(url).contains(':') {
        return Err(format!("parse {url:?}: first path segment in URL cannot contain colon"));
    }
    match url.split_once("://") {
        Some(("http" | "https", rest)) => check_address(url, rest),
        Some(("unix" | "unixs", _)) => Ok(()),
        _ => Err(format!("URL scheme must be http, https, unix, or unixs: {url}")),
    }
}

fn check_address(url: &str, rest: &str) -> Result<(), String> {
    let address = first_segment(rest);
    let Some(port) = port(address) else {
        return Err(format!("URL address does not have the form \"host:port\": {url}"));
    };
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("parse {url:?}: invalid port \":{port}\" after host"));
    }
    if address.len() < rest.len() {
        return Err(format!("URL must not contain a path: {url}"));
    }
    Ok(())
}

fn first_segment(text: &str) -> &str {
    text.split('/').next().unwrap_or_default()
}

/// The port of `host:port`, which may be empty. An IPv6 address has brackets.
fn port(address: &str) -> Option<&str> {
    let (host, port) = address.rsplit_once(':')?;
    let bare = match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    (!bare.contains(['[', ']'])).then_some(port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_scheme_a_host_and_a_port() {
        for url in ["http://a:1", "https://[::1]:2380", " http://a: ", "unix://socket", "unixs://a/b"] {
            assert_eq!(check(&[url.to_owned()]), Ok(()), "{url}");
        }
    }

    #[test]
    fn each_fault_has_the_text_of_etcd() {
        for (url, error) in [
            ("", "URL scheme must be http, https, unix, or unixs: "),
            ("foo", "URL scheme must be http, https, unix, or unixs: foo"),
            ("localhost:1", "URL scheme must be http, https, unix, or unixs: localhost:1"),
            ("ftp://a:1", "URL scheme must be http, https, unix, or unixs: ftp://a:1"),
            ("http://", "URL address does not have the form \"host:port\": http://"),
            ("http://::1:1", "URL address does not have the form \"host:port\": http://::1:1"),
            ("http://a:x", "parse \"http://a:x\": invalid port \":x\" after host"),
            ("http://a:1/", "URL must not contain a path: http://a:1/"),
            ("127.0.0.1:1", "parse \"127.0.0.1:1\": first path segment in URL cannot contain colon"),
            (":1", "parse \":1\": missing protocol scheme"),
        ] {
            let urls = ["http://good:1".to_owned(), url.to_owned()];
            assert_eq!(check(&urls), Err(Error::Config(error.to_owned())), "{url}");
        }
        assert!(check(&[]).is_err());
    }
}
