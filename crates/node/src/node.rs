//! The machine itself.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use proto::etcdserverpb::alarm_request::AlarmAction;
use proto::etcdserverpb::{AlarmRequest, AlarmType, LeaseRevokeRequest};
use proto::membershippb::{Attributes, ClusterMemberAttrSetRequest, ClusterVersionSetRequest};
use proto::raftpb::{ConfChange, Entry, EntryType};
use proto::{etcdserverpb, member_json};
use raft::{Raft, Ready, Role};
use store::{Command, Kind, LeaseTable, Outcome, ReadView, Refusal, Request, Store, WatchHub};

use crate::chores::{Chores, Position};
use crate::config::Config;
use crate::error::{Fatal, Unserved};
use crate::input::{Answer, Input, Note, Output, Proposal};
use crate::lease_renewer::LeaseRenewer;
use crate::lessor::Lessor;
use crate::line::Line;
use crate::log_writer::{LogReport, LogTask};
use crate::published::Published;
use crate::waiters::{LONG_LEN_MIN, Waiters};

/// Proposals that may be under way at a time.
const PROPOSALS_MAX: usize = 100_000;

/// The same in bytes of their log entries; each is held about twice more on its way into the log.
const PROPOSALS_BYTES_MAX: usize = 256 << 20;

/// Bytes of long proposals that are being logged and applied before the next has to wait, so that short ones never
/// wait for many. The one that passes the limit is let through.
const LONG_BYTES_MAX: usize = 2 << 20;

/// Bytes that a log entry, or the state written with a batch, takes beside its data, at most.
const ENTRY_BYTES: usize = 64;

/// Bytes of applied entries kept in memory for slow followers. Their number alone is no bound: entries may have a
/// megabyte each.
const CATCHUP_BYTES_MAX: u64 = 32 << 20;

/// One member, between its inputs and its outputs.
#[derive(Debug)]
pub struct Node<W> {
    config: Config,
    raft: Raft,
    store: Store,
    chores: Chores,
    lessor: Lessor<W>,
    waiters: Waiters<W>,
    applied: Position,
    /// The time of the call under way.
    now: Duration,
    published: Arc<Published>,
    /// Proposals that wait for a leader to be known, or for a spare file that is late.
    parked: Line<W>,
    /// Long proposals that wait for those before them. Empty unless as many are under way as may be.
    long: Line<W>,
    /// Batches that need no sync by themselves; they travel with the next that does, or with the next tick.
    held: Vec<LogTask>,
    /// Scratch: proposals and reads of the batch being handled.
    proposals: Vec<Proposal>,
    reads: Vec<W>,
    is_published: bool,
    /// The leader as last told.
    leader: u64,
    /// The term in which this member, as its leader, last made itself known.
    introduced_in: u64,
}

impl<W> Node<W> {
    pub(crate) fn new(
        config: Config,
        raft: Raft,
        store: Store,
        chores: Chores,
        applied: Position,
    ) -> Node<W> {
        let published = Arc::new(Published::new(config.first_request_id, config.quota_bytes));
        published.set_control(store.control());
        let lessor = Lessor::new(config.election_timeout());
        Node {
            config,
            raft,
            store,
            chores,
            lessor,
            waiters: Waiters::default(),
            applied,
            now: Duration::ZERO,
            published,
            parked: Line::default(),
            long: Line::default(),
            held: Vec::new(),
            proposals: Vec::new(),
            reads: Vec::new(),
            is_published: false,
            leader: 0,
            introduced_in: 0,
        }
    }

    /// A reader of the keys.
    pub fn view(&self) -> ReadView {
        self.store.view()
    }

    /// The leases, as far as they are replicated.
    pub fn leases(&self) -> &LeaseTable {
        self.store.leases()
    }

    /// Renews leases without asking the node.
    pub fn lease_renewer(&self) -> LeaseRenewer {
        self.lessor.renewer()
    }

    /// The hub that watches are opened on.
    pub fn watch_hub(&self) -> Arc<WatchHub> {
        self.store.watch_hub()
    }

    /// What others may know of this node without asking it.
    pub fn published(&self) -> Arc<Published> {
        Arc::clone(&self.published)
    }

