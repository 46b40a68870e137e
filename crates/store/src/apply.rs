//! Applying the log: one command after the other, the same on each member.
//!
//! Owns the whole replicated state. Commands flow in already decoded and in log order; outcomes flow out,
//! one each. Nothing here looks at a clock, a socket or another thread. The order of checks is etcd's:
//! alarms, what the command needs of the store, then its execution.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use disk::{Disk, RevisionLog};
use proto::checkpointpb::Checkpoint;

use crate::command::Request;
use crate::control::Control;
use crate::interchange::Export;
use crate::lease::{LeaseSnapshot, LeaseTable};
use crate::membership::MemberChange;
use crate::mvcc::{Batch, CompactionHashJob, Footprint, KeyValueHash, Mvcc, ReadView, ReclaimJob};
use crate::outcome::{LeaseGrantOutcome, Outcome};
use crate::watch::{Signal, WatchHub};
use crate::{Error, Refusal};

/// Commands that become readable together.
const BATCH_COMMANDS: usize = 256;

/// The replicated state of a member.
#[derive(Debug)]
pub struct Store {
    mvcc: Mvcc,
    watch: Arc<WatchHub>,
    control: Control,
}

/// What applying commands came to.
#[derive(Debug, Default)]
pub struct Applied {
    /// One for each command.
    pub outcomes: Vec<Result<Outcome, Refusal>>,
    /// Signals of watch streams that have something to read.
    pub signals: Vec<Arc<dyn Signal>>,
}

/// The state of one moment, to be made a checkpoint elsewhere: large tables are shared with the store
/// meanwhile.
#[derive(Debug)]
pub struct Snapshot {
    body: Checkpoint,
    leases: LeaseSnapshot,
}

impl Snapshot {
    /// The checkpoint. Takes time for each lease.
    pub fn into_checkpoint(self) -> Checkpoint {
        let leases =
            if disk::seeded_bug!("leases-not-in-checkpoint") { Vec::new() } else { self.leases.messages() };
        Checkpoint { leases, ..self.body }
    }
}

