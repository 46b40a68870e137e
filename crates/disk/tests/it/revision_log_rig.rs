//! What the tests of the revision log share: making changes, taking what a checkpoint needs, reading everything back.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use disk::revision_log::{Options, Record};
use disk::{Disk, Error, Location, RecordMeta, Revision, RevisionLog, SimDisk};
use prost::Message;
use proto::checkpointpb::Segment;
use proto::mvccpb::KeyValue;

/// Small enough that a few dozen changes fill several segments.
pub(crate) const SEGMENT_BYTES: u64 = 1000;
pub(crate) const DIR: &str = "/log";

/// A change as the store would append it.
pub(crate) struct Change {
    pub(crate) meta: RecordMeta,
    pub(crate) key_value: Vec<u8>,
}

pub(crate) fn put(main: i64, key: &str, value: &str) -> Change {
    let meta = RecordMeta {
        revision: Revision { main, sub: 0 },
        tombstone: false,
        create_revision: main - 1,
        version: 2,
        lease: 7,
    };
    let key_value = KeyValue {
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: Bytes::copy_from_slice(value.as_bytes()),
        mod_revision: main,
        ..Default::default()
    };
    Change { meta, key_value: key_value.encode_to_vec() }
}

pub(crate) fn tombstone(main: i64, key: &str) -> Change {
    let meta = RecordMeta { revision: Revision { main, sub: 0 }, tombstone: true, ..RecordMeta::default() };
    let key_value = KeyValue { key: Bytes::copy_from_slice(key.as_bytes()), ..Default::default() };
    Change { meta, key_value: key_value.encode_to_vec() }
}

pub(crate) fn open(disk: &SimDisk, listed: &[Segment]) -> Result<RevisionLog, Error> {
    open_on(Arc::new(disk.clone()), Path::new(DIR), listed)
}

pub(crate) fn open_on(disk: Arc<dyn Disk>, dir: &Path, listed: &[Segment]) -> Result<RevisionLog, Error> {
    RevisionLog::open(disk, dir, Options { segment_bytes: SEGMENT_BYTES }, listed)
}

pub(crate) fn append(log: &mut RevisionLog, change: &Change) -> Result<Location, Error> {
    log.append(&change.meta, &change.key_value)
}

/// Appends puts of revisions `mains` to keys `k0` to `k9`, in turn, and flushes.
pub(crate) fn fill(log: &mut RevisionLog, mains: std::ops::RangeInclusive<i64>) -> Vec<Location> {
    let value = "v".repeat(20);
    let puts = mains.map(|main| append(log, &put(main, &format!("k{}", main % 10), &value)).unwrap());
    let locations = puts.collect();
    log.flush().unwrap();
    locations
}

/// Makes the log durable and returns what a checkpoint would list.
pub(crate) fn sync(log: &mut RevisionLog) -> Result<Vec<Segment>, Error> {
    log.flush()?;
    let listed = log.segments();
    log.sync_job().run()?;
    Ok(listed)
}

/// What [`RevisionLog::load`] visits (key, header, location), in revision order.
pub(crate) fn load(log: &RevisionLog) -> Result<Vec<(Vec<u8>, RecordMeta, Location)>, Error> {
    let mut visited = Vec::new();
    log.load(&mut |key, meta, at| visited.push((key.to_vec(), *meta, at)))?;
    assert!(visited.is_sorted_by_key(|(key, meta, _)| (key.clone(), meta.revision)));
    visited.sort_by_key(|(_, meta, _)| meta.revision);
    Ok(visited)
}

/// The main revisions a scan from `main` finds.
pub(crate) fn scan(log: &RevisionLog, main: i64) -> Vec<i64> {
    let scan = log.reader().scan(Revision { main, sub: 0 });
    scan.map(|record| main_of(&record.unwrap())).collect()
}

pub(crate) fn main_of(record: &Record) -> i64 {
    record.meta.revision.main
}
