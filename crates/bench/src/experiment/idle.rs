//! Clients that do nothing: what each costs the server in memory.

use proto::etcdserverpb::WatchCreateRequest;

use crate::client::Connection;
use crate::error::Error;
use crate::process::Reading;
use crate::report::{Measure, Report};
use crate::settings::Settings;
use crate::workload::keys;
use crate::workload::watch::WatchStream;

static CONNECTION: Measure = Measure::cost("KiB a connection");
static WATCHER: Measure = Measure::cost("KiB a watcher");

/// Opens connections and leaves them alone.
pub(super) async fn connections(settings: &Settings) -> Result<Report, Error> {
    let before = Reading::of(settings.observed_pid()?)?;
    let mut held = Vec::with_capacity(settings.connections);
    for _ in 0..settings.connections {
        held.push(Connection::open(&settings.endpoint).await?);
    }
    growth(&CONNECTION, before, settings, held.len()).await
}

/// Creates watchers of keys that nobody writes.
pub(super) async fn watchers(settings: &Settings) -> Result<Report, Error> {
    let streams = settings.connections * settings.streams;
    let mut held = Vec::with_capacity(streams);
    let mut connections = Vec::with_capacity(settings.connections);
    for _ in 0..settings.connections {
        connections.push(Connection::open(&settings.endpoint).await?);
    }
    let before = Reading::of(settings.observed_pid()?)?;
    for stream in 0..streams {
        let numbers = (stream..settings.watchers).step_by(streams);
        let watch = |number| WatchCreateRequest { key: keys::key(number as u64), ..Default::default() };
        let connection = &connections[stream % settings.connections];
        held.push(WatchStream::open(connection, numbers.map(watch)).await?);
    }
    growth(&WATCHER, before, settings, settings.watchers).await
}

/// How much more memory the server has than `before`, for each of `count`, once it has had time to settle.
async fn growth(
    measure: &'static Measure,
    before: Reading,
    settings: &Settings,
    count: usize,
) -> Result<Report, Error> {
    tokio::time::sleep(settings.warmup).await;
    let bytes = Reading::of(settings.observed_pid()?)?.rss_bytes.saturating_sub(before.rss_bytes);
    let mut report = Report::default();
    report.add(measure, bytes as f64 / 1024.0 / count as f64);
    Ok(report)
}
