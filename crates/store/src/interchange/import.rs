//! Making a data directory of etcd's database.
//!
//! The database may come from anybody. Its structure is checked by [`disk::bolt`], its content here: whatever the store
//! relies on is verified before it gets there, so that no file makes a member panic, now or later. Records are streamed
//! into a new revision log.
//!
//! Nothing counts before [`Imported::commit`] saves the checkpoint, atomically. An import that breaks off leaves segments
//! that no checkpoint lists; the next one into the same directory removes them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use disk::bolt::{Bucket, Entry, Reader};
use disk::revision_log::{Options, Removal};
use disk::{Disk, RecordMeta, Revision, RevisionLog, checkpoint};
use prost::Message;
use proto::checkpointpb::Checkpoint;
use proto::mvccpb::KeyValue;

use super::key;
use super::tables;

/// Bytes of records between two reports of progress.
const PROGRESS_BYTES: u64 = 1 << 20;

/// Why a database cannot be imported.
#[derive(Debug)]
pub enum ImportError {
    /// The file is damaged, or a disk fails.
    Disk(disk::Error),
    /// The directory belongs to a member already.
    Occupied {
        /// Its checkpoint.
        checkpoint: PathBuf,
    },
    /// The database has something that this version cannot keep.
    Unsupported {
        /// What, as the end of a sentence.
        what: &'static str,
    },
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ImportError::Disk(error) => error.fmt(f),
            ImportError::Occupied { checkpoint } => write!(
                f,
                "cannot import into a directory that is in use: {} is there already",
                checkpoint.display()
            ),
            ImportError::Unsupported { what } => write!(f, "cannot import the database: it has {what}"),
        }
    }
}

impl std::error::Error for ImportError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ImportError::Disk(error) => Some(error),
            ImportError::Occupied { .. } | ImportError::Unsupported { .. } => None,
        }
    }
}

impl From<disk::Error> for ImportError {
    fn from(error: disk::Error) -> Self {
        ImportError::Disk(error)
    }
}

/// A database whose records are in a revision log, durably, and whose checkpoint is to be saved.
#[derive(Debug)]
pub struct Imported {
    log: RevisionLog,
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    /// The checkpoint. Before it is saved the caller may replace what belongs to a member rather than to the data:
    /// applied index and term, configuration, members.
    pub checkpoint: Checkpoint,
}

impl Imported {
    /// Gives up the segments: what was imported is not needed.
    pub fn discard(self) -> Removal {
        self.log.discard()
    }

    /// Makes it count.
    pub fn commit(self) -> Result<Checkpoint, ImportError> {
        checkpoint::save(&*self.disk, &self.dir, &self.checkpoint)?;
        Ok(self.checkpoint)
    }
}

/// Reads a database into a revision log in `dir`, which is created if missing and must not have a checkpoint. `progress`
/// is told now and then how many bytes of records were read.
pub fn import(
    disk: Arc<dyn Disk>,
    dir: &Path,
    options: Options,
    database: Reader,
    progress: &mut dyn FnMut(u64),
) -> Result<Imported, ImportError> {
    if checkpoint::load(&*disk, dir)?.is_some() {
        return Err(ImportError::Occupied { checkpoint: checkpoint::path(dir) });
    }
    let log = RevisionLog::open(Arc::clone(&disk), dir, options, &[])?;
    import_into(log, disk, dir, database, progress)
}

/// Reads a database into segments beside those of a store that is in use, with ids from `first_id` on: see
/// [`RevisionLog::open_beside`]. Once the result is committed its checkpoint counts instead of that store's.
pub fn import_beside(
    disk: Arc<dyn Disk>,
    dir: &Path,
    options: Options,
    database: Reader,
    first_id: u32,
    progress: &mut dyn FnMut(u64),
) -> Result<Imported, ImportError> {
    let log = RevisionLog::open_beside(Arc::clone(&disk), dir, options, &[], first_id)?;
    import_into(log, disk, dir, database, progress)
}