impl Store {
    /// Opens the state a checkpoint describes, or an empty one. `dir` holds the revision log. Log entries
    /// behind the checkpoint must be applied again. No lease is granted for less than `lease_ttl_min_s`
    /// seconds.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        options: disk::revision_log::Options,
        checkpoint: Option<&Checkpoint>,
        lease_ttl_min_s: i64,
    ) -> Result<Store, disk::Error> {
        let leases = LeaseTable::restore(checkpoint, lease_ttl_min_s);
        let mvcc = Mvcc::open(disk, dir, options, checkpoint, leases)?;
        let watch = Arc::new(WatchHub::new(mvcc.view().revision()));
        Ok(Store { mvcc, watch, control: checkpoint.map(Control::restore).unwrap_or_default() })
    }

    /// Opens the state that `checkpoint` describes beside that of a store in the same directory, which is in use until
    /// [`Store::replace`]. See [`disk::RevisionLog::open_beside`].
    pub fn open_beside(
        disk: Arc<dyn Disk>,
        dir: &Path,
        options: disk::revision_log::Options,
        checkpoint: &Checkpoint,
        lease_ttl_min_s: i64,
    ) -> Result<Store, disk::Error> {
        let log = RevisionLog::open_beside(disk, dir, options, &checkpoint.segments, 0)?;
        let leases = LeaseTable::restore(Some(checkpoint), lease_ttl_min_s);
        let mvcc = Mvcc::of_log(log, Some(checkpoint), leases)?;
        let watch = Arc::new(WatchHub::new(mvcc.view().revision()));
        Ok(Store { mvcc, watch, control: Control::restore(checkpoint) })
    }

    /// Replaces everything by the state of a snapshot that the leader has sent. Readers and watchers of this store go on
    /// with the new state, or are told that it lacks what they need. Returns the signals of watch streams that have
    /// something to read.
    pub fn replace(&mut self, next: Store) -> Vec<Arc<dyn Signal>> {
        let Store { mvcc, control, .. } = next;
        self.mvcc.replace(mvcc);
        self.control = control;
        let revision = self.mvcc.view().revision();
        if revision > self.watch.revision() {
            self.watch.publish(revision, Vec::new(), false, &mut || {})
        } else {
            Vec::new()
        }
    }

    /// Applies commands in order. A disk error means that this member must stop.
    pub fn apply(&mut self, requests: &[Request]) -> Result<Applied, disk::Error> {
        self.apply_with_pauses(requests, &mut || {})
    }

    /// The same. Calls `pause` after some hundred steps of work each, without holding a lock.
    pub fn apply_with_pauses(
        &mut self,
        requests: &[Request],
        pause: &mut dyn FnMut(),
    ) -> Result<Applied, disk::Error> {
        let mut applied = Applied { outcomes: Vec::with_capacity(requests.len()), signals: Vec::new() };
        for chunk in requests.chunks(BATCH_COMMANDS) {
            let wants_events = self.watch.watchers() > 0;
            let mut batch = self.mvcc.batch(wants_events, pause);
            for request in chunk {
                applied.outcomes.push(match execute(&mut batch, &mut self.control, request) {
                    Ok(outcome) => Ok(outcome),
                    Err(Error::Refused(refusal)) => Err(refusal),
                    Err(Error::Disk(error)) => return Err(error),
                });
            }
            let before = self.watch.revision();
            let (revision, changes) = batch.commit()?;
            if revision > before {
                applied.signals.append(&mut self.watch.publish(revision, changes, wants_events, pause));
            }
        }
        Ok(applied)
    }

    /// The most that commands which have the footprint `before`, and then `request`, write to the revision log when they
    /// are applied. Takes as long as looking at each key that the request deletes, and calls `pause` in between. It stops
    /// counting once there are more than `bytes_max`.
    pub fn footprint(
        &self,
        before: Footprint,
        request: &Request,
        bytes_max: u64,
        pause: &mut dyn FnMut(),
    ) -> Footprint {
        self.mvcc.footprint(before, request, bytes_max, pause)
    }

    /// Changes the members as a committed configuration change asks, or refuses that and changes nothing. The
    /// cluster has no more than `max_learners` learners.
    pub fn change_member(&mut self, change: &MemberChange, max_learners: usize) -> Result<(), Refusal> {
        self.control.change_member(change, max_learners)
    }

    /// The control tables.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// A reader of the keys.
    pub fn view(&self) -> ReadView {
        self.mvcc.view()
    }

    /// The hub that watches are opened on.
    pub fn watch_hub(&self) -> Arc<WatchHub> {
        Arc::clone(&self.watch)
    }

    /// What a checkpoint must say of this state, besides what `log` says: index, term and configuration of
    /// the log.
    pub fn snapshot(&self, log: Checkpoint) -> Snapshot {
        let mut body = log;
        self.mvcc.describe(&mut body);
        self.control.describe(&mut body);
        Snapshot { body, leases: self.mvcc.leases().snapshot() }
    }

    /// Begins to write down the whole state as it is now, as etcd's database; `log` is as for [`Store::snapshot`]. Takes a
    /// few microseconds. `None` if too many exports are under way.
    pub fn export(&mut self, log: Checkpoint) -> Option<Export> {
        let records = self.mvcc.hold()?;
        let leases = self.mvcc.leases().snapshot();
        Some(Export::new(records, self.control.clone(), leases, log))
    }

    /// The leases.
    pub fn leases(&self) -> &LeaseTable {
        self.mvcc.leases()
    }

    /// The revision log, for the maintenance of its files.
    pub fn log(&mut self) -> &mut disk::RevisionLog {
        self.mvcc.log()
    }

    /// A compaction's hash to be computed elsewhere, if one is due.
    pub fn compaction_hash_job(&mut self) -> Option<CompactionHashJob> {
        self.mvcc.compaction_hash_job()
    }

    /// Takes that hash back.
    pub fn compaction_hashed(&mut self, hash: KeyValueHash) {
        self.mvcc.compaction_hashed(hash);
    }

    /// Whether [`Store::trim_step`] has something to do.
    pub fn can_trim(&self) -> bool {
        self.mvcc.can_trim()
    }

    /// Trims some of what is compacted. Returns the revision of the compaction if that finished it.
    pub fn trim_step(&mut self) -> Option<i64> {
        self.mvcc.trim_step()
    }

    /// Segments worth rewriting elsewhere, if there are any; `thoroughly`, all with dead bytes are.
    pub fn reclaim_job(&mut self, thoroughly: bool) -> Option<ReclaimJob> {
        self.mvcc.reclaim_job(thoroughly)
    }

    /// Takes the rewritten segment back.
    pub fn reclaimed(&mut self, rewritten: disk::revision_log::Rewritten) {
        self.mvcc.reclaimed(rewritten);
    }

    /// Whether [`Store::relocate_step`] has something to do.
    pub fn can_relocate(&self) -> bool {
        self.mvcc.can_relocate()
    }

    /// Points some of the index to a rewritten segment; true if that was the last of it.
    pub fn relocate_step(&mut self) -> bool {
        self.mvcc.relocate_step()
    }

    /// Has holds of the lock that readers and the writer share timed by `clock`, which tells the time since
    /// some fixed moment.
    pub fn time_holds(&self, clock: fn() -> Duration) {
        self.mvcc.time_holds(clock);
    }

    /// The longest hold of that lock since the last call; zero without a clock.
    pub fn take_longest_hold(&self) -> Duration {
        self.mvcc.take_longest_hold()
    }

    /// The newest compaction still under way.
    pub fn compacting(&self) -> Option<i64> {
        self.mvcc.compacting()
    }
}

