//! What becomes of requests: how long they take, how many wait, what they do to keys.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, Registry};
use store::{OpOutcome, Outcome, Request};

use super::{counters, exponential, histograms, register};
use crate::api::Error;

/// Versions of clients that are told apart, so that no client can fill the memory with its inventions.
const CLIENT_VERSIONS_MAX: usize = 64;

/// The counters of requests.
#[derive(Debug)]
pub(crate) struct RequestMetrics {
    durations: HistogramVec,
    /// Of each kind of [`Kind`], failed and successful; a series exists once something was counted.
    by_kind: [[OnceLock<Histogram>; 2]; Kind::COUNT],
    ranges: [Histogram; 2],
    /// Proposals that wait for their result.
    pending: IntGauge,
    /// Proposals that came to none.
    failed: IntCounter,
    clients: IntCounterVec,
    operations: Operations,
}

/// Operations on keys, those inside of transactions among them.
#[derive(Debug)]
struct Operations {
    ranges: IntCounter,
    puts: IntCounter,
    deletes: IntCounter,
    /// Transactions of any number of operations but one.
    txns: IntCounter,
}

/// What a request is, as etcd labels it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Put,
    DeleteRange,
    Txn,
    Compaction,
    LeaseGrant,
    LeaseRevoke,
    LeaseCheckpoint,
    Alarm,
    DowngradeInfoSet,
    Range,
    ReadonlyTxn,
    /// Of the member itself.
    Other,
}

impl Kind {
    const COUNT: usize = Kind::Other as usize + 1;

    fn name(self) -> &'static str {
        match self {
            Kind::Put => "Put",
            Kind::DeleteRange => "DeleteRange",
            Kind::Txn => "Txn",
            Kind::Compaction => "Compaction",
            Kind::LeaseGrant => "LeaseGrant",
            Kind::LeaseRevoke => "LeaseRevoke",
            Kind::LeaseCheckpoint => "LeaseCheckpoint",
            Kind::Alarm => "Alarm",
            Kind::DowngradeInfoSet => "DowngradeInfoSet",
            Kind::Range => "Range",
            Kind::ReadonlyTxn => "ReadonlyTxn",
            Kind::Other => "Unknown",
        }
    }
}

impl From<&Request> for Kind {
    fn from(request: &Request) -> Self {
        match request {
            Request::Put(_) => Kind::Put,
            Request::DeleteRange(_) => Kind::DeleteRange,
            Request::Txn(_) => Kind::Txn,
            Request::Compact(_) => Kind::Compaction,
            Request::LeaseGrant(_) => Kind::LeaseGrant,
            Request::LeaseRevoke(_) => Kind::LeaseRevoke,
            Request::LeaseCheckpoint(_) => Kind::LeaseCheckpoint,
            Request::Alarm(_) => Kind::Alarm,
            Request::SetDowngrade(_) => Kind::DowngradeInfoSet,
            Request::SetMemberAttributes(_) | Request::SetClusterVersion(_) => Kind::Other,
        }
    }
}

impl RequestMetrics {
    pub(super) fn new(registry: &Registry) -> RequestMetrics {
        let counter = |name: &str, help: &str| {
            register(registry, IntCounter::new(name, help).expect("the name is valid"))
        };
        let ranges = histograms(
            registry,
            "etcd_server_range_duration_seconds",
            "The latency distributions of txn.Range",
            exponential(0.0001, 20),
            &["success"],
        );
        RequestMetrics {
            durations: histograms(
                registry,
                "etcd_server_request_duration_seconds",
                "Response latency distribution in seconds for each type.",
                exponential(0.001, 14),
                &["type", "success"],
            ),
            by_kind: std::array::from_fn(|_| Default::default()),
            ranges: ["false", "true"].map(|success| ranges.with_label_values(&[success])),
            pending: register(
                registry,
                IntGauge::new(
                    "etcd_server_proposals_pending",
                    "The current number of pending proposals to commit.",
                )
                .expect("the name is valid"),
            ),
            failed: counter(
                "etcd_server_proposals_failed_total",
                "The total number of failed proposals seen.",
            ),
            clients: counters(
                registry,
                "etcd_server_client_requests_total",
                "The total number of client requests per client version.",
                &["type", "client_api_version"],
            ),
            operations: Operations {
                ranges: counter("etcd_mvcc_range_total", "Total number of ranges seen by this member."),
                puts: counter("etcd_mvcc_put_total", "Total number of puts seen by this member."),
                deletes: counter("etcd_mvcc_delete_total", "Total number of deletes seen by this member."),
                txns: counter("etcd_mvcc_txn_total", "Total number of txns seen by this member."),
            },
        }
    }

