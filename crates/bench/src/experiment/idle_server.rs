//! A server that nobody calls: what it uses in a second.

use std::time::{Duration, Instant};

use crate::error::Error;
use crate::process::Reading;
use crate::report::{Measure, Report};
use crate::settings::Settings;

static CPU: Measure = Measure::cost("CPU ms/s");
static WAKE_UPS: Measure = Measure::cost("wake-ups/s");
static SWITCHES: Measure = Measure::cost("switches/s");
/// A server that has just started still has something to do.
const SETTLE: Duration = Duration::from_secs(2);

/// Waits, and reads what the server has used meanwhile.
pub(super) async fn run(settings: &Settings) -> Result<Report, Error> {
    let pid = settings.observed_pid()?;
    tokio::time::sleep(settings.warmup.max(SETTLE)).await;
    let (start, before) = (Instant::now(), Reading::of(pid)?);
    tokio::time::sleep(settings.duration).await;
    let after = Reading::of(pid)?;
    let seconds = start.elapsed().as_secs_f64();
    let switches = after.switches.since(before.switches);
    let mut report = Report::default();
    report.add(&CPU, after.cpu.saturating_sub(before.cpu).as_secs_f64() * 1e3 / seconds);
    report.add(&WAKE_UPS, switches.voluntary as f64 / seconds);
    report.add(&SWITCHES, switches.all() as f64 / seconds);
    Ok(report)
}
