//! Writes what a workload expects to find.
//!
//! Keys are written in an order unlike their own, as keys come to a store that has lived: written in order, an
//! index and its values lie in memory just as a range reads them, which flatters the reader.

use super::bulk::Bulk;
use super::{keys, request, unary};
use crate::error::Error;
use crate::settings::Settings;

/// Puts in one transaction: the server's default limit is 128.
const PUTS_PER_TXN: u64 = 128;
/// Bytes of values in one transaction, well under the default request limit of 1.5 MiB.
const TXN_BYTES_MAX: u64 = 1 << 20;

/// Writes keys `0..settings.keys`; what is there already is overwritten.
pub(crate) async fn keys(settings: &Settings) -> Result<(), Error> {
    let by_size = TXN_BYTES_MAX / settings.value_bytes.max(1) as u64;
    let (keys, step) = (settings.keys, by_size.clamp(1, PUTS_PER_TXN));
    let value = request::value(settings.value_bytes);
    let txn = move |idx| {
        let numbers = idx * step..keys.min((idx + 1) * step);
        request::txn(numbers.map(|number| request::put(keys::scattered(number, keys), &value)))
    };
    let count = keys.div_ceil(step);
    let bulk = Bulk { what: "transactions to preload", path: unary::TXN, count, in_flight: 2 };
    bulk.run(settings, txn, |_, _| Ok(())).await
}

/// Writes `settings.revisions` times, each a revision of its own, over keys `0..settings.keys`.
pub(crate) async fn revisions(settings: &Settings) -> Result<(), Error> {
    let (keys, value) = (settings.keys, request::value(settings.value_bytes));
    let put = move |idx| request::put(keys::scattered(idx, keys), &value);
    let bulk =
        Bulk { what: "revisions to preload", path: unary::PUT, count: settings.revisions, in_flight: 64 };
    bulk.run(settings, put, |_, _| Ok(())).await
}
