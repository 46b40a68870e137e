//! The writer of the WAL: takes tasks in order, makes them durable with one sync, reports.
//!
//! Owned by a thread of its own in the server. While it syncs, the node collects the next batch: group commit
//! without timers.

use disk::wal::{PrepareFile, SpareFile, Wal};
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
    /// Remove the files that wait for their next use, but one: the disk is full.
    RemoveSpares,
    /// Keep a file for later use.
    Adopt(SpareFile),
    /// Ask again for a file to be prepared.
    OfferNext,
}

/// The result of the tasks so far.
#[derive(Debug)]
pub struct WalReport {
    /// Number of the last batch that is durable, if there was one.
    pub persisted: Option<u64>,
    /// Bytes that can be appended without asking the disk for space.
    pub room: u64,
    /// A file to be prepared.
    pub next: Option<PrepareFile>,
    /// The last checkpoint that was noted, if there was one.
    pub marked: Option<u64>,
}

/// The writer of the WAL.
#[derive(Debug)]
pub struct WalWriter {
    wal: Wal,
    /// Whether a file has been asked for and has not come yet.
    is_next_offered: bool,
    must_sync: bool,
    /// The last batch, not yet written: written together with the sync it takes one system call.
    last: Option<Persist>,
    appended: Option<u64>,
    marked: Option<u64>,
}

impl WalWriter {
    pub(crate) fn new(wal: Wal) -> WalWriter {
        WalWriter { wal, is_next_offered: false, must_sync: false, last: None, appended: None, marked: None }
    }

    /// Carries out a task; what it writes is durable after the next [`WalWriter::sync`]. An error is final.
    pub fn accept(&mut self, task: WalTask) -> Result<(), disk::Error> {
        if let Some(before) = self.last.take_if(|before| !joins(before, &task)) {
            self.wal.append(&before.entries, before.hard_state.as_ref())?;
        }
        match task {
            WalTask::Append(batch) => self.hold(batch),
            WalTask::MarkCheckpoint(snapshot) => {
                self.wal.record_snapshot(&snapshot)?;
                self.marked = Some(snapshot.index);
            }
            WalTask::Release(index) => {
                self.wal.release(index)?;
            }
            WalTask::RemoveSpares => self.wal.remove_spares()?,
            WalTask::Adopt(prepared) => {
                self.wal.adopt(prepared);
                self.is_next_offered = false;
            }
            WalTask::OfferNext => self.is_next_offered = false,
        }
        Ok(())
    }

    /// Keeps a batch until the next task or sync. A batch that is kept already consists of a hard state alone
    /// and is merged into this one.
    fn hold(&mut self, mut batch: Persist) {
        self.must_sync |= batch.must_sync;
        self.appended = Some(batch.seq);
        let state_before = self.last.take().and_then(|before| before.hard_state);
        batch.hard_state = batch.hard_state.or(state_before);
        self.last = Some(batch);
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
        let has_bug = disk::seeded_bug!("ack-before-sync");
        let is_to_sync = self.must_sync && !has_bug;
        match self.last.take() {
            Some(batch) if is_to_sync => self.wal.append_synced(&batch.entries, batch.hard_state.as_ref())?,
            Some(batch) => self.wal.append(&batch.entries, batch.hard_state.as_ref())?,
            None if is_to_sync => self.wal.sync()?,
            None => {}
        }
        self.must_sync &= !is_to_sync;
        let is_under_way = self.is_next_offered && !disk::seeded_bug!("wal-file-asked-twice");
        let next = (self.wal.needs_next() && !is_under_way).then(|| self.wal.next_file());
        self.is_next_offered |= next.is_some();
        let (persisted, marked) = (self.appended.take(), self.marked.take());
        Ok(WalReport { persisted, room: self.wal.room(), next, marked })
    }
}

/// Whether `before` is a hard state alone and `task` a batch: the state may as well stand behind the entries
/// of the batch.
fn joins(before: &Persist, task: &WalTask) -> bool {
    before.entries.is_empty() && matches!(task, WalTask::Append(_))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use disk::wal::Metadata;
    use disk::{Disk, SimDisk};
    use proto::raftpb::{Entry, HardState};

    use super::*;

    const DIR: &str = "/wal";
    const METADATA: Metadata = Metadata { member_id: 1, cluster_id: 2 };

    fn writer(sim: &Arc<SimDisk>) -> WalWriter {
        let disk: Arc<dyn Disk> = Arc::<SimDisk>::clone(sim);
        WalWriter::new(Wal::create_sized(disk, Path::new(DIR), METADATA, 64 << 10).unwrap())
    }

    fn state(seq: u64, commit: u64) -> WalTask {
        let hard_state = Some(HardState { term: 1, vote: 1, commit });
        WalTask::Append(Persist { seq, snapshot: None, hard_state, entries: Vec::new(), must_sync: false })
    }

    fn entry(seq: u64, index: u64) -> WalTask {
        let entry = Entry { term: 1, index, data: vec![7; 100].into(), ..Entry::default() };
        WalTask::Append(Persist {
            seq,
            snapshot: None,
            hard_state: None,
            entries: vec![entry],
            must_sync: true,
        })
    }

    /// What a restart after a loss of power finds.
    fn recovered(sim: &Arc<SimDisk>) -> (u64, Vec<u64>) {
        sim.crash();
        let disk: Arc<dyn Disk> = Arc::<SimDisk>::clone(sim);
        let (_, recovered) = Wal::open_sized(disk, Path::new(DIR), 0, 64 << 10).unwrap();
        (recovered.hard_state.commit, recovered.entries.iter().map(|entry| entry.index).collect())
    }

    #[test]
    fn a_state_and_the_entries_behind_it_are_one_write_and_one_sync() {
        let sim = Arc::new(SimDisk::new(1));
        let mut writer = writer(&sim);
        writer.accept(entry(1, 1)).unwrap();
        assert_eq!(writer.sync().unwrap().persisted, Some(1));
        let before = sim.ops();
        writer.accept(state(2, 1)).unwrap();
        writer.accept(entry(3, 2)).unwrap();
        assert_eq!(writer.sync().unwrap().persisted, Some(3));
        let after = sim.ops();
        assert_eq!((after.writes - before.writes, after.syncs - before.syncs), (1, 1));
        assert_eq!(recovered(&sim), (1, vec![1, 2]));
    }

    #[test]
    fn batches_of_entries_are_all_durable_after_the_sync() {
        let sim = Arc::new(SimDisk::new(1));
        let mut writer = writer(&sim);
        for seq in 1..=3 {
            writer.accept(entry(seq, seq)).unwrap();
        }
        assert!(writer.needs_sync());
        assert_eq!(writer.sync().unwrap().persisted, Some(3));
        assert!(!writer.needs_sync());
        assert_eq!(recovered(&sim), (0, vec![1, 2, 3]));
    }

    #[test]
    fn a_state_alone_is_written_without_a_sync() {
        let sim = Arc::new(SimDisk::new(1));
        let mut writer = writer(&sim);
        writer.accept(entry(1, 1)).unwrap();
        writer.sync().unwrap();
        let before = sim.ops();
        writer.accept(state(2, 1)).unwrap();
        assert_eq!(writer.sync().unwrap().persisted, Some(2));
        let after = sim.ops();
        assert_eq!((after.writes - before.writes, after.syncs - before.syncs), (1, 0));
    }
}
