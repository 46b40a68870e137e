//! Keys that are overwritten at random, with history compacted from time to time: what that takes on disk.

use super::compaction::{compact, newest};
use crate::client::Connection;
use crate::error::Error;
use crate::report::{Measure, Report};
use crate::server::Server;
use crate::settings::Settings;
use crate::workload::{keys, preload};

static LARGEST: Measure = Measure::cost("bytes on disk / live, at most");
static AT_END: Measure = Measure::cost("bytes on disk / live, at end");
static WRITTEN: Measure = Measure::cost("bytes written / byte put");

/// How often keys are overwritten and history compacted.
const ROUNDS: u64 = 5;
/// The share of the keys that is overwritten in a round.
const SHARE: f64 = 0.3;

/// Writes all keys, then overwrites some and compacts, again and again, looking at the disk after each time.
pub(super) async fn run(settings: &Settings, server: &mut Server) -> Result<Report, Error> {
    preload::keys(settings).await?;
    let connection = Connection::open(&settings.endpoint).await?;
    let entry = (keys::LEN + settings.value_bytes) as f64;
    let live = settings.keys as f64 * entry;
    let puts = (settings.keys as f64 * SHARE) as u64;
    let written_before = server.written_bytes()?;
    let (mut largest, mut last) = (0, 0);
    for round in 0..ROUNDS {
        preload::overwrite(settings, puts, round).await?;
        compact(&connection, newest(&connection).await?).await?;
        // Reclaiming space may go on after the answer.
        tokio::time::sleep(settings.duration).await;
        last = server.disk_bytes()?;
        largest = last.max(largest);
    }
    let written = written_before.zip(server.written_bytes()?).map(|(before, after)| (after - before) as f64);
    let mut report = Report::default();
    report.add(&LARGEST, largest as f64 / live);
    report.add(&AT_END, last as f64 / live);
    report.add(&WRITTEN, written.map(|written| written / ((ROUNDS * puts) as f64 * entry)));
    Ok(report)
}
