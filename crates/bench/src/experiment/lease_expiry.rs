//! Leases that all run out within the same second, each with a key: how late each is gone, what is left behind,
//! and what others feel of it.
//!
//! The time to live of each lease is what is left until one common moment, in whole seconds rounded up. A
//! watcher sees when the keys are deleted. A lease that is gone before its time is a failure. Others write at a
//! fixed rate, while the leases go and before there were any.
//! They share a thread with the watcher, so that a burst of deletions adds a few milliseconds to a put, and
//! their cost to the server is part of what an expired lease is said to cost.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use prost::Message;
use proto::etcdserverpb::watch_create_request::FilterType;
use proto::etcdserverpb::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseLeasesRequest, LeaseLeasesResponse, PutRequest,
    WatchCreateRequest,
};
use proto::mvccpb::event::EventType;

use super::side_load::{self, SideLoad};
use crate::client::Connection;
use crate::error::Error;
use crate::process::Reading;
use crate::report::{Measure, RSS, Report, mib};
use crate::settings::{Settings, Workload};
use crate::stats::Tally;
use crate::workload::bulk::Bulk;
use crate::workload::watch::WatchStream;
use crate::workload::{lease, unary};

const LEASES: &str = "/etcdserverpb.Lease/LeaseLeases";
/// What the keys with a lease start with: nobody else writes there.
const PREFIX: &str = "leased/";
/// The first key behind them.
const PREFIX_END: &str = "leased0";
/// Leases granted ahead of the others, which tell how long those will take. They do not run out.
const RATE_SAMPLE: u64 = 2000;
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
    let before = {
        let puts = SideLoad::start(Workload::Put, settings).await?;
        tokio::time::sleep(settings.duration).await;
        puts.take()
    };
    let end = Instant::now() + time_to_grant(settings).await?;
    let start = Instant::now();
    let leases = grant(settings, end).await?;
    let grants_per_s = settings.leases as f64 / start.elapsed().as_secs_f64();
    attach_keys(settings, &leases).await?;

    let connection = Connection::open(&settings.endpoint).await?;
    let mut watcher = WatchStream::open(&connection, [deletions()]).await?;
    let puts = SideLoad::start(Workload::Put, settings).await?;
    tokio::time::sleep_until(end.into()).await;
    puts.take();
    let reading = || Reading::of_all(&settings.server_pids);
    let held = reading()?;
    let last_due = leases.iter().map(|lease| lease.due).max().unwrap_or(end);
    let mut late = Tally::new();
    see_keys_go(&mut watcher, &leases, last_due + LATE_MAX, &mut late).await?;
    let (left, gone_at) = see_leases_go(connection, last_due + LATE_MAX).await?;
    let meanwhile = puts.take();

    let mut report = Report::after(&late);
    report.add_failures(&meanwhile);
    report.add(&LATE_LAST, gone_at.saturating_duration_since(last_due).max(late.max()).as_secs_f64());
    report.add(&LATE_P50, late.percentile(50.0).as_secs_f64());
    report.add(&LEFT, left as f64);
    side_load::add_puts(&mut report, &before, &meanwhile);
    let cpu = held.zip(reading()?).map(|(before, after)| after.cpu.saturating_sub(before.cpu));
    let gone = settings.leases.saturating_sub(left);
    report.add(&CPU, cpu.filter(|_| gone > 0).map(|cpu| cpu.as_secs_f64() * 1e6 / gone as f64));
    report.add(&GRANTS, grants_per_s);
    report.add(&RSS, held.map(|held| mib(held.rss_bytes)));
    Ok(report)
}

/// Time enough to grant all leases and give them their keys, judged by a sample of leases.
async fn time_to_grant(settings: &Settings) -> Result<Duration, Error> {
    let start = Instant::now();
    let message = |_| LeaseGrantRequest { ttl: lease::TTL_S, id: 0 };
    let bulk =
        Bulk { what: "leases as a sample", path: lease::GRANT, count: RATE_SAMPLE, in_flight: IN_FLIGHT };
    bulk.run(settings, message, |_, _| Ok(())).await?;
    let share = 2.0 * settings.leases as f64 / RATE_SAMPLE as f64;
    let shortest = Duration::from_secs(TTL_MIN_S.unsigned_abs());
    Ok(start.elapsed().mul_f64(share * 1.5) + settings.warmup + shortest)
}

