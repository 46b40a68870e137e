//! Puts at a fixed rate while history is compacted: the longest of them, against an idle server.
//!
//! The latency of a put counts from its intended start, so that a stall is charged to each put that should have run
//! meanwhile. The compaction is asked for with `physical`, which answers when it has been carried out, and history is
//! hashed at the same time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use proto::etcdserverpb::{
    CompactionRequest, CompactionResponse, HashKvRequest, HashKvResponse, RangeRequest, RangeResponse,
};
use tokio::sync::watch;

use crate::client::Connection;
use crate::error::Error;
use crate::meter::{Meter, Phase};
use crate::pace::Pace;
use crate::report::{Measure, Report};
use crate::settings::{Settings, Workload};
use crate::stats::Tally;
use crate::workload::{self, Shared, keys, preload, unary};

const COMPACT: &str = "/etcdserverpb.KV/Compact";
const HASH_KV: &str = "/etcdserverpb.Maintenance/HashKV";

static PAUSE: Measure = Measure::cost("longest put, ms over idle");
static SECONDS: Measure = Measure::cost("compaction and hash s");
static IDLE: [Measure; 2] = [Measure::cost("longest put ms, idle"), Measure::cost("p99 ms, idle")];
static BUSY: [Measure; 2] =
    [Measure::cost("longest put ms, compacting"), Measure::cost("p99 ms, compacting")];

/// Writes the revisions, measures puts, and measures them again while all revisions are compacted.
pub(super) async fn run(settings: &Settings) -> Result<Report, Error> {
    preload::revisions(settings).await?;
    let puts = Settings { workload: Workload::Put, ..settings.clone() };
    let (phase, seen) = watch::channel(Phase::Connect);
    let tally = Arc::new(Mutex::new(Tally::new()));
    let pace = settings.rate.map_or(Ok(Pace::Closed), Pace::open);
    let pace = pace.map_err(|cause| Error::System { what: "cannot start a thread", cause })?;
    let shared = Arc::new(Shared::new(puts));
    // Ends with this function: dropping the workers cancels them.
    let _workers = workload::start(&shared, 0, &Meter::new(seen, pace, tally.clone())).await?;
    phase.send_replace(Phase::WarmUp);
    tokio::time::sleep(settings.warmup).await;
    phase.send_replace(Phase::Measure);
    tokio::time::sleep(settings.duration).await;
    let idle = taken(&tally);
    let start = Instant::now();
    compact_and_hash(settings).await?;
    let seconds = start.elapsed();
    // Reclaiming space may go on after the answer.
    tokio::time::sleep(settings.duration).await;
    let busy = taken(&tally);
    Ok(report(&idle, &busy, seconds.as_secs_f64()))
}

/// What was counted until now; counting starts anew.
fn taken(tally: &Mutex<Tally>) -> Tally {
    std::mem::replace(&mut tally.lock().unwrap_or_else(PoisonError::into_inner), Tally::new())
}

async fn compact_and_hash(settings: &Settings) -> Result<(), Error> {
    let connection = Connection::open(&settings.endpoint).await?;
    let any = RangeRequest { key: keys::key(0), ..Default::default() };
    let newest: RangeResponse = connection.call(unary::RANGE, any).await?;
    let revision = newest.header.map_or(0, |header| header.revision);
    tokio::try_join!(
        connection.call::<CompactionResponse>(COMPACT, CompactionRequest { revision, physical: true }),
        connection.call::<HashKvResponse>(HASH_KV, HashKvRequest { revision }),
    )
    .map(drop)
}

fn report(idle: &Tally, busy: &Tally, seconds: f64) -> Report {
    let ms = |tally: &Tally| [tally.max(), tally.percentile(99.0)].map(|latency| latency.as_secs_f64() * 1e3);
    let (idle_ms, busy_ms) = (ms(idle), ms(busy));
    let mut report = Report::after(busy);
    for (measures, values) in [(&BUSY, busy_ms), (&IDLE, idle_ms)] {
        for (measure, value) in measures.iter().zip(values) {
            report.add(measure, value);
        }
    }
    report.add(&PAUSE, busy_ms[0] - idle_ms[0]);
    report.add(&SECONDS, seconds);
    report
}
