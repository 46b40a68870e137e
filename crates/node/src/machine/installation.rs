//! Taking over the state that the leader has sent, because the raft log that this member needs is gone.
//!
//! ```text
//!   file ─▶ Importing ─▶ Imported ─▶ Quieting ─▶ Marking ─▶ Installing ─▶ in use
//!             a job       raft says   no jobs of   the WAL    a job: the
//!                         whether it  the old      knows of   checkpoint counts,
//!                         is news     state        it         the index is loaded
//! ```
//!
//! The state is read into segments beside those in use, so a file that turns out damaged changes nothing, and the old
//! state is served until the new one is ready. The WAL notes the snapshot before its checkpoint counts: a crash between
//! the two leaves the old state with a note that nothing follows.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use disk::Disk;
use disk::bolt::Reader;
use disk::revision_log::Options;
use proto::raftpb::{Message, SnapshotMetadata};
use proto::walpb;
use store::{ImportError, Imported, Store};

use crate::error::Fatal;
use crate::job::Job;
use crate::wal_writer::WalTask;

/// The state on its way.
#[derive(Debug)]
pub(crate) struct Installation {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    options: Options,
    lease_ttl_min_s: i64,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Idle,
    /// A job reads the file. The message is for raft once that has succeeded.
    Importing(Box<Message>),
    /// Raft has taken the message; jobs of the old state are to end.
    Quieting(Box<Imported>),
    /// The WAL is to note it.
    Marking(Box<Imported>),
    /// A job makes it count and loads it.
    Installing,
}

/// Reads a received file into segments beside those in use.
#[derive(Debug)]
pub struct ImportJob {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    options: Options,
    file: PathBuf,
    first_id: u32,
    metadata: SnapshotMetadata,
}

/// Makes an imported state count, and loads it.
#[derive(Debug)]
pub struct InstallJob {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    options: Options,
    lease_ttl_min_s: i64,
    imported: Box<Imported>,
}

impl Installation {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        dir: &Path,
        segment_bytes: u64,
        lease_ttl_min_s: i64,
    ) -> Installation {
        let options = Options { segment_bytes };
        Installation { disk, dir: dir.to_path_buf(), options, lease_ttl_min_s, stage: Stage::Idle }
    }

    /// Whether the state in use is about to be replaced: it is not worth changing, and jobs of it must not begin.
    pub(crate) fn is_replacing(&self) -> bool {
        matches!(self.stage, Stage::Quieting(_) | Stage::Marking(_) | Stage::Installing)
    }

    /// Begins with a received `file`, which `message` announces. `None` if another state is on its way, or if the
    /// message says nothing about the state.
    pub(crate) fn begin(&mut self, store: &mut Store, message: Message, file: PathBuf) -> Option<Job> {
        let metadata = message.snapshot.as_ref().and_then(|snapshot| snapshot.metadata.clone())?;
        if !matches!(self.stage, Stage::Idle) {
            return None;
        }
        self.stage = Stage::Importing(Box::new(message));
        Some(Job::ImportSnapshot(Box::new(ImportJob {
            disk: Arc::clone(&self.disk),
            dir: self.dir.clone(),
            options: self.options,
            file,
            first_id: store.log().reserve_ids(),
            metadata,
        })))
    }

    /// The message that announces the state being read.
    pub(crate) fn importing(&self) -> Option<&Message> {
        if let Stage::Importing(message) = &self.stage { Some(message) } else { None }
    }

    /// The file was read: the message for raft, and what to go on with if raft takes it. `None` if the file could not be
    /// read.
    pub(crate) fn imported(
        &mut self,
        result: Result<Box<Imported>, ImportError>,
    ) -> Option<(Message, Box<Imported>)> {
        match (std::mem::replace(&mut self.stage, Stage::Idle), result) {
            (Stage::Importing(message), Ok(imported)) => Some((*message, imported)),
            _ => None,
        }
    }

    /// Raft has taken the message.
    pub(crate) fn accepted(&mut self, imported: Box<Imported>) {
        self.stage = Stage::Quieting(imported);
    }

    /// No job of the old state runs any more: what the WAL is to note.
    pub(crate) fn quiet(&mut self) -> Option<WalTask> {
        match std::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Quieting(imported) => {
                let checkpoint = &imported.checkpoint;
                let mark = walpb::Snapshot {
                    index: checkpoint.applied_index,
                    term: checkpoint.applied_term,
                    conf_state: checkpoint.conf_state.clone(),
                };
                self.stage = Stage::Marking(imported);
                Some(WalTask::MarkCheckpoint(mark))
            }
            other => {
                self.stage = other;
                None
            }
        }
    }

    /// The WAL has noted a checkpoint at `index`.
    pub(crate) fn marked(&mut self, index: u64) -> Option<Job> {
        match std::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Marking(imported) if imported.checkpoint.applied_index == index => {
                self.stage = Stage::Installing;
                Some(Job::InstallSnapshot(Box::new(InstallJob {
                    disk: Arc::clone(&self.disk),
                    dir: self.dir.clone(),
                    options: self.options,
                    lease_ttl_min_s: self.lease_ttl_min_s,
                    imported,
                })))
            }
            other => {
                self.stage = other;
                None
            }
        }
    }

    /// The new state is in use.
    pub(crate) fn finished(&mut self) {
        self.stage = Stage::Idle;
    }
}

impl ImportJob {
    /// Reads the file and removes it, whatever comes of it.
    pub(crate) fn run(self) -> Result<Box<Imported>, ImportError> {
        let imported = self.import();
        // What an error leaves behind goes at the next start.
        let _ = self.disk.remove(&self.file);
        imported
    }

    fn import(&self) -> Result<Box<Imported>, ImportError> {
        let handle = self.disk.open(&self.file).map_err(|source| disk::Error::Io {
            path: self.file.clone(),
            op: "open",
            source,
        })?;
        let reader = Reader::open(handle, &self.file)?;
        let disk = Arc::clone(&self.disk);
        let mut imported =
            store::import_beside(disk, &self.dir, self.options, reader, self.first_id, &mut |_| ())?;
        let checkpoint = &mut imported.checkpoint;
        checkpoint.applied_index = self.metadata.index;
        checkpoint.applied_term = self.metadata.term;
        checkpoint.conf_state.clone_from(&self.metadata.conf_state);
        Ok(Box::new(imported))
    }
}

impl InstallJob {
    /// After an error the member must stop.
    pub(crate) fn run(self) -> Result<Box<Installed>, Fatal> {
        let InstallJob { disk, dir, options, lease_ttl_min_s, imported } = self;
        let checkpoint = imported.commit().map_err(|error| match error {
            ImportError::Disk(error) => Fatal::Disk(error),
            other => Fatal::Snapshot(other),
        })?;
        let store = Store::open_beside(disk, &dir, options, &checkpoint, lease_ttl_min_s)?;
        Ok(Box::new(Installed {
            store,
            index: checkpoint.applied_index,
            term: checkpoint.applied_term,
            conf_state: checkpoint.conf_state.unwrap_or_default(),
        }))
    }
}

/// A state that is ready to be used.
#[derive(Debug)]
pub struct Installed {
    pub(crate) store: Store,
    pub(crate) index: u64,
    pub(crate) term: u64,
    pub(crate) conf_state: proto::raftpb::ConfState,
}
