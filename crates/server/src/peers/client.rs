//! Requests to peers over HTTP/1.1.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use ::peer::Identity;
use bytes::{Bytes, BytesMut};
use http::{Method, Request, Response, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::task::{AbortHandle, spawn_local};

use super::body::PeerBody;
use super::socket::PeerSocket;
use crate::config::Url;

/// Bytes of an answer that are read. etcd's are short.
const ANSWER_LEN_MAX: usize = 64 << 10;

/// A connection to a peer.
#[derive(Debug)]
pub(super) struct Connection {
    sender: SendRequest<PeerBody>,
    task: AbortHandle,
    /// Whether the time to the next byte of an answer is limited.
    read_timing: Rc<Cell<bool>>,
    host: String,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Connection {
    /// Connects to the member at `url`, within `limit`.
    pub(super) async fn open(url: &Url, limit: Duration) -> io::Result<Connection> {
        let socket = PeerSocket::connect(url, limit).await?;
        let read_timing = socket.read_timing();
        let handshake = http1::Builder::new().title_case_headers(true).handshake(TokioIo::new(socket));
        let (sender, connection) = handshake.await.map_err(io::Error::other)?;
        // Its error is also that of the request under way.
        let task = spawn_local(async { drop(connection.await) }).abort_handle();
        Ok(Connection { sender, task, read_timing, host: url.address.clone() })
    }

    /// Lets the peer answer as late as it likes.
    pub(super) fn wait_long(&self) {
        self.read_timing.set(false);
    }

    /// Whether the connection can take another request.
    pub(super) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Sends a request that does not say who asks, and waits for the head of its answer.
    pub(super) async fn request_anonymously(
        &mut self,
        request: PeerRequest,
    ) -> io::Result<Response<Incoming>> {
        let request = request.with_heads(None, &self.host)?;
        self.send(request).await
    }

    /// Sends a request of the member `identity`, and waits for the head of its answer.
    pub(super) async fn request(
        &mut self,
        identity: &Identity,
        request: PeerRequest,
    ) -> io::Result<Response<Incoming>> {
        let request = request.with_heads(Some(identity), &self.host)?;
        self.send(request).await
    }

    async fn send(&mut self, request: Request<PeerBody>) -> io::Result<Response<Incoming>> {
        self.sender.ready().await.map_err(io_error)?;
        self.sender.send_request(request).await.map_err(io_error)
    }
}

/// A request to a peer.
#[derive(Debug)]
pub(super) struct PeerRequest {
    method: Method,
    path: String,
    /// The peer, if its id is to be checked.
    to: Option<u64>,
    content_type: Option<&'static str>,
    body: PeerBody,
}

impl PeerRequest {
    pub(super) fn get(path: String, to: Option<u64>) -> PeerRequest {
        PeerRequest { method: Method::GET, path, to, content_type: None, body: PeerBody::Whole(None) }
    }

    pub(super) fn get_with_body(path: &str, content_type: &'static str, body: PeerBody) -> PeerRequest {
        PeerRequest { method: Method::GET, ..PeerRequest::post(path, content_type, body) }
    }

    pub(super) fn post(path: &str, content_type: &'static str, body: PeerBody) -> PeerRequest {
        let path = path.to_owned();
        PeerRequest { method: Method::POST, path, to: None, content_type: Some(content_type), body }
    }

    fn with_heads(self, identity: Option<&Identity>, host: &str) -> io::Result<Request<PeerBody>> {
        let mut request = Request::builder().method(self.method).uri(self.path).header(header::HOST, host);
        for (name, value) in identity.into_iter().flat_map(|identity| identity.request_headers(self.to)) {
            request = request.header(name, value);
        }
        if let Some(content_type) = self.content_type {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        request.body(self.body).map_err(io::Error::other)
    }
}

/// Reads the rest of a short answer.
pub(super) async fn read_answer(body: Incoming) -> io::Result<Bytes> {
    read_answer_of(body, ANSWER_LEN_MAX).await
}

/// The same, for an answer of up to `len_max` bytes.
pub(super) async fn read_answer_of(mut body: Incoming, len_max: usize) -> io::Result<Bytes> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(io_error)?.into_data() {
            bytes.extend_from_slice(&data);
        }
        if bytes.len() > len_max {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the answer of the peer is too long"));
        }
    }
    Ok(bytes.freeze())
}

/// The error of the socket, if that is behind hyper's.
pub(super) fn io_error(error: hyper::Error) -> io::Error {
    let source = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<io::Error>());
    match source {
        Some(source) => io::Error::new(source.kind(), source.to_string()),
        None => io::Error::other(error),
    }
}
