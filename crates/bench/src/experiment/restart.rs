//! A server that dies over many keys: what it has written by then, how soon it serves again, and its memory.

use crate::error::Error;
use crate::process::Reading;
use crate::report::{Measure, RSS, Report, mib};
use crate::server::Server;
use crate::settings::Settings;
use crate::workload::{keys, preload};

static RESTART: Measure = Measure::cost("restart s");
static RSS_AFTER: Measure = Measure::cost("RSS MiB, restarted");
static ON_DISK: Measure = Measure::cost("bytes on disk / byte put");
static WRITTEN: Measure = Measure::cost("bytes written / byte put");

/// Writes the keys, kills the server, starts it again.
pub(super) async fn run(settings: &Settings, server: &mut Server) -> Result<Report, Error> {
    let written_before = server.written_bytes()?;
    preload::keys(settings).await?;
    let put = (settings.keys * (keys::LEN + settings.value_bytes) as u64) as f64;
    let loaded = Reading::of(server.pid())?;
    let (on_disk, written) = (server.disk_bytes()?, server.written_bytes()?);
    let restart = server.crash_and_restart().await?;
    let mut report = Report::default();
    report.add(&RESTART, restart.as_secs_f64());
    report.add(&RSS, mib(loaded.rss_bytes));
    report.add(&RSS_AFTER, mib(Reading::of(server.pid())?.rss_bytes));
    report.add(&ON_DISK, on_disk as f64 / put);
    if let (Some(before), Some(after)) = (written_before, written) {
        report.add(&WRITTEN, (after - before) as f64 / put);
    }
    Ok(report)
}
