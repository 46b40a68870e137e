//! What a put and a get cost among ten thousand keys, and among ten, a hundred, a thousand times as many.

use super::side_load::SideLoad;
use crate::error::Error;
use crate::process::Reading;
use crate::report::{Measure, Report};
use crate::settings::{Settings, Workload};
use crate::workload::preload;

/// The numbers of keys, each with the measures of its put and its get.
static SIZES: [(u64, [Measure; 2]); 4] = [
    (10_000, [Measure::cost("CPU µs/put, 10k keys"), Measure::cost("CPU µs/get, 10k keys")]),
    (100_000, [Measure::cost("CPU µs/put, 100k keys"), Measure::cost("CPU µs/get, 100k keys")]),
    (1_000_000, [Measure::cost("CPU µs/put, 1M keys"), Measure::cost("CPU µs/get, 1M keys")]),
    (10_000_000, [Measure::cost("CPU µs/put, 10M keys"), Measure::cost("CPU µs/get, 10M keys")]),
];

/// Loads to each size up to `settings.keys` in turn and measures there; the largest comes first in the report.
pub(super) async fn run(settings: &Settings) -> Result<Report, Error> {
    if settings.keys < SIZES[0].0 {
        return Err(Error::Usage(format!("this experiment begins at {} keys", SIZES[0].0)));
    }
    let (mut report, mut figures) = (Report::default(), Vec::new());
    for (keys, measures) in SIZES.iter().filter(|(keys, _)| *keys <= settings.keys) {
        let settings = Settings { keys: *keys, ..settings.clone() };
        preload::keys(&settings).await?;
        for (workload, measure) in [Workload::Put, Workload::Get].into_iter().zip(measures) {
            figures.push((measure, cost(workload, &settings, &mut report).await?));
        }
    }
    // Puts before gets, the most keys first.
    for parity in [0, 1] {
        let of_call = figures.iter().skip(parity).step_by(2).rev();
        of_call.for_each(|(measure, cost)| report.add(measure, *cost));
    }
    Ok(report)
}

/// The server's processor time for one operation, in microseconds. Failures go into `report`.
async fn cost(workload: Workload, settings: &Settings, report: &mut Report) -> Result<Option<f64>, Error> {
    let load = SideLoad::start(workload, settings).await?;
    load.take();
    let before = Reading::of(settings.observed_pid()?)?;
    tokio::time::sleep(settings.duration).await;
    let (after, tally) = (Reading::of(settings.observed_pid()?)?, load.take());
    report.add_failures(&tally);
    let cpu = after.cpu.saturating_sub(before.cpu);
    Ok((tally.ops > 0).then(|| cpu.as_secs_f64() * 1e6 / tally.ops as f64))
}
