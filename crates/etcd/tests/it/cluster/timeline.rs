//! The state of every key at every revision, made of what watchers were told.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::history::{Change, Kept, Seen};

/// The store's history since a revision of which the whole state is known.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    /// Each key's versions, by ascending revision; a version without a stamp is a delete.
    versions: BTreeMap<Bytes, Vec<(i64, Option<u64>)>>,
    /// The first revision at which states are known.
    pub(super) first: i64,
    /// The newest revision.
    pub(super) last: i64,
}

impl Timeline {
    /// The history of a new store.
    pub(super) fn new() -> Timeline {
        Timeline { versions: BTreeMap::new(), first: 1, last: 1 }
    }

    /// Adds the next revision.
    pub(super) fn push(&mut self, revision: i64, seen: &Seen) {
        assert_eq!(revision, self.last + 1, "revisions follow each other");
        self.last = revision;
        for Change { key, stamp } in &seen.changes {
            self.versions.entry(key.clone()).or_default().push((revision, *stamp));
        }
    }

    /// The key as of `revision`; `None` if it does not exist then.
    pub(super) fn at(&self, key: &Bytes, revision: i64) -> Option<Kept> {
        kept(self.versions.get(key)?, revision)
    }

    /// All keys of a range as of `revision`.
    pub(super) fn range(&self, start: &Bytes, end: &Bytes, revision: i64) -> Vec<(Bytes, Kept)> {
        let keys = self.versions.range(start.clone()..end.clone());
        keys.filter_map(|(key, versions)| Some((key.clone(), kept(versions, revision)?))).collect()
    }

    /// The revision that deleted the key first behind `revision`.
    pub(super) fn deleted_after(&self, key: &Bytes, revision: i64) -> Option<i64> {
        let mut versions = self.versions.get(key)?.iter();
        versions.find(|(at, stamp)| *at > revision && stamp.is_none()).map(|(at, _)| *at)
    }

    /// Forgets the states below the newest revision.
    pub(super) fn forget_past(&mut self) {
        self.versions.retain(|_, versions| {
            versions.drain(..versions.len() - 1);
            versions[0].1.is_some()
        });
        self.first = self.last;
    }
}

fn kept(versions: &[(i64, Option<u64>)], revision: i64) -> Option<Kept> {
    let n_older = versions.partition_point(|(at, _)| *at <= revision);
    let (revision, stamp) = *versions.get(n_older.checked_sub(1)?)?;
    Some(Kept { revision, stamp: stamp? })
}
