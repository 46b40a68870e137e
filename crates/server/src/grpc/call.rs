//! One call of a client: what it asks, and the means to answer it.
//!
//! A unary call is `unary`, then `reply`; a streaming one is `split` into its two directions. A call that is
//! dropped unanswered is reset.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;
use http2::{Head, StreamId};
use tokio::time::Instant;

use super::body::Body;
use super::deadline::Deadline;
use super::frame::Decoder;
use super::link::Link;
use super::preamble::Preamble;
use super::status::Status;
use super::stream::{Requests, Responses};

/// A call that waits for its answer.
#[derive(Debug)]
pub struct Call {
    head: Rc<Head>,
    peer: SocketAddr,
    requests: Requests,
    responses: Responses,
}

impl Call {
    /// Makes a call of a request, or answers it here if it is no gRPC.
    pub(super) fn accept(
        link: &Rc<Link>,
        id: StreamId,
        head: Rc<Head>,
        peer: SocketAddr,
        message_len_max: usize,
    ) -> Option<Call> {
        match Preamble::read(&head) {
            Ok(Preamble { deadline, encoding }) => {
                let decoder = Decoder::new(encoding, message_len_max, link.unfinished());
                let requests = Requests::new(Rc::clone(link), id, decoder, Deadline::new(deadline));
                let responses = Responses::new(Rc::clone(link), id, encoding, Deadline::new(deadline));
                Some(Call { head, peer, requests, responses })
            }
            Err(refusal) => {
                refusal.send(&mut link.connection(), id);
                None
            }
        }
    }

    /// `/package.Service/Method`, as the client wrote it; empty if that is no text.
    pub fn path(&self) -> &str {
        std::str::from_utf8(&self.head.path).unwrap_or_default()
    }

    /// All request headers, those of gRPC itself included.
    pub fn metadata(&self) -> &Head {
        &self.head
    }

    /// When the client stops waiting.
    pub fn deadline(&self) -> Option<Instant> {
        self.responses.deadline().at()
    }

    /// The address of the client, or of a proxy before it.
    pub fn peer(&self) -> SocketAddr {
        self.peer
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
        self.requests.next().await?.ok_or_else(|| Status::internal(missing))
    }

    /// Runs `work` until it is done, the deadline passes or the client goes away; then drops it and returns
    /// `DeadlineExceeded` or `Canceled`. What the work has already set in motion goes on.
    pub async fn bound<T>(&mut self, work: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
        let mut work = pin!(work);
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(outcome) => Poll::Ready(outcome),
            Poll::Pending => self.responses.poll_gone(cx).map(|gone| Err(gone.into())),
        })
        .await
    }

    /// Answers a unary call. Never waits: headers, message and trailers go to the connection together, which
    /// writes them as the client's window allows.
    pub fn reply(self, answer: Result<Body, Status>) {
        match answer {
            Ok(body) => self.responses.reply(body),
            Err(status) => self.responses.finish(Err(status)),
        }
    }

    /// The two directions of a streaming call.
    pub fn split(self) -> (Requests, Responses) {
        (self.requests, self.responses)
    }
}
