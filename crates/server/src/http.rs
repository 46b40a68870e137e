//! HTTP/1.1 on the client port: health, version and metrics, by exact path.
//!
//! A [`Routes`] knows the paths and makes the answers; this module turns requests into calls of it and enforces
//! limits. Status codes and texts of refusals are those of Go's `net/http`, which probes and scripts have met.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

/// Longest request head in bytes.
const HEAD_LEN_MAX: usize = 16 << 10;

/// A client that takes longer to send a head, or to send the next one, is disconnected.
const HEAD_TIME_MAX: Duration = Duration::from_secs(10);

const TEXT: &str = "text/plain; charset=utf-8";

/// The paths of the server, one instance for each worker thread.
pub trait Routes: 'static {
    /// Whether there is anything at `path`.
    fn is_known(&self, path: &str) -> bool;

    /// Answers a GET of a known path. `query` is what follows the `?`, undecoded, or empty.
    fn get(&self, path: &str, query: &str) -> impl Future<Output = Answer>;
}

/// An HTTP answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status code.
    pub status: StatusCode,
    /// The `content-type`.
    pub content_type: &'static str,
    /// The whole body.
    pub body: Bytes,
}

impl Answer {
    /// Plain text.
    pub fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
        Answer { status, content_type: TEXT, body: body.into() }
    }

    /// JSON with status 200.
    pub fn json(body: impl Into<Bytes>) -> Answer {
        Answer { status: StatusCode::OK, content_type: "application/json", body: body.into() }
    }
}

/// Serves requests until the client closes or, once `stop` resolves, until the current answer is sent.
///
/// The error says how the client broke the connection.
pub(crate) async fn serve<R: Routes>(
    io: impl AsyncRead + AsyncWrite + Unpin,
    routes: &Rc<R>,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let service =
        service_fn(|request| async move { Ok::<_, Infallible>(respond(&**routes, &request).await) });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIME_MAX)
            .max_buf_size(HEAD_LEN_MAX)
            .serve_connection(TokioIo::new(io), service)
    );
    let mut stop = pin!(stop);
    let mut is_stopping = false;
    poll_fn(|cx| {
        if !is_stopping && stop.as_mut().poll(cx).is_ready() {
            is_stopping = true;
            connection.as_mut().graceful_shutdown();
        }
        connection.as_mut().poll(cx)
    })
    .await
    .map_err(io::Error::other)
}

async fn respond(routes: &impl Routes, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    if !routes.is_known(path) {
        return refuse(StatusCode::NOT_FOUND, "404 page not found\n");
    }
    if request.method() != Method::GET {
        return refuse(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n");
    }
    into_response(routes.get(path, request.uri().query().unwrap_or_default()).await)
}

fn refuse(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = into_response(Answer::text(status, text));
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn into_response(answer: Answer) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(answer.body));
    *response.status_mut() = answer.status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    response
}
