//! Watchers, and the writers of what they watch.
//!
//! In the fan-out loads a value carries the moment of its put, so that each delivery has a latency of its own.
//! The writers keep a bounded number of puts ahead of their deliveries: without that bound a server may gather
//! many events into one answer, and a fast writer would measure how well it falls behind.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use prost::Message;
use proto::etcdserverpb::watch_request::RequestUnion;
use proto::etcdserverpb::{WatchCreateRequest, WatchRequest, WatchResponse};
use tokio::task::JoinSet;

use super::keys::Random;
use super::{Shared, keys, kubernetes, request, unary};
use crate::client::{Call, Connection, Head};
use crate::error::Error;
use crate::meter::{Meter, Phase};
use crate::settings::{Settings, Workload};

/// The method that opens a stream of watchers.
const PATH: &str = "/etcdserverpb.Watch/Watch";
/// Bytes of the time stamp at the start of a value: nanoseconds since the epoch of the run.
const STAMP_LEN: usize = 8;
/// Watchers asked for before their confirmations are read, so that neither side's buffers fill up.
const CREATE_AHEAD: usize = 1000;

/// A stream of watchers.
pub(crate) struct WatchStream(Call);

impl WatchStream {
    /// Opens a stream and creates `watchers` on it; returns once all of them exist.
    pub(crate) async fn open(
        connection: &Connection,
        watchers: impl IntoIterator<Item = WatchCreateRequest>,
    ) -> Result<Self, Error> {
        let mut call = connection.stream(connection.head(PATH))?;
        let (mut asked, mut watchers) = (0, watchers.into_iter().peekable());
        while asked > 0 || watchers.peek().is_some() {
            for watcher in watchers.by_ref().take(CREATE_AHEAD - asked) {
                call.send(&WatchRequest { request_union: Some(RequestUnion::CreateRequest(watcher)) });
                asked += 1;
            }
            if !read(&mut call).await?.created {
                return Err(Error::Answer("a watcher was not created".to_owned()));
            }
            asked -= 1;
        }
        Ok(Self(call))
    }

    /// The next answer; the end of the stream and a cancelled watcher are errors.
    pub(crate) async fn next(&mut self) -> Result<WatchResponse, Error> {
        read(&mut self.0).await
    }
}

async fn read(call: &mut Call) -> Result<WatchResponse, Error> {
    let message = call.next().await?.ok_or_else(|| Error::Answer("the watch stream ended".to_owned()))?;
    let answer = WatchResponse::decode(message)?;
    if answer.canceled {
        return Err(Error::Answer(format!("a watcher was cancelled: {}", answer.cancel_reason)));
    }
    Ok(answer)
}

/// Opens stream number `stream` of `streams`, creates its share of the watchers, and starts its reader.
pub(super) async fn spawn(
    shared: &Arc<Shared>,
    (stream, streams): (usize, usize),
    connection: &Connection,
    meter: &Meter,
    workers: &mut JoinSet<()>,
) -> Result<(), Error> {
    let settings = &shared.settings;
    let watchers = (stream..settings.watchers).step_by(streams).map(|number| watcher(settings, number));
    let stream = WatchStream::open(connection, watchers).await?;
    workers.spawn(Reader { shared: shared.clone(), stream }.run(meter.clone()));
    Ok(())
}

/// What watcher `number` looks at.
fn watcher(settings: &Settings, number: usize) -> WatchCreateRequest {
    let number = number as u64;
    let (key, range_end) = match settings.workload {
        Workload::WatchPrefixes => keys::range(number..number + 1),
        Workload::Kubernetes => {
            keys::range(kubernetes::resource(number % kubernetes::resources(settings.keys)))
        }
        _ => (keys::key(0), Bytes::new()),
    };
    WatchCreateRequest { key, range_end, ..Default::default() }
}

/// Watchers that see one put.
fn fan_out(settings: &Settings) -> u64 {
    if settings.workload == Workload::WatchPrefixes { 1 } else { settings.watchers as u64 }
}

/// Receives the events of one stream.
struct Reader {
    shared: Arc<Shared>,
    stream: WatchStream,
}

impl Reader {
    async fn run(mut self, meter: Meter) {
        let mut ending = meter.clone();
        loop {
            let answer = tokio::select! {
                answer = self.stream.next() => answer,
                () = ending.reached(Phase::Stop) => return,
            };
            match answer {
                // There a call is what counts; that the events come is part of its load.
                Ok(_) if self.shared.settings.workload == Workload::Kubernetes => {}
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

    /// Lets the writers go on by one put for each full round of deliveries that `events` complete. Rounds are
    /// counted over all watchers: one that lags is made up for by the others until the bound is reached.
    fn allow_puts(&self, events: u64) {
        let fan_out = fan_out(&self.shared.settings);
        let before = self.shared.delivered.fetch_add(events, Ordering::Relaxed);
        let complete = (before + events) / fan_out - before / fan_out;
        self.shared.puts_ahead.add_permits(usize::try_from(complete).expect("both have 64 bits"));
    }
}

/// Starts the writers, on a connection of their own.
pub(super) async fn spawn_writers(
    shared: &Arc<Shared>,
    meter: &Meter,
    workers: &mut JoinSet<()>,
) -> Result<(), Error> {
    let settings = &shared.settings;
    let connection = Connection::open(&settings.endpoint).await?;
    // Watchers of one key are told of one put after the other, which takes no more than one writer.
    let writers = if settings.workload == Workload::WatchPrefixes { settings.puts_ahead } else { 1 };
    for number in 0..writers {
        let writer = Writer {
            shared: shared.clone(),
            connection: connection.clone(),
            head: connection.head(unary::PUT),
            value: BytesMut::from(request::value(settings.value_bytes)),
            random: Random::new(number),
        };
        workers.spawn(writer.run(meter.clone()));
    }
    Ok(())
}

/// Writes what is watched.
struct Writer {
    shared: Arc<Shared>,
    connection: Connection,
    head: Head,
    value: BytesMut,
    random: Random,
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
        let settings = &self.shared.settings;
        let number = match settings.workload {
            Workload::WatchPrefixes => self.random.below(settings.watchers as u64),
            _ => 0,
        };
        let put = request::put(number, &Bytes::copy_from_slice(&self.value));
        self.connection.unary(self.head, &put).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_prefix_has_one_watcher() {
        let settings = Settings::of(Workload::WatchPrefixes);
        let (first, second) = (watcher(&settings, 0), watcher(&settings, 1));
        assert_eq!(first.range_end, second.key);
        assert!(first.key <= keys::key(0) && keys::key(0) < first.range_end);
    }

    #[test]
    fn watchers_of_one_key_watch_just_that() {
        let watcher = watcher(&Settings::of(Workload::Watch), 7);
        assert_eq!((watcher.key, watcher.range_end), (keys::key(0), Bytes::new()));
    }

    #[test]
    fn the_path_is_a_method_of_the_service() {
        assert_eq!(proto::etcdserverpb::WATCH.methods[0].path, PATH);
    }
}