/// A lease that has the key of its number.
#[derive(Clone, Copy)]
struct Lease {
    id: i64,
    /// Before this moment it must not be gone.
    due: Instant,
}

/// Grants all leases so that they run out in the second after `end`.
async fn grant(settings: &Settings, end: Instant) -> Result<Vec<Lease>, Error> {
    let fresh = vec![Lease { id: 0, due: end }; usize::try_from(settings.leases).expect("both have 64 bits")];
    let leases = Arc::new(Mutex::new(fresh));
    let (asked, answered) = (leases.clone(), leases.clone());
    let message = move |number| {
        let now = Instant::now();
        let ttl = seconds_until(end, now);
        lock(&asked)[number as usize].due = now + Duration::from_secs(ttl.unsigned_abs());
        LeaseGrantRequest { ttl, id: 0 }
    };
    let take = move |number, answer| {
        lock(&answered)[number as usize].id = LeaseGrantResponse::decode(answer)?.id;
        Ok(())
    };
    let bulk =
        Bulk { what: "leases granted", path: lease::GRANT, count: settings.leases, in_flight: IN_FLIGHT };
    bulk.run(settings, message, take).await?;
    let leases = std::mem::take(&mut *lock(&leases));
    Ok(leases)
}

/// Hangs a key on each lease.
async fn attach_keys(settings: &Settings, leases: &[Lease]) -> Result<(), Error> {
    let ids: Vec<i64> = leases.iter().map(|lease| lease.id).collect();
    let put =
        move |number| PutRequest { key: key(number), lease: ids[number as usize], ..Default::default() };
    let bulk =
        Bulk { what: "keys with a lease", path: unary::PUT, count: settings.leases, in_flight: IN_FLIGHT };
    bulk.run(settings, put, |_, _| Ok(())).await
}

/// The key of lease `number`.
fn key(number: u64) -> Bytes {
    format!("{PREFIX}{number}").into()
}

/// The number of the lease of `key`.
fn number(key: &[u8]) -> Option<usize> {
    std::str::from_utf8(key).ok()?.strip_prefix(PREFIX)?.parse().ok()
}

/// Asks for the deletions of all keys with a lease.
fn deletions() -> WatchCreateRequest {
    WatchCreateRequest {
        key: PREFIX.into(),
        range_end: PREFIX_END.into(),
        filters: vec![FilterType::Noput.into()],
        ..Default::default()
    }
}

/// Counts how late each lease is gone; one that is not gone by `deadline` counts as if it went then.
async fn see_keys_go(
    watcher: &mut WatchStream,
    leases: &[Lease],
    deadline: Instant,
    late: &mut Tally,
) -> Result<(), Error> {
    let mut left: Vec<Option<Instant>> = leases.iter().map(|lease| Some(lease.due)).collect();
    let mut count = left.len();
    while count > 0 {
        let Ok(answer) = tokio::time::timeout_at(deadline.into(), watcher.next()).await else { break };
        let now = Instant::now();
        for event in answer?.events {
            let deleted = event.kv.filter(|_| event.r#type == EventType::Delete as i32);
            let due = deleted.and_then(|kv| left.get_mut(number(&kv.key)?)?.take());
            let Some(due) = due else { continue };
            count -= 1;
            match now.checked_duration_since(due) {
                Some(delay) => late.succeed(delay),
                None => late.fail(&Error::Answer(format!("a lease was gone {:?} early", due - now))),
            }
        }
    }
    left.into_iter().flatten().for_each(|due| late.succeed(deadline.saturating_duration_since(due)));
    Ok(())
}

/// Waits until only the sample is left, or for `deadline`; returns how many more there are, and when that was
/// seen.
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

fn lock(leases: &Mutex<Vec<Lease>>) -> MutexGuard<'_, Vec<Lease>> {
    leases.lock().unwrap_or_else(PoisonError::into_inner)
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

    #[test]
    fn the_watched_range_holds_the_key_of_each_lease() {
        let watched = deletions();
        for lease in [0, 7, 999_999] {
            assert!(watched.key <= key(lease) && key(lease) < watched.range_end);
            assert_eq!(number(&key(lease)), Some(lease as usize));
        }
    }
}
