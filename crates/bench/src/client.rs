//! A gRPC client that costs little: HTTP/2 frames by `h2`, messages as plain bytes.
//!
//! It owns one TCP connection a [`Connection`]; clones share it. A request goes in as an encoded protobuf
//! message, answers come out the same way, so that a workload decodes only what it looks at.
//! The receive windows are wide enough that the generator never throttles the server.
//! It does not retry, balance, authenticate or encrypt.

use std::future::poll_fn;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Method, Request, Response, Version};
use prost::Message;
use tokio::net::TcpStream;

use crate::error::Error;
use crate::socket::Socket;

/// What a stream may receive ahead of its reader, in bytes: more than a list of 10 000 keys of 256 B.
const STREAM_WINDOW: u32 = 8 << 20;
/// What all streams of a connection may receive ahead together, in bytes.
const CONNECTION_WINDOW: u32 = 64 << 20;
/// Compression flag and length before each message of a gRPC body.
const PREFIX_LEN: usize = 5;

/// One HTTP/2 connection to a server. A clone is another handle on the same connection.
#[derive(Clone)]
pub(crate) struct Connection {
    requests: SendRequest<Bytes>,
    authority: String,
}

impl Connection {
    /// Connects to `endpoint` (`host:port`) and leaves a task on this runtime that moves the frames.
    pub(crate) async fn open(endpoint: &str) -> Result<Self, Error> {
        let unreachable = |cause| Error::Unreachable { endpoint: endpoint.to_owned(), cause };
        let stream = TcpStream::connect(endpoint).await.map_err(unreachable)?;
        let socket = Socket::new(stream).map_err(unreachable)?;
        let (requests, frames) = Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .enable_push(false)
            .handshake(socket)
            .await?;
        // A broken connection shows itself in the calls on it, so the result says nothing new.
        tokio::spawn(async move { drop(frames.await) });
        Ok(Self { requests, authority: endpoint.to_owned() })
    }

    /// Prepares the headers of calls to `path` (`/package.Service/Method`).
    pub(crate) fn head(&self, path: &str) -> Head {
        Request::builder()
            .method(Method::POST)
            .version(Version::HTTP_2)
            .uri(format!("http://{}{path}", self.authority))
            .header("te", "trailers")
            .header("content-type", "application/grpc")
            .body(())
            .expect("paths are ours and the endpoint was connected to")
    }

    /// Sends one message and returns the message of the answer.
    pub(crate) async fn unary(&mut self, head: &Head, message: &impl Message) -> Result<Bytes, Error> {
        let (_, mut answers) = self.start(head, Some(framed(message))).await?;
        let answer = answers.next().await?;
        let answer = answer.ok_or_else(|| Error::Answer("a status without a message".to_owned()))?;
        match answers.next().await? {
            None => Ok(answer),
            Some(_) => Err(Error::Answer("two messages from a method that answers once".to_owned())),
        }
    }

    /// The same for a call that is made once: prepares its headers and decodes its answer.
    pub(crate) async fn call<A: Message + Default>(
        &mut self,
        path: &str,
        message: impl Message,
    ) -> Result<A, Error> {
        let head = self.head(path);
        Ok(A::decode(self.unary(&head, &message).await?)?)
    }

    /// Opens a stream of messages in both directions.
    pub(crate) async fn stream(&mut self, head: &Head) -> Result<(Sender, Answers), Error> {
        let (stream, answers) = self.start(head, None).await?;
        Ok((Sender(stream), answers))
    }

    /// Sends the headers, and `only` as the whole body unless more is to come.
    async fn start(
        &mut self,
        head: &Head,
        only: Option<Bytes>,
    ) -> Result<(SendStream<Bytes>, Answers), Error> {
        poll_fn(|cx| self.requests.poll_ready(cx)).await?;
        let (response, mut stream) = self.requests.send_request(head.clone(), false)?;
        if let Some(message) = only {
            stream.send_data(message, true)?;
        }
        Ok((stream, Answers { state: State::Head(response), buffered: BytesMut::new() }))
    }
}

/// The headers of a method's calls, made once and sent with each.
pub(crate) type Head = Request<()>;

/// The sending half of a stream; dropping it cancels the call.
pub(crate) struct Sender(SendStream<Bytes>);

impl Sender {
    /// Queues one message; it is never held back, so the caller bounds how many it sends.
    pub(crate) fn send(&mut self, message: &impl Message) -> Result<(), Error> {
        Ok(self.0.send_data(framed(message), false)?)
    }
}

/// The messages of an answer, in order, then its status.
pub(crate) struct Answers {
    state: State,
    buffered: BytesMut,
}

enum State {
    Head(ResponseFuture),
    Body(RecvStream),
}

impl Answers {
    /// Waits for the next message; `None` once the call has ended with status OK.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            if let Some(message) = split_message(&mut self.buffered)? {
                return Ok(Some(message));
            }
            match &mut self.state {
                State::Head(response) => self.state = State::Body(accept(response.await?)?),
                State::Body(body) => match body.data().await {
                    Some(chunk) => {
                        let chunk = chunk?;
                        body.flow_control().release_capacity(chunk.len())?;
                        self.buffered.extend_from_slice(&chunk);
                    }
                    None => return check_end(body, &self.buffered).await.map(|()| None),
                },
            }
        }
    }
}

/// The encoded message after its gRPC prefix, as it stands in a body.
pub(crate) fn framed(message: &impl Message) -> Bytes {
    let len = message.encoded_len();
    let mut frame = BytesMut::with_capacity(PREFIX_LEN + len);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(len).expect("requests are far smaller than 4 GiB"));
    message.encode(&mut frame).expect("the buffer was made for this length");
    frame.freeze()
}

/// Takes the first whole message off `buffered`.
fn split_message(buffered: &mut BytesMut) -> Result<Option<Bytes>, Error> {
    let Some(prefix) = buffered.first_chunk::<PREFIX_LEN>() else { return Ok(None) };
    if prefix[0] != 0 {
        return Err(Error::Answer("a compressed message that nobody asked for".to_owned()));
    }
    let len = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
    if buffered.len() < PREFIX_LEN + len {
        buffered.reserve(PREFIX_LEN + len - buffered.len());
        return Ok(None);
    }
    buffered.advance(PREFIX_LEN);
    Ok(Some(buffered.split_to(len).freeze()))
}

/// Turns response headers into the body, or into the status that came in place of one.
fn accept(response: Response<RecvStream>) -> Result<RecvStream, Error> {
    if !response.status().is_success() {
        return Err(Error::Answer(format!("HTTP status {} in place of gRPC", response.status())));
    }
    if response.headers().contains_key("grpc-status") {
        check_status(response.headers())?;
    }
    Ok(response.into_body())
}

/// Checks that the body ended at the end of a message and with status OK.
async fn check_end(body: &mut RecvStream, buffered: &[u8]) -> Result<(), Error> {
    if let Some(trailers) = body.trailers().await? {
        check_status(&trailers)?;
    }
    if buffered.is_empty() {
        Ok(())
    } else {
        Err(Error::Answer(format!("{} bytes of an unfinished message", buffered.len())))
    }
}

/// Reads `grpc-status` and `grpc-message`; a missing status counts as unknown (2), as gRPC has it.
fn check_status(headers: &HeaderMap) -> Result<(), Error> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    match text("grpc-status").and_then(|code| code.parse().ok()).unwrap_or(2) {
        0 => Ok(()),
        code => Err(Error::Status { code, message: text("grpc-message").unwrap_or_default().to_owned() }),
    }
}

#[cfg(test)]
mod tests;
