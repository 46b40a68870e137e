//! A gRPC call that counts its messages, in both directions, in the metrics of its method.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;

use bytes::Bytes;

use crate::grpc::{Batch, Body, Call, Gone, Requests, Responses, Status};
use crate::metrics::MethodMetrics;
use crate::read_budget::ReadShare;

/// A call, and the counters of its method if that is known.
#[derive(Debug)]
pub(crate) struct MeteredCall<'a> {
    pub(crate) call: Call,
    pub(crate) metrics: Option<&'a MethodMetrics>,
}

impl MeteredCall<'_> {
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
    pub(crate) fn reply(&mut self, answer: Result<Body, Status>) -> Result<(), Status> {
        if let Ok(body) = &answer {
            count(self.metrics, |metrics| metrics.sent(1, body.message_len()));
        }
        self.call.reply(answer)
    }

    /// See [`Call::is_compressed`].
    pub(crate) fn is_compressed(&self) -> bool {
        self.call.is_compressed()
    }

    /// See [`Call::read_share`].
    pub(crate) fn read_share(&self) -> Rc<ReadShare> {
        self.call.read_share()
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
    pub(crate) fn split(&mut self) -> (MeteredRequests<'_>, MeteredResponses<'_>) {
        let (requests, responses) = self.call.split();
        let metrics = self.metrics;
        (MeteredRequests { requests, metrics }, MeteredResponses { responses, metrics })
    }
}

/// The requests of a stream.
#[derive(Debug)]
pub(crate) struct MeteredRequests<'a> {
    requests: &'a mut Requests,
    metrics: Option<&'a MethodMetrics>,
}

impl MeteredRequests<'_> {
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
pub(crate) struct MeteredResponses<'a> {
    responses: &'a mut Responses,
    metrics: Option<&'a MethodMetrics>,
}

impl MeteredResponses<'_> {
    /// See [`Responses::send`].
    pub(crate) async fn send(&mut self, body: Body) -> Result<(), Status> {
        count(self.metrics, |metrics| metrics.sent(1, body.message_len()));
        self.responses.send(body).await
    }

    /// See [`Responses::send_all`].
    pub(crate) async fn send_all(&mut self, batch: &mut Batch) -> Result<(), Status> {
        count(self.metrics, |metrics| metrics.sent(batch.len(), batch.messages_len()));
        self.responses.send_all(batch).await
    }

    /// See [`Responses::room`].
    pub(crate) async fn room(&mut self) -> Result<(), Status> {
        self.responses.room().await
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
