//! One call of a client: what it asks, and the means to answer it.
//!
//! A unary call is `unary`, then `reply`; a streaming one is `split` into its two directions. A call that is
//! dropped unanswered is reset.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;
use http2::StreamId;
use tokio::time::Instant;

use super::body::Body;
use super::deadline::Deadline;
use super::frame::Decoder;
use super::link::Link;
use super::preamble::Preamble;
use super::status::Status;
use super::stream::{Gone, Requests, Responses};
use crate::read_budget::ReadShare;

/// A call that waits for its answer.
#[derive(Debug)]
pub struct Call {
    requests: Requests,
    responses: Responses,
}

impl Call {
    /// Makes a call of a request that came `at` this time.
    pub(super) fn new(
        link: &Rc<Link>,
        id: StreamId,
        Preamble { timeout, encoding }: Preamble,
        at: Instant,
        message_len_max: usize,
    ) -> Call {
        let deadline = timeout.map(|timeout| at + timeout);
        let decoder = Decoder::new(encoding, message_len_max, Rc::clone(link.received()));
        Call {
            requests: Requests::new(Rc::clone(link), id, decoder, Deadline::new(deadline)),
            responses: Responses::new(Rc::clone(link), id, encoding, Deadline::new(deadline)),
        }
    }

    /// The address of the client, or of a proxy before it.
    pub fn peer(&self) -> SocketAddr {
        self.responses.peer()
    }

    /// Whether the client is gone already.
    pub(super) fn is_gone(&self) -> bool {
        self.responses.is_gone()
    }

    /// The one request message. Returns as soon as it is complete, even if the client half-closes later.
    ///
    /// Errors as [`Requests::next`], and `Internal` if the client sends none. They are due as the reply.
    pub async fn unary(&mut self) -> Result<Bytes, Status> {
        let missing = "cardinality violation: received no request message from non-client-streaming RPC";
        let message = self.requests.next().await?.ok_or_else(|| Status::internal(missing))?;
        // The call was begun when there was room; its message may have come much later.
        self.responses.room().await?;
        Ok(message)
    }

    /// Runs `work` until it is done, the deadline passes or the client goes away; then `work` should be
    /// dropped. What it has already proposed to the node still happens.
    pub async fn bound<F: Future>(&mut self, mut work: Pin<&mut F>) -> Result<F::Output, Gone> {
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(outcome) => Poll::Ready(Ok(outcome)),
            Poll::Pending => self.responses.poll_gone(cx).map(Err),
        })
        .await
    }

    /// Answers a unary call, once; returns how it ended. Never waits: headers, message and trailers go to
    /// the connection together, which writes them as the client's window allows.
    pub fn reply(&mut self, answer: Result<Body, Status>) -> Result<(), Status> {
        match answer {
            Ok(body) => self.responses.reply(body),
            Err(status) => {
                self.responses.finish(Err(status.clone()));
                Err(status)
            }
        }
    }

    /// Whether answers are compressed.
    pub(crate) fn is_compressed(&self) -> bool {
        self.responses.is_compressed()
    }

    /// What long answers of the call's connection may hold.
    pub(crate) fn read_share(&self) -> Rc<ReadShare> {
        self.responses.read_share()
    }

    /// Answers a unary call well, with a message of `len` bytes in pieces: `next` makes one after the other
    /// and gives nothing after the last. Lets others have their turn, and waits while the connection holds
    /// too many answers.
    ///
    /// The error is that of `next`, or that the client or its time is gone; then the rest is not made.
    pub async fn reply_in_pieces(
        &mut self,
        len: usize,
        next: impl FnMut() -> Result<Option<Bytes>, Status>,
    ) -> Result<(), Status> {
        self.responses.reply_in_pieces(len, next).await
    }

    /// The two directions of a streaming call.
    pub fn split(&mut self) -> (&mut Requests, &mut Responses) {
        (&mut self.requests, &mut self.responses)
    }
}
