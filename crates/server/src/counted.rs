//! A gRPC call whose messages are counted, in both directions, as they come and go.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;

use bytes::Bytes;

use crate::grpc::{Batch, Body, Call, Gone, Requests, Responses, Status};
use crate::metrics::MethodMetrics;

/// A call, and the counters of its method if that is known.
#[derive(Debug)]
pub(crate) struct CountedCall<'a> {
    pub(crate) call: Call,
    pub(crate) metrics: Option<&'a MethodMetrics>,
}

impl CountedCall<'_> {
    /// See [`Call::peer`].
    pub(crate) fn peer(&self) -> SocketAddr {
        self.call.peer()
    }

    /// See [`Call::unary`].
    pub(crate) async fn unary(&mut self) -> Result<Bytes, Status> {
        let message = self.call.unary().await?;
        count(self.metrics, |metrics| metrics.received(message.len()));
        Ok(message)
    }

    /// See [`Call::bound`].
    pub(crate) fn bound<F: Future>(
        &mut self,
        work: Pin<&mut F>,
    ) -> impl Future<Output = Result<F::Output, Gone>> {
        self.call.bound(work)
    }

    /// See [`Call::reply`].
    pub(crate) fn reply(&mut self, answer: Result<Body, Status>) {
        if let Ok(body) = &answer {
            count(self.metrics, |metrics| metrics.sent(1, body.message_len()));
        }
        self.call.reply(answer);
    }

    /// See [`Call::reply_in_pieces`].
    pub(crate) async fn reply_in_pieces(
        &mut self,
        len: usize,
        next: impl FnMut() -> Result<Option<Bytes>, Status>,
    ) -> Result<(), Status> {
        count(self.metrics, |metrics| metrics.sent(1, len));
        self.call.reply_in_pieces(len, next).await
    }

    /// See [`Call::split`].
    pub(crate) fn split(&mut self) -> (CountedRequests<'_>, CountedResponses<'_>) {
        let (requests, responses) = self.call.split();
        let metrics = self.metrics;
        (CountedRequests { requests, metrics }, CountedResponses { responses, metrics })
    }
}

/// The requests of a stream.
#[derive(Debug)]
pub(crate) struct CountedRequests<'a> {
    requests: &'a mut Requests,
    metrics: Option<&'a MethodMetrics>,
}

impl CountedRequests<'_> {
    /// See [`Requests::next`].
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        let message = self.requests.next().await?;
        Ok(self.counted(message))
    }

    /// See [`Requests::next_at_once`].
    pub(crate) fn next_at_once(&mut self) -> Result<Option<Bytes>, Status> {
        let message = self.requests.next_at_once()?;
        Ok(self.counted(message))
    }

    fn counted(&self, message: Option<Bytes>) -> Option<Bytes> {
        if let Some(message) = &message {
            count(self.metrics, |metrics| metrics.received(message.len()));
        }
        message
    }
}

/// The responses of a stream.
#[derive(Debug)]
pub(crate) struct CountedResponses<'a> {
    responses: &'a mut Responses,
    metrics: Option<&'a MethodMetrics>,
}

impl CountedResponses<'_> {
    /// See [`Responses::send`].
    pub(crate) async fn send(&mut self, body: Body) -> Result<(), Gone> {
        count(self.metrics, |metrics| metrics.sent(1, body.message_len()));
        self.responses.send(body).await
    }

    /// See [`Responses::send_all`].
    pub(crate) async fn send_all(&mut self, batch: &mut Batch) -> Result<(), Gone> {
        count(self.metrics, |metrics| metrics.sent(batch.len(), batch.messages_len()));
        self.responses.send_all(batch).await
    }

    /// See [`Responses::gone`].
    pub(crate) async fn gone(&mut self) -> Gone {
        self.responses.gone().await
    }

    /// See [`Responses::finish`].
    pub(crate) fn finish(&mut self, outcome: Result<(), Status>) {
        self.responses.finish(outcome);
    }
}

fn count(metrics: Option<&MethodMetrics>, count: impl FnOnce(&MethodMetrics)) {
    if let Some(metrics) = metrics {
        count(metrics);
    }
}