fn import_into(
    mut log: RevisionLog,
    disk: Arc<dyn Disk>,
    dir: &Path,
    mut database: Reader,
    progress: &mut dyn FnMut(u64),
) -> Result<Imported, ImportError> {
    match fill(&mut log, &mut database, progress) {
        Ok(checkpoint) => Ok(Imported { log, disk, dir: dir.to_path_buf(), checkpoint }),
        Err(error) => {
            // The first error says more. What stays goes when the directory is opened next.
            let _ = log.discard().run();
            Err(error)
        }
    }
}

/// Appends all records to `log`, durably. Returns the checkpoint.
fn fill(
    log: &mut RevisionLog,
    database: &mut Reader,
    progress: &mut dyn FnMut(u64),
) -> Result<Checkpoint, ImportError> {
    let buckets = database.buckets()?;
    let mut checkpoint = tables::read(database, &buckets)?;
    let keys = find(database, &buckets, "key")?;
    let last_main = read_records(database, keys, log, progress)?;
    log.flush()?;
    log.sync_job().run()?;
    checkpoint.segments = log.segments();
    checkpoint.revision = last_main.max(checkpoint.compact_revision).max(1);
    Ok(checkpoint)
}

/// The bucket of this name, which every database has.
pub(super) fn find<'b>(
    database: &Reader,
    buckets: &'b [Bucket],
    name: &str,
) -> Result<&'b Bucket, disk::Error> {
    let found = buckets.iter().find(|bucket| bucket.name == name.as_bytes());
    found.ok_or_else(|| database.corrupt(0, format!("a bucket named {name}")))
}

/// Appends all records to `log`; returns the main revision of the last.
fn read_records(
    database: &mut Reader,
    bucket: &Bucket,
    log: &mut RevisionLog,
    progress: &mut dyn FnMut(u64),
) -> Result<i64, ImportError> {
    let mut entries = database.entries(bucket)?;
    let mut last: Option<Revision> = None;
    let (mut bytes, mut reported) = (0, 0);
    let mut scratch = Vec::new();
    while let Some(entry) = entries.next().transpose()? {
        let record = record(&entry, last, &mut scratch);
        let meta =
            record.map_err(|expected| entries.corrupt(entry.page, in_bucket_key(&entry.key, expected)))?;
        log.append(&meta, &entry.value)?;
        last = Some(meta.revision);
        bytes += entry.value.len() as u64;
        if bytes - reported >= PROGRESS_BYTES {
            reported = bytes;
            progress(bytes);
        }
    }
    progress(bytes);
    Ok(last.map_or(0, |last| last.main))
}

/// Names the row that a fault is about.
fn in_bucket_key(key: &Bytes, expected: &str) -> String {
    match key::decode(key) {
        Some((Revision { main, sub }, _)) => format!("in bucket key at revision {main}_{sub}: {expected}"),
        None => format!("in bucket key at {key:?}: {expected}"),
    }
}

/// What the index must know of an entry, after it was checked; else what was expected. `last` is the revision before.
fn record(entry: &Entry, last: Option<Revision>, scratch: &mut Vec<u8>) -> Result<RecordMeta, &'static str> {
    let (revision, tombstone) = key::decode(&entry.key).ok_or("the key of a revision")?;
    if last.is_some_and(|last| last >= revision) {
        return Err("one record of each revision");
    }
    let key_value = KeyValue::decode(entry.value.clone()).map_err(|_| "a protobuf KeyValue")?;
    scratch.clear();
    key_value.encode_raw(scratch);
    if *scratch != entry.value {
        // The bytes are hashed, so they cannot be written in another way.
        return Err("a KeyValue as etcd encodes it");
    }
    let (create_revision, version, lease) = (key_value.create_revision, key_value.version, key_value.lease);
    let is_sound = if tombstone {
        key_value == KeyValue { key: key_value.key.clone(), ..KeyValue::default() }
    } else {
        // etcdutl writes an empty record to raise the revision of a restored database.
        entry.value.is_empty()
            || (key_value.mod_revision == revision.main
                && (1..=revision.main).contains(&create_revision)
                && version >= 1)
    };
    if !is_sound {
        return Err("a KeyValue that fits its revision");
    }
    Ok(RecordMeta { revision, tombstone, create_revision, version, lease })
}
