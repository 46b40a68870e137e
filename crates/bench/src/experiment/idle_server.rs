//! A server, or a cluster of them, that nobody calls: what all its members use in a second.

use std::time::{Duration, Instant};

use crate::error::Error;
use crate::process::{self, Reading};
use crate::report::{Measure, Report};
use crate::settings::Settings;

static CPU: Measure = Measure::cost("CPU ms/s");
static WAKE_UPS: Measure = Measure::cost("wake-ups/s");
static SWITCHES: Measure = Measure::cost("switches/s");
static BYTES: Measure = Measure::cost("bytes/s between members");
/// A server that has just started still has something to do.
const SETTLE: Duration = Duration::from_secs(2);

/// Waits, and reads what the server has used meanwhile.
pub(super) async fn run(settings: &Settings) -> Result<Report, Error> {
    settings.observed_pid()?;
    let pids = &settings.server_pids;
    let is_cluster = pids.len() > 1;
    tokio::time::sleep(settings.warmup.max(SETTLE)).await;
    let (start, before, bytes_before) = (Instant::now(), sum(pids)?, process::loopback_bytes());
    tokio::time::sleep(settings.duration).await;
    let (after, bytes_after) = (sum(pids)?, process::loopback_bytes());
    let seconds = start.elapsed().as_secs_f64();
    let switches = after.switches.since(before.switches);
    let mut report = Report::default();
    report.add(&CPU, after.cpu.saturating_sub(before.cpu).as_secs_f64() * 1e3 / seconds);
    report.add(&WAKE_UPS, switches.voluntary as f64 / seconds);
    report.add(&SWITCHES, switches.all() as f64 / seconds);
    if is_cluster {
        let bytes = bytes_before.zip(bytes_after).map(|(before, after)| after.saturating_sub(before));
        report.add(&BYTES, bytes.map(|bytes| bytes as f64 / seconds));
    }
    Ok(report)
}

fn sum(pids: &[u32]) -> Result<Reading, Error> {
    Ok(Reading::of_all(pids)?.unwrap_or_default())
}