/// Applies one command.
fn execute(batch: &mut Batch<'_>, control: &mut Control, request: &Request) -> Result<Outcome, Error> {
    control.alarms().admit(request)?;
    match request {
        Request::Put(put) => batch.write(|txn| txn.put(put)).map(Outcome::Put),
        Request::DeleteRange(delete) => batch.write(|txn| txn.delete_range(delete)).map(Outcome::Delete),
        Request::Txn(request) => batch.write(|txn| txn.txn(request)).map(Outcome::Txn),
        Request::Compact(compact) => {
            batch.compact(compact.revision)?;
            Ok(Outcome::Compact { revision: batch.revision() })
        }
        Request::Alarm(request) => Ok(Outcome::Alarms(control.alarms_mut().apply(request))),
        Request::LeaseGrant(grant) => {
            let ttl_s = batch.leases().grant(grant)?;
            Ok(Outcome::LeaseGrant(LeaseGrantOutcome { revision: batch.revision(), ttl_s }))
        }
        Request::LeaseRevoke(revoke) => {
            let revision = batch.write(|txn| txn.revoke_lease(revoke.id))?;
            Ok(Outcome::LeaseRevoke { revision })
        }
        Request::LeaseCheckpoint(request) => {
            for lease in &request.checkpoints {
                batch.leases().set_remaining(lease.id, lease.remaining_ttl);
            }
            Ok(Outcome::Control)
        }
        Request::SetMemberAttributes(attributes) => {
            control.set_attributes(attributes);
            Ok(Outcome::Control)
        }
        Request::SetClusterVersion(version) => {
            control.set_cluster_version(&version.ver);
            Ok(Outcome::Control)
        }
        Request::V2 => Ok(Outcome::Control),
        Request::SetDowngrade(downgrade) => {
            control.set_downgrade(downgrade);
            Ok(Outcome::Control)
        }
    }
}
