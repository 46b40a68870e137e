//! The requests that workloads send, and what their answers must hold.

use bytes::Bytes;
use proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use proto::etcdserverpb::request_op::Request;
use proto::etcdserverpb::response_op::Response;
use proto::etcdserverpb::{Compare, PutRequest, RangeRequest, RequestOp, TxnRequest, TxnResponse};

use super::keys;
use crate::settings::Settings;

/// The `n` bytes of each value: not compressible by repetition, and the same in each run.
pub(crate) fn value(n: usize) -> Bytes {
    (0..n).map(|i| (i.wrapping_mul(167) >> 3) as u8).collect()
}

/// Writes key `number`.
pub(crate) fn put(number: u64, value: &Bytes) -> PutRequest {
    PutRequest { key: keys::key(number), value: value.clone(), ..Default::default() }
}

/// The same for several keys in one transaction without conditions.
pub(crate) fn txn(puts: impl IntoIterator<Item = PutRequest>) -> TxnRequest {
    let success = puts.into_iter().map(|put| op(Request::RequestPut(put))).collect();
    TxnRequest { success, ..Default::default() }
}

/// Writes the key if its last change was at revision `seen` (0: it does not exist), else reads it.
pub(super) fn update(put: PutRequest, seen: i64) -> TxnRequest {
    let key = put.key.clone();
    let compare = Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Mod.into(),
        target_union: Some(TargetUnion::ModRevision(seen)),
        key: key.clone(),
        ..Default::default()
    };
    let read = RangeRequest { key, ..Default::default() };
    TxnRequest {
        compare: vec![compare],
        success: vec![op(Request::RequestPut(put))],
        failure: vec![op(Request::RequestRange(read))],
    }
}

/// The revision that [`update`] must name the next time.
pub(super) fn seen(answer: &TxnResponse) -> i64 {
    if answer.succeeded {
        return answer.header.map_or(0, |header| header.revision);
    }
    match answer.responses.first().and_then(|op| op.response.as_ref()) {
        Some(Response::ResponseRange(range)) => range.kvs.first().map_or(0, |kv| kv.mod_revision),
        _ => 0,
    }
}

/// Reads key `number`.
pub(super) fn get(settings: &Settings, number: u64) -> RangeRequest {
    RangeRequest { key: keys::key(number), serializable: settings.serializable, ..Default::default() }
}

/// Reads up to `limit` (0: all) of the keys with these numbers, or counts them.
pub(super) fn range(settings: &Settings, numbers: std::ops::Range<u64>, limit: u64) -> RangeRequest {
    let (key, range_end) = keys::range(numbers);
    RangeRequest {
        key,
        range_end,
        limit: i64::try_from(limit).unwrap_or(i64::MAX),
        count_only: settings.count_only,
        serializable: settings.serializable,
        ..Default::default()
    }
}

fn op(request: Request) -> RequestOp {
    RequestOp { request: Some(request) }
}

#[cfg(test)]
mod tests {
    use proto::etcdserverpb::{RangeResponse, ResponseHeader, ResponseOp};
    use proto::mvccpb::KeyValue;

    use super::*;

    #[test]
    fn an_update_goes_on_from_the_revision_it_wrote_or_found() {
        let header = Some(ResponseHeader { revision: 7, ..Default::default() });
        let written = TxnResponse { header, succeeded: true, ..Default::default() };
        assert_eq!(seen(&written), 7);

        let kvs = vec![KeyValue { mod_revision: 5, ..Default::default() }];
        let range = RangeResponse { kvs, ..Default::default() };
        let responses = vec![ResponseOp { response: Some(Response::ResponseRange(range)) }];
        let found = TxnResponse { header, responses, ..Default::default() };
        assert_eq!(seen(&found), 5);
    }
}
