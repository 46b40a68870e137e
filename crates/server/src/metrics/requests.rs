//! Metrics of requests: how long they take, how many wait, which clients send them.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use prometheus::{IntCounter, IntCounterVec, IntGauge, Registry};
use store::{Kind, Outcome};

use super::times::{TimesBySuccess, TimesFamily};
use super::{counters, exponential, gauge, register};
use crate::api::Error;
use crate::time_slice;

/// Versions of clients that are counted separately, at most. A client can invent versions, so their number is
/// bounded.
const CLIENT_VERSIONS_MAX: usize = 64;

/// The counters of requests.
#[derive(Debug)]
pub(crate) struct RequestMetrics {
    /// From the proposal of a command to its result, by [`Kind`].
    proposals: [TimesBySuccess; Kind::ALL.len()],
    /// Reads of one range, and of transactions that only read.
    ranges: TimesBySuccess,
    pub(crate) readonly_txns: TimesBySuccess,
    range_durations: TimesBySuccess,
    /// Commands applied, by [`Kind`].
    applies: [TimesBySuccess; Kind::ALL.len()],
    /// Batches of commands that took long to apply, and reads that took long.
    pub(crate) slow_applies: IntCounter,
    /// Proposals that wait for their result.
    pending: IntGauge,
    /// Proposals without a result.
    failed: IntCounter,
    /// Reads whose read index failed, and those whose read index was slow.
    pub(crate) failed_read_indexes: IntCounter,
    pub(crate) slow_read_indexes: IntCounter,
    clients: IntCounterVec,
}

impl RequestMetrics {
    pub(super) fn new(registry: &Registry) -> RequestMetrics {
        let counter = |name: &str, help: &str| {
            register(registry, IntCounter::new(name, help).expect("the name is valid"))
        };
        let mut requests = TimesFamily::new(
            "etcd_server_request_duration_seconds",
            "Response latency distribution in seconds for each type.",
            exponential(0.001, 14),
        );
        let mut ranges = TimesFamily::new(
            "etcd_server_range_duration_seconds",
            "The latency distributions of txn.Range",
            exponential(0.0001, 20),
        );
        let mut applies = TimesFamily::new(
            "etcd_server_apply_duration_seconds",
            "The latency distributions of v2 apply called by backend.",
            exponential(0.0001, 20),
        );
        let metrics = RequestMetrics {
            proposals: Kind::ALL.map(|kind| requests.by_success(&[], &[("type", kind.name())])),
            ranges: requests.by_success(&[], &[("type", "Range")]),
            readonly_txns: requests.by_success(&[], &[("type", "ReadonlyTxn")]),
            range_durations: ranges.by_success(&[], &[]),
            applies: Kind::ALL.map(|kind| applies.by_success(&[("op", kind.name())], &[("version", "v3")])),
            slow_applies: counter(
                "etcd_server_slow_apply_total",
                "The total number of slow apply requests (likely overloaded from slow disk).",
            ),
            failed_read_indexes: counter(
                "etcd_server_read_indexes_failed_total",
                "The total number of failed read indexes seen.",
            ),
            slow_read_indexes: counter(
                "etcd_server_slow_read_indexes_total",
                "The total number of pending read indexes not in sync with leader's or timed out read index requests.",
            ),
            pending: gauge(
                registry,
                "etcd_server_proposals_pending",
                "The current number of pending proposals to commit.",
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
        };
        for family in [requests, ranges, applies] {
            family.register(registry);
        }
        metrics
    }

    /// Counts a range that was read by itself.
    pub(crate) fn range(&self, is_ok: bool, time: Duration) {
        self.ranges.observe(is_ok, time);
        self.range_durations.observe(is_ok, time);
    }

    /// Counts commands that were applied together: each as if it had taken as long as the others.
    pub(crate) fn applied(&self, commands: &[(Kind, bool)], time: Duration) {
        let each = time / u32::try_from(commands.len()).unwrap_or(u32::MAX);
        for run in commands.chunk_by(|a, b| a == b) {
            let (kind, is_ok) = run[0];
            self.applies[kind as usize].observe_all(is_ok, each, run.len() as u64);
        }
    }

    /// Counts a proposal as waiting until it is answered or given up.
    pub(crate) fn propose(&self, kind: Kind) -> Pending<'_> {
        self.pending.inc();
        Pending { metrics: self, kind, started_at: time_slice::now(), is_answered: false }
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
    /// Counts its result. A refusal of the store is a result too.
    pub(crate) fn answered(mut self, outcome: &Result<Outcome, Error>) {
        self.is_answered = matches!(outcome, Ok(_) | Err(Error::Refused(_)));
        let time = time_slice::now() - self.started_at;
        self.metrics.proposals[self.kind as usize].observe(outcome.is_ok(), time);
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

/// Counters of calls by the version that the client says it has; each version is looked up once.
#[derive(Debug)]
pub(crate) struct ClientVersions {
    counters: IntCounterVec,
    /// In the order in which they came: most have the version of the first.
    known: RefCell<Vec<(Box<str>, [IntCounter; 2])>>,
}

impl ClientVersions {
    /// The counter of calls by clients of this version.
    pub(crate) fn counter(&self, is_stream: bool, version: &str) -> IntCounter {
        let mut known = self.known.borrow_mut();
        let position = |version: &str| known.iter().position(|(known, _)| **known == *version);
        let is_full = known.len() >= CLIENT_VERSIONS_MAX;
        let version = if is_full && position(version).is_none() { "other" } else { version };
        let found = position(version).unwrap_or(known.len());
        if found == known.len() {
            let of_kind = |kind| self.counters.with_label_values(&[kind, version]);
            known.push((version.into(), ["unary", "stream"].map(of_kind)));
        }
        known[found].1[usize::from(is_stream)].clone()
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
            clients.counter(false, &format!("9.{version}")).inc();
        }
        clients.counter(true, "9.1").inc();
        assert!(clients.known.borrow().len() <= CLIENT_VERSIONS_MAX + 1);
        assert_eq!(metrics.clients.with_label_values(&["unary", "other"]).get(), CLIENT_VERSIONS_MAX as u64);
        assert_eq!(metrics.clients.with_label_values(&["stream", "9.1"]).get(), 1);
    }
}
