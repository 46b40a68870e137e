//! The part of a member that carries out what is agreed: the store, the time of leases, maintenance.
//!
//! ```text
//!   committed entries ─▶ queue ─▶ Store::apply ─▶ answers, signals
//!                                    └──▶ lessor ─▶ revocations ─▶ to be proposed
//!                                    └──▶ maintenance ─▶ jobs
//! ```
//!
//! Does not know raft, messages or the WAL's files. It applies a bounded number of entries at a time, so that
//! consensus has its turn in between. What it wants proposed on the member's own account it leaves in a list.

pub(crate) mod lease_clock;
pub(crate) mod lease_renewer;
pub(crate) mod lessor;
pub(crate) mod maintenance;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use prost::Message;
use proto::etcdserverpb::alarm_request::AlarmAction;
use proto::etcdserverpb::{AlarmRequest, AlarmType, LeaseRevokeRequest};
use proto::member_json;
use proto::membershippb::{Attributes, ClusterMemberAttrSetRequest, ClusterVersionSetRequest};
use proto::raftpb::{ConfChange, ConfState, Entry, EntryType};
use store::{Command, Kind, Outcome, Refusal, Request, Store};

use self::lessor::{LeaseAnswer, LeaseQuery, Lessor, Queried};
use self::maintenance::Maintenance;
use crate::config::Config;
use crate::consensus::admission::entry_bytes;
use crate::error::{Fatal, Unserved};
use crate::handover::{EntryId, Progress, RevisionRoom};
use crate::input::{Answer, Proposal};
use crate::job::Finished;
use crate::output::{Note, Output};
use crate::published::Published;
use crate::waiters::Waiters;

/// Entries applied in one go, which takes some milliseconds.
const APPLY_LEN_MAX: usize = 1000;
/// Bytes of the entries applied in one go, or those of the entry that passes the limit.
const APPLY_BYTES_MAX: usize = 4 << 20;

/// What a checkpoint records of the raft log.
#[derive(Debug, Clone, Default)]
pub(crate) struct AppliedState {
    /// The last entry applied.
    pub(crate) entry: EntryId,
    /// The configuration after it.
    pub(crate) conf_state: ConfState,
}

/// What consensus tells of the moment in which the machine works.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) now: Duration,
    /// Whether a leader is known. At a restart there is none while the log is applied again.
    pub(crate) has_leader: bool,
    /// Whether this member is the leader.
    pub(crate) is_leader: bool,
}

/// Commands that are applied together, with the ids of their proposals.
#[derive(Debug, Default)]
struct Batch {
    ids: Vec<u64>,
    requests: Vec<Request>,
}

/// A member's copy of the replicated state, and its upkeep.
#[derive(Debug)]
pub(crate) struct Machine {
    member: proto::etcdserverpb::Member,
    cluster_version: String,
    store: Store,
    lessor: Lessor,
    maintenance: Maintenance,
    published: Arc<Published>,
    applied: AppliedState,
    /// Committed entries that are not applied yet.
    committed: VecDeque<Entry>,
    /// What the member has to propose on its own account.
    proposals: Vec<Proposal>,
    /// Whether the operator was told that this member is known to the cluster.
    is_published: bool,
}

impl Machine {
    pub(crate) fn new(
        config: &Config,
        store: Store,
        maintenance: Maintenance,
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
            published,
            applied,
            committed: VecDeque::new(),
            proposals: Vec::new(),
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

    /// Whether entries wait to be applied.
    pub(crate) fn has_committed(&self) -> bool {
        !self.committed.is_empty()
    }

    /// What is to be proposed on the member's own account. Without a leader it is lost; what the cluster must know
    /// of this member, the next leader proposes again.
    pub(crate) fn take_proposals(&mut self) -> Vec<Proposal> {
        std::mem::take(&mut self.proposals)
    }

    pub(crate) fn tick(&mut self) {
        self.maintenance.tick();
    }

    pub(crate) fn finished<W>(&mut self, finished: Finished, output: &mut Output<W>) -> Result<(), Fatal> {
        self.maintenance.finished(finished, &mut self.store, output)
    }

    pub(crate) fn defragment(&mut self) {
        self.maintenance.defragment(&mut self.store);
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
            Queried::Waits { id, proposal } => {
                waiters.add_renewal(id, waiter);
                if let Some(request) = proposal {
                    self.propose(request);
                }
            }
        }
    }

