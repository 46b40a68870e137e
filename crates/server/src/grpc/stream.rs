//! The two directions of a streaming call: messages in, messages out.
//!
//! Both wait for the client's flow control, so a stream costs one DATA window on the way in and one message
//! on the way out, however slow the client is. Both end at the call's deadline and when the client goes
//! away.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::LazyLock;
use std::task::{Context, Poll};

use bytes::Bytes;
use http2::{Payload, StreamId, hpack};

use super::batch::Batch;
use super::body::{self, Body};
use super::deadline::Deadline;
use super::frame::{Decoder, Encoding};
use super::gzip::{self, Compressor};
use super::link::{Link, Lost};
use super::status::{self, Code, Status};
use crate::local_event::LocalEvent;
use crate::read_budget::ReadShare;
use crate::time_slice;

/// The header block that begins an answer with messages.
static HEADERS: LazyLock<Vec<u8>> =
    LazyLock::new(|| block(&[(":status", "200"), ("content-type", "application/grpc")]));

/// The same, of an answer whose messages are compressed.
static GZIP_HEADERS: LazyLock<Vec<u8>> = LazyLock::new(|| {
    block(&[(":status", "200"), ("content-type", "application/grpc"), ("grpc-encoding", "gzip")])
});

/// The header block that ends a call well.
static OK_TRAILERS: LazyLock<Vec<u8>> = LazyLock::new(|| status::trailers(&Ok(())));

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
    link: Rc<Link>,
    id: StreamId,
    decoder: Decoder,
    deadline: Deadline,
}

impl Requests {
    pub(super) fn new(link: Rc<Link>, id: StreamId, decoder: Decoder, deadline: Deadline) -> Requests {
        Requests { link, id, decoder, deadline }
    }

    /// The next message, or `None` once the client has half-closed. Safe to drop and call again.
    ///
    /// Errors end the call: `DeadlineExceeded`, `Canceled` when the client is gone, `ResourceExhausted` for
    /// a message over the limit, `Internal` for broken framing.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        loop {
            if let Some(message) = self.next_at_once()? {
                return Ok(Some(message));
            }
            match poll_fn(|cx| self.poll_chunk(cx)).await? {
                Some(chunk) => self.decoder.push(chunk),
                None if self.decoder.is_between_messages() => return Ok(None),
                None => return Err(Status::internal("unexpected EOF")),
            }
        }
    }

    /// The next message if it has arrived with the one before. Errors as [`Requests::next`].
    pub fn next_at_once(&mut self) -> Result<Option<Bytes>, Status> {
        let message = self.decoder.next()?;
        time_slice::charge(message.as_ref().map_or(0, Bytes::len));
        Ok(message)
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Status>> {
        match self.link.poll_chunk(self.id, cx) {
            Poll::Ready(chunk) => Poll::Ready(chunk.map_err(|lost| match lost {
                Lost::Stream => Status::canceled(),
                Lost::Content => {
                    Status::new(Code::ResourceExhausted, "grpc: too many bytes of unfinished messages")
                }
            })),
            Poll::Pending => self.deadline.poll_expired(cx).map(|()| Err(Status::deadline_exceeded())),
        }
    }
}

/// The answers to a client, in order. Dropped before [`Responses::finish`], it resets the call.
#[derive(Debug)]
pub struct Responses {
    link: Rc<Link>,
    id: StreamId,
    encoding: Encoding,
    deadline: Deadline,
    stage: Stage,
}

/// Headers are sent with the first message, so that a call that fails at once is one frame.
#[derive(Debug, PartialEq, Eq)]
enum Stage {
    Unopened,
    Open,
    Finished,
}

impl Responses {
    pub(super) fn new(link: Rc<Link>, id: StreamId, encoding: Encoding, deadline: Deadline) -> Responses {
        Responses { link, id, encoding, deadline, stage: Stage::Unopened }
    }

    /// Sends one message, waiting until the client's window has taken all of it.
    ///
    /// Not safe to drop half way: the stream must then be ended without another message.
    pub async fn send(&mut self, body: Body) -> Result<(), Status> {
        let body = encode(body, self.encoding)?;
        Ok(self.send_payload(body.payload()).await?)
    }

    /// Sends the messages of a batch, which is empty then; otherwise as [`Responses::send`].
    pub async fn send_all(&mut self, batch: &mut Batch) -> Result<(), Status> {
        match self.encoding {
            Encoding::Identity => self.send_payload(batch.payload()).await?,
            Encoding::Gzip => self.send_payload(batch.compressed()?.payload()).await?,
        }
        batch.clear();
        Ok(())
    }

    /// Resolves when the client has cancelled the call, its connection has broken, or the deadline has
    /// passed.
    pub async fn gone(&mut self) -> Gone {
        poll_fn(|cx| self.poll_gone(cx)).await
    }

