//! The client: one handle on a cluster, and the rules by which calls are retried.
//!
//! A call that was never sent is retried on another member, whatever it asks for. A call that only reads is also
//! retried when the server was unavailable. A write is not, because the server may have carried it out, unless the
//! member says that it knows no leader. Retries end at the call's deadline.

use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use prost::Message;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_stream::Stream;
use tonic::client::Grpc;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;

use crate::config::{Config, REQUEST_LEN_MAX, RESPONSE_LEN_MAX};
use crate::endpoint;
use crate::error::{Error, is_unsent};
use crate::pool::{Connection, Pool};

/// Pause between retries, once each endpoint has failed.
const RETRY_PAUSE: Duration = Duration::from_millis(25);
/// Attempts of a call that only reads.
const READ_ATTEMPTS_MAX: usize = 100;

/// A handle on a cluster. A clone shares the connections, which close with the last of them.
#[derive(Debug, Clone)]
pub struct Client {
    pool: Arc<Pool>,
    request_len_max: usize,
    response_len_max: usize,
    timeout: Option<Duration>,
}

/// Whether a call changes anything: if so, it is not retried when it is unknown whether the server carried it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    Reads,
    Writes,
}

impl Client {
    /// Makes a client and starts to connect; it does not wait for a connection. Needs a tokio runtime.
    pub fn new(config: &Config) -> Result<Self, Error> {
        config.check()?;
        let endpoints = config.endpoints.iter().map(|text| endpoint::parse(text, config));
        Ok(Client {
            pool: Arc::new(Pool::new(endpoints.collect::<Result<_, _>>()?)),
            request_len_max: config.request_len_max.unwrap_or(REQUEST_LEN_MAX),
            response_len_max: config.response_len_max.unwrap_or(RESPONSE_LEN_MAX),
            timeout: None,
        })
    }

    /// The same client, each of whose calls ends after `timeout` with [`Error::DeadlineExceeded`]. Watches and
    /// keep-alives have no end of their own. Without it a call waits as long as there is no member to be reached.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// The number of endpoints; at least one.
    pub(crate) fn endpoints(&self) -> usize {
        self.pool.len()
    }

    /// Waits until there is a connection to each endpoint.
    #[cfg(test)]
    pub(crate) async fn wait_for_all_endpoints(&self) {
        self.pool.wait_for_all().await;
    }

    /// Calls the method `path`, which has one request and one response.
    pub(crate) async fn unary<Q, A>(&self, path: &'static str, effect: Effect, request: Q) -> Result<A, Error>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        self.check_len(&request)?;
        let deadline = self.deadline();
        until(deadline, self.call_with_retries(path, effect, request, deadline)).await
    }

    /// The deadline of a call that begins now; `None` means no deadline.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.timeout.map(|timeout| Instant::now() + timeout)
    }

    fn check_len(&self, request: &impl Message) -> Result<(), Error> {
        let (len, max) = (request.encoded_len(), self.request_len_max);
        if len <= max {
            return Ok(());
        }
        let message = format!("trying to send message larger than max ({len} vs. {max})");
        Err(Error::Refused { code: Code::ResourceExhausted, message })
    }

    /// Sends the request until there is a response, or an error after which a retry is useless or unsafe.
    async fn call_with_retries<Q, A>(
        &self,
        path: &'static str,
        effect: Effect,
        request: Q,
        deadline: Option<Instant>,
    ) -> Result<A, Error>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        let mut attempt = 0;
        loop {
            let status = match self.attempt(path, request.clone(), deadline).await {
                Ok(answer) => return Ok(answer),
                Err(status) => status,
            };
            attempt += 1;
            let was_sent = !is_unsent(&status);
            let error = Error::from(status);
            if was_sent && !self.may_repeat(effect, attempt, &error) {
                return Err(error);
            }
            if attempt % self.pool.len() == 0 {
                sleep(RETRY_PAUSE).await;
            }
        }
    }

    /// Whether a call that has reached a member may be sent to another one after so many attempts.
    fn may_repeat(&self, effect: Effect, attempts: usize, error: &Error) -> bool {
        match effect {
            Effect::Reads => error.is_unavailable() && attempts < READ_ATTEMPTS_MAX,
            // A member without a leader has proposed nothing. Each member is asked once.
            Effect::Writes => error.is_no_leader() && attempts < self.pool.len(),
        }
    }

    async fn attempt<Q, A>(
        &self,
        path: &'static str,
        request: Q,
        deadline: Option<Instant>,
    ) -> Result<A, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let connection = self.pool.connection().await;
        let mut request = Request::new(request);
        if let Some(deadline) = deadline {
            request.set_timeout(deadline.saturating_duration_since(Instant::now()));
        }
        let call = async {
            let path = PathAndQuery::from_static(path);
            self.grpc(&connection).await?.unary(request, path, ProstCodec::default()).await
        };
        let result = call.await.map(tonic::Response::into_inner);
        result.inspect_err(|status| connection.note_failure(status))
    }

    /// Opens a stream to the next member in turn, and waits for the response headers. A server may send them only
    /// after the first request has arrived.
    pub(crate) async fn stream<Q, A>(
        &self,
        path: &'static str,
        requests: impl Stream<Item = Q> + Send + 'static,
    ) -> Result<Streaming<A>, Error>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let connection = self.pool.connection().await;
        let mut request = Request::new(requests);
        // A member without a leader then refuses the stream, instead of sending nothing on it.
        request.metadata_mut().insert("hasleader", MetadataValue::from_static("true"));
        let call = async {
            let path = PathAndQuery::from_static(path);
            self.grpc(&connection).await?.streaming(request, path, ProstCodec::default()).await
        };
        let result = call.await.map(tonic::Response::into_inner);
        Ok(result.inspect_err(|status| connection.note_failure(status))?)
    }

    /// A gRPC client on `connection`, when the connection can take another call.
    async fn grpc(&self, connection: &Connection) -> Result<Grpc<Channel>, Status> {
        let mut grpc = Grpc::new(connection.channel.clone())
            .max_decoding_message_size(self.response_len_max)
            .max_encoding_message_size(self.request_len_max);
        grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
        Ok(grpc)
    }
}

/// The result of `call`, or [`Error::DeadlineExceeded`] at the deadline.
pub(crate) async fn until<T>(
    deadline: Option<Instant>,
    call: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    match deadline {
        None => call.await,
        Some(deadline) => timeout_at(deadline, call).await.unwrap_or(Err(Error::DeadlineExceeded)),
    }
}

#[cfg(test)]
mod tests;
