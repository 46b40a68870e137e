//! The part of a member that carries out what is agreed: the store, the time of leases, maintenance.
//!
//! ```text
//!   committed entries ─▶ queue ─▶ Store::apply ─▶ answers, signals
//!                                    └──▶ lessor ─▶ revocations ─▶ to be proposed
//!                                    └──▶ maintenance ─▶ jobs
//! ```
//!
//! Does not know raft, messages or the WAL's files. It applies a bounded number of entries at a time, so that
//! consensus has its turn in between. Commands of the member itself go into a list of proposals.

pub(crate) mod installation;
pub(crate) mod lease_clock;
pub(crate) mod lease_renewer;
pub(crate) mod lessor;
pub(crate) mod maintenance;
mod members;
mod weight;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use proto::checkpointpb::Checkpoint;
use proto::etcdserverpb::alarm_request::AlarmAction;
use proto::etcdserverpb::{AlarmRequest, AlarmType};
use proto::raftpb::{ConfState, Entry, EntryType, Message};
use store::{Applied, Command, Export, Footprint, Imported, Kind, Outcome, Refusal, Request, Store};

pub(crate) use self::members::change_members;

use self::installation::{Installation, Installed};
use self::lessor::{LeaseAnswer, LeaseQuery, Lessor, Queried};
use self::maintenance::{Maintenance, Pressure};
use crate::config::Config;
use crate::consensus::admission::{Admission, entry_bytes};
use crate::error::{Fatal, Unserved};
use crate::handover::{EntryId, Progress, RevisionRoom};
use crate::input::{Answer, Proposal};
use crate::job::Finished;
use crate::output::{Note, Output};
use crate::published::Published;
use crate::waiters::Waiters;

/// Entries applied in one batch, which takes some milliseconds.
const APPLY_LEN_MAX: usize = 1000;
/// Bytes of the entries applied in one batch. The entry that passes the limit is part of the batch.
const APPLY_BYTES_MAX: usize = 4 << 20;

/// A command counts for no more than this part of a segment while the disk has space.
const FOOTPRINT_SHARE: u64 = 8;

/// Segments that have room at a time, at most: the active one and spare ones.
const SEGMENTS_OF_ROOM_MAX: u64 = 64;

/// What a checkpoint records of the raft log.
#[derive(Debug, Clone, Default)]
pub(crate) struct AppliedState {
    /// The last entry applied.
    pub(crate) entry: EntryId,
    /// The configuration after it.
    pub(crate) conf_state: ConfState,
}

/// What consensus knows of this moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) now: Duration,
    /// Whether this member is the leader.
    pub(crate) is_leader: bool,
}

/// Commands that are applied together, with the ids of their proposals.
#[derive(Debug, Default)]
struct Batch {
    ids: Vec<u64>,
    requests: Vec<Request>,
    /// What they write at most.
    footprint: Footprint,
    /// Bytes of their entries.
    bytes: usize,
    /// The last entry.
    last: Option<EntryId>,
    /// The configuration change that follows the commands, if one does.
    conf_change: Option<Entry>,
}

/// Entries that were carried out, and nobody was told of.
#[derive(Debug)]
pub(crate) struct AppliedBatch {
    batch: Batch,
    last: EntryId,
    applied: Applied,
}

/// A member's copy of the replicated state, and its maintenance.
#[derive(Debug)]
pub(crate) struct Machine {
    member: proto::etcdserverpb::Member,
    cluster_version: String,
    store: Store,
    lessor: Lessor,
    maintenance: Maintenance,
    installation: Installation,
    published: Arc<Published>,
    applied: AppliedState,
    /// Committed entries that are not applied yet.
    committed: VecDeque<Entry>,
    /// The room in the revision log that the first of them needs, if there is not enough. Nothing is applied
    /// until there is.
    awaited_room: Option<Footprint>,
    /// Commands of the member itself that are to be proposed.
    proposals: Vec<Proposal>,
    /// Bytes that one command may count for while the disk has space.
    footprint_waited_for: u64,
    /// Bytes for which there is no room on a full disk.
    footprint_refused: u64,
    /// The lowest version of all members, if it is known.
    lowest_version: Option<String>,
    max_learners: usize,
    /// When this member was last made known to the cluster, and the proposals of that.
    introduced_at: Option<Duration>,
    introductions: Vec<u64>,
    /// Whether one of them is applied.
    is_published: bool,
}

