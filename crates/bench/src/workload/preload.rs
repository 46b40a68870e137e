//! Writes the keys that a reading workload expects, before its run.
//!
//! They are written in an order unlike their own, as keys come to a store that has lived: written in order, an
//! index and its values lie in memory just as a range reads them, which flatters the reader.

use proto::etcdserverpb::request_op::Request;
use proto::etcdserverpb::{PutRequest, RequestOp, TxnRequest};
use tokio::task::JoinSet;

use super::{keys, unary};
use crate::client::Connection;
use crate::error::Error;
use crate::settings::{Settings, Workload};

/// Puts in one transaction: the server's default limit is 128.
const PUTS_PER_TXN: u64 = 128;
/// Bytes of values in one transaction, well under the default request limit of 1.5 MiB.
const TXN_BYTES_MAX: u64 = 1 << 20;
/// Transactions in flight.
const IN_FLIGHT: usize = 8;

/// Writes keys `0..settings.keys` if the workload reads them; what is there already is overwritten.
pub(crate) async fn preload(settings: &Settings) -> Result<(), Error> {
    if !settings.workload.reads() {
        return Ok(());
    }
    let connection = Connection::open(&settings.endpoint).await?;
    let mut calls = JoinSet::new();
    for numbers in batches(settings) {
        if calls.len() == IN_FLIGHT {
            finished(calls.join_next().await)?;
        }
        let (mut connection, txn) = (connection.clone(), transaction(settings, numbers));
        let head = connection.head(unary::path(Workload::TxnPut));
        calls.spawn(async move { connection.unary(&head, &txn).await.map(drop) });
    }
    while !calls.is_empty() {
        finished(calls.join_next().await)?;
    }
    Ok(())
}

/// Splits the key numbers into transactions of acceptable size.
fn batches(settings: &Settings) -> impl Iterator<Item = std::ops::Range<u64>> + use<> {
    let by_size = TXN_BYTES_MAX / settings.value_bytes.max(1) as u64;
    let (keys, step) = (settings.keys, by_size.clamp(1, PUTS_PER_TXN));
    (0..keys.div_ceil(step)).map(move |idx| idx * step..keys.min((idx + 1) * step))
}

fn transaction(settings: &Settings, numbers: std::ops::Range<u64>) -> TxnRequest {
    let value = unary::value(settings.value_bytes);
    let put = |number| {
        let key = keys::key(keys::scattered(number, settings.keys));
        let put = PutRequest { key, value: value.clone(), ..Default::default() };
        RequestOp { request: Some(Request::RequestPut(put)) }
    };
    TxnRequest { success: numbers.map(put).collect(), ..Default::default() }
}

fn finished(call: Option<Result<Result<(), Error>, tokio::task::JoinError>>) -> Result<(), Error> {
    call.map_or(Ok(()), |joined| joined.expect("a call neither panics nor is cancelled"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_cover_each_key_once() {
        let settings = Settings { keys: 300, ..Settings::of(Workload::Get) };
        assert_eq!(batches(&settings).collect::<Vec<_>>(), [0..128, 128..256, 256..300]);
    }

    #[test]
    fn large_values_make_small_transactions() {
        let settings = Settings { keys: 3, value_bytes: 1 << 20, ..Settings::of(Workload::Get) };
        assert_eq!(batches(&settings).count(), 3);
    }
}
