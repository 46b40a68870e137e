//! Leases that all run out within the same second: how late each of them is gone, and what is left behind.
//!
//! The time to live of each lease is what is left until one common moment, in whole seconds rounded up. A sample of
//! them has a key each, and a watcher sees when it is deleted. A lease that is gone before its time is a failure.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prost::Message;
use proto::etcdserverpb::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseLeasesRequest, LeaseLeasesResponse, PutRequest,
    WatchCreateRequest,
};
use proto::mvccpb::event::EventType;

use crate::client::Connection;
use crate::error::Error;
use crate::process::Reading;
use crate::report::{Measure, RSS, Report, mib};
use crate::settings::Settings;
use crate::stats::Tally;
use crate::workload::bulk::Bulk;
use crate::workload::watch::WatchStream;
use crate::workload::{keys, lease, unary};

const LEASES: &str = "/etcdserverpb.Lease/LeaseLeases";
/// Leases granted ahead of the others, which tell how long those will take. They do not run out.
const RATE_SAMPLE: u64 = 2000;
/// Leases that have a key.
const WATCHED_MAX: u64 = 10_000;
/// The shortest time to live, in seconds: a server may raise shorter ones.
const TTL_MIN_S: i64 = 5;
/// How long leases are waited for after the last of them ran out.
const LATE_MAX: Duration = Duration::from_secs(30);
/// Time between two looks at what is left.
const POLL: Duration = Duration::from_millis(200);
/// Calls in flight on each connection.
const IN_FLIGHT: usize = 64;

static LATE_P50: Measure = Measure::cost("median s late");
static LATE_LAST: Measure = Measure::cost("last s late");
static LEFT: Measure = Measure::cost("leases left 30 s late");
static CPU: Measure = Measure::cost("server CPU µs/expired lease");
static GRANTS: Measure = Measure::rate("grants/s");

/// Grants the leases and watches them go.
pub(super) async fn run(settings: &Settings) -> Result<Report, Error> {
    let end = Instant::now() + time_to_grant(settings).await?;
    let keys_watched =
        WatchCreateRequest { key: keys::key(0), range_end: vec![0].into(), ..Default::default() };
    let connection = Connection::open(&settings.endpoint).await?;
    let mut watcher = WatchStream::open(&connection, [keys_watched]).await?;
    let start = Instant::now();
    let watched = grant(settings, end).await?;
    let grants_per_s = settings.leases as f64 / start.elapsed().as_secs_f64();
    let reading = || settings.server_pid.map(Reading::of).transpose();
    let held = reading()?;
    let last_due = watched.iter().map(|lease| lease.due).max().unwrap_or(end);
    let mut tally = Tally::new();
    see_keys_go(&mut watcher, &watched, last_due + LATE_MAX, &mut tally).await?;
    let (left, gone_at) = see_leases_go(connection, last_due + LATE_MAX).await?;
    let mut report = Report::after(&tally);
    report.add(&LATE_LAST, gone_at.saturating_duration_since(last_due).max(tally.max()).as_secs_f64());
    report.add(&LATE_P50, tally.percentile(50.0).as_secs_f64());
    report.add(&LEFT, left as f64);
    let cpu = held.zip(reading()?).map(|(before, after)| after.cpu.saturating_sub(before.cpu));
    let gone = settings.leases.saturating_sub(left);
    report.add(&CPU, cpu.filter(|_| gone > 0).map(|cpu| cpu.as_secs_f64() * 1e6 / gone as f64));
    report.add(&GRANTS, grants_per_s);
    report.add(&RSS, held.map(|held| mib(held.rss_bytes)));
    Ok(report)
}

/// Time enough to grant all leases and to give the watched ones their keys, judged by a sample of leases.
async fn time_to_grant(settings: &Settings) -> Result<Duration, Error> {
    let start = Instant::now();
    let message = |_| LeaseGrantRequest { ttl: lease::TTL_S, id: 0 };
    let bulk =
        Bulk { what: "leases as a sample", path: lease::GRANT, count: RATE_SAMPLE, in_flight: IN_FLIGHT };
    bulk.run(settings, message, |_, _| Ok(())).await?;
    let watched = settings.leases.min(WATCHED_MAX);
    let share = (settings.leases + watched) as f64 / RATE_SAMPLE as f64;
    Ok(start.elapsed().mul_f64(share * 1.5) + Duration::from_secs(TTL_MIN_S.unsigned_abs()))
}

