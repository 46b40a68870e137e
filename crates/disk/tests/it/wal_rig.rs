//! A log on the simulated disk, and a model of what it must hold.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use disk::wal::{Metadata, Recovered};
use disk::{Error, SimDisk, Wal};
use proto::raftpb::{ConfState, Entry, HardState};
use proto::walpb::Snapshot;

pub(crate) const DIR: &str = "/wal";
pub(crate) const MEMBER: Metadata =
    Metadata { member_id: 0x8e9e_05c5_2164_694d, cluster_id: 0xcdf8_18e9_7e83_2e2a };
/// Small enough for a few entries to fill a file.
pub(crate) const SEGMENT: u64 = 4096;

pub(crate) fn create(disk: &SimDisk) -> Result<Wal, Error> {
    Wal::create_sized(Arc::new(disk.clone()), Path::new(DIR), MEMBER, SEGMENT)
}

pub(crate) fn open(disk: &SimDisk, from_index: u64) -> Result<(Wal, Recovered), Error> {
    Wal::open_sized(Arc::new(disk.clone()), Path::new(DIR), from_index, SEGMENT)
}

pub(crate) fn entry(term: u64, index: u64, len: usize) -> Entry {
    // No byte of the data is zero, as a sector of zeros is what a torn write looks like.
    let data = (0..len).map(|i| ((index as usize * 31 + i) % 255) as u8 + 1).collect::<Vec<_>>();
    Entry { term, index, data: Bytes::from(data), ..Entry::default() }
}

pub(crate) fn snapshot(index: u64, term: u64) -> Snapshot {
    let conf_state = ConfState { voters: vec![MEMBER.member_id], ..ConfState::default() };
    Snapshot { index, term, conf_state: Some(conf_state) }
}

/// One call of a log's user.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Entries of `lens` bytes each, after giving up the `replaced` newest uncommitted ones in a new term.
    Append {
        replaced: u64,
        lens: Vec<usize>,
        commit: bool,
    },
    Sync,
    Checkpoint,
    Prepare,
    Release,
}

/// What a log was told, and how much of it is durable.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Model {
    pub(crate) entries: Vec<Entry>,
    pub(crate) state: HardState,
    pub(crate) checkpoint: u64,
}

impl Model {
    /// What `step` appends.
    fn batch(&self, step: &Step) -> (Vec<Entry>, HardState) {
        let Step::Append { replaced, lens, commit } = step else {
            return (Vec::new(), self.state);
        };
        let last = self.entries.len() as u64;
        let kept = last - (*replaced).min(last - self.state.commit);
        let term = self.state.term.max(1) + u64::from(kept < last);
        let entries: Vec<Entry> =
            (kept + 1..).zip(lens).map(|(index, &len)| entry(term, index, len)).collect();
        let reached = kept.max(entries.last().map_or(0, |entry| entry.index));
        let commit = if *commit { reached.max(self.state.commit) } else { self.state.commit };
        (entries, HardState { term, vote: MEMBER.member_id, commit })
    }

    fn append(&mut self, entries: &[Entry], state: HardState) {
        if let Some(first) = entries.first() {
            self.entries.truncate(first.index as usize - 1);
        }
        self.entries.extend_from_slice(entries);
        self.state = state;
    }

    /// Does `step` to both. The model has it only when the log took it; returns whether it is durable too.
    pub(crate) fn run(&mut self, wal: &mut Wal, step: &Step) -> Result<bool, Error> {
        match step {
            Step::Append { .. } => {
                let (entries, state) = self.batch(step);
                if entries.is_empty() {
                    return Ok(false);
                }
                // The model first: a crash may keep a write that did not return.
                self.append(&entries, state);
                wal.append(&entries, Some(&state)).map(|()| false)
            }
            Step::Sync => wal.sync().map(|()| true),
            Step::Checkpoint => {
                let index = self.state.commit;
                let term = index.checked_sub(1).map_or(0, |at| self.entries[at as usize].term);
                wal.record_snapshot(&snapshot(index, term))?;
                self.checkpoint = index;
                Ok(true)
            }
            Step::Prepare => {
                if wal.needs_next() {
                    wal.adopt(wal.next_file().run()?);
                }
                Ok(false)
            }
            Step::Release => wal.release(self.checkpoint).map(|_| false),
        }
    }

    /// The entries above `index`.
    pub(crate) fn entries_above(&self, index: u64) -> &[Entry] {
        &self.entries[index as usize..]
    }
}
