//! Keys: range, put, delete, transaction, compaction.

use std::time::{Duration, Instant};

use proto::etcdserverpb::request_op::Request as Op;
use proto::etcdserverpb::{CompactionRequest, DeleteRangeRequest, PutRequest, RangeRequest, TxnRequest};
use store::{Outcome, RangeQuery, RangeReading, Request, TxnOutcome};
use tracing::warn;

use super::encode::{Encoded, Header};
use super::range_answer::{RangeAnswer, RangePieces};
use super::{Api, Error, check};
use crate::turn;

impl Api {
    /// Reads a range: linearizable, unless the request says `serializable`.
    pub(crate) async fn range(&self, request: RangeRequest) -> Result<RangeAnswer<'_>, Error> {
        let started_at = turn::now();
        let outcome = match self.find_range(&request).await {
            Ok(reading) if reading.is_long() => {
                let pieces = RangePieces::new(self, request, started_at, reading);
                return Ok(RangeAnswer::InPieces(Box::new(pieces)));
            }
            Ok(reading) => reading.finish().map_err(|e| self.store_error(e)),
            Err(error) => Err(error),
        };
        self.note_range(&request, started_at, outcome.is_ok());
        let outcome = outcome?;
        Ok(RangeAnswer::Whole(self.header(outcome.revision).range_response(outcome)))
    }

    /// Finds the keys of a range.
    async fn find_range(&self, request: &RangeRequest) -> Result<RangeReading, Error> {
        let query = RangeQuery::new(request)?;
        if !request.serializable {
            self.wait_readable().await?;
        }
        let mut reading = self.view.range(query).map_err(|e| self.store_error(e))?;
        while !reading.step().map_err(|e| self.store_error(e))? {
            turn::pass().await;
        }
        Ok(reading)
    }

    /// Counts a range that has been read, and says so if it was slow.
    pub(super) fn note_range(&self, request: &RangeRequest, started_at: Instant, is_ok: bool) {
        let time = turn::read_clock() - started_at;
        self.metrics.requests.range(is_ok, time);
        if time > self.settings.slow_read {
            self.warn_of_slow("read-only range ", &range_text(request), time);
        }
    }

    /// Writes one key. Answered when it is durable and applied.
    pub(crate) async fn put(&self, request: PutRequest) -> Result<Encoded, Error> {
        let request = Request::Put(request);
        self.check_quota(&request).await?;
        let Request::Put(put) = &request else { unreachable!("it was just made") };
        check::put(put)?;
        match self.propose(request).await? {
            Outcome::Put(outcome) => Ok(self.header(outcome.revision).put_response(&outcome)),
            other => unreachable!("a put came to {other:?}"),
        }
    }

    /// Deletes one key or a range. Answered when it is durable and applied.
    pub(crate) async fn delete_range(&self, request: DeleteRangeRequest) -> Result<Encoded, Error> {
        check::delete_range(&request)?;
        match self.propose(Request::DeleteRange(request)).await? {
            Outcome::Delete(outcome) => Ok(self.header(outcome.revision).delete_response(&outcome)),
            other => unreachable!("a delete came to {other:?}"),
        }
    }

    /// Runs a transaction. One that only reads does not go through the log.
    pub(crate) async fn txn(&self, request: TxnRequest) -> Result<Encoded, Error> {
        let request = Request::Txn(request);
        self.check_quota(&request).await?;
        let Request::Txn(txn) = &request else { unreachable!("it was just made") };
        check::txn(txn, self.settings.max_txn_ops)?;
        let outcome = if is_read_only(txn) {
            self.timed_txn(txn).await?
        } else {
            match self.propose(request).await? {
                Outcome::Txn(outcome) => outcome,
                other => unreachable!("a transaction came to {other:?}"),
            }
        };
        Ok(self.header(outcome.revision).txn_response(&outcome))
    }

    async fn read_txn(&self, txn: &TxnRequest) -> Result<TxnOutcome, Error> {
        if !is_serializable(txn) {
            self.wait_readable().await?;
        }
        self.view.txn(txn).map_err(|e| self.store_error(e))
    }

    async fn timed_txn(&self, txn: &TxnRequest) -> Result<TxnOutcome, Error> {
        let started_at = turn::now();
        let result = self.read_txn(txn).await;
        let time = turn::read_clock() - started_at;
        self.metrics.requests.readonly_txns.observe(result.is_ok(), time);
        if time > self.settings.slow_read {
            let ops = txn.compare.len() + txn.success.len() + txn.failure.len();
            self.warn_of_slow("read-only txn ", &format!("{ops} operations"), time);
        }
        result
    }

    fn warn_of_slow(&self, prefix: &str, request: &str, time: Duration) {
        self.metrics.requests.slow_applies.inc();
        let expected = self.settings.slow_read;
        warn!(
            took = ?time, "expected-duration" = ?expected, prefix, request, response = "",
            "apply request took too long"
        );
    }

    /// Marks history as compacted. Answered when the mark is durable; with `physical`, when the history is gone
    /// from the index.
    pub(crate) async fn compact(&self, request: CompactionRequest) -> Result<Encoded, Error> {
        match self.propose(Request::Compact(request)).await? {
            Outcome::Compact { revision } => Ok(self.header(revision).bare_response()),
            other => unreachable!("a compaction came to {other:?}"),
        }
    }

    /// The header of a response of this moment.
    pub(super) fn header(&self, revision: i64) -> Header {
        let (cluster_id, member_id) = (self.settings.cluster_id, self.settings.member_id);
        Header { cluster_id, member_id, revision, raft_term: self.published.term() }
    }

    /// A damaged disk is no answer to a client: the member stops, and this request with it.
    pub(super) fn store_error(&self, error: store::Error) -> Error {
        match error {
            store::Error::Refused(refusal) => Error::Refused(refusal),
            store::Error::Disk(error) => {
                self.node.fail(error);
                Error::Damaged
            }
        }
    }
}

/// A range as the log names it.
fn range_text(request: &RangeRequest) -> String {
    let (key, end) = (request.key.escape_ascii(), request.range_end.escape_ascii());
    format!("key:\"{key}\" range_end:\"{end}\" limit:{} revision:{}", request.limit, request.revision)
}

/// Whether both branches hold nothing but ranges. A nested transaction counts as a write, whatever is in it.
fn is_read_only(txn: &TxnRequest) -> bool {
    let mut ops = txn.success.iter().chain(&txn.failure);
    ops.all(|op| matches!(op.request, Some(Op::RequestRange(_))))
}

/// Whether every range may be stale. A transaction without operations counts as such: its compares may see old
/// state, as in etcd.
fn is_serializable(txn: &TxnRequest) -> bool {
    let mut ops = txn.success.iter().chain(&txn.failure);
    ops.all(|op| matches!(&op.request, Some(Op::RequestRange(range)) if range.serializable))
}
