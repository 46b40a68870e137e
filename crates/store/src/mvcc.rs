//! Keys with all their versions: the multi-version store.
//!
//! ```text
//!   writer (one thread)                    readers (any thread)
//!   Mvcc ── Batch ── WriteTxn              ReadView
//!     │        │ holds the write lock         │ holds the read lock
//!     │        │ for some steps at a time     │ for one chunk
//!     │        ▼                              ▼
//!     │   State { index, revision, compact_revision }
//!     ▼                                       │
//!   RevisionLog ◀───────── LogReader ◀────────┘ records are immutable: read without a lock
//! ```
//!
//! Owns the index and the revision log. Commands flow in as batches, in log order; a batch becomes visible
//! to readers as a whole, when its records can be read. The index may hold changes of a batch before that,
//! since the writer gives up the lock now and then. Readers do not see them: they read at the revision
//! published, and those changes have later revisions.
//!
//! Durability is not given here: a command is in the write-ahead
//! log, durable, before it is applied; the revision log is made durable by checkpoints.
//!
//! A revision is (main, sub): each command that changes anything takes the next main revision, its changes
//! count sub from 0. A fresh store is at main revision 1 and never compacted (-1).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use disk::{Disk, LogReader, RevisionLog};
use proto::checkpointpb;

use self::hash::HashCache;
use self::hold::Holds;
use self::index::{Index, Loader, Newest};
use self::txn::WriteTxn;
use crate::Refusal;
use crate::lease::LeaseTable;
use crate::stepped_lock::{ReadHold, SteppedLock, SteppedWriter, WriteHold};
use crate::watch::Change;

mod compact;
mod compare;
mod footprint;
mod hash;
mod held_records;
mod hold;
mod index;
mod key_value;
mod operations;
mod range;
mod reclaim;
mod source;
mod stream;
mod txn;
mod view;

pub use self::compact::CompactionHashJob;
pub use self::footprint::Footprint;
pub use self::hash::{HashRead, KeyValueHash};
pub(crate) use self::held_records::HeldRecords;
pub use self::operations::Operations;
pub use self::range::RangeQuery;
pub use self::reclaim::ReclaimJob;
pub use self::stream::RangeStream;
pub use self::view::{RangeReading, ReadView, TxnReading};

use self::compact::Compactor;
use self::operations::Reads;
use self::reclaim::Relocation;

/// Steps that the writer takes under one hold of the lock of the index: about 200 µs.
const STEPS_PER_HOLD: usize = 500;

/// What readers and the writer share.
#[derive(Debug)]
struct Shared {
    state: SteppedLock<State>,
    log: LogReader,
    pins: Mutex<BTreeMap<i64, usize>>,
    hashes: Mutex<HashCache>,
    reads: Reads,
}

/// The part of the store that changes with every command. But for the index, it is that of the last batch
/// that was committed.
#[derive(Debug)]
struct State {
    index: Index,
    /// Main revision of the newest change that readers may see.
    revision: i64,
    /// The last compaction asked for; reads below it are refused. -1: never.
    compact_revision: i64,
    /// How often the whole state was replaced.
    generation: u64,
    /// What the writer has done.
    operations: Operations,
    /// Records that exports need though the index has dropped them.
    holds: Holds,
}

impl Shared {
    fn read(&self) -> ReadHold<'_, State> {
        self.state.read()
    }

    fn write(&self) -> WriteHold<'_, State> {
        self.state.write()
    }

    // A panic of a thread that holds one of these locks ends the process (release builds abort), so poison
    // says nothing.
    fn pins(&self) -> MutexGuard<'_, BTreeMap<i64, usize>> {
        self.pins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hashes(&self) -> MutexGuard<'_, HashCache> {
        self.hashes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A promise that no compaction above this revision trims the index, for as long as it lives: a read of
/// several chunks holds one.
///
/// It does not keep the state from being replaced by that of a snapshot, which may lack what it pins.
#[derive(Debug)]
struct Pin {
    shared: Arc<Shared>,
    revision: i64,
    generation: u64,
}

impl Pin {
    /// Must be taken while `state` is locked by the caller, so that `revision` cannot be trimmed before.
    fn new(shared: &Arc<Shared>, state: &State, revision: i64) -> Pin {
        *shared.pins().entry(revision).or_insert(0) += 1;
        Pin { shared: Arc::clone(shared), revision, generation: state.generation }
    }

