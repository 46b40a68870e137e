//! Comparisons of the store with the model.
//!
//! A difference is an error with a text. A read that fails is an error too; the caller ignores it if the disk
//! has just lost power.

use std::collections::BTreeMap;

use bytes::Bytes;
use proto::etcdserverpb::{AlarmType, RangeRequest};
use store::{Error, RangeOutcome, RangeQuery, ReadView, Refusal, Request};

use crate::member::Member;
use crate::model::Model;
use crate::random::Random;
use crate::workload::{self, Horizon};

/// Revisions at which everything is read after a restart.
const OLD_REVISIONS: i64 = 4;

/// The store equals the model in revision, compaction, alarms, and leases with their keys.
pub(crate) fn position(member: &Member, model: &Model) -> Result<(), String> {
    let view = &member.view;
    let (found, expected) =
        ((view.revision(), view.compact_revision()), (model.revision(), model.compacted()));
    compare(&|| "the place in history (revision, compaction)".into(), &found, &expected)?;
    let found = member.alarms().of_kind(AlarmType::None as i32);
    compare(&|| "the table of alarms".into(), &found, &model.alarms().collect())?;
    let table = member.leases();
    let found: BTreeMap<i64, (i64, Vec<Bytes>)> = table
        .iter()
        .map(|(id, term)| {
            let keys = table.keys(id, None, usize::MAX);
            (id, (term.granted_ttl_s, keys.iter().map(|key| Bytes::copy_from_slice(key)).collect()))
        })
        .collect();
    let expected =
        model.leases().map(|(id, ttl_s)| (id, (ttl_s, model.lease_keys(id).into_iter().collect())));
    compare(&|| "the table of leases".into(), &found, &expected.collect())
}

/// All keys at several revisions are equal, and so are the hashes over every record.
pub(crate) fn everything(member: &Member, model: &Model) -> Result<(), String> {
    position(member, model)?;
    let view = &member.view;
    let oldest = model.compacted().clamp(1, model.revision());
    let span = model.revision() - oldest;
    for i in 0..=OLD_REVISIONS {
        let revision = oldest + span * i / OLD_REVISIONS;
        let all =
            RangeRequest { key: "\0".into(), range_end: "\0".into(), revision, ..RangeRequest::default() };
        range(view, model, &all)?;
        hash(view, model, revision)?;
    }
    hash(view, model, 0)
}

/// Once the member is idle, the bytes in use are those of the records that a compaction leaves.
pub(crate) fn bytes_in_use(member: &Member, model: &Model) -> Result<(), String> {
    compare(&|| "the number of bytes in use".into(), &member.size_in_use_bytes(), &model.live_bytes())
}

/// Reads something and compares it; says what it was.
pub(crate) fn random_read(
    random: &mut Random,
    horizon: Horizon,
    view: &ReadView,
    model: &Model,
) -> Result<String, String> {
    match random.below(10) {
        0..6 => {
            let request = workload::range(random, horizon);
            range(view, model, &request)?;
            Ok(format!("range of {:?} at {}", request.key, request.revision))
        }
        6 | 7 => {
            let request = workload::read_only_txn(random, horizon);
            let expected = model.read_only_txn(&request);
            let found = refusal_or(view.txn(&request))?;
            let name = || format!("the transaction {request:?}");
            compare(&name, &found, &expected).map(|()| "transaction of ranges".into())
        }
        _ => {
            let revision = if random.percent(50) { 0 } else { horizon.readable(random) };
            hash(view, model, revision).map(|()| format!("hash at {revision}"))
        }
    }
}

fn range(view: &ReadView, model: &Model, request: &RangeRequest) -> Result<(), String> {
    let expected = model.range(request);
    let found = refusal_or(read_range(view, request))?;
    compare(&|| format!("{request:?}"), &found, &expected)
}

fn read_range(view: &ReadView, request: &RangeRequest) -> Result<RangeOutcome, Error> {
    let mut reading = view.range(RangeQuery::new(request)?)?;
    while !reading.step()? {}
    reading.finish()
}

/// HashKV at `revision` is what etcd would compute now, or would have computed when it compacted at
/// `revision`.
fn hash(view: &ReadView, model: &Model, revision: i64) -> Result<(), String> {
    let found = view.hash_now(revision).map_err(|error| format!("no hash at {revision}: {error}"))?;
    let at = if revision == 0 && found.revision != 0 { model.revision() } else { revision };
    if found.revision != at {
        return Err(format!("asked for the hash at {at}, told that at {}", found.revision));
    }
    let expected = match found.compact_revision == model.compacted() {
        true => Some(model.hash(at)),
        false => model.compaction_hash(at, found.compact_revision),
    };
    let name = || format!("the hash at {at}, compacted at {},", found.compact_revision);
    compare(&name, &Some(found.hash), &expected)
}

fn compare<T: PartialEq + std::fmt::Debug>(
    name: &dyn Fn() -> String,
    found: &T,
    expected: &T,
) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{} is {found:?}, but must be {expected:?}", name())) }
}

/// A refusal counts as an answer. An error of the disk does not.
fn refusal_or<T>(result: Result<T, Error>) -> Result<Result<T, Refusal>, String> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(Error::Refused(refusal)) => Ok(Err(refusal)),
        Err(Error::Disk(error)) => Err(format!("the store cannot be read: {error}")),
    }
}

/// A request in a few words, for the trace.
pub(crate) fn describe(request: &Request) -> String {
    match request {
        Request::Put(put) => format!("put {:?}, {} bytes", put.key, put.value.len()),
        Request::DeleteRange(delete) => format!("delete {:?} to {:?}", delete.key, delete.range_end),
        Request::Txn(txn) => {
            format!("transaction of {} or {} operations", txn.success.len(), txn.failure.len())
        }
        Request::Compact(compact) => format!("compact {compact:?}"),
        other => format!("{other:?}"),
    }
}
