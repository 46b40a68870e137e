//! Keeps a lease alive, for as long as [`KeepAlive::next`] is called.
//!
//! A member that refuses, breaks the stream or is silent for a third of the lease's life is passed over: the next
//! endpoint in turn is asked. So one member that hangs does not cost the lease.

use std::time::Duration;

use proto::etcdserverpb::{LeaseKeepAliveRequest, LeaseKeepAliveResponse};
use tokio::sync::mpsc::{Sender, channel};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};

use crate::client::Client;
use crate::error::{Error, LEASE_NOT_FOUND};

/// Pause before a stream is opened again, once it has failed at each endpoint.
const RESUME_PAUSE: Duration = Duration::from_millis(500);
/// The longest time to live that etcd grants.
const TTL_MAX: Duration = Duration::from_secs(9_000_000_000);
/// The assumed time to live of a lease until the server has sent it.
const FIRST_TTL: Duration = Duration::from_secs(5);

/// Renews a lease three times in each of its lifetimes, over broken connections too.
#[derive(Debug)]
pub struct KeepAlive {
    client: Client,
    id: i64,
    stream: Option<(Sender<LeaseKeepAliveRequest>, Streaming<LeaseKeepAliveResponse>)>,
    /// Attempts that have failed since the last renewal.
    failures: usize,
    /// The time that a member has for its answer.
    patience: Duration,
    /// When to renew next.
    due: Instant,
    /// When the lease has expired if it is not renewed.
    expires: Instant,
}

impl Client {
    /// Keeps lease `id` alive while [`KeepAlive::next`] is called.
    pub fn keep_alive(&self, id: i64) -> KeepAlive {
        let now = Instant::now();
        KeepAlive {
            client: self.clone(),
            id,
            stream: None,
            failures: 0,
            patience: FIRST_TTL / 3,
            due: now,
            expires: now + FIRST_TTL,
        }
    }

    /// Renews lease `id` once.
    pub async fn keep_alive_once(&self, id: i64) -> Result<LeaseKeepAliveResponse, Error> {
        let mut keep_alive = self.keep_alive(id);
        loop {
            match keep_alive.renew().await {
                Ok(response) if response.ttl > 0 => return Ok(response),
                Ok(_) => {
                    let message = LEASE_NOT_FOUND.to_owned();
                    return Err(Error::Refused { code: Code::NotFound, message });
                }
                Err(error) if error.is_resumable() => keep_alive.note_failure().await,
                Err(error) => return Err(error),
            }
        }
    }
}

impl KeepAlive {
    /// Waits until a third of the lease's life has passed and renews it; `None` once the lease has expired, was
    /// revoked, or could not be renewed in time. The first call renews at once.
    pub async fn next(&mut self) -> Option<LeaseKeepAliveResponse> {
        sleep_until(self.due).await;
        loop {
            let until = self.expires.min(Instant::now() + self.patience);
            match timeout_at(until, self.renew()).await {
                Ok(Ok(response)) => {
                    let ttl_s = u64::try_from(response.ttl).ok().filter(|ttl_s| *ttl_s > 0)?;
                    let ttl = Duration::from_secs(ttl_s).min(TTL_MAX);
                    let now = Instant::now();
                    self.failures = 0;
                    self.patience = ttl / 3;
                    self.due = now + self.patience;
                    self.expires = now + ttl;
                    return Some(response);
                }
                Ok(Err(error)) if !error.is_resumable() => return None,
                Ok(Err(_)) | Err(_) if Instant::now() >= self.expires => return None,
                Ok(Err(_)) => self.note_failure().await,
                // The silent member had its time, so the next one is asked at once.
                Err(_) => {}
            }
        }
    }

    /// Pauses once each endpoint has failed.
    async fn note_failure(&mut self) {
        self.failures += 1;
        if self.failures.is_multiple_of(self.client.endpoints()) {
            sleep(RESUME_PAUSE).await;
        }
    }

    /// Sends one request and waits for its response. After an error the next call opens another stream.
    async fn renew(&mut self) -> Result<LeaseKeepAliveResponse, Error> {
        let request = LeaseKeepAliveRequest { id: self.id };
        let (sender, mut responses) = match self.stream.take() {
            Some((sender, responses)) => {
                sender.send(request).await.map_err(|_| Error::stream_ended())?;
                (sender, responses)
            }
            None => {
                let (sender, requests) = channel(1);
                sender.try_send(request).expect("the queue is new");
                let path = "/etcdserverpb.Lease/LeaseKeepAlive";
                (sender, self.client.stream(path, ReceiverStream::new(requests)).await?)
            }
        };
        let response = responses.message().await?.ok_or_else(Error::stream_ended)?;
        self.stream = Some((sender, responses));
        Ok(response)
    }
}

#[cfg(test)]
mod tests;
