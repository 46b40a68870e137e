//! A steady load beside an experiment, on the experiment's own thread: what the clients of a server feel
//! meanwhile.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::error::Error;
use crate::meter::{Meter, Phase};
use crate::pace::Pace;
use crate::report::{Measure, Report};
use crate::settings::{Settings, Workload};
use crate::stats::Tally;
use crate::workload::{self, Shared};

static LONGEST: Measure = Measure::cost("longest put ms, meanwhile");
static P99: Measure = Measure::cost("put p99 ms, meanwhile");
static IDLE: [Measure; 2] = [Measure::cost("longest put ms, before"), Measure::cost("put p99 ms, before")];
static PAUSE: Measure = Measure::cost("longest put, ms over before");

/// A load that runs until it is dropped.
pub(super) struct SideLoad {
    tally: Arc<Mutex<Tally>>,
    _phase: watch::Sender<Phase>,
    _workers: JoinSet<()>,
}

impl SideLoad {
    /// Starts `workload` with the numbers of `settings` and warms up.
    pub(super) async fn start(workload: Workload, settings: &Settings) -> Result<Self, Error> {
        let pace = settings.rate.map_or(Ok(Pace::Closed), Pace::open);
        let pace = pace.map_err(|cause| Error::System { what: "cannot start a thread", cause })?;
        let (phase, seen) = watch::channel(Phase::Connect);
        let tally = Arc::new(Mutex::new(Tally::new()));
        let shared = Arc::new(Shared::new(Settings { workload, threads: 1, ..settings.clone() }));
        let workers = workload::start(&shared, 0, &Meter::new(seen, pace, tally.clone())).await?;
        phase.send_replace(Phase::WarmUp);
        tokio::time::sleep(settings.warmup).await;
        phase.send_replace(Phase::Measure);
        Ok(Self { tally, _phase: phase, _workers: workers })
    }

    /// What was counted until now; counting starts anew.
    pub(super) fn take(&self) -> Tally {
        std::mem::replace(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner), Tally::new())
    }
}

/// Adds the latencies of puts while something went on, against those `before`.
pub(super) fn add_puts(report: &mut Report, before: &Tally, meanwhile: &Tally) {
    let ms = |latency: Duration| latency.as_secs_f64() * 1e3;
    for (measures, tally) in [([&LONGEST, &P99], meanwhile), ([&IDLE[0], &IDLE[1]], before)] {
        report.add(measures[0], ms(tally.max()));
        report.add(measures[1], ms(tally.percentile(99.0)));
    }
    report.add(&PAUSE, ms(meanwhile.max()) - ms(before.max()));
}
