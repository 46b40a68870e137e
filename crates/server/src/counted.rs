//! A gRPC call whose messages are counted, in both directions, as they come and go.

use std::future::Future;

use bytes::Bytes;
use http2::Head;

use crate::grpc::{Batch, Body, Call, Gone, Requests, Responses, Status};
use crate::metrics::MethodMetrics;

/// A call, and the counters of its method if that is known.
#[derive(Debug)]
pub(crate) struct CountedCall<'a> {
    pub(crate) call: Call,
    pub(crate) metrics: Option<&'a MethodMetrics>,
}

impl<'a> CountedCall<'a> {
    pub(crate) fn path(&self) -> &str {
        self.call.path()
    }

    pub(crate) fn metadata(&self) -> &Head {
        self.call.metadata()
    }

    /// See [`Call::unary`].
    pub(crate) async fn unary(&mut self) -> Result<Bytes, Status> {
        let message = self.call.unary().await?;
        count(self.metrics, |metrics| metrics.received(message.len()));
        Ok(message)
    }

    /// See [`Call::bound`].
    pub(crate) async fn bound<T>(
        &mut self,
        work: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, Status> {
        self.call.bound(work).await
    }

    /// See [`Call::reply`].
    pub(crate) fn reply(self, answer: Result<Body, Status>) {
        if let Ok(body) = &answer {
            count(self.metrics, |metrics| metrics.sent(1, body.message_len()));
        }
        self.call.reply(answer);
    }

    /// See [`Call::split`].
    pub(crate) fn split(self) -> (CountedRequests<'a>, CountedResponses<'a>) {
        let (requests, responses) = self.call.split();
        let metrics = self.metrics;
        (CountedRequests { requests, metrics }, CountedResponses { responses, metrics })
    }
}

/// The requests of a stream.
#[derive(Debug)]
pub(crate) struct CountedRequests<'a> {
    requests: Requests,
    metrics: Option<&'a MethodMetrics>,
}

impl CountedRequests<'_> {
    /// See [`Requests::next`].
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        let message = self.requests.next().await?;
        if let Some(message) = &message {
            count(self.metrics, |metrics| metrics.received(message.len()));
        }
        Ok(message)
    }
}

/// The responses of a stream.
#[derive(Debug)]
pub(crate) struct CountedResponses<'a> {
    responses: Responses,
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
    pub(crate) fn finish(self, outcome: Result<(), Status>) {
        self.responses.finish(outcome);
    }
}

fn count(metrics: Option<&MethodMetrics>, count: impl FnOnce(&MethodMetrics)) {
    if let Some(metrics) = metrics {
        count(metrics);
    }
}