/// A lease that has the key of its number.
#[derive(Clone, Copy)]
struct Watched {
    id: i64,
    /// Before this moment it must not be gone.
    due: Instant,
}

/// Grants all leases so that they run out in the second after `end`; returns those that have keys.
async fn grant(settings: &Settings, end: Instant) -> Result<Vec<Watched>, Error> {
    let step = settings.leases.div_ceil(WATCHED_MAX).max(1);
    let count = settings.leases.div_ceil(step);
    let fresh = vec![Watched { id: 0, due: end }; usize::try_from(count).expect("both have 64 bits")];
    let watched = Arc::new(Mutex::new(fresh));
    let nth = move |number: u64| number.is_multiple_of(step).then_some((number / step) as usize);

    let (asked, answered) = (watched.clone(), watched.clone());
    let message = move |number| {
        let now = Instant::now();
        let ttl = seconds_until(end, now);
        if let Some(idx) = nth(number) {
            lock(&asked)[idx].due = now + Duration::from_secs(ttl.unsigned_abs());
        }
        LeaseGrantRequest { ttl, id: 0 }
    };
    let take = move |number, answer| {
        if let Some(idx) = nth(number) {
            lock(&answered)[idx].id = LeaseGrantResponse::decode(answer)?.id;
        }
        Ok(())
    };
    let bulk =
        Bulk { what: "leases granted", path: lease::GRANT, count: settings.leases, in_flight: IN_FLIGHT };
    bulk.run(settings, message, take).await?;

    let granted = watched.clone();
    let put = move |idx| PutRequest {
        key: keys::key(idx),
        lease: lock(&granted)[idx as usize].id,
        ..Default::default()
    };
    let bulk = Bulk { what: "keys with a lease", path: unary::PUT, count, in_flight: IN_FLIGHT };
    bulk.run(settings, put, |_, _| Ok(())).await?;
    let watched = lock(&watched).clone();
    Ok(watched)
}

/// Counts how late each watched lease is gone; one that is not gone by `deadline` counts as if it went then.
async fn see_keys_go(
    watcher: &mut WatchStream,
    watched: &[Watched],
    deadline: Instant,
    tally: &mut Tally,
) -> Result<(), Error> {
    let mut left: Vec<Option<Instant>> = watched.iter().map(|lease| Some(lease.due)).collect();
    let mut count = left.len();
    while count > 0 {
        let Ok(answer) = tokio::time::timeout_at(deadline.into(), watcher.next()).await else { break };
        let now = Instant::now();
        for event in answer?.events {
            let deleted = event.kv.filter(|_| event.r#type == EventType::Delete as i32);
            let due = deleted.and_then(|kv| left.get_mut(keys::number(&kv.key)?)?.take());
            let Some(due) = due else { continue };
            count -= 1;
            match now.checked_duration_since(due) {
                Some(late) => tally.succeed(late),
                None => tally.fail(&Error::Answer(format!("a lease was gone {:?} early", due - now))),
            }
        }
    }
    left.into_iter().flatten().for_each(|due| tally.succeed(deadline.saturating_duration_since(due)));
    Ok(())
}

/// Waits until only the sample is left, or for `deadline`; returns how many more there are, and when that was seen.
async fn see_leases_go(connection: Connection, deadline: Instant) -> Result<(u64, Instant), Error> {
    loop {
        let asked = Instant::now();
        let all: LeaseLeasesResponse = connection.call(LEASES, LeaseLeasesRequest {}).await?;
        let left = (all.leases.len() as u64).saturating_sub(RATE_SAMPLE);
        if left == 0 || asked > deadline {
            return Ok((left, asked));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// The time to live, in seconds rounded up, of a lease granted `now` that is to outlast `end`.
fn seconds_until(end: Instant, now: Instant) -> i64 {
    (end.saturating_duration_since(now).as_secs_f64().ceil() as i64).max(TTL_MIN_S)
}

fn lock(watched: &Mutex<Vec<Watched>>) -> MutexGuard<'_, Vec<Watched>> {
    watched.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_granted_at_any_time_run_out_within_one_second_of_the_end() {
        let start = Instant::now();
        let end = start + Duration::from_millis(60_500);
        for ms in [0, 1, 499, 500, 501, 30_000, 55_499] {
            let now = start + Duration::from_millis(ms);
            let due = now + Duration::from_secs(seconds_until(end, now).unsigned_abs());
            assert!(end <= due && due < end + Duration::from_secs(1), "{ms}");
        }
        assert_eq!(seconds_until(end, end), TTL_MIN_S);
    }
}
