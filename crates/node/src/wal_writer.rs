//! The writer of the WAL: takes tasks in order, makes them durable with one sync, reports.
//!
//! Owned by a thread of its own in the server. While it syncs, the node collects the next batch: group commit
//! without timers.

use disk::wal::{PrepareNext, Prepared, Wal};
use proto::walpb;
use raft::Persist;

/// One thing to do to the WAL.
#[derive(Debug)]
pub enum WalTask {
    /// Append a batch of raft's.
    Append(Persist),
    /// Note that a checkpoint is durable.
    MarkCheckpoint(walpb::Snapshot),
    /// Remove files that hold no entry above this index.
    Release(u64),
    /// Keep a file for later use.
    Adopt(Prepared),
    /// Ask again for a file to be prepared.
    OfferNext,
}

/// What has become of the tasks.
#[derive(Debug)]
pub struct WalReport {
    /// Number of the last batch that is durable, if there was one.
    pub persisted: Option<u64>,
    /// Bytes that can be appended without asking the disk for space.
    pub room: u64,
    /// A file to be prepared.
    pub next: Option<PrepareNext>,
}

/// The writer of the WAL.
#[derive(Debug)]
pub struct WalWriter {
    wal: Wal,
    /// Whether a file has been asked for and has not come yet.
    is_next_offered: bool,
    must_sync: bool,
    appended: Option<u64>,
}

impl WalWriter {
    pub(crate) fn new(wal: Wal) -> WalWriter {
        WalWriter { wal, is_next_offered: false, must_sync: false, appended: None }
    }

    /// Carries out a task; what it writes is durable after the next [`WalWriter::sync`]. An error is final.
    pub fn accept(&mut self, task: WalTask) -> Result<(), disk::Error> {
        match task {
            WalTask::Append(batch) => {
                self.wal.append(&batch.entries, batch.hard_state.as_ref())?;
                self.must_sync |= batch.must_sync;
                self.appended = Some(batch.seq);
            }
            WalTask::MarkCheckpoint(snapshot) => self.wal.record_snapshot(&snapshot)?,
            WalTask::Release(index) => {
                self.wal.release(index)?;
            }
            WalTask::Adopt(prepared) => {
                self.wal.adopt(prepared);
                self.is_next_offered = false;
            }
            WalTask::OfferNext => self.is_next_offered = false,
        }
        Ok(())
    }

    /// Whether [`WalWriter::sync`] would have to wait for the disk.
    pub fn needs_sync(&self) -> bool {
        self.must_sync
    }

    /// Bytes of records written since the WAL was opened.
    pub fn written_bytes(&self) -> u64 {
        self.wal.written_bytes()
    }

    /// Makes durable what must be, and reports. An error is final: nothing written since the last sync may be
    /// acknowledged.
    pub fn sync(&mut self) -> Result<WalReport, disk::Error> {
        if self.must_sync && !disk::seeded_bug!("ack-before-sync") {
            self.wal.sync()?;
            self.must_sync = false;
        }
        let is_under_way = self.is_next_offered && !disk::seeded_bug!("log-file-asked-twice");
        let next = (self.wal.needs_next() && !is_under_way).then(|| self.wal.next_file());
        self.is_next_offered |= next.is_some();
        Ok(WalReport { persisted: self.appended.take(), room: self.wal.room(), next })
    }
}