    /// Takes everything that has happened since the last call and adds what is to be done to `output`. After an
    /// error the member must stop without carrying out anything more.
    ///
    /// `now` is the time since some moment, the same for all calls; it never goes back. Leases are counted by it.
    pub fn handle(
        &mut self,
        now: Duration,
        inputs: impl IntoIterator<Item = Input<W>>,
        output: &mut Output<W>,
    ) -> Result<(), Fatal> {
        output.is_busy = false;
        output.applied.clear();
        self.now = now;
        for input in inputs {
            self.take(input, output)?;
        }
        self.admit_parked(output);
        loop {
            // What is applied makes room for more revocations, and for long proposals.
            self.revoke_expired();
            self.admit_long(output);
            self.propose_collected(output);
            self.read_collected();
            let mut is_idle = true;
            while let Some(ready) = self.raft.ready() {
                self.carry_out(ready, output)?;
                is_idle = false;
            }
            if !self.lead() && is_idle {
                break;
            }
        }
        if let Some(revision) = self.chores.work(&mut self.store, &self.applied, output) {
            self.compacted(revision, output);
        }
        // What is parked for want of room gets its turn at once when there is some again.
        let fits = |p: &Proposal| self.chores.fits(p.len() + ENTRY_BYTES, p.takes_space);
        output.is_busy |= self.leader != 0 && self.parked.first().is_some_and(fits);
        self.publish_numbers();
        Ok(())
    }

    /// Answers everyone still waiting: the member is stopping.
    pub fn stop(&mut self, output: &mut Output<W>) {
        let waiting = self.parked.take_waiters().chain(self.long.take_waiters());
        let waiting = waiting.chain(self.waiters.take_proposals()).chain(self.waiters.take_reads());
        let waiting = waiting.chain(self.waiters.take_all_alarmed());
        let waiting = waiting.chain(self.lessor.take_waiters());
        let waiting = waiting.chain(self.waiters.take_compacted(i64::MAX).collect::<Vec<_>>());
        output.answers.extend(waiting.map(|w| (w, Answer::Unserved(Unserved::Stopped))));
    }

    fn take(&mut self, input: Input<W>, output: &mut Output<W>) -> Result<(), Fatal> {
        match input {
            Input::Propose(proposal, waiter) => self.admit(proposal, waiter, output),
            Input::ReadIndex(waiter) => self.reads.push(waiter),
            Input::Lease(query, waiter) => {
                let first = self.lessor.query(query, waiter, self.now, self.store.leases(), output);
                if let Some(request) = first {
                    self.propose_own(request);
                }
            }
            Input::Logged(report) => self.logged(report, output),
            Input::Finished(finished) => self.chores.finished(finished, &mut self.store, output)?,
            Input::Defragment => self.chores.defragment(&mut self.store),
            Input::Tick => {
                self.raft.tick();
                self.chores.tick(output);
                output.log.append(&mut self.held);
            }
        }
        Ok(())
    }

    /// Takes a proposal into the batch being collected, lets it wait, or refuses it.
    fn admit(&mut self, proposal: Proposal, waiter: W, output: &mut Output<W>) {
        let bytes = self.waiters.proposals_bytes() + self.parked.bytes() + self.long.bytes();
        let n_proposals = self.waiters.proposals_len() + self.parked.len() + self.long.len();
        if n_proposals >= PROPOSALS_MAX || bytes + proposal.len() > PROPOSALS_BYTES_MAX {
            output.answers.push((waiter, Answer::Unserved(Unserved::TooManyRequests)));
        } else if self.raft.status().leader == 0 || !self.parked.is_empty() {
            // Nobody overtakes who is parked.
            self.parked.push(proposal, waiter);
        } else if proposal.len() >= LONG_LEN_MIN && self.waiters.long_bytes() >= LONG_BYTES_MAX {
            self.long.push(proposal, waiter);
        } else if self.chores.fits(proposal.len() + ENTRY_BYTES, proposal.takes_space) {
            self.chores.admit(proposal.len() + ENTRY_BYTES);
            self.waiters.add_proposal(proposal.id, proposal.len(), waiter);
            if let Some(id) = proposal.revokes
                && !disk::seeded_bug!("revoked-by-two")
            {
                self.lessor.revoking(id);
            }
            self.proposals.push(proposal);
        } else if self.chores.expects_room() {
            self.parked.push(proposal, waiter);
        } else {
            output.answers.push((waiter, Answer::Applied(Err(Refusal::NoSpace))));
        }
    }

    /// Tries again what was parked.
    fn admit_parked(&mut self, output: &mut Output<W>) {
        for (proposal, waiter) in std::mem::take(&mut self.parked) {
            self.admit(proposal, waiter, output);
        }
    }

