//! The bucket `meta`: where in the raft log a database stands, and how far it is compacted.

use disk::Revision;
use proto::raftpb::ConfState;

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
            (CONF_STATE.into(), conf_state_json(&self.conf_state).into_bytes()),
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
}

/// As Go writes it: empty lists are left out.
fn conf_state_json(conf_state: &ConfState) -> String {
    let lists = [
        ("voters", &conf_state.voters),
        ("learners", &conf_state.learners),
        ("voters_outgoing", &conf_state.voters_outgoing),
        ("learners_next", &conf_state.learners_next),
    ];
    let mut json = String::from("{");
    for (name, ids) in lists.into_iter().filter(|(_, ids)| !ids.is_empty()) {
        let ids: Vec<_> = ids.iter().map(u64::to_string).collect();
        json.push_str(&format!(r#""{name}":[{}],"#, ids.join(",")));
    }
    json.push_str(&format!(r#""auto_leave":{}}}"#, conf_state.auto_leave));
    json
}
