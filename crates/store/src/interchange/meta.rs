//! The bucket `meta`: where in the raft log a database stands, and how far it is compacted.

use disk::Revision;
use proto::database_json;
use proto::raftpb::ConfState;

use super::key;
use crate::buckets::Row;

pub(super) const APPLIED_INDEX: &str = "consistent_index";
pub(super) const APPLIED_TERM: &str = "term";
pub(super) const CONF_STATE: &str = "confState";
/// The last compaction asked for, and the last that was finished. Whoever opens a database in which they differ goes on
/// with the compaction.
pub(super) const SCHEDULED_COMPACTION: &str = "scheduledCompactRev";
pub(super) const FINISHED_COMPACTION: &str = "finishedCompactRev";
pub(super) const STORAGE_VERSION: &str = "storageVersion";

/// The content of the bucket.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Meta {
    pub(super) applied_index: u64,
    pub(super) applied_term: u64,
    pub(super) conf_state: ConfState,
    /// −1: never.
    pub(super) scheduled_compaction: i64,
    pub(super) finished_compaction: i64,
    /// Empty where there is none, as before 3.6.
    pub(super) storage_version: String,
}

impl Meta {
    /// The rows in the order of their keys.
    pub(super) fn rows(&self) -> Vec<Row> {
        let mut rows = vec![
            (CONF_STATE.into(), database_json::encode_conf_state(&self.conf_state).into_bytes()),
            (APPLIED_INDEX.into(), self.applied_index.to_be_bytes().to_vec()),
            (APPLIED_TERM.into(), self.applied_term.to_be_bytes().to_vec()),
        ];
        let compactions = [
            (SCHEDULED_COMPACTION, self.scheduled_compaction),
            (FINISHED_COMPACTION, self.finished_compaction),
        ];
        for (name, main) in compactions.into_iter().filter(|(_, main)| *main >= 0) {
            rows.push((name.into(), Revision { main, sub: 0 }.to_key().to_vec()));
        }
        if !self.storage_version.is_empty() {
            rows.push((STORAGE_VERSION.into(), self.storage_version.clone().into_bytes()));
        }
        rows.sort_unstable();
        rows
    }

    /// Takes a row; false if its value is not one of this key. Unknown keys are ignored.
    pub(super) fn read_row(&mut self, key: &[u8], value: &[u8]) -> bool {
        let number = || value.try_into().ok().map(u64::from_be_bytes);
        let is_read = match str::from_utf8(key) {
            Ok(APPLIED_INDEX) => number().map(|index| self.applied_index = index),
            Ok(APPLIED_TERM) => number().map(|term| self.applied_term = term),
            Ok(CONF_STATE) => {
                database_json::decode_conf_state(value).map(|conf_state| self.conf_state = conf_state)
            }
            Ok(SCHEDULED_COMPACTION) => compaction(value).map(|main| self.scheduled_compaction = main),
            Ok(FINISHED_COMPACTION) => compaction(value).map(|main| self.finished_compaction = main),
            Ok(STORAGE_VERSION) => {
                str::from_utf8(value).ok().map(|version| version.clone_into(&mut self.storage_version))
            }
            _ => Some(()),
        };
        is_read.is_some()
    }

    /// The content of a bucket without rows.
    pub(super) fn empty() -> Meta {
        Meta { scheduled_compaction: -1, finished_compaction: -1, ..Meta::default() }
    }
}

/// The main revision of a compaction.
fn compaction(value: &[u8]) -> Option<i64> {
    let (revision, tombstone) = key::decode(value)?;
    (!tombstone).then_some(revision.main)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_rows_it_writes() {
        let meta = Meta {
            applied_index: 1 << 40,
            applied_term: 7,
            conf_state: ConfState { voters: vec![1, 2], ..ConfState::default() },
            scheduled_compaction: 12,
            finished_compaction: 9,
            storage_version: "3.7.0".into(),
        };
        for meta in [meta, Meta::empty()] {
            let rows = meta.rows();
            assert!(rows.is_sorted());
            let mut read = Meta::empty();
            assert!(rows.iter().all(|(key, value)| read.read_row(key, value)));
            assert_eq!(read, meta);
        }
    }

    #[test]
    fn a_value_of_another_form_is_refused() {
        let known = [
            APPLIED_INDEX,
            APPLIED_TERM,
            CONF_STATE,
            SCHEDULED_COMPACTION,
            FINISHED_COMPACTION,
            STORAGE_VERSION,
        ];
        assert!(known.iter().all(|key| !Meta::empty().read_row(key.as_bytes(), b"\xff")));
        assert!(Meta::empty().read_row(b"of the future", b"\xff"));
    }
}
