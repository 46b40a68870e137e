//! A disk that keeps what was synced, in order, and forgets the rest in a crash.

use std::collections::VecDeque;

use proto::raftpb::{ConfState, Entry, HardState};
use raft::{Persist, Restored};

/// What one member has written, and what is on its way.
#[derive(Default)]
pub(crate) struct Disk {
    hard_state: HardState,
    /// Written without a sync: durable with the next batch that has one.
    unsynced_hard_state: Option<HardState>,
    /// All entries from index 1 on; a real log would drop those up to `compacted`.
    entries: Vec<Entry>,
    compacted: u64,
    /// The applied index and configuration of the last checkpoint.
    applied: u64,
    conf_state: ConfState,
    writes: VecDeque<(Persist, Vec<Entry>)>,
}

impl Disk {
    pub(crate) fn new(conf_state: ConfState) -> Disk {
        Disk { conf_state, ..Disk::default() }
    }

    /// What a disk holds from the start.
    pub(crate) fn fill(&mut self, hard_state: HardState, entries: Vec<Entry>) {
        self.hard_state = hard_state;
        self.entries = entries;
    }

    /// Queues a batch. If it installs a snapshot, `state` are the entries that the snapshot stands for.
    pub(crate) fn queue(&mut self, write: Persist, state: Vec<Entry>) {
        self.writes.push_back((write, state));
    }

    /// Writes the oldest queued batch and returns its number.
    pub(crate) fn write_one(&mut self) -> Option<u64> {
        let (write, state) = self.writes.pop_front()?;
        self.unsynced_hard_state = write.hard_state.or(self.unsynced_hard_state);
        if !write.must_sync {
            assert!(write.entries.is_empty(), "entries need a sync");
            return Some(write.seq);
        }
        self.hard_state = self.unsynced_hard_state.take().unwrap_or(self.hard_state);
        if let Some(snapshot) = write.snapshot {
            self.entries = state;
            assert_eq!(self.term(snapshot.index), Some(snapshot.term), "the state is the snapshot's");
            self.compacted = snapshot.index;
            self.checkpoint(snapshot.index, snapshot.conf_state.unwrap());
        }
        if let Some(first) = write.entries.first() {
            self.entries.truncate(position(first.index));
            assert_eq!(self.entries.len(), position(first.index), "a batch must not leave a gap");
        }
        self.entries.extend(write.entries);
        Some(write.seq)
    }

    pub(crate) fn queued(&self) -> usize {
        self.writes.len()
    }

    /// Loses what is not durable, except `torn` entries of the oldest queued batch: the hard state that
    /// would follow them is lost.
    pub(crate) fn crash(&mut self, torn: usize) {
        let write = self.writes.pop_front().filter(|(write, _)| torn > 0 && write.snapshot.is_none());
        if let Some((write, _)) = write.filter(|(write, _)| !write.entries.is_empty()) {
            self.hard_state = self.unsynced_hard_state.take().unwrap_or(self.hard_state);
            self.entries.truncate(position(write.entries[0].index));
            self.entries.extend(write.entries.into_iter().take(torn));
        }
        self.writes.clear();
        self.unsynced_hard_state = None;
    }

    pub(crate) fn hard_state(&self) -> &HardState {
        &self.hard_state
    }

    pub(crate) fn term(&self, index: u64) -> Option<u64> {
        if index == 0 {
            return Some(0);
        }
        self.entries.get(position(index)).map(|entry| entry.term)
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(crate) fn checkpoint(&mut self, applied: u64, conf_state: ConfState) {
        self.applied = applied;
        self.conf_state = conf_state;
    }

    pub(crate) fn conf_state(&self) -> &ConfState {
        &self.conf_state
    }

    pub(crate) fn applied(&self) -> u64 {
        self.applied
    }

    /// Drops entries up to `index`, which must be in the checkpoint.
    pub(crate) fn compact(&mut self, index: u64) {
        assert!(index <= self.applied);
        self.compacted = self.compacted.max(index);
    }

    pub(crate) fn restored(&self) -> Restored {
        Restored {
            hard_state: self.hard_state,
            conf_state: self.conf_state.clone(),
            snapshot_index: self.compacted,
            snapshot_term: self.term(self.compacted).unwrap(),
            entries: self.entries[position(self.compacted + 1)..].to_vec(),
            applied: self.applied,
        }
    }
}

fn position(index: u64) -> usize {
    usize::try_from(index - 1).unwrap()
}