impl Machine {
    pub(crate) fn new(
        config: &Config,
        store: Store,
        maintenance: Maintenance,
        installation: Installation,
        applied: AppliedState,
        published: Arc<Published>,
    ) -> Machine {
        published.set_control(store.control());
        Machine {
            member: config.member.clone(),
            cluster_version: config.cluster_version.clone(),
            store,
            lessor: Lessor::new(config.election_timeout()),
            maintenance,
            installation,
            published,
            applied,
            committed: VecDeque::new(),
            awaited_room: None,
            proposals: Vec::new(),
            footprint_waited_for: config.segment_bytes / FOOTPRINT_SHARE,
            footprint_refused: SEGMENTS_OF_ROOM_MAX * config.segment_bytes,
            lowest_version: None,
            max_learners: config.max_learners,
            introduced_at: None,
            introductions: Vec::new(),
            is_published: false,
        }
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn lessor(&self) -> &Lessor {
        &self.lessor
    }

    /// Index of the last entry applied.
    pub(crate) fn applied_index(&self) -> u64 {
        self.applied.entry.index
    }

    /// Takes entries to be applied later.
    pub(crate) fn commit(&mut self, entries: Vec<Entry>) {
        self.committed.extend(entries);
    }

    /// Whether [`Machine::apply`] has something to do.
    pub(crate) fn can_apply(&mut self) -> bool {
        !self.committed.is_empty() && !self.installation.is_replacing() && self.has_awaited_room()
    }

    /// Takes the commands of the member itself that are to be proposed. Without a leader they are lost. What
    /// the cluster must know of this member is proposed again when it leads.
    pub(crate) fn take_proposals(&mut self) -> Vec<Proposal> {
        std::mem::take(&mut self.proposals)
    }

    /// Lets a tick pass; see [`Maintenance::tick`].
    pub(crate) fn tick(&mut self) -> bool {
        self.maintenance.tick(&self.store)
    }

    pub(crate) fn finished<W>(&mut self, finished: Finished, output: &mut Output<W>) -> Result<(), Fatal> {
        self.maintenance.finished(finished, &mut self.store, output)
    }

    pub(crate) fn defragment<W>(&mut self, waiter: W, waiters: &mut Waiters<W>) {
        let run = self.maintenance.defragment(&mut self.store);
        waiters.add_defragmentation(run, waiter);
    }

    /// Answers with the state as of the last entry applied.
    pub(crate) fn answer_export<W>(&mut self, waiter: W, output: &mut Output<W>) {
        match self.export() {
            Some(export) => output.answers.push((waiter, Answer::Export(Box::new(export)))),
            None => output.refuse(waiter, Unserved::TooManyRequests),
        }
    }

    /// The state as of the last entry applied; `None` if too many are being written.
    pub(crate) fn export(&mut self) -> Option<Export> {
        let log = Checkpoint {
            applied_index: self.applied.entry.index,
            applied_term: self.applied.entry.term,
            conf_state: Some(self.applied.conf_state.clone()),
            ..Checkpoint::default()
        };
        self.store.export(log)
    }

    /// Answers a query about leases, now or later.
    pub(crate) fn query<W>(
        &mut self,
        query: LeaseQuery,
        waiter: W,
        now: Duration,
        waiters: &mut Waiters<W>,
        output: &mut Output<W>,
    ) {
        match self.lessor.query(query, now, self.store.leases()) {
            Queried::Answered(answer) => output.answers.push((waiter, Answer::Lease(answer))),
            Queried::NotLeader => output.refuse(waiter, Unserved::NotLeader),
            Queried::Unproven(query) => waiters.add_lease_query(query, waiter),
            Queried::Waits { id, proposal } => {
                waiters.add_renewal(id, waiter);
                if let Some(request) = proposal {
                    self.propose(request);
                }
            }
        }
    }

    /// At `led_at` this member certainly led: what waited for that is answered.
    pub(crate) fn prove_leadership<W>(
        &mut self,
        led_at: Option<Duration>,
        now: Duration,
        waiters: &mut Waiters<W>,
        output: &mut Output<W>,
    ) {
        let Some(led_at) = led_at else { return };
        self.lessor.prove(led_at);
        for (query, waiter) in waiters.take_lease_queries() {
            self.query(query, waiter, now, waiters, output);
        }
    }

    /// Another member may lead from now on.
    pub(crate) fn step_down(&mut self) {
        self.lessor.step_down();
    }

    /// This member leads, and has applied all that was committed before: it counts the time of leases, and
    /// makes itself known.
    pub(crate) fn lead(&mut self, now: Duration) {
        self.lessor.lead(now, self.store.leases());
        self.decide_version();
    }

    /// Leases to be revoked; see [`Lessor::expired`].
    pub(crate) fn expired_leases(&mut self, now: Duration) -> Vec<i64> {
        self.lessor.expired(now)
    }

    /// A revocation is proposed.
    pub(crate) fn revoking(&mut self, id: i64) {
        if !disk::seeded_bug!("revoked-by-two") {
            self.lessor.revoking(id);
        }
    }

    /// Revocations could not be proposed.
    pub(crate) fn take_back_leases(&mut self) {
        self.lessor.take_back();
    }

    /// Proposals to revoke these leases are lost.
    pub(crate) fn revokes_lost(&mut self, ids: &[i64]) {
        self.lessor.revokes_lost(ids);
    }

    /// Carries out some of the committed entries: commands together, and at most one configuration change, as
    /// the last. Calls `pause` again and again if it takes long. What comes of it is told by [`Machine::tell`].
    pub(crate) fn apply(&mut self, pause: &mut dyn FnMut()) -> Result<Option<AppliedBatch>, Fatal> {
        if !self.can_apply() {
            return Ok(None);
        }
        let batch = self.next_batch(pause)?;
        let Some(last) = batch.last else { return Ok(None) };
        let applied = self.store.apply_with_pauses(&batch.requests, pause)?;
        self.applied.entry = last;
        self.maintenance.applied(batch.bytes as u64);
        Ok(Some(AppliedBatch { batch, last, applied }))
    }

    /// Tells everyone concerned what a batch has come to. Returns what consensus has to know of it.
    pub(crate) fn tell<W>(
        &mut self,
        applied: AppliedBatch,
        moment: Moment,
        waiters: &mut Waiters<W>,
        output: &mut Output<W>,
    ) -> Result<Progress, Fatal> {
        let AppliedBatch { mut batch, last, applied } = applied;
        let conf_change = batch.conf_change.take();
        self.tell_commands(batch, applied, moment, waiters, output);
        let conf_change =
            conf_change.map(|entry| self.apply_conf_change(&entry, waiters, output)).transpose()?;
        Ok(Progress { applied: last, conf_change })
    }

    /// Takes the next entries, as many as the revision log certainly has room for. If that is none, notes
    /// what the first needs.
    fn next_batch(&mut self, pause: &mut dyn FnMut()) -> Result<Batch, Fatal> {
        let mut batch = Batch::default();
        while batch.requests.len() < APPLY_LEN_MAX
            && batch.bytes < APPLY_BYTES_MAX
            && let Some(entry) = self.committed.pop_front()
        {
            let id = EntryId { index: entry.index, term: entry.term };
            let bytes = entry_bytes(&entry);
            if entry.r#type() != EntryType::EntryNormal {
                batch.conf_change = Some(entry);
                batch.note(id, bytes);
                break;
            }
            // The entry with which a leader begins its term holds no command.
            if entry.data.is_empty() {
                batch.note(id, bytes);
                continue;
            }
            let command = Command::decode(entry.data.clone());
            let command = command.map_err(|error| Fatal::Entry { index: id.index, error })?;
            let footprint = self.store.footprint(batch.footprint, &command.request, u64::MAX, pause);
            if !self.store.log().has_room_for(footprint.bytes, footprint.longest) {
                self.committed.push_front(entry);
                if batch.last.is_none() {
                    self.awaited_room = Some(footprint);
                }
                break;
            }
            batch.footprint = footprint;
            batch.push(command);
            batch.note(id, bytes);
        }
        Ok(batch)
    }

