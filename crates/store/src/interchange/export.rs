//! Writing the state of a store as etcd's database.
//!
//! The state is that of the moment in which the export began, though the store goes on. Memory is taken for a megabyte of
//! records, for a node of each level of the tree, and for the leases. Nobody waits for an export: it locks the index for
//! a bounded number of steps, and [`crate::mvcc::HeldRecords`] tells how compactions go on.

use disk::Revision;
use disk::bolt::{BucketBound, Layout, Writer};
use prost::Message;
use proto::checkpointpb::Checkpoint;
use proto::raftpb::ConfState;

use super::meta::Meta;
use crate::buckets::{self, Row};
use crate::lease::LeaseSnapshot;
use crate::mvcc::HeldRecords;
use crate::{Control, Error};

/// etcd's on most machines.
const PAGE_SIZE: u64 = 4096;

/// The first minor version of etcd 3 that notes the version of its database.
const FIRST_MINOR_WITH_VERSION: u32 = 6;

const MEASURED: &str = "the file is measured before it is written";

/// A state being written down, step by step; may move to any thread.
#[derive(Debug)]
pub struct Export {
    records: HeldRecords,
    control: Control,
    leases: LeaseSnapshot,
    meta: Meta,
    key_bucket: BucketBound,
    /// Once the file is measured.
    writer: Option<Writer>,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The small buckets are written, then records.
    Records,
    /// All buckets are written.
    Ending,
    Complete,
}

impl Export {
    pub(crate) fn new(
        records: HeldRecords,
        control: Control,
        leases: LeaseSnapshot,
        log: Checkpoint,
    ) -> Export {
        let meta = Meta {
            applied_index: log.applied_index,
            applied_term: log.applied_term,
            conf_state: log.conf_state.unwrap_or_default(),
            scheduled_compaction: records.compacted(),
            finished_compaction: records.compacted(),
            storage_version: storage_version(control.cluster_version()).to_owned(),
        };
        let key_bucket = BucketBound::default();
        Export { records, control, leases, meta, key_bucket, writer: None, stage: Stage::Records }
    }

    /// The main revision that is exported.
    pub fn revision(&self) -> i64 {
        self.records.revision()
    }

    /// The last raft entry whose effect is part of it.
    pub fn applied_index(&self) -> u64 {
        self.meta.applied_index
    }

    /// The term of that entry.
    pub fn applied_term(&self) -> u64 {
        self.meta.applied_term
    }

    /// The raft configuration after that entry.
    pub fn conf_state(&self) -> &ConfState {
        &self.meta.conf_state
    }

    /// The members, the cluster version and whatever else the cluster knows of itself.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// The version of the database, such as `3.7.0`; empty if it has none.
    pub fn storage_version(&self) -> &str {
        &self.meta.storage_version
    }

    /// Counts the records, in bounded steps; the length of the file once all are counted.
    pub fn measure_step(&mut self) -> Option<u64> {
        let key_bucket = &mut self.key_bucket;
        let is_counted = self.records.count_step(&mut |key_value_len, tombstone| {
            key_bucket.add(Revision::KEY_LEN + usize::from(tombstone), key_value_len);
        });
        is_counted.then(|| {
            let layout = self.layout();
            let file_len = layout.file_len();
            self.begin(layout);
            file_len
        })
    }

    /// Writes about another megabyte; the file must be measured. True once it is complete. What was written is taken
    /// with [`Export::output`].
    ///
    /// Refused with [`crate::Refusal::Replaced`] once the store was replaced by a snapshot.
    pub fn write_step(&mut self) -> Result<bool, Error> {
        let writer = self.writer.as_mut().expect(MEASURED);
        match self.stage {
            Stage::Records => {
                let mut key = Vec::new();
                let is_last = self.records.read_step(&mut |record| {
                    key.clear();
                    key.extend_from_slice(&record.meta.revision.to_key());
                    if record.meta.tombstone {
                        key.push(b't');
                    }
                    writer.put(&key, &record.key_value());
                })?;
                if is_last {
                    // Only now is it known what may have been dropped meanwhile.
                    self.meta.scheduled_compaction = self.records.compacting();
                    write(writer, "meta", self.meta.rows());
                    self.stage = Stage::Ending;
                }
            }
            Stage::Ending if writer.finish() => self.stage = Stage::Complete,
            Stage::Ending | Stage::Complete => {}
        }
        Ok(self.stage == Stage::Complete)
    }

    /// What was written and not yet taken; the file must be measured.
    pub fn output(&mut self) -> &mut Vec<u8> {
        self.writer.as_mut().expect(MEASURED).output()
    }

    /// Writes the small buckets and begins that of the keys.
    fn begin(&mut self, layout: Layout) {
        let mut writer = Writer::new(layout);
        for (name, rows) in self.small_buckets() {
            write(&mut writer, name, rows);
        }
        writer.begin_bucket("key");
        self.writer = Some(writer);
    }

    /// The buckets that are known now and hold little. All but that of the keys and `meta`.
    fn small_buckets(&self) -> Vec<(&'static str, Vec<Row>)> {
        let auth_revision = buckets::FIRST_AUTH_REVISION.to_be_bytes().to_vec();
        let is_decided = |row: &Row| !row.1.is_empty();
        vec![
            ("alarm", buckets::alarms(&self.control).collect()),
            ("auth", vec![("authRevision".into(), auth_revision)]),
            ("authRoles", Vec::new()),
            ("authUsers", Vec::new()),
            ("cluster", buckets::cluster(&self.control).filter(is_decided).collect()),
            ("lease", self.lease_rows()),
            ("members", buckets::members(&self.control).collect()),
            ("members_removed", buckets::removed(&self.control).collect()),
        ]
    }

    fn lease_rows(&self) -> Vec<Row> {
        let leases = self.leases.messages().into_iter();
        leases.map(|lease| (lease.id.to_be_bytes().to_vec(), lease.encode_to_vec())).collect()
    }

    fn layout(&self) -> Layout {
        let mut layout = Layout::new(PAGE_SIZE);
        for (name, rows) in self.small_buckets() {
            layout.add_bucket(name, &bound(&rows));
        }
        layout.add_bucket("key", &self.key_bucket);
        // A compaction may come before the end, where none was before.
        let scheduled_compaction = i64::MAX;
        layout.add_bucket("meta", &bound(&Meta { scheduled_compaction, ..self.meta.clone() }.rows()));
        layout
    }
}

fn bound(rows: &[Row]) -> BucketBound {
    let mut bound = BucketBound::default();
    rows.iter().for_each(|(key, value)| bound.add(key.len(), value.len()));
    bound
}

fn write(writer: &mut Writer, name: &str, mut rows: Vec<Row>) {
    rows.sort_unstable();
    writer.begin_bucket(name);
    rows.iter().for_each(|(key, value)| writer.put(key, value));
}

/// The version of the database in a cluster of this version. It was not noted before 3.6.
fn storage_version(cluster_version: &str) -> &str {
    let minor = cluster_version.strip_prefix("3.").and_then(|rest| rest.split('.').next()?.parse().ok());
    if minor.is_some_and(|minor: u32| minor < FIRST_MINOR_WITH_VERSION) { "" } else { cluster_version }
}
