//! Work that takes long and decides nothing. It runs on another thread than the node, and its result is an
//! input.

use std::path::PathBuf;
use std::sync::Arc;

use disk::revision_log::{PrepareSegment, Removal, Rewritten, SpareSegment, SyncJob};
use disk::wal::{PrepareFile, SpareFile};
use disk::{Disk, checkpoint};
use proto::checkpointpb::Checkpoint;
use store::{CompactionHashJob, ImportError, Imported, KeyValueHash, ReclaimJob, Snapshot};

use crate::error::Fatal;
use crate::machine::installation::{ImportJob, InstallJob, Installed};

/// A piece of work.
#[derive(Debug)]
pub enum Job {
    /// Make the next file of the WAL.
    PrepareWalFile(PrepareFile),
    /// Make the revision log's next segment.
    PrepareSegment(PrepareSegment),
    /// Make durable what was appended to the revision log.
    SyncSegments(SyncJob),
    /// Make a checkpoint durable.
    Checkpoint(Box<CheckpointJob>),
    /// Hash what a compaction is about to drop.
    HashCompaction(CompactionHashJob),
    /// Copy live records out of segments that are mostly dead.
    Reclaim(ReclaimJob),
    /// Remove files that nothing refers to.
    Remove(Removal),
    /// Read a state that the leader has sent.
    ImportSnapshot(Box<ImportJob>),
    /// Make such a state count.
    InstallSnapshot(Box<InstallJob>),
}

/// The result of a job.
#[derive(Debug)]
pub enum Finished {
    /// Of [`Job::PrepareWalFile`].
    PrepareWalFile(Result<SpareFile, disk::Error>),
    /// Of [`Job::PrepareSegment`].
    PrepareSegment(Result<SpareSegment, disk::Error>),
    /// Of [`Job::SyncSegments`].
    SyncSegments(Result<(), disk::Error>),
    /// Of [`Job::Checkpoint`].
    Checkpoint(Result<SavedCheckpoint, disk::Error>),
    /// Of [`Job::HashCompaction`].
    HashCompaction(Result<KeyValueHash, store::Error>),
    /// Of [`Job::Reclaim`].
    Reclaim(Result<Rewritten, disk::Error>),
    /// Of [`Job::Remove`].
    Remove(Result<(), disk::Error>),
    /// Of [`Job::ImportSnapshot`].
    ImportSnapshot(Result<Box<Imported>, ImportError>),
    /// Of [`Job::InstallSnapshot`].
    InstallSnapshot(Result<Box<Installed>, Fatal>),
}

/// A checkpoint that is durable.
#[derive(Debug)]
pub struct SavedCheckpoint {
    /// Its content without the leases: the node needs no copy of them, and freeing one takes time.
    pub(crate) body: Box<Checkpoint>,
    /// Bytes of its file.
    pub(crate) file_bytes: u64,
}

/// Makes a checkpoint durable: first the segments it lists, then the file that lists them.
#[derive(Debug)]
pub struct CheckpointJob {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) sync: SyncJob,
    pub(crate) snapshot: Snapshot,
}

impl CheckpointJob {
    fn run(self) -> Result<SavedCheckpoint, disk::Error> {
        if !disk::seeded_bug!("checkpoint-of-unsynced-segments") {
            self.sync.run()?;
        }
        let body = self.snapshot.into_checkpoint();
        let file_bytes = checkpoint::save(&*self.disk, &self.dir, &body)?;
        Ok(SavedCheckpoint { body: Box::new(Checkpoint { leases: Vec::new(), ..body }), file_bytes })
    }
}

impl Job {
    /// Does the work.
    pub fn run(self) -> Finished {
        match self {
            Job::PrepareWalFile(job) => Finished::PrepareWalFile(job.run()),
            Job::PrepareSegment(job) => Finished::PrepareSegment(job.run()),
            Job::SyncSegments(job) => Finished::SyncSegments(job.run()),
            Job::Checkpoint(job) => Finished::Checkpoint(job.run()),
            Job::HashCompaction(job) => Finished::HashCompaction(job.run()),
            Job::Reclaim(job) => Finished::Reclaim(job.run()),
            Job::Remove(job) => Finished::Remove(job.run()),
            Job::ImportSnapshot(job) => Finished::ImportSnapshot(job.run()),
            Job::InstallSnapshot(job) => Finished::InstallSnapshot(job.run()),
        }
    }

    /// Whether writes may soon wait for it.
    pub fn is_urgent(&self) -> bool {
        matches!(self, Job::PrepareWalFile(_) | Job::PrepareSegment(_))
    }
}
