//! Who may use the HTTP pages of a client port: `--host-whitelist` and `--cors`.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use tracing::warn;

use crate::http::Answer;

const METHODS: &str = "POST, GET, OPTIONS, PUT, DELETE";
const HEADERS: &str = "accept, content-type, authorization";

/// Hosts that requests may name and origins that browsers may call from; `*` among them means any.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    pub(crate) hosts: Vec<String>,
    pub(crate) origins: Vec<String>,
}

impl Access {
    /// The refusal of a request that names another host: it may come from a page that was made to look as if it
    /// came from here (CVE-2018-5702). The text is etcd's.
    pub(super) fn refuse(&self, host: &str) -> Option<Answer> {
        let host = without_port(host);
        if allows(&self.hosts, host) {
            return None;
        }
        warn!(host, "rejecting HTTP request to prevent DNS rebinding attacks");
        let text = format!(
            "\netcd received your request, but the Host header was unrecognized.\n\n\
             To fix this, choose one of the following options:\n\
             - Enable TLS, then any HTTPS request will be allowed.\n\
             - Add the hostname you want to use to the whitelist in settings.\n  \
             - e.g. etcd --host-whitelist {host:?}\n\n\
             This requirement has been added to help prevent \"DNS Rebinding\" attacks (CVE-2018-5702).\n\n"
        );
        Some(Answer::error(StatusCode::MISDIRECTED_REQUEST, text))
    }

    /// What tells a browser that a page of another origin may read the answer.
    pub(super) fn cors_headers(&self, headers: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
        let origin = headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok()).unwrap_or_default();
        let origin = if allows(&self.origins, "*") { "*" } else { origin };
        if !allows(&self.origins, origin) {
            return Vec::new();
        }
        let origin = HeaderValue::from_str(origin).expect("it came as a header or is a star");
        vec![
            (header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS)),
            (header::ACCESS_CONTROL_ALLOW_ORIGIN, origin),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(HEADERS)),
        ]
    }
}

/// Nothing listed allows everything, as the star does.
fn allows(list: &[String], name: &str) -> bool {
    list.is_empty() || list.iter().any(|allowed| allowed == "*" || allowed == name)
}

/// The host of a `Host` header, without the brackets of an IPv6 address.
fn without_port(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split(']').next().unwrap_or_default();
    }
    host.split(':').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, value: &'static str) -> HeaderMap {
        [(name, HeaderValue::from_static(value))].into_iter().collect()
    }

    fn access(hosts: &str, origins: &str) -> Access {
        let list = |text: &str| text.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect();
        Access { hosts: list(hosts), origins: list(origins) }
    }

    #[test]
    fn other_hosts_are_refused() {
        let access = access("127.0.0.1,::1,etcd.local", "*");
        for host in ["127.0.0.1:2379", "[::1]:2379", "etcd.local"] {
            assert_eq!(access.refuse(host), None, "{host}");
        }
        let refusal = access.refuse("evil.example:2379").unwrap();
        assert_eq!(refusal.status, StatusCode::MISDIRECTED_REQUEST);
        let text = std::str::from_utf8(&refusal.body).unwrap();
        assert!(text.contains("etcd --host-whitelist \"evil.example\"\n"), "{text}");
    }

    #[test]
    fn only_listed_origins_get_headers() {
        let origin = headers(header::ORIGIN, "http://a:1");
        let allowed = |origins: &str| access("*", origins).cors_headers(&origin);
        assert_eq!(allowed("*")[1].1, "*");
        assert_eq!(allowed("")[1].1, "*");
        assert_eq!(allowed("http://b:1,http://a:1")[1].1, "http://a:1");
        assert!(allowed("http://b:1").is_empty());
    }
}
