//! What HashKV must be, by etcd's rules.
//!
//! Over the bytes `key`, then over revision key and value of each record in revision order that a compacted
//! store still holds, with etcd's exceptions: records up to the compaction count only if they are in the keep
//! set (unless that is empty), tombstones at the compaction not at all.

use std::collections::BTreeSet;

use bytes::Bytes;
use prost::Message as _;
use proto::mvccpb::KeyValue;

use super::{Change, Model};

/// Bytes of a record besides those of its key and value, see `docs/revision-log.md`.
const RECORD_HEADER_BYTES: usize = 52;

/// A revision, main and sub.
type Position = (i64, i64);

impl Model {
    /// HashKV at `at` of the store as it is compacted now.
    pub(crate) fn hash(&self, at: i64) -> u32 {
        self.hash_compacted(at, self.compacted, kept)
    }

    /// The hash that the compaction at `at` computed of the store as the compaction at `previous` had left
    /// it; `None` if there was no such compaction.
    pub(crate) fn compaction_hash(&self, at: i64, previous: i64) -> Option<u32> {
        self.compactions
            .contains(&(at, previous))
            .then(|| self.hash_compacted(at, previous, kept_by_compaction))
    }

    /// Bytes of the records that a store holds once the last compaction has finished.
    pub(crate) fn live_bytes(&self) -> u64 {
        let retained = self.keys.iter().flat_map(|(key, changes)| {
            retained(changes, self.compacted).iter().map(move |change| record_bytes(key, change))
        });
        retained.sum::<usize>() as u64
    }

    fn hash_compacted(
        &self,
        at: i64,
        compacted: i64,
        kept: impl Fn(&[Change], i64) -> Option<Position>,
    ) -> u32 {
        let mut records: Vec<(&Bytes, &Change)> = Vec::new();
        let mut keep = BTreeSet::new();
        for (key, changes) in &self.keys {
            let retained = retained(changes, compacted);
            keep.extend(kept(retained, at));
            records.extend(retained.iter().map(|change| (key, change)));
        }
        records.retain(|(_, change)| {
            let is_excluded = !keep.is_empty() && !keep.contains(&(change.main, change.sub));
            change.main <= at
                && !(change.main <= compacted && is_excluded)
                && !(change.main == compacted && change.kv.is_none())
        });
        records.sort_by_key(|(_, change)| (change.main, change.sub));
        records.into_iter().fold(crc32c::crc32c(b"key"), |crc, (key, change)| add(crc, key, change))
    }
}

/// What a compaction leaves of a key: the newest change up to it and all later ones; not that newest one if
/// it is a tombstone from before.
fn retained(changes: &[Change], compacted: i64) -> &[Change] {
    let up_to = changes.iter().take_while(|change| change.main <= compacted).count();
    let Some(newest) = up_to.checked_sub(1) else { return changes };
    let is_gone = changes[newest].kv.is_none() && changes[newest].main < compacted;
    &changes[if is_gone { up_to } else { newest }..]
}

/// The change of a key that a hash at `at` keeps: the newest up to `at` in the generation that contains `at`,
/// unless it is the tombstone that closes it.
fn kept(retained: &[Change], at: i64) -> Option<Position> {
    newest_kept(retained, at).filter(|change| change.kv.is_some()).map(|change| (change.main, change.sub))
}

/// The change of a key that a compaction at `at` keeps: the same, with the tombstone.
fn kept_by_compaction(retained: &[Change], at: i64) -> Option<Position> {
    newest_kept(retained, at).map(|change| (change.main, change.sub))
}

fn newest_kept(retained: &[Change], at: i64) -> Option<&Change> {
    let mut generations = retained.split_inclusive(|change| change.kv.is_none());
    // The first that ends at or after `at`, or is still open.
    let containing = generations.find(|generation| {
        let last = generation.last().expect("a generation has a change");
        last.kv.is_some() || last.main >= at
    })?;
    containing.iter().rev().find(|change| change.main <= at)
}

fn record_bytes(key: &Bytes, change: &Change) -> usize {
    let tombstone = || KeyValue { key: key.clone(), ..KeyValue::default() };
    RECORD_HEADER_BYTES + change.kv.clone().unwrap_or_else(tombstone).encoded_len()
}

fn add(crc: u32, key: &Bytes, change: &Change) -> u32 {
    let mut bytes = change.main.to_be_bytes().to_vec();
    bytes.push(b'_');
    bytes.extend_from_slice(&change.sub.to_be_bytes());
    match &change.kv {
        Some(kv) => kv.encode(&mut bytes).expect("a vector takes any message"),
        None => {
            bytes.push(b't');
            let tombstone = KeyValue { key: key.clone(), ..KeyValue::default() };
            tombstone.encode(&mut bytes).expect("a vector takes any message");
        }
    }
    crc32c::crc32c_append(crc, &bytes)
}

#[cfg(test)]
mod tests {
    use proto::etcdserverpb::{CompactionRequest, DeleteRangeRequest, PutRequest};
    use store::Request;

    use super::*;

    fn put(model: &mut Model, key: &'static str, value: &'static str) {
        let put = PutRequest { key: key.into(), value: value.into(), ..PutRequest::default() };
        model.apply(&Request::Put(put)).unwrap();
    }

    fn delete(model: &mut Model, key: &'static str) {
        let delete = DeleteRangeRequest { key: key.into(), ..DeleteRangeRequest::default() };
        model.apply(&Request::DeleteRange(delete)).unwrap();
    }

    fn compact(model: &mut Model, revision: i64) {
        model.apply(&Request::Compact(CompactionRequest { revision, physical: true })).unwrap();
    }

    #[test]
    fn hashes_are_those_that_etcd_answered() {
        // Recorded from etcd 3.7.1.
        let mut model = Model::new();
        compact(&mut model, 1);
        put(&mut model, "a", "ok");
        put(&mut model, "a", "x");
        assert_eq!((model.hash(3), model.hash(2)), (2_374_815_738, 1_939_255_897));
        put(&mut model, "a", "y");
        delete(&mut model, "a");
        compact(&mut model, 5);
        assert_eq!(model.compaction_hash(5, 1), Some(574_451_225));
        assert_eq!(model.hash(5), 1_084_519_789);
    }

    #[test]
    fn what_a_compaction_dropped_is_not_hashed() {
        let (mut long, mut short) = (Model::new(), Model::new());
        for model in [&mut long, &mut short] {
            put(model, "a", "1");
            put(model, "a", "2");
            put(model, "b", "3");
        }
        assert_eq!(long.hash(4), short.hash(4));
        compact(&mut short, 3);
        assert_ne!(long.hash(4), short.hash(4));
        compact(&mut long, 2);
        compact(&mut long, 3);
        assert_eq!(long.hash(4), short.hash(4), "compacted at once or in two steps");
    }
}
