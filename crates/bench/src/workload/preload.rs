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
    let (keys, step) = (settings.keys, puts_per_txn(settings));
    let numbers = move |idx| {
        let places = idx * step..keys.min((idx + 1) * step);
        places.map(move |place| keys::scattered(place, keys))
    };
    txns(settings, "transactions to preload", keys.div_ceil(step), numbers).await
}

/// Overwrites some `count` of the keys, drawn at random; another `round` draws others.
pub(crate) async fn overwrite(settings: &Settings, count: u64, round: u64) -> Result<(), Error> {
    let step = puts_per_txn(settings).min(settings.keys);
    // A transaction must not write a key twice: each of its draws is from a part of the keys of its own.
    let (txns_len, part) = (count.div_ceil(step), settings.keys / step);
    let numbers = move |idx| {
        let mut random = keys::Random::new((round * txns_len + idx) as usize);
        (0..step).map(move |place| place * part + random.below(part))
    };
    txns(settings, "transactions to overwrite", txns_len, numbers).await
}

/// Writes the keys with the numbers `numbers(0)` in a transaction, those with `numbers(1)` and so on, `count`
/// times.
async fn txns<N: Iterator<Item = u64>>(
    settings: &Settings,
    what: &'static str,
    count: u64,
    numbers: impl Fn(u64) -> N + Send + Sync + 'static,
) -> Result<(), Error> {
    let value = request::value(settings.value_bytes);
    let txn = move |idx| request::txn(numbers(idx).map(|number| request::put(number, &value)));
    let bulk = Bulk { what, path: unary::TXN, count, in_flight: 2 };
    bulk.run(settings, txn, |_, _| Ok(())).await
}

fn puts_per_txn(settings: &Settings) -> u64 {
    (TXN_BYTES_MAX / settings.value_bytes.max(1) as u64).clamp(1, PUTS_PER_TXN)
}

/// Writes `settings.revisions` times, each a revision of its own, over keys `0..settings.keys`.
pub(crate) async fn revisions(settings: &Settings) -> Result<(), Error> {
    let (keys, value) = (settings.keys, request::value(settings.value_bytes));
    let put = move |idx| request::put(keys::scattered(idx, keys), &value);
    let bulk =
        Bulk { what: "revisions to preload", path: unary::PUT, count: settings.revisions, in_flight: 64 };
    bulk.run(settings, put, |_, _| Ok(())).await
}
