//! A cluster whose leader goes: the time without service, after it was killed and after it was told to end.
//!
//! A put is sent to each of the other members every two milliseconds, whether or not earlier ones have been
//! answered. So a put that was forwarded to the leader that is gone holds up no other one. The time without
//! service is the longest time between two answers, from the signal until a put is answered that was sent after
//! the others had named another leader. Then the member is started again, and the next leader goes.

use std::time::Duration;

use proto::etcdserverpb::PutResponse;
use rustix::process::Signal;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::client::Connection;
use crate::cluster::{self, Cluster, Leadership};
use crate::error::Error;
use crate::report::{Measure, Report};
use crate::settings::Settings;
use crate::stats::Spread;
use crate::workload::keys::Random;
use crate::workload::{request, unary};

/// Time between two puts to a member.
const INTERVAL: Duration = Duration::from_millis(2);
/// Puts to a member that may wait for their answers: those of half a minute.
const CALLS_MAX: usize = 15_000;
/// Time between two questions of who leads.
const POLL: Duration = Duration::from_millis(5);
/// How long service may take to come back.
const OUTAGE_MAX: Duration = Duration::from_secs(60);
/// A leader goes at a random time of this span, so that it does not always go right after a heartbeat.
const HEARTBEATS_MS: u64 = 200;

static KILLED: [Measure; 2] =
    [Measure::cost("median ms, after kill -9"), Measure::cost("longest ms, after kill -9")];
static STOPPED: [Measure; 2] =
    [Measure::cost("median ms, after SIGTERM"), Measure::cost("longest ms, after SIGTERM")];

/// Kills the leader `settings.kills` times, then stops one as often.
pub(super) async fn run(settings: &Settings, cluster: &mut Cluster) -> Result<Report, Error> {
    let (mut report, mut random) = (Report::default(), Random::new(0));
    for (measures, signal) in [(&KILLED, Signal::KILL), (&STOPPED, Signal::TERM)] {
        let mut outages = Vec::new();
        for number in 1..=settings.kills {
            tokio::time::sleep(settings.warmup).await;
            let outage = outage(cluster, signal, Duration::from_millis(random.below(HEARTBEATS_MS))).await?;
            eprintln!("{number:4} of {}: {:.0} ms without service", settings.kills, ms(outage));
            outages.push(ms(outage));
        }
        let spread = Spread::of(outages);
        report.add(&measures[0], spread.map(|spread| spread.median));
        report.add(&measures[1], spread.map(|spread| spread.max));
    }
    Ok(report)
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Lets the leader go with `signal`, after `pause`, and starts it again. Returns the time without service.
async fn outage(cluster: &mut Cluster, signal: Signal, pause: Duration) -> Result<Duration, Error> {
    let Leadership { leader, term } = cluster.leadership().await?;
    let probes = Probes::start(&cluster.endpoints_without(leader)).await?;
    tokio::time::sleep(pause).await;
    let gone_at = Instant::now();
    cluster.member(leader).signal(signal);
    probes.answers.send_modify(|answers| answers.longest_gap = Duration::ZERO);
    let without_service = tokio::time::timeout_at(gone_at + OUTAGE_MAX, probes.service_after(term)).await;
    let Ok(without_service) = without_service else {
        return Err(Error::Answer(format!("no service {OUTAGE_MAX:?} after the leader went")));
    };
    drop(probes);
    cluster.member(leader).ended().await?;
    cluster.member(leader).restart().await?;
    Ok(without_service)
}

/// What the answers to all puts tell.
#[derive(Debug)]
struct Answers {
    /// When the last one came.
    last_at: Instant,
    /// When the latest put that has an answer was sent.
    latest_sent_at: Instant,
    /// The longest time between two answers.
    longest_gap: Duration,
}

impl Answers {
    fn new(now: Instant) -> Self {
        Self { last_at: now, latest_sent_at: now, longest_gap: Duration::ZERO }
    }

    /// Notes the answer, which came `now`, to a put that was sent at `sent_at`.
    fn note(&mut self, sent_at: Instant, now: Instant) {
        self.longest_gap = self.longest_gap.max(now - self.last_at);
        self.last_at = now;
        self.latest_sent_at = self.latest_sent_at.max(sent_at);
    }
}

/// Puts to some members at fixed times, until dropped.
struct Probes {
    connections: Vec<Connection>,
    answers: watch::Sender<Answers>,
    _senders: JoinSet<()>,
}

impl Probes {
    /// Starts, once each of the members at `endpoints` has answered a put.
    async fn start(endpoints: &[String]) -> Result<Self, Error> {
        let mut connections = Vec::new();
        for endpoint in endpoints {
            let connection = Connection::open(endpoint).await?;
            put(&connection).await?;
            connections.push(connection);
        }
        let (answers, mut senders) = (watch::Sender::new(Answers::new(Instant::now())), JoinSet::new());
        for connection in &connections {
            senders.spawn(send(connection.clone(), answers.clone()));
        }
        Ok(Self { connections, answers, _senders: senders })
    }

    /// Waits until one of the members names a leader of a later term than `term`, and then until a put is answered
    /// that was sent after that. Returns the longest time between two answers.
    async fn service_after(&self, term: u64) -> Duration {
        while !self.has_leader_after(term).await {
            tokio::time::sleep(POLL).await;
        }
        let led_at = Instant::now();
        let mut answers = self.answers.subscribe();
        let served = answers.wait_for(|answers| answers.latest_sent_at >= led_at).await;
        served.expect("this holds a sender").longest_gap
    }

    async fn has_leader_after(&self, term: u64) -> bool {
        for connection in &self.connections {
            let status = cluster::status_over(connection).await;
            if status.is_ok_and(|status| status.leader != 0 && status.raft_term > term) {
                return true;
            }
        }
        false
    }
}

/// Sends puts at fixed times, and notes the answers to those that succeed.
async fn send(connection: Connection, answers: watch::Sender<Answers>) {
    let (mut ticks, mut calls) = (interval(INTERVAL), JoinSet::new());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        while calls.try_join_next().is_some() {}
        if calls.len() >= CALLS_MAX {
            continue;
        }
        let (connection, answers) = (connection.clone(), answers.clone());
        calls.spawn(async move {
            let sent_at = Instant::now();
            // A put that fails is one that was not served: the next ones tell when service is back.
            if put(&connection).await.is_ok() {
                answers.send_modify(|answers| answers.note(sent_at, Instant::now()));
            }
        });
    }
}

async fn put(connection: &Connection) -> Result<PutResponse, Error> {
    connection.call(unary::PUT, request::put(0, &request::value(8))).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_time_between_answers_counts_whatever_was_sent_when() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut answers = Answers::new(start);
        answers.note(at(1), at(3));
        answers.note(at(80), at(90));
        answers.note(at(2), at(91));
        assert_eq!(answers.longest_gap, Duration::from_millis(87));
        assert_eq!((answers.last_at, answers.latest_sent_at), (at(91), at(80)));
    }
}