    /// Fails if the state was replaced by one that may lack what is pinned. To be called after each look at the
    /// state: what was seen counts only if this succeeds.
    fn check(&self) -> Result<(), Refusal> {
        let state = self.shared.read();
        let is_there = state.generation == self.generation || self.revision >= state.compact_revision;
        if is_there { Ok(()) } else { Err(Refusal::Compacted) }
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut pins = self.shared.pins();
        if let Some(count) = pins.get_mut(&self.revision) {
            *count -= 1;
            if *count == 0 {
                pins.remove(&self.revision);
            }
        }
    }
}

/// The multi-version store, as its one writer sees it.
#[derive(Debug)]
pub(crate) struct Mvcc {
    shared: Arc<Shared>,
    log: RevisionLog,
    leases: LeaseTable,
    compactor: Compactor,
    relocation: Option<Relocation>,
    /// Whether the state may have holds.
    has_holds: bool,
    /// What records are encoded into; kept for its memory.
    scratch: Vec<u8>,
}

impl Mvcc {
    /// Opens the store as `checkpoint` left it, or an empty one. Whatever was written behind the checkpoint
    /// is cut off: the write-ahead log brings it again. `leases` are those of the checkpoint; their keys are
    /// found here.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        options: disk::revision_log::Options,
        checkpoint: Option<&checkpointpb::Checkpoint>,
        leases: LeaseTable,
    ) -> Result<Mvcc, disk::Error> {
        let segments = checkpoint.map_or(&[][..], |c| &c.segments);
        let log = RevisionLog::open(disk, dir, options, segments)?;
        Mvcc::of_log(log, checkpoint, leases)
    }

    /// The store of `log` at `checkpoint`.
    pub(crate) fn of_log(
        mut log: RevisionLog,
        checkpoint: Option<&checkpointpb::Checkpoint>,
        mut leases: LeaseTable,
    ) -> Result<Mvcc, disk::Error> {
        let (revision, compact_revision) = checkpoint.map_or((1, -1), |c| (c.revision, c.compact_revision));
        let index = load_index(&mut log, &mut leases, revision, compact_revision)?;
        let shared = Arc::new(Shared {
            state: SteppedLock::new(State {
                index,
                revision,
                compact_revision,
                generation: 0,
                operations: Operations::default(),
                holds: Holds::default(),
            }),
            log: log.reader(),
            pins: Mutex::default(),
            hashes: Mutex::default(),
            reads: Reads::default(),
        });
        Ok(Mvcc {
            shared,
            log,
            leases,
            compactor: Compactor::default(),
            relocation: None,
            has_holds: false,
            scratch: Vec::new(),
        })
    }

    /// Replaces everything by what `next` holds, which shares the directory of this store. Readers of this store see
    /// the new state from now on. Reads under way go on if that has all that they need, and end with
    /// [`Refusal::Compacted`] if not; exports end.
    pub(crate) fn replace(&mut self, next: Mvcc) {
        let Mvcc { shared, log, leases, .. } = next;
        let shared = Arc::into_inner(shared).expect("nobody reads a store before it is in use");
        let mut state = shared.state.into_inner();
        let before = std::mem::replace(&mut self.log, log);
        let mut current = self.shared.write();
        state.generation = current.generation + 1;
        state.operations = current.operations;
        let old = std::mem::replace(&mut *current, state);
        self.log.succeed(before);
        self.shared.hashes().clear();
        drop(current);
        // To free the old index takes long; the state is unlocked by now.
        drop(old);
        self.leases = leases;
        self.compactor = Compactor::default();
        self.relocation = None;
    }

    /// A reader of this store.
    pub(crate) fn view(&self) -> ReadView {
        ReadView::new(Arc::clone(&self.shared))
    }

    /// Begins a batch of commands; nothing of it is seen by readers before [`Batch::commit`]. A long command
    /// calls `pause` again and again.
    pub(crate) fn batch<'a>(&'a mut self, wants_events: bool, pause: &'a mut dyn FnMut()) -> Batch<'a> {
        let mut state = self.shared.state.write_in_steps(STEPS_PER_HOLD, pause);
        let State { revision, compact_revision, .. } = *state.get();
        Batch {
            state,
            log: &mut self.log,
            leases: &mut self.leases,
            compactor: &mut self.compactor,
            scratch: &mut self.scratch,
            revision,
            compact_revision,
            operations: Operations::default(),
            changes: Vec::new(),
            wants_events,
        }
    }

    /// Has holds of the lock of the index timed by `clock`, which tells the time since some fixed moment.
    pub(crate) fn time_holds(&self, clock: fn() -> Duration) {
        self.shared.state.time_holds(clock);
    }

    /// The longest hold of the lock of the index since the last call; zero without a clock.
    pub(crate) fn take_longest_hold(&self) -> Duration {
        self.shared.state.take_longest()
    }

    /// The revision log, for the chores of its files.
    pub(crate) fn log(&mut self) -> &mut RevisionLog {
        &mut self.log
    }

    /// Begins to read all records as they are now; `None` if as many such reads as there may be are open.
    pub(crate) fn hold(&mut self) -> Option<HeldRecords> {
        let mut state = self.shared.write();
        let (revision, compact_revision, generation) =
            (state.revision, state.compact_revision, state.generation);
        let hold = state.holds.open(revision, compact_revision)?;
        drop(state);
        self.has_holds = true;
        Some(HeldRecords::new(Arc::clone(&self.shared), generation, hold))
    }

    /// The leases.
    pub(crate) fn leases(&self) -> &LeaseTable {
        &self.leases
    }

    /// Fills in what a checkpoint says of this store.
    pub(crate) fn describe(&self, checkpoint: &mut checkpointpb::Checkpoint) {
        let state = self.shared.read();
        checkpoint.revision = state.revision;
        checkpoint.compact_revision = state.compact_revision;
        if disk::seeded_bug!("compaction-not-in-checkpoint") {
            checkpoint.compact_revision = -1;
        }
        checkpoint.segments = self.log.segments();
    }
}

