//! The two directions of a streaming call: messages in, messages out.
//!
//! Both wait for the client's flow control, so a stream costs one DATA window on the way in and one message on
//! the way out, however slow the client is. Both end at the call's deadline and when the client goes away.

use std::future::poll_fn;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};

use super::body::Body;
use super::deadline::Deadline;
use super::frame::{Decoder, Encoding};
use super::gzip;
use super::status::{self, Status};

const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// The call can no longer be answered with messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// The client cancelled the call, or its connection broke.
    Client,
    /// The deadline passed: [`Responses::finish`] with the status of this value is still due.
    Deadline,
}

impl From<Gone> for Status {
    fn from(gone: Gone) -> Status {
        match gone {
            Gone::Client => Status::canceled(),
            Gone::Deadline => Status::deadline_exceeded(),
        }
    }
}

/// The messages of a client, in order.
#[derive(Debug)]
pub struct Requests {
    stream: RecvStream,
    decoder: Decoder,
    deadline: Deadline,
}

impl Requests {
    pub(super) fn new(stream: RecvStream, decoder: Decoder, deadline: Deadline) -> Requests {
        Requests { stream, decoder, deadline }
    }

    /// The next message, or `None` once the client has half-closed. Safe to drop and call again.
    ///
    /// Errors end the call: `DeadlineExceeded`, `Canceled` when the client is gone, `ResourceExhausted` for a
    /// message over the limit, `Internal` for broken framing.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        loop {
            if let Some(message) = self.decoder.next()? {
                return Ok(Some(message));
            }
            match poll_fn(|cx| self.poll_chunk(cx)).await? {
                Some(chunk) => self.decoder.push(chunk),
                None if self.decoder.is_between_messages() => return Ok(None),
                None => return Err(Status::internal("unexpected EOF")),
            }
        }
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Status>> {
        match self.stream.poll_data(cx) {
            Poll::Ready(Some(Ok(chunk))) => {
                // The window is given back as chunks are taken; it fails only on a stream that has ended.
                let _ = self.stream.flow_control().release_capacity(chunk.len());
                Poll::Ready(Ok(Some(chunk)))
            }
            Poll::Ready(Some(Err(_))) => Poll::Ready(Err(Status::canceled())),
            Poll::Ready(None) => Poll::Ready(Ok(None)),
            Poll::Pending => self.deadline.poll_expired(cx).map(|()| Err(Status::deadline_exceeded())),
        }
    }
}

/// The answers to a client, in order.
#[derive(Debug)]
pub struct Responses {
    state: State,
    encoding: Encoding,
    deadline: Deadline,
}

/// Headers are sent with the first message, so that a call that fails at once is one frame.
#[derive(Debug)]
enum State {
    Unopened(SendResponse<Bytes>),
    Open(SendStream<Bytes>),
}

impl Responses {
    pub(super) fn new(respond: SendResponse<Bytes>, encoding: Encoding, deadline: Deadline) -> Responses {
        Responses { state: State::Unopened(respond), encoding, deadline }
    }

    /// Sends one message, waiting until the client's window has taken all of it.
    ///
    /// Not safe to drop half way: the stream must then be ended without another message.
    pub async fn send(&mut self, body: Body) -> Result<(), Gone> {
        let body = encode(body, self.encoding);
        for chunk in body.into_chunks() {
            self.send_chunk(chunk).await?;
        }
        Ok(())
    }

    /// Resolves when the client has cancelled the call, its connection has broken, or the deadline has passed.
    pub async fn gone(&mut self) -> Gone {
        poll_fn(|cx| self.poll_gone(cx)).await
    }

    /// Ends the call. After [`Gone::Client`] nothing is sent.
    pub fn finish(self, outcome: Result<(), Status>) {
        // A failure to send means that the client is gone, which is no longer of interest to anybody.
        let _ = match self.state {
            State::Unopened(mut respond) => {
                respond.send_response(trailers_only(StatusCode::OK, outcome), true).map(drop)
            }
            State::Open(mut stream) => stream.send_trailers(status::trailers(outcome)),
        };
    }

    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<Gone> {
        let reset = match &mut self.state {
            State::Unopened(respond) => respond.poll_reset(cx),
            State::Open(stream) => stream.poll_reset(cx),
        };
        match reset {
            Poll::Ready(_) => Poll::Ready(Gone::Client),
            Poll::Pending => self.deadline.poll_expired(cx).map(|()| Gone::Deadline),
        }
    }

    pub(super) fn deadline(&self) -> &Deadline {
        &self.deadline
    }

    /// Sends the whole answer of a unary call at once; the connection holds what the window does not take.
    pub(super) fn reply(mut self, body: Body) -> Result<(), Gone> {
        let body = encode(body, self.encoding);
        let stream = self.open()?;
        for chunk in body.into_chunks() {
            stream.send_data(chunk, false).map_err(|_| Gone::Client)?;
        }
        stream.send_trailers(status::trailers(Ok(()))).map_err(|_| Gone::Client)
    }

    /// Ends the call before it began, with a status that HTTP understands too.
    pub(super) fn refuse(self, http: StatusCode, status: Status) {
        if let State::Unopened(mut respond) = self.state {
            let mut response = trailers_only(http, Err(status));
            response.headers_mut().insert(GRPC_ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
            let _ = respond.send_response(response, true);
        }
    }

    fn open(&mut self) -> Result<&mut SendStream<Bytes>, Gone> {
        if let State::Unopened(respond) = &mut self.state {
            let mut response = Response::new(());
            *response.headers_mut() = response_headers(self.encoding);
            let stream = respond.send_response(response, false).map_err(|_| Gone::Client)?;
            self.state = State::Open(stream);
        }
        match &mut self.state {
            State::Open(stream) => Ok(stream),
            State::Unopened(_) => unreachable!("opened above"),
        }
    }

    async fn send_chunk(&mut self, mut chunk: Bytes) -> Result<(), Gone> {
        while !chunk.is_empty() {
            let stream = self.open()?;
            stream.reserve_capacity(chunk.len());
            let room = match stream.capacity() {
                0 => poll_fn(|cx| self.poll_room(cx)).await?,
                room => room,
            };
            let part = chunk.split_to(room.min(chunk.len()));
            self.open()?.send_data(part, false).map_err(|_| Gone::Client)?;
        }
        Ok(())
    }

    /// Waits for the client's window. May answer zero.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Gone>> {
        let State::Open(stream) = &mut self.state else { return Poll::Ready(Err(Gone::Client)) };
        match stream.poll_capacity(cx) {
            Poll::Ready(Some(Ok(room))) => Poll::Ready(Ok(room)),
            Poll::Ready(_) => Poll::Ready(Err(Gone::Client)),
            Poll::Pending => self.deadline.poll_expired(cx).map(|()| Err(Gone::Deadline)),
        }
    }
}

/// Compresses the answer if the client compressed its request, as grpc-go does.
fn encode(body: Body, encoding: Encoding) -> Body {
    match encoding {
        Encoding::Identity => body,
        Encoding::Gzip => Body::compressed(&gzip::compress(body.message_chunks())),
    }
}

fn response_headers(encoding: Encoding) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(2);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    if encoding == Encoding::Gzip {
        headers.insert(GRPC_ENCODING, HeaderValue::from_static("gzip"));
    }
    headers
}

/// A whole answer in one HEADERS frame.
fn trailers_only(http: StatusCode, outcome: Result<(), Status>) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = http;
    *response.headers_mut() = status::trailers(outcome);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}