    /// Counts the time from a request to its answer.
    pub(crate) fn answered(&self, kind: Kind, is_ok: bool, time: Duration) {
        let series = self.by_kind[kind as usize][usize::from(is_ok)].get_or_init(|| {
            self.durations.with_label_values(&[kind.name(), if is_ok { "true" } else { "false" }])
        });
        series.observe(time.as_secs_f64());
        if matches!(kind, Kind::Range) {
            self.ranges[usize::from(is_ok)].observe(time.as_secs_f64());
            self.operations.ranges.inc();
        }
    }

    /// Counts a proposal as waiting until it is answered or given up.
    pub(crate) fn propose(&self, kind: Kind) -> Pending<'_> {
        self.pending.inc();
        Pending { metrics: self, kind, started_at: Instant::now(), is_answered: false }
    }

    /// The counters by version of clients, for one worker thread.
    pub(crate) fn clients(&self) -> ClientVersions {
        ClientVersions { counters: self.clients.clone(), known: RefCell::default() }
    }
}

/// A proposal under way.
#[derive(Debug)]
pub(crate) struct Pending<'a> {
    metrics: &'a RequestMetrics,
    kind: Kind,
    started_at: Instant,
    is_answered: bool,
}

impl Pending<'_> {
    /// Counts what it came to; a refusal of the store is a result as well.
    pub(crate) fn answered(mut self, outcome: &Result<Outcome, Error>) {
        self.is_answered = matches!(outcome, Ok(_) | Err(Error::Refused(_)));
        self.metrics.answered(self.kind, outcome.is_ok(), self.started_at.elapsed());
        if let Ok(outcome) = outcome {
            self.metrics.operations.apply(outcome);
        }
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.metrics.pending.dec();
        if !self.is_answered {
            self.metrics.failed.inc();
        }
    }
}

/// Counts calls by the version that the client says it has; looks each version up once.
#[derive(Debug)]
pub(crate) struct ClientVersions {
    counters: IntCounterVec,
    known: RefCell<HashMap<Box<str>, [IntCounter; 2]>>,
}

impl ClientVersions {
    /// Counts a call.
    pub(crate) fn count(&self, is_stream: bool, version: &str) {
        let mut known = self.known.borrow_mut();
        let is_full = known.len() >= CLIENT_VERSIONS_MAX;
        let version = if is_full && !known.contains_key(version) { "other" } else { version };
        if !known.contains_key(version) {
            let of_kind = |kind| self.counters.with_label_values(&[kind, version]);
            known.insert(version.into(), ["unary", "stream"].map(of_kind));
        }
        known[version][usize::from(is_stream)].inc();
    }
}

impl Operations {
    /// Counts what a command did to keys.
    fn apply(&self, outcome: &Outcome) {
        match outcome {
            Outcome::Put(_) => self.puts.inc(),
            Outcome::Delete(_) => self.deletes.inc(),
            Outcome::Txn(txn) if self.count(&txn.results) != 1 => self.txns.inc(),
            _ => {}
        }
    }

    /// Counts the operations of a transaction, nested ones too; returns how many there were.
    fn count(&self, results: &[OpOutcome]) -> usize {
        let count = |result: &OpOutcome| match result {
            OpOutcome::Range(_) => {
                self.ranges.inc();
                1
            }
            OpOutcome::Put(_) => {
                self.puts.inc();
                1
            }
            OpOutcome::Delete(_) => {
                self.deletes.inc();
                1
            }
            OpOutcome::Txn(txn) => self.count(&txn.results),
        };
        results.iter().map(count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invented_versions_are_counted_together() {
        let metrics = RequestMetrics::new(&Registry::new());
        let clients = metrics.clients();
        for version in 0..2 * CLIENT_VERSIONS_MAX {
            clients.count(false, &format!("9.{version}"));
        }
        clients.count(true, "9.1");
        assert!(clients.known.borrow().len() <= CLIENT_VERSIONS_MAX + 1);
        assert_eq!(metrics.clients.with_label_values(&["unary", "other"]).get(), CLIENT_VERSIONS_MAX as u64);
        assert_eq!(metrics.clients.with_label_values(&["stream", "9.1"]).get(), 1);
    }
}