    /// Whether the revision log has the room that the next entry needs, as far as that is known.
    fn has_awaited_room(&mut self) -> bool {
        let Some(Footprint { bytes, longest }) = self.awaited_room else { return true };
        let has_room = self.store.log().has_room_for(bytes, longest);
        if has_room {
            self.awaited_room = None;
        }
        has_room
    }

    /// The configuration after the last applied entry.
    pub(crate) fn configured(&mut self, conf_state: ConfState) {
        self.applied.conf_state = conf_state;
    }

    /// Begins to take over a state that the leader has sent.
    pub(crate) fn receive_snapshot<W>(&mut self, message: Message, file: PathBuf, output: &mut Output<W>) {
        let index = snapshot_index(&message);
        match self.installation.begin(&mut self.store, message, file) {
            Some(job) => output.jobs.push(job),
            None => {
                let refusal = Some("another snapshot is on its way".to_owned());
                output.notes.push(Note::Snapshot { index, refusal });
            }
        }
    }

    /// Removes a state that is not needed.
    pub(crate) fn discard<W>(&mut self, imported: Imported, output: &mut Output<W>) {
        self.maintenance.remove(imported.discard(), output);
    }

    pub(crate) fn installation(&mut self) -> &mut Installation {
        &mut self.installation
    }

