//! All records of a store as it was at one revision, in revision order, while the store goes on.
//!
//! Two passes: the first counts the records and their bytes in the index, the second reads them from the revision log.
//! Both go on in bounded steps. Between them and meanwhile, compactions may drop records, so the second pass may find
//! fewer than the first has counted, never more. A step of the second pass holds the segments that it reads, and no
//! longer: space that is reclaimed comes back though the reader of the copy is slow.

use std::ops::ControlFlow;
use std::sync::Arc;

use disk::Revision;
use disk::revision_log::Record;

use super::Shared;
use super::hold::Hold;
use super::index::ChangeOf;
use crate::{Error, Refusal};

/// Changes counted, or records looked up, under one hold of the index lock.
const STEPS_PER_HOLD: usize = 500;

/// Bytes of records after which a step takes no more.
const STEP_BYTES: usize = 1 << 20;

/// Records of a held revision.
#[derive(Debug)]
pub(crate) struct HeldRecords {
    shared: Arc<Shared>,
    hold: Hold,
    /// Of the state that is held.
    generation: u64,
    counting: Counting,
    /// The next record is at this revision or later.
    from: Revision,
}

/// How far the first pass has come.
#[derive(Debug)]
enum Counting {
    Index {
        from: Option<ChangeOf>,
    },
    /// Those that the index has dropped meanwhile.
    Kept {
        from: Revision,
    },
    Done,
}

impl HeldRecords {
    pub(super) fn new(shared: Arc<Shared>, generation: u64, hold: Hold) -> HeldRecords {
        HeldRecords {
            shared,
            hold,
            generation,
            counting: Counting::Index { from: None },
            from: Revision::default(),
        }
    }

    /// The revision that is held.
    pub(crate) fn revision(&self) -> i64 {
        self.hold.revision
    }

    /// The last compaction before that; -1 if there was none. All that it drops is left out.
    pub(crate) fn compacted(&self) -> i64 {
        self.hold.compacted
    }

    /// The last compaction that may have dropped records of the held revision by now. With it, what was read is a store
    /// whose compaction is under way. For a later compaction all that is needed at the held revision was kept.
    pub(crate) fn compacting(&self) -> i64 {
        self.shared.read().compact_revision.min(self.hold.revision)
    }

    /// Counts some records, showing `count` for each the length of its `KeyValue` and whether it is a tombstone. True once
    /// all are counted. A few may be counted twice if a compaction is going on.
    pub(crate) fn count_step(&mut self, count: &mut dyn FnMut(usize, bool)) -> bool {
        let state = self.shared.read();
        let hold = &self.hold;
        match &mut self.counting {
            Counting::Index { from } => {
                let (compacted, at) = (hold.compacted, hold.revision);
                let next =
                    state.index.retained(compacted, at, from.as_ref(), STEPS_PER_HOLD, &mut |change| {
                        if change.revision.main <= at {
                            count(change.location.len as usize, change.tombstone);
                        }
                        ControlFlow::Continue(())
                    });
                self.counting = match next {
                    Some(next) => Counting::Index { from: Some(next) },
                    None => Counting::Kept { from: Revision::default() },
                };
            }
            Counting::Kept { from } => {
                // Tombstones among them are counted a byte too short, so all are counted as such.
                let mut visit = |location: disk::Location| count(location.len as usize, true);
                self.counting = match state.holds.kept_for(hold, *from, STEPS_PER_HOLD, &mut visit) {
                    Some(next) => Counting::Kept { from: next },
                    None => Counting::Done,
                };
            }
            Counting::Done => {}
        }
        matches!(self.counting, Counting::Done)
    }

    /// Reads some records and shows them to `visit`. True once there are no more.
    ///
    /// Refused with [`Refusal::Replaced`] once the store was replaced.
    pub(crate) fn read_step(&mut self, visit: &mut dyn FnMut(&Record)) -> Result<bool, Error> {
        let mut scan = self.shared.log.scan(self.from);
        let mut bytes = 0;
        while bytes < STEP_BYTES {
            let mut records = Vec::new();
            let mut is_last = false;
            while records.len() < STEPS_PER_HOLD && bytes < STEP_BYTES && !is_last {
                match scan.next().transpose()? {
                    Some(record) if record.meta.revision.main <= self.hold.revision => {
                        bytes += record.key_value().len();
                        records.push(record);
                    }
                    _ => is_last = true,
                }
            }
            let last = records.last().map(|record| record.meta.revision);
            self.retain_held(&mut records)?;
            records.iter().for_each(&mut *visit);
            if let Some(last) = last {
                self.pass(last);
            }
            if is_last {
                self.hold.pass(i64::MAX);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Leaves out the records that were dropped.
    fn retain_held(&self, records: &mut Vec<Record>) -> Result<(), Refusal> {
        let (compacted, at) = (self.hold.compacted, self.hold.revision);
        let state = self.shared.read();
        if state.generation != self.generation {
            return Err(Refusal::Replaced);
        }
        records.retain(|record| {
            let revision = record.meta.revision;
            state.index.place_in_hash(record.key(), revision, compacted, at).is_some()
                || state.holds.has_for(&self.hold, revision)
        });
        Ok(())
    }

    fn pass(&mut self, read: Revision) {
        self.from = Revision { main: read.main, sub: read.sub.saturating_add(1) };
        self.hold.pass(read.main);
    }
}
