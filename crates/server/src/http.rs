//! HTTP/1.1 for health, version and metrics.
//!
//! A [`Routes`] knows the paths and makes the answers; this module carries them and enforces limits.

mod head_timer;

use std::borrow::Cow;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::ext::ReasonPhrase;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use percent_encoding::percent_decode_str;
use tokio::io::{AsyncRead, AsyncWrite};

use self::head_timer::{HeadTimer, TimedReads};

/// Longest request head in bytes.
const HEAD_LEN_MAX: usize = 16 << 10;

/// A client that takes longer to send a head that it has begun is disconnected, after as long as by etcd. Between two
/// requests a connection may be idle for any time.
const HEAD_TIME_MAX: Duration = Duration::from_secs(300);

/// What a `Host` header may consist of besides letters and digits.
const HOST_SIGNS: &[u8] = b"!$%&'()*+,-.:;=[]_~";

const TEXT: &str = "text/plain; charset=utf-8";

/// The paths of the server, one instance for each worker thread.
pub trait Routes: 'static {
    /// Answers a request, also one for a path that does not exist.
    fn answer(&self, request: &HttpRequest<'_>) -> impl Future<Output = Answer>;
}

/// Who a port is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// Clients.
    Client,
    /// Monitoring alone.
    Metrics,
}

/// A request. Its body is not looked at.
#[derive(Debug)]
pub struct HttpRequest<'a> {
    /// The HTTP method.
    pub method: &'a Method,
    /// The path, decoded.
    pub path: &'a str,
    /// What follows the `?`, undecoded, or nothing.
    pub query: &'a str,
    /// The host that it names, with a port or without: that of an absolute URI, or else of the header. May be empty.
    pub host: &'a str,
    /// All headers.
    pub headers: &'a HeaderMap,
    /// Where it came in.
    pub port: Port,
}

/// An HTTP answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status code.
    pub status: StatusCode,
    /// Headers, the content type among them.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The whole body.
    pub body: Bytes,
}

impl Answer {
    /// A body with its content type.
    pub fn new(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
        let headers = vec![(header::CONTENT_TYPE, HeaderValue::from_static(content_type))];
        Answer { status, headers, body: body.into() }
    }

    /// Plain text.
    pub fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
        Answer::new(status, TEXT, body)
    }

    /// JSON with status 200.
    pub fn json(body: impl Into<Bytes>) -> Answer {
        Answer::new(StatusCode::OK, "application/json", body)
    }

    /// Plain text that no browser may take for anything else, as Go's `http.Error` sends it.
    pub fn error(status: StatusCode, body: impl Into<Bytes>) -> Answer {
        Answer::text(status, body).with(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
    }

    /// Adds a header.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: &'static str) -> Answer {
        self.headers.push((name, HeaderValue::from_static(value)));
        self
    }
}

/// Serves requests until the client closes or, once `stop` resolves, until the current answer is sent.
///
/// The error says how the client broke the connection.
pub(crate) async fn serve<R: Routes>(
    io: impl AsyncRead + AsyncWrite + Unpin,
    routes: &Rc<R>,
    port: Port,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let head_timer = HeadTimer::default();
    let service = service_fn(|request| {
        head_timer.head_is_complete();
        async move { Ok::<_, Infallible>(respond(&**routes, port, &request).await) }
    });
    let io = TimedReads { io, head_timer: &head_timer };
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(None)
            .max_buf_size(HEAD_LEN_MAX)
            .title_case_headers(true)
            .serve_connection(TokioIo::new(io), service)
    );
    let mut stop = pin!(stop);
    let mut is_stopping = false;
    let served = poll_fn(|cx| {
        if !is_stopping && stop.as_mut().poll(cx).is_ready() {
            is_stopping = true;
            connection.as_mut().graceful_shutdown();
        }
        connection.as_mut().poll(cx)
    });
    tokio::select! {
        served = served => served.map_err(io::Error::other),
        () = head_timer.expired() => Err(io::ErrorKind::TimedOut.into()),
    }
}

async fn respond(routes: &impl Routes, port: Port, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let host = match named_host(request) {
        Ok(host) => host,
        Err(reason) => return bad_request(reason),
    };
    let Some(path) = decoded(request.uri().path()) else { return bad_request("Bad Request") };
    let (path, query) = (&*path, request.uri().query().unwrap_or_default());
    let asked = HttpRequest { method: request.method(), path, query, host, headers: request.headers(), port };
    let answer = routes.answer(&asked).await;
    let mut response = Response::new(Full::new(answer.body));
    *response.status_mut() = answer.status;
    response.headers_mut().extend(answer.headers);
    response
}

/// A text with `%41` and the like as the bytes that they stand for; `None` if a percent sign stands alone. Bytes that
/// are no UTF-8 are replaced: no path has any.
pub(crate) fn decoded(text: &str) -> Option<Cow<'_, str>> {
    let is_hex = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
    let bytes = text.as_bytes();
    let percent_signs = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'%');
    let mut are_whole = percent_signs.map(|(at, _)| is_hex(bytes.get(at + 1)) && is_hex(bytes.get(at + 2)));
    are_whole.all(|is_whole| is_whole).then(|| percent_decode_str(text).decode_utf8_lossy())
}

/// The host that a request names. The error is the reason that Go's `net/http` refuses it with.
fn named_host<B>(request: &Request<B>) -> Result<&str, &'static str> {
    let mut headers = request.headers().get_all(header::HOST).iter();
    let (first, second) = (headers.next(), headers.next());
    if second.is_some() {
        return Err("Bad Request");
    }
    if first.is_none() && request.version() >= Version::HTTP_11 && request.method() != Method::CONNECT {
        return Err("Bad Request: missing required Host header");
    }
    let of_header = first.map_or(&b""[..], HeaderValue::as_bytes);
    let is_allowed = |byte: &u8| byte.is_ascii_alphanumeric() || HOST_SIGNS.contains(byte);
    let of_header = str::from_utf8(of_header).ok().filter(|host| host.bytes().all(|byte| is_allowed(&byte)));
    let of_header = of_header.ok_or("Bad Request: malformed Host header")?;
    Ok(request.uri().authority().map_or(of_header, |authority| authority.as_str()))
}

/// The answer of Go's `net/http` to a request that it does not pass on.
fn bad_request(reason: &'static str) -> Response<Full<Bytes>> {
    let answer = Answer::text(StatusCode::BAD_REQUEST, format!("400 {reason}"));
    let answer = answer.with(header::CONNECTION, "close");
    let mut response = Response::new(Full::new(answer.body));
    *response.status_mut() = answer.status;
    response.headers_mut().extend(answer.headers);
    response.extensions_mut().insert(ReasonPhrase::from_static(reason.as_bytes()));
    response
}

#[cfg(test)]
mod tests;