    /// Uses the state of a snapshot from now on.
    pub(crate) fn install<W>(&mut self, installed: Installed, output: &mut Output<W>) -> EntryId {
        let Installed { store, index, term, conf_state } = installed;
        output.signals.append(&mut self.store.replace(store));
        self.applied = AppliedState { entry: EntryId { index, term }, conf_state };
        self.committed.retain(|entry| entry.index > index);
        self.awaited_room = None;
        self.maintenance.replaced(index);
        self.installation.finished();
        // The state may have taken the place of the entry that made this member known: it is never applied here.
        self.introduced_at = None;
        self.published.set_control(self.store.control());
        output.notes.push(Note::Snapshot { index, refusal: None });
        output.notes.push(Note::Members);
        if self.store.control().is_removed(self.member.id) {
            output.notes.push(Note::Removed);
        }
        self.applied.entry
    }

    /// The configuration after the last applied entry.
    pub(crate) fn conf_state(&self) -> &ConfState {
        &self.applied.conf_state
    }

    /// Does what is due of maintenance.
    pub(crate) fn maintain<W>(
        &mut self,
        admission: &Admission,
        has_queue: bool,
        waiters: &mut Waiters<W>,
        output: &mut Output<W>,
    ) {
        if self.installation.is_replacing() {
            if self.maintenance.is_quiet() {
                output.wal.extend(self.installation.quiet());
            }
            return;
        }
        let pressure =
            Pressure { awaited: self.awaited_room, has_queue, has_refusals: !admission.has_space() };
        let done = self.maintenance.work(&mut self.store, &self.applied, pressure, output);
        if let Some(run) = done.defragmentation {
            let waiting = waiters.take_defragmented(run).into_iter();
            output.answers.extend(waiting.map(|waiter| (waiter, Answer::Defragmented)));
        }
        let Some(revision) = done.compaction else { return };
        output.notes.push(Note::Compacted { revision });
        let outcome = Outcome::Compact { revision: self.store.view().revision() };
        let done = waiters.take_compacted(revision).into_iter();
        output.answers.extend(done.map(|w| (w, Answer::Applied(Ok(outcome.clone())))));
    }

    /// The room in the revision log.
    pub(crate) fn room(&mut self) -> RevisionRoom {
        let room = self.maintenance.room(&mut self.store);
        // The room that exists is for the entry that waits, and for those behind it.
        if self.awaited_room.is_some() { RevisionRoom { bytes: 0, ..room } } else { room }
    }

    /// Publishes the size of the data.
    pub(crate) fn publish(&mut self) {
        let size = self.store.log().size();
        self.published.applied.store(self.applied.entry.index, Ordering::Relaxed);
        self.published.size_bytes.store(size.bytes, Ordering::Relaxed);
        self.published.set_counted_bytes(size);
        self.published.size_in_use_bytes.store(size.live_bytes, Ordering::Relaxed);
    }