    /// Another member may lead from now on.
    pub(crate) fn step_down(&mut self) {
        self.lessor.step_down();
    }

    /// This member leads, and has applied all that was committed before: it counts the time of leases, and makes
    /// itself known.
    pub(crate) fn lead(&mut self, now: Duration) {
        self.lessor.lead(now, self.store.leases());
        let (name, client_urls) = (self.member.name.clone(), self.member.client_ur_ls.clone());
        let attributes = Some(Attributes { name, client_urls });
        let request =
            ClusterMemberAttrSetRequest { member_id: self.member.id, member_attributes: attributes };
        self.propose(Request::SetMemberAttributes(request));
        self.decide_version();
    }

    /// Leases to be revoked, as proposals; see [`Lessor::expired`].
    pub(crate) fn expired_leases(&mut self, now: Duration) -> impl Iterator<Item = Proposal> + use<> {
        let published = Arc::clone(&self.published);
        self.lessor.expired(now).into_iter().map(move |id| {
            let request = Request::LeaseRevoke(LeaseRevokeRequest { id });
            Proposal::new(published.next_request_id(), request)
        })
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

    /// What was proposed last is lost.
    pub(crate) fn proposals_lost(&mut self) {
        self.lessor.revokes_lost();
    }

    /// Applies some of the committed entries: commands together, and at most one configuration change, as the last.
    pub(crate) fn apply<W>(
        &mut self,
        moment: Moment,
        waiters: &mut Waiters<W>,
        output: &mut Output<W>,
    ) -> Result<Option<Progress>, Fatal> {
        let (mut batch, mut bytes, mut conf_change) = (Batch::default(), 0, None);
        let mut applied = None;
        while let Some(entry) = self.committed.pop_front() {
            applied = Some(EntryId { index: entry.index, term: entry.term });
            bytes += entry_bytes(&entry);
            if entry.r#type() != EntryType::EntryNormal {
                conf_change = Some(entry);
                break;
            }
            batch.push(entry)?;
            if batch.requests.len() >= APPLY_LEN_MAX || bytes >= APPLY_BYTES_MAX {
                break;
            }
        }
        let Some(applied) = applied else { return Ok(None) };
        self.apply_commands(batch, moment, waiters, output)?;
        let conf_change = conf_change.map(|entry| self.apply_conf_change(&entry)).transpose()?;
        self.applied.entry = applied;
        self.maintenance.applied(bytes as u64);
        Ok(Some(Progress { applied, conf_change }))
    }

    /// The configuration after the last applied entry.
    pub(crate) fn configured(&mut self, conf_state: ConfState) {
        self.applied.conf_state = conf_state;
    }

    /// Does what is due of maintenance.
    pub(crate) fn maintain<W>(&mut self, has_space: bool, waiters: &mut Waiters<W>, output: &mut Output<W>) {
        let compacted = self.maintenance.work(&mut self.store, &self.applied, has_space, output);
        let Some(revision) = compacted else { return };
        output.notes.push(Note::Compacted { revision });
        let outcome = Outcome::Compact { revision: self.store.view().revision() };
        let done = waiters.take_compacted(revision).into_iter();
        output.answers.extend(done.map(|w| (w, Answer::Applied(Ok(outcome.clone())))));
    }

    /// The room in the revision log.
    pub(crate) fn room(&mut self) -> RevisionRoom {
        self.maintenance.room(&mut self.store)
    }