    /// Admits the long ones whose turn has come.
    fn admit_long(&mut self, output: &mut Output<W>) {
        while self.waiters.long_bytes() < LONG_BYTES_MAX
            && let Some((proposal, waiter)) = self.long.pop()
        {
            self.admit(proposal, waiter, output);
        }
    }

    fn logged(&mut self, report: LogReport, output: &mut Output<W>) {
        if let Some(seq) = report.persisted {
            self.raft.persisted(seq);
        }
        self.chores.set_log_room(report.room, report.persisted);
        output.jobs.extend(report.next.map(crate::Job::PrepareLogFile));
    }

    /// Has leases revoked that have run out, as many as may be under way and there is room for. They take no
    /// space: what is deleted with them is worth more than the little they write.
    fn revoke_expired(&mut self) {
        for id in self.lessor.expired(self.now) {
            let request = Request::LeaseRevoke(LeaseRevokeRequest { id });
            let proposal = Proposal::new(self.published.next_request_id(), request);
            if !self.chores.fits(proposal.len() + ENTRY_BYTES, proposal.takes_space) {
                return self.lessor.take_back();
            }
            self.chores.admit(proposal.len() + ENTRY_BYTES);
            self.lessor.revoking(id);
            self.proposals.push(proposal);
        }
    }

    /// The whole batch goes into the log as one proposal. If the leader was lost since the batch was admitted,
    /// nobody has it.
    fn propose_collected(&mut self, output: &mut Output<W>) {
        if self.proposals.is_empty() {
            return;
        }
        let ids = self.proposals.iter().map(|p| p.id).collect::<Vec<_>>();
        if self.raft.propose(self.proposals.drain(..).map(|p| p.data)).is_err() {
            self.lessor.revokes_lost();
            let waiters = ids.into_iter().filter_map(|id| self.waiters.take_proposal(id));
            output.answers.extend(waiters.map(|w| (w, Answer::Unserved(Unserved::LeaderChanged))));
        }
    }

    /// All reads that came together share one round.
    fn read_collected(&mut self) {
        if !self.reads.is_empty() {
            let context = self.waiters.add_reads(std::mem::take(&mut self.reads));
            self.raft.read_index(Bytes::copy_from_slice(&context.to_be_bytes()));
        }
    }

    /// The order of effects. Entries go to the log and to the followers at once; what raft hands out as
    /// committed is durable here and on a quorum, so it is applied and answered.
    fn carry_out(&mut self, ready: Ready, output: &mut Output<W>) -> Result<(), Fatal> {
        if let Some(soft_state) = ready.soft_state {
            self.leader_changed(soft_state.leader, output);
        }
        if let Some(batch) = ready.persist {
            let bytes: usize = batch.entries.iter().map(|e| e.data.len() + ENTRY_BYTES).sum();
            self.chores.note_logged(batch.seq, (bytes + ENTRY_BYTES) as u64);
            let must_sync = batch.must_sync;
            self.held.push(LogTask::Append(batch));
            if must_sync {
                output.log.append(&mut self.held);
            }
        }
        output.messages.extend(ready.messages);
        for state in ready.read_states {
            let context = <[u8; 8]>::try_from(&state.context[..])
                .expect("a context is the eight bytes it was asked with");
            self.waiters.set_read_index(u64::from_be_bytes(context), state.index);
        }
        self.apply(ready.committed, output)?;
        let mut readable = Vec::new();
        self.waiters.take_readable(self.applied.index, &mut readable);
        output.answers.extend(readable.into_iter().map(|w| (w, Answer::Readable)));
        Ok(())
    }

    fn leader_changed(&mut self, leader: u64, output: &mut Output<W>) {
        if self.leader == leader {
            return;
        }
        self.leader = leader;
        output.notes.push(Note::Leader { id: leader, term: self.raft.status().term });
        let reads = self.waiters.take_reads();
        output.answers.extend(reads.map(|w| (w, Answer::Unserved(Unserved::LeaderChanged))));
        self.lessor.step_down(output);
    }

