//! The HTTP pages of a member: health, version, metrics, debugging.
//!
//! Paths, methods, status codes and texts are etcd's, and those of Go's `net/http` where etcd leaves it to that.
//! A port for monitoring has health and metrics alone, for anyone; on a client port, who may ask is checked
//! first.

mod access;
mod debug;
mod health;

use std::rc::Rc;
use std::sync::Arc;

use http::{HeaderValue, Method, StatusCode, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

pub(crate) use self::access::Access;
pub(crate) use self::debug::Debug as DebugPages;
use crate::api::Api;
use crate::http::{Answer, HttpRequest, Port, Routes};
use crate::metrics::Metrics;

/// The content type of metrics, with the escaping that Prometheus 3 asks for.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";

/// What Go encodes in a path.
const PATH_ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b',')
    .remove(b'/')
    .remove(b':')
    .remove(b';')
    .remove(b'=')
    .remove(b'@');

/// The pages as one worker thread serves them.
#[derive(Debug)]
pub(crate) struct Pages {
    pub(crate) api: Rc<Api>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) access: Access,
    pub(crate) debug: DebugPages,
}

impl Routes for Pages {
    async fn answer(&self, request: &HttpRequest<'_>) -> Answer {
        if request.port == Port::Metrics {
            return self.monitor(request).await;
        }
        if let Some(refusal) = self.access.refuse(request.host) {
            return refusal;
        }
        let mut answer = match *request.method {
            Method::OPTIONS => Answer { status: StatusCode::OK, headers: Vec::new(), body: "".into() },
            _ => self.client(request).await,
        };
        answer.headers.extend(self.access.cors_headers(request.headers));
        answer
    }
}

impl Pages {
    /// Answers on a client port.
    async fn client(&self, request: &HttpRequest<'_>) -> Answer {
        if let Some(path) = redirection(request.path) {
            return redirect(&path, request.query);
        }
        match request.path {
            "/version" => get_only(request).unwrap_or_else(|| self.version()),
            "/debug/vars" => get_only(request).unwrap_or_else(|| self.debug.vars(&self.api)),
            path if path.starts_with("/debug/pprof/") => self.debug.profile(path),
            _ => self.monitor(request).await,
        }
    }

    /// Answers on any port.
    async fn monitor(&self, request: &HttpRequest<'_>) -> Answer {
        match request.path {
            "/metrics" => self.expose(request),
            "/health" => match get_only(request) {
                Some(refusal) => refusal,
                None => self.health(request.query).await,
            },
            path => match health::checks_of(path) {
                Some(endpoint) => match get_only(request) {
                    Some(refusal) => refusal,
                    None => self.check(&endpoint, request.query).await,
                },
                None => not_found(),
            },
        }
    }

    fn expose(&self, request: &HttpRequest<'_>) -> Answer {
        let _counted = self.metrics.count_scrape();
        self.api.observe(&self.metrics);
        let text = self.metrics.expose();
        let accepted = request.headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
        if !takes_gzip(accepted.unwrap_or_default()) {
            return Answer::new(StatusCode::OK, METRICS_TYPE, text);
        }
        Answer::new(StatusCode::OK, METRICS_TYPE, gzip(text.as_bytes()))
            .with(header::CONTENT_ENCODING, "gzip")
    }

    fn version(&self) -> Answer {
        let (server, cluster) = self.api.versions();
        let or_unset =
            |text: &'static str| if cluster.is_empty() { text.to_owned() } else { cluster.clone() };
        let (cluster, storage) = (or_unset("not_decided"), or_unset("unknown"));
        Answer::json(format!(
            r#"{{"etcdserver":"{server}","etcdcluster":"{cluster}","storage":"{storage}"}}"#
        ))
    }
}

/// What everything but a GET is answered where only that makes sense.
fn get_only(request: &HttpRequest<'_>) -> Option<Answer> {
    let refusal = || Answer::error(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n");
    (request.method != Method::GET).then(|| refusal().with(header::ALLOW, "GET"))
}

fn not_found() -> Answer {
    Answer::error(StatusCode::NOT_FOUND, "404 page not found\n")
}

/// Where a path that is not in its simplest form leads, by the rules of Go's router.
fn redirection(path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let mut clean = format!("/{}", parts.join("/"));
    if clean != "/" && (path.ends_with('/') || clean == "/debug/pprof") {
        clean.push('/');
    }
    (clean != path).then_some(clean)
}

fn redirect(path: &str, query: &str) -> Answer {
    let path = utf8_percent_encode(path, PATH_ENCODED);
    let location = if query.is_empty() { path.to_string() } else { format!("{path}?{query}") };
    let shown =
        location.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&#34;");
    let body = format!("<a href=\"{shown}\">Temporary Redirect</a>.\n\n");
    let mut answer = Answer::new(StatusCode::TEMPORARY_REDIRECT, "text/html; charset=utf-8", body);
    let location = HeaderValue::from_str(&location).expect("an encoded path and a query are visible ASCII");
    answer.headers.push((header::LOCATION, location));
    answer
}

/// Whether `Accept-Encoding` names gzip, without ruling it out by `q=0`.
fn takes_gzip(accepted: &str) -> bool {
    accepted.split(',').any(|encoding| {
        let mut parts = encoding.split(';').map(str::trim);
        let is_gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(Ok(1.0), str::parse::<f32>);
        is_gzip && weight.is_ok_and(|weight| weight > 0.0)
    })
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let written = encoder.write_all(bytes).and_then(|()| encoder.finish());
    written.expect("a Vec takes any bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unusual_paths_lead_to_their_simplest_form() {
        for (path, clean) in [
            ("//health", Some("/health")),
            ("/a/../health", Some("/health")),
            ("/./x/", Some("/x/")),
            ("/debug/pprof", Some("/debug/pprof/")),
            ("/health", None),
            ("/livez/", None),
            ("/", None),
        ] {
            assert_eq!(redirection(path).as_deref(), clean, "{path}");
        }
    }

    #[test]
    fn gzip_may_be_ruled_out() {
        for accepted in ["gzip", "deflate, gzip;q=0.5", "br,GZIP ; q=1"] {
            assert!(takes_gzip(accepted), "{accepted}");
        }
        for accepted in ["", "identity", "gzip;q=0", "gzip; q=0.0, br", "gzip;q=x", "xgzip"] {
            assert!(!takes_gzip(accepted), "{accepted}");
        }
    }

    #[test]
    fn redirect_encodes_what_was_decoded() {
        let answer = redirect("/a b/\u{e9}\r\n%", "");
        assert_eq!(answer.headers[1].1, "/a%20b/%C3%A9%0D%0A%25");
    }

    #[test]
    fn redirect_keeps_the_query() {
        let answer = redirect("/health", "a=1&b=<2>");
        assert_eq!(answer.headers[1].1, "/health?a=1&b=<2>");
        assert_eq!(answer.body, "<a href=\"/health?a=1&amp;b=&lt;2&gt;\">Temporary Redirect</a>.\n\n");
    }
}
