//! The workloads of one request and one answer: put, txn-put, get, range.
//!
//! An answer is not decoded. It is checked to be long enough for the values that it must carry, which
//! catches missing keys at no cost to the generator.

use std::sync::Arc;

use bytes::Bytes;
use proto::etcdserverpb::request_op::Request;
use proto::etcdserverpb::{PutRequest, RangeRequest, RequestOp, TxnRequest};
use tokio::task::JoinSet;

use super::Shared;
use super::keys::{self, Keys};
use crate::client::{Connection, Head};
use crate::error::Error;
use crate::meter::{Meter, Phase};
use crate::settings::{Settings, Workload};

/// Starts one worker, which keeps one call in flight.
pub(super) fn spawn(
    shared: &Arc<Shared>,
    worker: usize,
    connection: &Connection,
    meter: &Meter,
    workers: &mut JoinSet<()>,
) {
    let caller = Caller::new(shared.clone(), worker, connection.clone());
    workers.spawn(caller.run(meter.clone()));
}

/// The `n` bytes of each value: not compressible by repetition, and the same in each run.
pub(super) fn value(n: usize) -> Bytes {
    (0..n).map(|i| (i.wrapping_mul(167) >> 3) as u8).collect()
}

/// The path of the method that `workload` calls.
pub(super) fn path(workload: Workload) -> &'static str {
    match workload {
        Workload::Put | Workload::Watch => "/etcdserverpb.KV/Put",
        Workload::TxnPut => "/etcdserverpb.KV/Txn",
        Workload::Get | Workload::Range => "/etcdserverpb.KV/Range",
    }
}

struct Caller {
    shared: Arc<Shared>,
    connection: Connection,
    head: Head,
    keys: Keys,
    value: Bytes,
}

impl Caller {
    fn new(shared: Arc<Shared>, worker: usize, connection: Connection) -> Self {
        let settings = &shared.settings;
        Self {
            head: connection.head(path(settings.workload)),
            keys: Keys::new(settings.key_order, settings.keys, worker),
            value: value(settings.value_bytes),
            connection,
            shared,
        }
    }

    async fn run(mut self, mut meter: Meter) {
        meter.reached(Phase::WarmUp).await;
        while let Some(start) = meter.turn().await {
            let result = self.call().await;
            meter.count(result.as_ref().map(|()| start.elapsed()));
            if result.is_err_and(|error| error.ends_connection()) {
                break;
            }
        }
    }

    async fn call(&mut self) -> Result<(), Error> {
        let settings = &self.shared.settings;
        let key = self.keys.next(&self.shared.next_key);
        let put = |key| PutRequest { key, value: self.value.clone(), ..Default::default() };
        let (connection, head) = (&mut self.connection, &self.head);
        let answer = match settings.workload {
            Workload::Put | Workload::Watch => connection.unary(head, &put(key)).await?,
            Workload::TxnPut => connection.unary(head, &transaction(put(key))).await?,
            Workload::Get => connection.unary(head, &get(settings, key)).await?,
            Workload::Range => connection.unary(head, &range(settings)).await?,
        };
        check(settings, &answer)
    }
}

fn transaction(put: PutRequest) -> TxnRequest {
    let success = vec![RequestOp { request: Some(Request::RequestPut(put)) }];
    TxnRequest { success, ..Default::default() }
}

fn get(settings: &Settings, key: Bytes) -> RangeRequest {
    RangeRequest { key, serializable: settings.serializable, ..Default::default() }
}

fn range(settings: &Settings) -> RangeRequest {
    let (key, range_end) = keys::range(settings.keys);
    RangeRequest {
        key,
        range_end,
        limit: i64::try_from(settings.limit).unwrap_or(i64::MAX),
        count_only: settings.count_only,
        serializable: settings.serializable,
        ..Default::default()
    }
}

/// Refuses an answer too short to hold the values asked for.
fn check(settings: &Settings, answer: &[u8]) -> Result<(), Error> {
    let values = match settings.workload {
        Workload::Put | Workload::TxnPut | Workload::Watch => 0,
        Workload::Get => 1,
        Workload::Range => settings.range_len(),
    };
    let expected = values * settings.value_bytes as u64;
    if (answer.len() as u64) < expected {
        let text = format!("{} bytes in place of {values} values, {expected} bytes or more", answer.len());
        return Err(Error::Answer(text));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_is_a_method_of_the_service() {
        for (workload, ..) in Workload::ALL {
            let methods = proto::etcdserverpb::KV.methods;
            assert!(methods.iter().any(|method| method.path == path(workload)), "{workload:?}");
        }
    }

    #[test]
    fn a_missing_value_is_noticed() {
        let settings = Settings { keys: 10, ..Settings::of(Workload::Range) };
        assert!(check(&settings, &[0; 2560]).is_ok());
        let text = check(&settings, &[0; 2559]).unwrap_err().to_string();
        assert_eq!(text, "wrong answer: 2559 bytes in place of 10 values, 2560 bytes or more");
        assert!(check(&Settings { count_only: true, ..settings }, &[0; 30]).is_ok());
    }
}
