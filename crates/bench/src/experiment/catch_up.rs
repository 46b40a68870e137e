//! Watchers that come late: history read from its first revision on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use proto::etcdserverpb::WatchCreateRequest;
use tokio::task::JoinSet;

use crate::client::Connection;
use crate::error::Error;
use crate::process::Reading;
use crate::progress;
use crate::report::{Measure, Report};
use crate::settings::Settings;
use crate::workload::watch::WatchStream;
use crate::workload::{bulk, keys, preload};

static CPU: Measure = Measure::cost("server CPU µs/event");
static EVENTS: Measure = Measure::rate("events/s");
static SECONDS: Measure = Measure::cost("catch-up s");
static LEFT: Measure = Measure::cost("events missing after 60 s").detail();

/// How long watchers are waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Writes the revisions, then lets watchers on connections of their own read all of them, or as many as they
/// come to.
pub(super) async fn run(settings: &Settings) -> Result<Report, Error> {
    preload::revisions(settings).await?;
    let reading = || Reading::of_all(&settings.server_pids);
    let (start, before) = (Instant::now(), reading()?);
    let (seen, mut readers) = (Arc::new(AtomicU64::new(0)), JoinSet::new());
    for _ in 0..settings.watchers {
        let connection = Connection::open(&settings.endpoint).await?;
        readers.spawn(read(connection, settings.clone(), seen.clone()));
    }
    let total = settings.revisions * settings.watchers as u64;
    let all = progress::while_running("events", total, &seen, bulk::all(readers));
    let in_time = tokio::time::timeout(PATIENCE, all).await;
    let seconds = start.elapsed().as_secs_f64();
    let events = seen.load(Ordering::Relaxed);
    let cpu = before.zip(reading()?).map(|(before, after)| after.cpu.saturating_sub(before.cpu));
    let mut report = Report::default();
    report.add(&CPU, cpu.filter(|_| events > 0).map(|cpu| cpu.as_secs_f64() * 1e6 / events as f64));
    report.add(&EVENTS, events as f64 / seconds);
    match in_time {
        Ok(result) => result.map(|()| report.add(&SECONDS, seconds))?,
        Err(_) => report.add(&LEFT, (total - events) as f64),
    }
    Ok(report)
}

/// Reads every revision there is, and refuses one that is missing or comes twice.
async fn read(connection: Connection, settings: Settings, seen: Arc<AtomicU64>) -> Result<(), Error> {
    let (key, range_end) = keys::range(0..settings.keys);
    let watch = WatchCreateRequest { key, range_end, start_revision: 1, ..Default::default() };
    let mut stream = WatchStream::open(&connection, [watch]).await?;
    let (mut count, mut last) = (0, None);
    while count < settings.revisions {
        let events = stream.next().await?.events;
        for event in &events {
            let revision = event.kv.as_ref().map_or(0, |kv| kv.mod_revision);
            if last.is_some_and(|last| revision != last + 1) {
                return Err(Error::Answer(format!("revision {revision} came after {last:?}")));
            }
            last = Some(revision);
        }
        count += events.len() as u64;
        seen.fetch_add(events.len() as u64, Ordering::Relaxed);
    }
    Ok(())
}
