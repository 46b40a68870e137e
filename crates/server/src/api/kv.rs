//! Keys: range, put, delete, transaction, compaction.

use std::time::{Duration, Instant};

use proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use proto::etcdserverpb::request_op::Request as Op;
use proto::etcdserverpb::{CompactionRequest, DeleteRangeRequest, PutRequest, RangeRequest, TxnRequest};
use store::{Outcome, RangeQuery, RangeReading, Request, TxnOutcome};
use tracing::warn;

use super::encode::{Encoded, Header};
use super::range_answer::{RangeAnswer, RangePieces};
use super::{Api, Error, check};
use crate::read_budget::{self, ReadShare, Reservation};
use crate::time_slice;

/// Bytes of a long answer that is made while it is sent: a piece that is made, and one that waits.
const PIECE_COST: usize = 512 << 10;

/// Bytes that a key takes in memory beside its record while it is sorted.
const RECORD_COST: usize = 128;

impl Api {
    /// Reads a range: linearizable, unless the request says `serializable`.
    pub(crate) async fn range(
        &self,
        request: RangeRequest,
        share: &ReadShare,
    ) -> Result<RangeAnswer<'_>, Error> {
        let started_at = time_slice::now();
        let (outcome, reservation) = match self.find_range(&request, share).await {
            Ok((reading, reservation)) if reading.is_long() => {
                let pieces = RangePieces::new(self, request, started_at, reading, reservation)?;
                return Ok(RangeAnswer::InPieces(Box::new(pieces)));
            }
            Ok((reading, reservation)) => (reading.finish().map_err(|e| self.store_error(e)), reservation),
            Err(error) => (Err(error), None),
        };
        self.note_range(&request, started_at, outcome.is_ok());
        let mut outcome = outcome?;
        if let Some(mut reservation) = reservation {
            reservation.shrink(outcome.kvs.len());
            outcome.kvs = reservation.hold_with(outcome.kvs);
        }
        Ok(RangeAnswer::Whole(self.header(outcome.revision).range_response(outcome)?))
    }

    /// Finds the keys of a range. One of more than a chunk waits for the memory that its keys and its answer
    /// take.
    async fn find_range(
        &self,
        request: &RangeRequest,
        share: &ReadShare,
    ) -> Result<(RangeReading, Option<Reservation>), Error> {
        let query = RangeQuery::new(request)?;
        if !request.serializable {
            self.wait_readable().await?;
        }
        let mut reading = self.begin_range(&query)?;
        if reading.step().map_err(|e| self.store_error(e))? {
            return Ok((reading, None));
        }
        let cost = self.range_cost(request, reading.outcome().count);
        let mut reservation = share.try_reserve(cost);
        let mut walk = if reservation.is_some() { read_budget::try_begin_walk(cost) } else { None };
        if walk.is_none() {
            // What is begun keeps history from being compacted: nothing is begun while it waits.
            drop(reading);
            if reservation.is_none() {
                reservation = share.reserve(cost).await;
            }
            walk = read_budget::begin_walk(cost).await;
            reading = self.begin_range(&query)?;
        }
        while !reading.step().map_err(|e| self.store_error(e))? {
            time_slice::wait_for_next().await;
        }
        drop(walk);
        Ok((reading, reservation))
    }

    fn begin_range(&self, query: &RangeQuery) -> Result<RangeReading, Error> {
        self.view.range(query.clone()).map_err(|e| self.store_error(e))
    }

    /// Bytes that a range of `count` keys holds until it is answered, about: where its keys are if their
    /// records are copied as they are, else the records themselves.
    fn range_cost(&self, request: &RangeRequest, count: i64) -> usize {
        let count = usize::try_from(count).unwrap_or(0);
        let is_copied = is_in_order_of_keys(request) && !request.keys_only;
        let limit = usize::try_from(request.limit).unwrap_or(0);
        let keys = if is_in_order_of_keys(request) && limit > 0 { count.min(limit) } else { count };
        if is_copied {
            return PIECE_COST + keys.saturating_mul(size_of::<disk::Location>());
        }
        let record_len = self.published.size_in_use_bytes() / self.view.keys().max(1);
        keys.saturating_mul(RECORD_COST.saturating_add(usize::try_from(record_len).unwrap_or(usize::MAX)))
    }

    /// Counts a range that has been read, and says so if it was slow.
    pub(super) fn note_range(&self, request: &RangeRequest, started_at: Instant, is_ok: bool) {
        let time = time_slice::read_clock() - started_at;
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
            Outcome::Delete(outcome) => Ok(self.header(outcome.revision).delete_response(&outcome)?),
            other => unreachable!("a delete came to {other:?}"),
        }
    }

    /// Runs a transaction. One that only reads does not go through the log.
    pub(crate) async fn txn(&self, request: TxnRequest, share: &ReadShare) -> Result<Encoded, Error> {
        let request = Request::Txn(request);
        self.check_quota(&request).await?;
        let Request::Txn(txn) = &request else { unreachable!("it was just made") };
        check::txn(txn, self.settings.max_txn_ops)?;
        if is_read_only(txn) {
            // How long it is shows when it is read: until then it takes the whole share of the connection.
            let reservation = if reads_ranges(txn) { share.reserve(usize::MAX).await } else { None };
            let outcome = self.timed_txn(txn).await?;
            return self.answer_read_txn(&outcome, reservation);
        }
        match self.propose(request).await? {
            Outcome::Txn(outcome) => Ok(self.header(outcome.revision).txn_response(&outcome)?),
            other => unreachable!("a transaction came to {other:?}"),
        }
    }

    fn answer_read_txn(
        &self,
        outcome: &TxnOutcome,
        reservation: Option<Reservation>,
    ) -> Result<Encoded, Error> {
        let mut encoded = self.header(outcome.revision).txn_response(outcome)?;
        if let Some(mut reservation) = reservation {
            reservation.shrink(encoded.len());
            // It is given back with the last piece, behind which nothing is left.
            if let Some(last) = encoded.chunks.pop() {
                encoded.chunks.push(reservation.hold_with(last));
            }
        }
        Ok(encoded)
    }

    async fn read_txn(&self, txn: &TxnRequest) -> Result<TxnOutcome, Error> {
        if !is_serializable(txn) {
            self.wait_readable().await?;
        }
        let mut reading = self.view.txn_reading(txn);
        while !reading.step().map_err(|e| self.store_error(e))? {
            time_slice::wait_for_next().await;
        }
        Ok(reading.finish())
    }

    async fn timed_txn(&self, txn: &TxnRequest) -> Result<TxnOutcome, Error> {
        let started_at = time_slice::now();
        let result = self.read_txn(txn).await;
        let time = time_slice::read_clock() - started_at;
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

    /// Marks history as compacted. Answered when the mark is durable; with `physical`, when the history is
    /// gone from the index.
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

/// Whether a range is answered in the order of keys, and with all of them.
fn is_in_order_of_keys(request: &RangeRequest) -> bool {
    let bounds = [
        request.min_mod_revision,
        request.max_mod_revision,
        request.min_create_revision,
        request.max_create_revision,
    ];
    request.sort_target == SortTarget::Key as i32
        && request.sort_order != SortOrder::Descend as i32
        && bounds == [0; 4]
}

/// Whether a transaction that only reads may read more than single keys.
fn reads_ranges(txn: &TxnRequest) -> bool {
    let mut ops = txn.success.iter().chain(&txn.failure);
    ops.any(|op| matches!(&op.request, Some(Op::RequestRange(range)) if !range.range_end.is_empty()))
}

/// Whether both branches hold nothing but ranges. A nested transaction counts as a write, whatever is in it.
fn is_read_only(txn: &TxnRequest) -> bool {
    let mut ops = txn.success.iter().chain(&txn.failure);
    ops.all(|op| matches!(op.request, Some(Op::RequestRange(_))))
}

/// Whether every range may be stale. A transaction without operations counts as such: its compares may see
/// old state, as in etcd.
fn is_serializable(txn: &TxnRequest) -> bool {
    let mut ops = txn.success.iter().chain(&txn.failure);
    ops.all(|op| matches!(&op.request, Some(Op::RequestRange(range)) if range.serializable))
}