/// Builds the index from the log, which may still hold what was compacted and not yet reclaimed, and attaches
/// keys to their leases.
fn load_index(
    log: &mut RevisionLog,
    leases: &mut LeaseTable,
    revision: i64,
    compact_revision: i64,
) -> Result<Index, disk::Error> {
    let mut loader = Loader::new(compact_revision);
    let mut dead = Vec::new();
    log.load(&mut |key, meta, location| {
        let (create_revision, version) = (meta.create_revision, meta.version);
        let (revision, tombstone) = (meta.revision, meta.tombstone);
        let change = Newest { revision, tombstone, create_revision, version, location };
        // The changes of a key come oldest first: the newest has the last word.
        leases.attach(key, meta.lease);
        loader.put(key, &change, &mut |location| dead.push(location));
    })?;
    let index = loader.finish(revision, &mut |location| dead.push(location));
    for location in dead {
        log.mark_dead(location);
    }
    Ok(index)
}

/// Commands being applied together. The index changes at once; what readers may see of it changes with
/// [`Batch::commit`].
pub(crate) struct Batch<'a> {
    state: SteppedWriter<'a, State>,
    log: &'a mut RevisionLog,
    leases: &'a mut LeaseTable,
    compactor: &'a mut Compactor,
    scratch: &'a mut Vec<u8>,
    revision: i64,
    compact_revision: i64,
    operations: Operations,
    changes: Vec<Change>,
    wants_events: bool,
}

impl Batch<'_> {
    /// Revision of the store, this batch included.
    pub(crate) fn revision(&self) -> i64 {
        self.revision
    }

    /// The leases, for commands that touch no key.
    pub(crate) fn leases(&mut self) -> &mut LeaseTable {
        self.leases
    }

    /// Runs one command as a transaction. If it is refused nothing has changed.
    pub(crate) fn write<T>(
        &mut self,
        command: impl FnOnce(&mut WriteTxn<'_, '_>) -> Result<T, crate::Error>,
    ) -> Result<T, crate::Error> {
        let before = (self.revision, self.compact_revision);
        let mut txn =
            WriteTxn::new(&mut self.state, self.log, self.leases, self.scratch, before, self.wants_events);
        let outcome = command(&mut txn)?;
        let (revision, events, operations) = txn.finish();
        self.operations += operations;
        if revision != self.revision {
            self.revision = revision;
            self.changes.push(Change::new(revision, events));
        }
        Ok(outcome)
    }

    /// Marks history up to `at` as compacted; it is trimmed in small steps later.
    pub(crate) fn compact(&mut self, at: i64) -> Result<(), Refusal> {
        if at <= self.compact_revision {
            return Err(Refusal::Compacted);
        }
        if at > self.revision {
            return Err(Refusal::FutureRevision);
        }
        self.compactor.schedule(at, self.compact_revision);
        self.compact_revision = at;
        Ok(())
    }

    /// Hands the records to the file and lets readers see the batch. Returns the revision of the store and
    /// the changes, oldest first.
    pub(crate) fn commit(mut self) -> Result<(i64, Vec<Change>), disk::Error> {
        self.state.release();
        self.log.flush()?;
        let state = self.state.get();
        state.revision = self.revision;
        state.compact_revision = self.compact_revision;
        state.operations += self.operations;
        Ok((self.revision, self.changes))
    }
}

#[cfg(test)]
mod tests;