    /// Ends the call: nothing may be sent afterwards. After [`Gone::Client`] nothing is.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the outcome is the call's last, nobody needs it afterwards"
    )]
    pub fn finish(&mut self, outcome: Result<(), Status>) {
        let is_open = std::mem::replace(&mut self.stage, Stage::Finished) == Stage::Open;
        let block = if is_open { status::trailers(&outcome) } else { status::whole_answer(200, &outcome) };
        self.link.connection().send_end(self.id, &block);
    }

    pub(super) fn is_gone(&self) -> bool {
        self.link.connection().owner(self.id).is_none()
    }

    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<Gone> {
        match self.link.poll_gone(self.id, cx) {
            Poll::Ready(()) => Poll::Ready(Gone::Client),
            Poll::Pending => self.deadline.poll_expired(cx).map(|()| Gone::Deadline),
        }
    }

    pub(super) fn peer(&self) -> SocketAddr {
        self.link.peer()
    }

    pub(super) fn is_compressed(&self) -> bool {
        self.encoding == Encoding::Gzip
    }

    pub(super) fn read_share(&self) -> Rc<ReadShare> {
        Rc::clone(self.link.read_share())
    }

    /// Sends the whole answer of a unary call at once; the connection holds what the window does not take.
    /// Returns how the call ended.
    pub(super) fn reply(&mut self, body: Body) -> Result<(), Status> {
        match encode(body, self.encoding) {
            Ok(body) => {
                self.respond(&body);
                Ok(())
            }
            Err(status) => {
                self.finish(Err(status.clone()));
                Err(status)
            }
        }
    }

    /// Sends the answer of a unary call, `len` bytes in pieces that `next` makes until it has none. Others
    /// have their turn after each, so that it is mostly with the client when the next is made. The
    /// connection holds what the window does not take; when it holds too much, the next piece waits. Returns
    /// how the call ended.
    pub(super) async fn reply_in_pieces(
        &mut self,
        len: usize,
        next: impl FnMut() -> Result<Option<Bytes>, Status>,
    ) -> Result<(), Status> {
        let outcome = match self.encoding {
            Encoding::Identity => self.send_pieces(len, next).await,
            Encoding::Gzip => match self.compress_pieces(next).await {
                Ok(body) => {
                    self.respond(&body);
                    return Ok(());
                }
                Err(status) => Err(status),
            },
        };
        self.finish(outcome.clone());
        outcome
    }

    async fn send_pieces(
        &mut self,
        len: usize,
        mut next: impl FnMut() -> Result<Option<Bytes>, Status>,
    ) -> Result<(), Status> {
        let prefix = body::prefix(false, len)?;
        let mut head = &prefix[..];
        loop {
            self.room_for_piece().await?;
            let Some(piece) = next()? else { return Ok(()) };
            self.send_now(Payload { head, chunks: &[piece] });
            head = &[];
            time_slice::wait_for_next().await;
        }
    }

    /// Compressed, a message is as long as it turns out to be: it is sent when it is complete.
    async fn compress_pieces(
        &mut self,
        mut next: impl FnMut() -> Result<Option<Bytes>, Status>,
    ) -> Result<Body, Status> {
        let mut compressor = Compressor::new();
        while let Some(piece) = next()? {
            compressor.push(&piece)?;
            time_slice::wait_for_next().await;
            self.room_for_piece().await?;
        }
        Ok(Body::compressed(compressor.finish()?)?)
    }

    /// Waits until the connection holds fewer answers than it may: then the next may be made. Fails when the
    /// client or the time of this one is gone. Safe to drop and call again.
    pub async fn room(&mut self) -> Result<(), Status> {
        let link = Rc::clone(&self.link);
        self.wait_while(|| link.full()).await
    }

    /// The same for a piece of a long answer.
    async fn room_for_piece(&mut self) -> Result<(), Status> {
        let link = Rc::clone(&self.link);
        self.wait_while(|| link.full_for_piece()).await
    }

    async fn wait_while<'l>(&mut self, full: impl Fn() -> Option<&'l LocalEvent>) -> Result<(), Status> {
        loop {
            if self.is_gone() {
                return Err(Status::canceled());
            }
            let Some(room) = full() else { return Ok(()) };
            let mut room = pin!(room.wait());
            poll_fn(|cx| match room.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(Ok(())),
                Poll::Pending => self.poll_gone(cx).map(Err),
            })
            .await?;
        }
    }

    fn respond(&mut self, body: &Body) {
        self.stage = Stage::Finished;
        time_slice::charge(body.message_len());
        self.link.connection().respond(self.id, headers(self.encoding), body.payload(), &OK_TRAILERS);
    }

    async fn send_payload(&mut self, payload: Payload<'_>) -> Result<(), Gone> {
        if self.send_now(payload) {
            return Ok(());
        }
        poll_fn(|cx| self.poll_sent(cx)).await
    }

    /// Sends messages, or queues them. True if all of it is in the output. False if some is queued, or the
    /// stream is gone.
    fn send_now(&mut self, payload: Payload<'_>) -> bool {
        let mut connection = self.link.connection();
        if self.stage == Stage::Unopened {
            self.stage = Stage::Open;
            connection.send_headers(self.id, headers(self.encoding));
        }
        time_slice::charge(payload.chunks.iter().map(Bytes::len).sum());
        let is_sent = connection.send_data(self.id, payload);
        match connection.owner(self.id) {
            Some(traffic) if !is_sent => traffic.begin_sending(),
            Some(_) => {}
            None => return false,
        }
        is_sent
    }

    fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        match self.link.poll_sent(self.id, cx) {
            Poll::Ready(sent) => Poll::Ready(sent.map_err(|()| Gone::Client)),
            Poll::Pending => self.deadline.poll_expired(cx).map(|()| Err(Gone::Deadline)),
        }
    }
}

impl Drop for Responses {
    fn drop(&mut self) {
        if self.stage != Stage::Finished {
            self.link.connection().reset(self.id, http2::Code::Cancel);
        }
    }
}

/// Compresses the answer if the client compressed its request, as grpc-go does.
fn encode(body: Body, encoding: Encoding) -> Result<Body, Status> {
    match encoding {
        Encoding::Identity => Ok(body),
        Encoding::Gzip => Ok(Body::compressed(gzip::compress(body.message_chunks())?)?),
    }
}

fn headers(encoding: Encoding) -> &'static [u8] {
    match encoding {
        Encoding::Identity => &HEADERS,
        Encoding::Gzip => &GZIP_HEADERS,
    }
}

fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    hpack::encode(fields.iter().map(|(name, value)| (*name, value.as_bytes())), &mut block);
    block
}