    /// Publishes the size of the data.
    pub(crate) fn publish(&mut self) {
        let size = self.store.log().size();
        self.published.applied.store(self.applied.entry.index, Ordering::Relaxed);
        self.published.size_bytes.store(size.bytes, Ordering::Relaxed);
        self.published.size_in_use_bytes.store(size.live_bytes, Ordering::Relaxed);
    }

    fn apply_commands<W>(
        &mut self,
        batch: Batch,
        moment: Moment,
        waiters: &mut Waiters<W>,
        output: &mut Output<W>,
    ) -> Result<(), Fatal> {
        let Batch { ids, requests } = batch;
        let mut applied = self.store.apply(&requests)?;
        output.signals.append(&mut applied.signals);
        if requests.iter().any(Request::changes_control) {
            self.published.set_control(self.store.control());
        }
        let is_downgrade_changed = requests.iter().any(|r| matches!(r, Request::SetDowngrade(_)));
        let mut over_quota = Vec::new();
        for ((id, request), outcome) in ids.into_iter().zip(requests).zip(applied.outcomes) {
            output.applied.push((Kind::from(&request), outcome.is_ok()));
            self.note_applied(&request, moment, output);
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
        Ok(())
    }

    /// Whoever wrote over the quota is told that there is no space, as in etcd, though the write has taken effect;
    /// and first the cluster is told, by this alarm.
    fn no_space_alarm(&self) -> Request {
        let (action, alarm) = (AlarmAction::Activate as i32, AlarmType::Nospace as i32);
        Request::Alarm(AlarmRequest { action, member_id: self.member.id, alarm })
    }

    fn apply_conf_change(&mut self, entry: &Entry) -> Result<ConfChange, Fatal> {
        let unreadable = Fatal::ConfChange { index: entry.index };
        let Ok(change) = ConfChange::decode(entry.data.clone()) else { return Err(unreadable) };
        let Some(member) = member_json::decode(&change.context) else { return Err(unreadable) };
        self.store.put_member(member);
        self.published.set_control(self.store.control());
        Ok(change)
    }

    /// What the operator hears of an applied command.
    fn note_applied<W>(&mut self, request: &Request, moment: Moment, output: &mut Output<W>) {
        match request {
            // Without a leader it is applied again after a restart: the member was known, but cannot serve yet.
            Request::SetMemberAttributes(r)
                if r.member_id == self.member.id && moment.has_leader && !self.is_published =>
            {
                self.is_published = true;
                output.notes.push(Note::Published);
            }
            Request::SetClusterVersion(r) => output.notes.push(Note::ClusterVersion(r.ver.clone())),
            _ => {}
        }
    }

    /// Leases count from when their grant is applied.
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
                self.lessor.revoke_applied(r.id);
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

    /// Proposes the cluster version if it is not what it should be: this member's, or the one that the cluster is
    /// being downgraded to.
    fn decide_version(&mut self) {
        let control = self.store.control();
        let ver = control.downgrade_target().unwrap_or(&self.cluster_version);
        if ver != control.cluster_version() {
            let request = ClusterVersionSetRequest { ver: ver.to_owned() };
            self.propose(Request::SetClusterVersion(request));
        }
    }

    /// Leaves something to be proposed on the member's own account; returns the id of the proposal.
    fn propose(&mut self, request: Request) -> u64 {
        let proposal = Proposal::new(self.published.next_request_id(), request);
        let id = proposal.id;
        self.proposals.push(proposal);
        id
    }
}

impl Batch {
    /// Adds the command of an entry. The entry with which a leader begins its term holds none.
    fn push(&mut self, entry: Entry) -> Result<(), Fatal> {
        if entry.data.is_empty() {
            return Ok(());
        }
        let index = entry.index;
        let command = Command::decode(entry.data).map_err(|error| Fatal::Entry { index, error })?;
        self.ids.push(command.id);
        self.requests.push(command.request);
        Ok(())
    }
}