    /// Applies committed entries: runs of commands together, everything else by itself.
    fn apply(&mut self, entries: Vec<Entry>, output: &mut Output<W>) -> Result<(), Fatal> {
        let Some((index, term)) = entries.last().map(|last| (last.index, last.term)) else { return Ok(()) };
        let (mut ids, mut requests) = (Vec::new(), Vec::with_capacity(entries.len()));
        for entry in entries {
            if entry.r#type() == EntryType::EntryNormal {
                if !entry.data.is_empty() {
                    let command = Command::decode(entry.data)
                        .map_err(|error| Fatal::Entry { index: entry.index, error })?;
                    ids.push(command.id);
                    requests.push(command.request);
                }
            } else {
                self.apply_commands(&mut ids, &mut requests, output)?;
                self.apply_conf_change(&entry)?;
            }
        }
        self.apply_commands(&mut ids, &mut requests, output)?;
        (self.applied.index, self.applied.term) = (index, term);
        self.raft.applied_to(index);
        let forgotten = index.saturating_sub(self.config.catchup_entries);
        self.raft.compact(forgotten.max(self.raft.status().first_index - 1), CATCHUP_BYTES_MAX);
        Ok(())
    }

    fn apply_commands(
        &mut self,
        ids: &mut Vec<u64>,
        requests: &mut Vec<Request>,
        output: &mut Output<W>,
    ) -> Result<(), Fatal> {
        let mut applied = self.store.apply(requests)?;
        output.signals.append(&mut applied.signals);
        if requests.iter().any(Request::changes_control) {
            self.published.set_control(self.store.control());
        }
        let is_downgrade_changed = requests.iter().any(|r| matches!(r, Request::SetDowngrade(_)));
        let mut over_quota = Vec::new();
        for ((id, request), outcome) in ids.drain(..).zip(requests.drain(..)).zip(applied.outcomes) {
            output.applied.push((Kind::from(&request), outcome.is_ok()));
            self.note_applied(&request, output);
            let told = self.waiters.take_alarmed(id);
            output.answers.extend(told.map(|w| (w, Answer::Applied(Err(Refusal::NoSpace)))));
            self.note_lease(&request, &outcome, output);
            let Some(waiter) = self.waiters.take_proposal(id) else { continue };
            match (&request, &outcome) {
                (Request::Compact(c), Ok(Outcome::Compact { .. })) if c.physical => {
                    self.waiters.add_compaction(c.revision, waiter);
                }
                (_, Ok(_)) if !self.published.has_quota_for(store::cost(&request)) => over_quota.push(waiter),
                _ => output.answers.push((waiter, Answer::Applied(outcome))),
            }
        }
        self.raise_no_space(over_quota, output);
        if is_downgrade_changed && self.raft.status().role == Role::Leader {
            self.decide_version();
        }
        Ok(())
    }

    /// Whoever wrote over the quota is told that there is no space, as in etcd, though the write has taken effect;
    /// and first the cluster is told.
    fn raise_no_space(&mut self, over_quota: Vec<W>, output: &mut Output<W>) {
        if over_quota.is_empty() {
            return;
        }
        let (action, alarm) = (AlarmAction::Activate as i32, AlarmType::Nospace as i32);
        let request = AlarmRequest { action, member_id: self.config.member.id, alarm };
        match self.propose_own(Request::Alarm(request)) {
            Some(id) => self.waiters.add_alarmed(id, over_quota),
            None => {
                let no_space = |w| (w, Answer::Applied(Err(Refusal::NoSpace)));
                output.answers.extend(over_quota.into_iter().map(no_space));
            }
        }
    }

    fn apply_conf_change(&mut self, entry: &Entry) -> Result<(), Fatal> {
        let unreadable = Fatal::ConfChange { index: entry.index };
        let Ok(change) = ConfChange::decode(entry.data.clone()) else { return Err(unreadable) };
        let Some(member) = member_json::decode(&change.context) else { return Err(unreadable) };
        self.applied.conf_state = self.raft.apply_conf_change(&change);
        self.store.put_member(member);
        self.published.set_control(self.store.control());
        Ok(())
    }

    /// What the operator hears of an applied command.
    fn note_applied(&mut self, request: &Request, output: &mut Output<W>) {
        // Without a leader, it is replayed from the log: the member was known to the cluster, but cannot serve
        // yet.
        let is_first = self.leader != 0 && !self.is_published;
        match request {
            Request::SetMemberAttributes(r) if r.member_id == self.config.member.id && is_first => {
                self.is_published = true;
                output.notes.push(Note::Published);
            }
            Request::SetClusterVersion(r) => output.notes.push(Note::ClusterVersion(r.ver.clone())),
            _ => {}
        }
    }

    /// Leases count from when their grant is applied.
    fn note_lease(&mut self, request: &Request, outcome: &Result<Outcome, Refusal>, output: &mut Output<W>) {
        match (request, outcome) {
            (Request::LeaseGrant(r), Ok(Outcome::LeaseGrant(granted))) => {
                self.lessor.granted(r.id, granted.ttl_s, self.now);
                output.notes.push(Note::LeaseGranted { ttl_s: granted.ttl_s });
            }
            (Request::LeaseRevoke(r), outcome) => {
                self.lessor.revoke_applied(r.id);
                if outcome.is_ok() {
                    let has_expired = self.lessor.revoked(r.id, output);
                    output.notes.push(Note::LeaseRevoked { has_expired });
                }
            }
            // Revocations may have been refused for an alarm that is raised no more.
            (Request::Alarm(_), _) if !disk::seeded_bug!("forbidden-revocation-forgotten") => {
                self.lessor.take_back();
            }
            (Request::LeaseCheckpoint(r), _) => {
                for lease in &r.checkpoints {
                    self.lessor.checkpointed(lease.id, self.now, self.store.leases(), output);
                }
            }
            _ => {}
        }
    }

    /// A lone voter need not wait for an election; and a new leader makes itself known. True if there is
    /// something new to be done.
    fn lead(&mut self) -> bool {
        let status = self.raft.status();
        let is_alone = self.applied.conf_state.voters == [status.id];
        if is_alone && status.role == Role::Follower && status.commit == self.applied.index {
            self.raft.campaign();
            return self.raft.status().role != Role::Follower;
        }
        let leads = status.role == Role::Leader && self.applied.term == status.term;
        if !leads || self.introduced_in == status.term {
            return false;
        }
        self.introduced_in = status.term;
        self.lessor.lead(self.now, self.store.leases());
        self.introduce();
        self.decide_version();
        true
    }

    /// Proposes what the cluster must know of this member.
    fn introduce(&mut self) {
        let member = &self.config.member;
        let attributes = Attributes { name: member.name.clone(), client_urls: member.client_ur_ls.clone() };
        let request =
            ClusterMemberAttrSetRequest { member_id: member.id, member_attributes: Some(attributes) };
        self.propose_own(Request::SetMemberAttributes(request));
    }

    /// Proposes the cluster version if it is not what it should be: this member's, or the one that the cluster is
    /// being downgraded to.
    fn decide_version(&mut self) {
        let control = self.store.control();
        let ver = control.downgrade_target().unwrap_or(&self.config.cluster_version);
        if ver != control.cluster_version() {
            let request = ClusterVersionSetRequest { ver: ver.to_owned() };
            self.propose_own(Request::SetClusterVersion(request));
        }
    }

    /// Proposes on the member's own account; returns the id of the proposal. Without a leader it is lost; what the
    /// cluster must know, the next one proposes again.
    fn propose_own(&mut self, request: Request) -> Option<u64> {
        let proposal = Proposal::new(self.published.next_request_id(), request);
        self.raft.propose([proposal.data]).ok().map(|_| proposal.id)
    }

    fn compacted(&mut self, revision: i64, output: &mut Output<W>) {
        output.notes.push(Note::Compacted { revision });
        let store_revision = self.store.view().revision();
        let done = self.waiters.take_compacted(revision);
        output
            .answers
            .extend(done.map(|w| (w, Answer::Applied(Ok(Outcome::Compact { revision: store_revision })))));
    }

    fn publish_numbers(&mut self) {
        let status = self.raft.status();
        let is_lone_leader = status.role == Role::Leader && self.applied.conf_state.voters == [status.id];
        let published = &self.published;
        published.term.store(status.term, Ordering::Relaxed);
        published.leader.store(status.leader, Ordering::Relaxed);
        published.committed.store(status.commit, Ordering::Relaxed);
        published.applied.store(self.applied.index, Ordering::Relaxed);
        published.has_space.store(self.chores.has_space(), Ordering::Relaxed);
        let size = self.store.log().size();
        published.size_bytes.store(size.bytes, Ordering::Relaxed);
        published.size_in_use_bytes.store(size.live_bytes, Ordering::Relaxed);
        published.reads_at_once.store(is_lone_leader && self.applied.term == status.term, Ordering::Release);
    }
}

/// The configuration change that adds a member of a new cluster.
pub(crate) fn bootstrap_change(member: &etcdserverpb::Member) -> ConfChange {
    let named = etcdserverpb::Member { client_ur_ls: Vec::new(), ..member.clone() };
    ConfChange { node_id: member.id, context: member_json::encode(&named).into(), ..ConfChange::default() }
}
