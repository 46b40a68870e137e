//! Fan-out: one key, many watchers, one writer.
//!
//! The value carries the moment of its put, so that each delivery has a latency of its own. The writer
//! keeps at most `puts_ahead` times as many events outstanding as there are watchers: without that bound a server may
//! gather many events into one answer, and a fast writer would measure how well it falls behind.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use prost::Message;
use proto::etcdserverpb::watch_request::RequestUnion;
use proto::etcdserverpb::{PutRequest, WatchCreateRequest, WatchRequest, WatchResponse};
use tokio::task::JoinSet;

use super::{Shared, keys, unary};
use crate::client::{Answers, Connection, Head, Sender};
use crate::error::Error;
use crate::meter::{Meter, Phase};
use crate::settings::Workload;

/// The method that opens a stream of watchers.
const PATH: &str = "/etcdserverpb.Watch/Watch";
/// Bytes of the time stamp at the start of a value: nanoseconds since the epoch of the run.
const STAMP_LEN: usize = 8;

/// Opens stream number `stream`, creates its share of the watchers, and starts its reader.
pub(super) async fn spawn(
    shared: &Arc<Shared>,
    stream: usize,
    connection: &Connection,
    meter: &Meter,
    workers: &mut JoinSet<()>,
) -> Result<(), Error> {
    let head = connection.head(PATH);
    let (mut sender, mut answers) = connection.clone().stream(&head).await?;
    let settings = &shared.settings;
    let watchers = share(settings.watchers, settings.connections * settings.streams, stream);
    for _ in 0..watchers {
        sender.send(&create())?;
    }
    for _ in 0..watchers {
        if !read(&mut answers).await?.created {
            return Err(Error::Answer("a watcher was not created".to_owned()));
        }
    }
    let reader = Reader { shared: shared.clone(), answers, _sender: sender };
    workers.spawn(reader.run(meter.clone()));
    Ok(())
}

/// Starts the one writer, on a connection of its own.
pub(super) async fn spawn_writer(
    shared: &Arc<Shared>,
    meter: &Meter,
    workers: &mut JoinSet<()>,
) -> Result<(), Error> {
    let connection = Connection::open(&shared.settings.endpoint).await?;
    let head = connection.head(unary::path(Workload::Watch));
    let value = unary::value(shared.settings.value_bytes);
    let writer = Writer { shared: shared.clone(), connection, head, value: BytesMut::from(value) };
    workers.spawn(writer.run(meter.clone()));
    Ok(())
}

/// Receives the events of one stream.
struct Reader {
    shared: Arc<Shared>,
    answers: Answers,
    /// The stream lasts as long as its sending half.
    _sender: Sender,
}

impl Reader {
    async fn run(mut self, meter: Meter) {
        let mut ending = meter.clone();
        loop {
            let answer = tokio::select! {
                answer = read(&mut self.answers) => answer,
                () = ending.reached(Phase::Stop) => return,
            };
            match answer {
                Ok(answer) => self.deliver(&answer, &meter),
                Err(error) => return meter.count(Err(&error)),
            }
        }
    }

    fn deliver(&self, answer: &WatchResponse, meter: &Meter) {
        let now = self.shared.epoch.elapsed();
        for event in &answer.events {
            let stamp = event.kv.as_ref().and_then(|kv| kv.value.first_chunk::<STAMP_LEN>());
            match stamp {
                Some(stamp) => {
                    let sent = Duration::from_nanos(u64::from_be_bytes(*stamp));
                    meter.count(Ok(now.saturating_sub(sent)));
                }
                None => meter.count(Err(&Error::Answer("an event without its time stamp".to_owned()))),
            }
        }
        self.allow_puts(answer.events.len() as u64);
    }

    /// Lets the writer go on by one put for each full round of deliveries that `events` complete. Rounds are
    /// counted over all watchers: one that lags is made up for by the others until the bound is reached.
    fn allow_puts(&self, events: u64) {
        let watchers = self.shared.settings.watchers as u64;
        let before = self.shared.delivered.fetch_add(events, Ordering::Relaxed);
        let complete = (before + events) / watchers - before / watchers;
        self.shared.puts_ahead.add_permits(usize::try_from(complete).expect("both have 64 bits"));
    }
}

/// Writes the watched key.
struct Writer {
    shared: Arc<Shared>,
    connection: Connection,
    head: Head,
    value: BytesMut,
}

impl Writer {
    async fn run(mut self, mut meter: Meter) {
        meter.reached(Phase::WarmUp).await;
        loop {
            self.shared.puts_ahead.acquire().await.expect("the semaphore is never closed").forget();
            let Some(start) = meter.turn().await else { return };
            if let Err(error) = self.put(start).await {
                return meter.count(Err(&error));
            }
        }
    }

    async fn put(&mut self, start: Instant) -> Result<(), Error> {
        let stamp = start.duration_since(self.shared.epoch).as_nanos() as u64;
        self.value[..STAMP_LEN].copy_from_slice(&stamp.to_be_bytes());
        let value = Bytes::copy_from_slice(&self.value);
        let put = PutRequest { key: keys::key(0), value, ..Default::default() };
        self.connection.unary(&self.head, &put).await.map(drop)
    }
}

/// How many of `all` fall to part `part` of `parts`.
fn share(all: usize, parts: usize, part: usize) -> usize {
    all / parts + usize::from(part < all % parts)
}

fn create() -> WatchRequest {
    let watch = WatchCreateRequest { key: keys::key(0), ..Default::default() };
    WatchRequest { request_union: Some(RequestUnion::CreateRequest(watch)) }
}

/// Reads one answer; the end of the stream and a cancelled watcher are errors.
async fn read(answers: &mut Answers) -> Result<WatchResponse, Error> {
    let wrong = |text: &str| Error::Answer(text.to_owned());
    let message = answers.next().await?.ok_or_else(|| wrong("the watch stream ended"))?;
    let answer = WatchResponse::decode(message).map_err(|cause| wrong(&cause.to_string()))?;
    if answer.canceled {
        return Err(Error::Answer(format!("a watcher was cancelled: {}", answer.cancel_reason)));
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_differ_by_one_at_most_and_add_up() {
        let shares: Vec<usize> = (0..4).map(|part| share(10, 4, part)).collect();
        assert_eq!(shares, [3, 3, 2, 2]);
        assert_eq!(share(2, 4, 3), 0);
    }

    #[test]
    fn the_path_is_a_method_of_the_service() {
        assert_eq!(proto::etcdserverpb::WATCH.methods[0].path, PATH);
    }
}