    fn tell_commands<W>(
        &mut self,
        batch: Batch,
        mut applied: Applied,
        moment: Moment,
        waiters: &mut Waiters<W>,
        output: &mut Output<W>,
    ) {
        let Batch { ids, requests, .. } = batch;
        output.signals.append(&mut applied.signals);
        if requests.iter().any(Request::changes_control) {
            self.published.set_control(self.store.control());
        }
        let is_downgrade_changed = requests.iter().any(|r| matches!(r, Request::SetDowngrade(_)));
        let mut over_quota = Vec::new();
        for ((id, request), outcome) in ids.into_iter().zip(requests).zip(applied.outcomes) {
            output.applied.push((Kind::from(&request), outcome.is_ok()));
            self.note_applied(id, &request, output);
            waiters.take_alarmed(id).into_iter().for_each(|waiter| output.refuse_for_space(waiter));
            self.note_lease(&request, &outcome, moment, waiters, output);
            let Some(waiter) = waiters.take_proposal(id) else { continue };
            match (&request, &outcome) {
                (Request::Compact(c), Ok(Outcome::Compact { .. })) if c.physical => {
                    waiters.add_compaction(c.revision, waiter);
                }
                (_, Ok(_)) if !self.published.has_quota_for(store::cost(&request)) => over_quota.push(waiter),
                _ => output.answers.push((waiter, Answer::Applied(outcome))),
            }
        }
        if !over_quota.is_empty() {
            let id = self.propose(self.no_space_alarm());
            waiters.add_alarmed(id, over_quota);
        }
        if is_downgrade_changed && moment.is_leader {
            self.decide_version();
        }
    }

    /// A client whose write exceeded the quota gets the no-space error, as in etcd, though the write has
    /// taken effect. Before that, the member raises this alarm.
    fn no_space_alarm(&self) -> Request {
        let (action, alarm) = (AlarmAction::Activate as i32, AlarmType::Nospace as i32);
        Request::Alarm(AlarmRequest { action, member_id: self.member.id, alarm })
    }

    /// What the operator is told about an applied command.
    fn note_applied<W>(&mut self, id: u64, request: &Request, output: &mut Output<W>) {
        match request {
            // Those of an earlier life do not count: this member may not have applied all that came later.
            Request::SetMemberAttributes(_) if self.introductions.contains(&id) && !self.is_published => {
                self.is_published = true;
                output.notes.push(Note::Published);
            }
            Request::SetClusterVersion(r) => output.notes.push(Note::ClusterVersion(r.ver.clone())),
            _ => {}
        }
    }

    /// The time of a lease begins when its grant is applied.
    fn note_lease<W>(
        &mut self,
        request: &Request,
        outcome: &Result<Outcome, Refusal>,
        moment: Moment,
        waiters: &mut Waiters<W>,
        output: &mut Output<W>,
    ) {
        match (request, outcome) {
            (Request::LeaseGrant(r), Ok(Outcome::LeaseGrant(granted))) => {
                self.lessor.granted(r.id, granted.ttl_s, moment.now);
                output.notes.push(Note::LeaseGranted { ttl_s: granted.ttl_s });
            }
            (Request::LeaseRevoke(r), outcome) => {
                self.lessor.revoke_ended(r.id);
                if outcome.is_ok() {
                    let has_expired = self.lessor.revoked(r.id);
                    let gone = || Answer::Lease(LeaseAnswer::Renewed(0));
                    output.answers.extend(waiters.take_renewals(r.id).into_iter().map(|w| (w, gone())));
                    output.notes.push(Note::LeaseRevoked { has_expired });
                }
            }
            // Revocations may have been refused because of an alarm that is now cleared.
            (Request::Alarm(_), _) if !disk::seeded_bug!("forbidden-revocation-forgotten") => {
                self.lessor.take_back();
            }
            (Request::LeaseCheckpoint(r), _) => {
                for lease in &r.checkpoints {
                    self.lessor.checkpointed(lease.id, self.store.leases());
                    for waiter in waiters.take_renewals(lease.id) {
                        self.query(LeaseQuery::Renew { id: lease.id }, waiter, moment.now, waiters, output);
                    }
                }
            }
            _ => {}
        }
    }

    /// Adds a command of the member itself to the proposals; returns the id of the proposal.
    fn propose(&mut self, request: Request) -> u64 {
        let proposal = Proposal::new(self.published.next_request_id(), request);
        let id = proposal.id;
        self.proposals.push(proposal);
        id
    }
}

/// The last entry that a snapshot contains.
pub fn snapshot_index(message: &Message) -> u64 {
    let metadata = message.snapshot.as_ref().and_then(|snapshot| snapshot.metadata.as_ref());
    metadata.map_or(0, |metadata| metadata.index)
}

impl Batch {
    fn push(&mut self, command: Command) {
        self.ids.push(command.id);
        self.requests.push(command.request);
    }

    /// Notes an entry that is part of the batch.
    fn note(&mut self, id: EntryId, bytes: usize) {
        self.last = Some(id);
        self.bytes += bytes;
    }
}
