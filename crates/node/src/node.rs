//! One member between its inputs and its outputs: consensus and machine, joined.
//!
//! ```text
//!   decide:  inputs ─▶ consensus ─▶ WAL tasks, messages
//!                          │ committed entries
//!   apply:                 ▼
//!                       machine ─▶ answers, signals, jobs
//!                          │ applied index, configuration
//!                          ▼
//!                      consensus ─▶ what follows from it
//! ```
//!
//! This is the one place that orders effects. An entry that raft reports as committed is durable here and on
//! a quorum, so it is applied and then answered. WAL tasks and messages do not wait for the apply phase.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use proto::raftpb::{Message, MessageType};
use raft::{Raft, Role, Status};
use store::{Export, ImportError, Imported, LeaseTable, MemberChange, ReadView, Refusal, Store, WatchHub};

use crate::config::Config;
use crate::consensus::Consensus;
use crate::error::{Fatal, Unserved};
use crate::input::{Answer, Input};
use crate::job::Finished;
use crate::machine::installation::{Installation, Installed};
use crate::machine::lease_renewer::LeaseRenewer;
use crate::machine::lessor::LeaseQuery;
use crate::machine::maintenance::{Maintenance, unless_full};
use crate::machine::{AppliedState, Machine, Moment, snapshot_index};
use crate::meanwhile::Meanwhile;
use crate::output::{Note, Output};
use crate::published::Published;
use crate::waiters::Waiters;

/// One member.
#[derive(Debug)]
pub struct Node<W> {
    config: Config,
    consensus: Consensus<W>,
    machine: Machine,
    waiters: Waiters<W>,
    published: Arc<Published>,
    /// The time of the call under way.
    now: Duration,
    /// Whether there was no room to revoke some of the leases that have run out.
    has_postponed_revocations: bool,
    /// The last term in which this member began to lead with everything applied that was committed before.
    led_term: u64,
    /// The term of the last entry applied.
    applied_term: u64,
    /// The latest time of which the machine knows that this member led.
    led_at: Option<Duration>,
    /// When a majority was last asked whether this member leads, because of a query about leases.
    leadership_asked_at: Option<Duration>,
}

impl<W> Node<W> {
    pub(crate) fn new(
        config: Config,
        raft: Raft,
        wal_room: u64,
        store: Store,
        maintenance: Maintenance,
        installation: Installation,
        applied: AppliedState,
    ) -> Node<W> {
        let published = Arc::new(Published::new(&config));
        let consensus = Consensus::new(&config, raft, wal_room, applied.entry);
        Node {
            consensus,
            machine: Machine::new(&config, store, maintenance, installation, applied, Arc::clone(&published)),
            config,
            waiters: Waiters::default(),
            published,
            now: Duration::ZERO,
            has_postponed_revocations: false,
            led_term: 0,
            applied_term: 0,
            led_at: None,
            leadership_asked_at: None,
        }
    }

    /// A reader of the keys.
    pub fn view(&self) -> ReadView {
        self.machine.store().view()
    }

    /// The replicated part of leases.
    pub fn leases(&self) -> &LeaseTable {
        self.machine.store().leases()
    }

    /// Term of an entry of the raft log, for those who check that logs of members agree; `None` if it is not in
    /// memory.
    pub fn entry_term(&self, index: u64) -> Option<u64> {
        self.consensus.entry_term(index)
    }

    /// Renews leases without asking the node.
    pub fn lease_renewer(&self) -> LeaseRenewer {
        self.machine.lessor().renewer()
    }

    /// The state as of the last entry applied, to be written by the caller; `None` if too many are being written.
    pub fn export(&mut self) -> Option<Export> {
        self.machine.export()
    }

    /// The hub that watches are opened on.
    pub fn watch_hub(&self) -> Arc<WatchHub> {
        self.machine.store().watch_hub()
    }

    /// What other threads may know of this node without asking it.
    pub fn published(&self) -> Arc<Published> {
        Arc::clone(&self.published)
    }

    /// Takes everything that has happened since the last call and adds what is to be done to `output`:
    /// [`Node::decide`], then [`Node::apply`]. After an error the member must stop without carrying out
    /// anything more.
    ///
    /// `now` is the time since some moment, the same for all calls; it never goes back. Leases and deadlines
    /// are counted by it.
    pub fn handle(
        &mut self,
        now: Duration,
        inputs: impl IntoIterator<Item = Input<W>>,
        output: &mut Output<W>,
    ) -> Result<(), Fatal> {
        self.decide(now, inputs, output)?;
        self.apply(output, &mut |_| {})
    }

    /// The first phase of [`Node::handle`]: takes the inputs, and decides what is to be written and sent. The
    /// caller should carry that out before it calls [`Node::apply`], which may take long.
    pub fn decide(
        &mut self,
        now: Duration,
        inputs: impl IntoIterator<Item = Input<W>>,
        output: &mut Output<W>,
    ) -> Result<(), Fatal> {
        output.begin_call();
        self.now = now;
        self.consensus.set_time(now);
        self.waiters.set_deadline(now + self.config.request_timeout());
        self.waiters.set_term(self.consensus.status().term);
        for input in inputs {
            if self.has_postponed_revocations
                && matches!(input, Input::Tick | Input::WalWritten(_) | Input::Finished(_))
            {
                self.has_postponed_revocations = false;
                self.machine.take_back_leases();
            }
            self.take(input, output)?;
        }
        self.agree(output);
        Ok(())
    }

    /// The second phase of [`Node::handle`], to be called once after each [`Node::decide`]: applies some of
    /// what is committed, and decides what follows from it.
    ///
    /// A command may take long. So that consensus goes on meanwhile, `pause` is called after every millisecond of
    /// work or so: it should hand over what can be handled then, and carry out what comes of it.
    pub fn apply(
        &mut self,
        output: &mut Output<W>,
        pause: &mut dyn FnMut(&mut Meanwhile<'_, W>),
    ) -> Result<(), Fatal> {
        let (mut meanwhile, machine) = self.meanwhile();
        let applied = machine.apply(&mut || pause(&mut meanwhile))?;
        let committed = meanwhile.into_committed();
        if let Some(applied) = applied {
            let progress = self.machine.tell(applied, self.moment(), &mut self.waiters, output)?;
            if let Some(change) = &progress.conf_change {
                self.machine.configured(self.consensus.configure(change));
            }
            self.consensus.applied(progress.applied);
            self.end_lost_proposals(progress.applied.term, output);
            self.look_for_leader(output);
        }
        self.machine.commit(committed);
        let readable = |waiter| output.answers.push((waiter, Answer::Readable));
        self.waiters.take_readable(self.machine.applied_index(), readable);
        self.lead(output);
        let has_queue = self.consensus.is_waiting_for_room();
        self.machine.maintain(self.consensus.admission(), has_queue, &mut self.waiters, output);
        let room = self.machine.room();
        self.consensus.set_revision_room(room, output);
        self.agree(output);
        output.is_busy |= self.machine.can_apply() || self.consensus.can_admit_queued();
        self.publish_numbers();
        Ok(())
    }

    /// An entry of `term` is applied. Proposals of earlier terms that have no result by now were lost with the leader of
    /// then. It is not certain that none of them is still on its way to the new leader.
    fn end_lost_proposals(&mut self, term: u64, output: &mut Output<W>) {
        if term > self.applied_term {
            self.applied_term = term;
            let lost = self.waiters.take_proposals_before(term);
            lost.into_iter().for_each(|waiter| output.refuse(waiter, Unserved::TimedOutInElection));
        }
    }

    /// Answers all waiting requests: the member is stopping.
    pub fn stop(&mut self, output: &mut Output<W>) {
        let waiting = self.consensus.take_waiters().chain(self.waiters.take_all());
        waiting.for_each(|waiter| output.refuse(waiter, Unserved::Stopped));
    }

    /// The parts of the node that work while the machine applies a long command, and the machine.
    fn meanwhile(&mut self) -> (Meanwhile<'_, W>, &mut Machine) {
        let applied_index = self.machine.applied_index();
        let Node { consensus, waiters, machine, .. } = self;
        (Meanwhile::new(consensus, waiters, applied_index), machine)
    }

    fn take(&mut self, input: Input<W>, output: &mut Output<W>) -> Result<(), Fatal> {
        match input {
            Input::Propose(proposal, waiter) => {
                let deadline = self.now + self.config.request_timeout();
                let is_disk_full = self.consensus.admission().is_disk_full();
                let weight = self.machine.weigh(&proposal, is_disk_full);
                // A message of the same batch may have begun a term.
                self.waiters.set_term(self.consensus.status().term);
                self.consensus.propose(proposal, weight, deadline, waiter, &mut self.waiters, output);
            }
            Input::ReadIndex(waiter) => {
                if self.consensus.may_wait(&self.waiters) {
                    self.waiters.add_read(waiter);
                } else {
                    output.refuse(waiter, Unserved::TooManyRequests);
                }
            }
            Input::Lease(query, waiter) => self.query(query, waiter, output),
            Input::ChangeMembers { id, change, waiter } => self.change_members(id, &change, waiter, output),
            Input::TransferLeader { to, waiter } => self.transfer_leader(to, waiter, output),
            Input::AdvanceElection { ticks } => {
                self.consensus.advance_election(ticks.min(self.config.election_ticks.saturating_sub(1)));
            }
            Input::MemberVersions { lowest } => self.machine.set_lowest_version(lowest, self.moment()),
            Input::Message(message) => self.receive(*message, output),
            Input::Snapshot { message, file } => self.machine.receive_snapshot(*message, file, output),
            Input::Unreachable(member) => self.consensus.report_unreachable(member),
            Input::SnapshotReported { id, is_ok } => self.consensus.report_snapshot(id, is_ok),
            Input::WalWritten(report) => {
                if let Some(index) = report.marked {
                    output.jobs.extend(self.machine.installation().marked(index));
                }
                self.consensus.wal_written(report, output);
                self.look_for_leader(output);
            }
            Input::Finished(Finished::PrepareWalFile(result)) => {
                self.consensus.wal_file_made(unless_full(result)?, self.config.retry_ticks, output);
            }
            Input::Finished(Finished::ImportSnapshot(result)) => self.imported(result, output),
            Input::Finished(Finished::InstallSnapshot(result)) => self.install(*result?, output),
            Input::Finished(finished) => self.machine.finished(finished, output)?,
            Input::Defragment(waiter) => {
                if self.consensus.may_wait(&self.waiters) {
                    self.machine.defragment(waiter, &mut self.waiters);
                } else {
                    output.refuse(waiter, Unserved::TooManyRequests);
                }
            }
            Input::Export(waiter) => self.machine.answer_export(waiter, output),
            Input::Tick => self.tick(output),
        }
        Ok(())
    }

    /// Takes a message of another member. What it forwards to the leader is admitted like what clients of this
    /// member ask for.
    fn receive(&mut self, message: Message, output: &mut Output<W>) {
        if message.r#type() == MessageType::MsgProp && self.consensus.status().role == Role::Leader {
            let is_disk_full = self.consensus.admission().is_disk_full();
            let (entries, weight) = self.machine.weigh_forwarded(message.entries, is_disk_full);
            self.consensus.step_forwarded(Message { entries, ..message }, weight);
        } else {
            self.consensus.step(message);
        }
        self.look_for_leader(output);
    }

    fn transfer_leader(&mut self, to: u64, waiter: W, output: &mut Output<W>) {
        let status = self.consensus.status();
        if status.role != Role::Leader {
            output.refuse(waiter, Unserved::NotLeader);
        } else if to == status.id {
            output.answers.push((waiter, Answer::Transferred));
        } else if !self.consensus.may_wait(&self.waiters) {
            output.refuse(waiter, Unserved::TooManyRequests);
        } else if self.consensus.transfer_leader(to) {
            self.waiters.add_transfer(to, waiter);
        } else {
            output.refuse(waiter, Unserved::BadTransferee);
        }
    }

    fn change_members(&mut self, id: u64, change: &MemberChange, waiter: W, output: &mut Output<W>) {
        if !self.consensus.may_wait(&self.waiters) {
            return output.refuse(waiter, Unserved::TooManyRequests);
        }
        if let MemberChange::Promote(learner) = change {
            match self.consensus.is_learner_ready(*learner) {
                None => return output.refuse(waiter, Unserved::NotLeader),
                Some(false) => {
                    let refusal = Answer::Applied(Err(Refusal::LearnerNotReady));
                    return output.answers.push((waiter, refusal));
                }
                Some(true) => {}
            }
        }
        let deadline = self.now + self.config.request_timeout();
        self.consensus.change_members(id, change, deadline, waiter);
    }

    /// A state of the leader's was read. Raft says whether it is news.
    fn imported(&mut self, result: Result<Box<Imported>, ImportError>, output: &mut Output<W>) {
        let refusal = result.as_ref().err().map(ToString::to_string);
        let index = self.machine.installation().importing().map_or(0, snapshot_index);
        let Some((message, imported)) = self.machine.installation().imported(result) else {
            output.notes.push(Note::Snapshot { index, refusal });
            return;
        };
        let awaited = self.consensus.awaited_snapshot();
        self.consensus.step_snapshot(message);
        self.look_for_leader(output);
        self.agree(output);
        if awaited.is_none() && self.consensus.awaited_snapshot() == Some(index) {
            self.machine.installation().accepted(imported);
        } else {
            let refusal = Some("the snapshot holds nothing new".to_owned());
            output.notes.push(Note::Snapshot { index, refusal });
            self.machine.discard(*imported, output);
        }
    }

    /// The state of a snapshot is in use from now on. Whoever waits for something that the old state was about is
    /// answered, as it is not known whether the snapshot contains it.
    fn install(&mut self, installed: Installed, output: &mut Output<W>) {
        let applied = self.machine.install(installed, output);
        self.consensus.installed(applied, self.machine.conf_state(), output);
        let ended = self.waiters.take_of_store();
        ended.for_each(|waiter| output.refuse(waiter, Unserved::TimedOut));
    }

    fn query(&mut self, query: LeaseQuery, waiter: W, output: &mut Output<W>) {
        if self.consensus.may_wait(&self.waiters) {
            self.machine.query(query, waiter, self.now, &mut self.waiters, output);
        } else {
            output.refuse(waiter, Unserved::TooManyRequests);
        }
    }

    fn tick(&mut self, output: &mut Output<W>) {
        self.consensus.tick(output);
        self.look_for_leader(output);
        if self.machine.tick() {
            let stuck = self.waiters.take_defragmented(u64::MAX);
            stuck.into_iter().for_each(|waiter| output.refuse(waiter, Unserved::TimedOut));
        }
        self.end_waiting(output);
        self.consensus.hand_over_if_stalled(self.config.election_timeout(), output);
        let published = Arc::clone(&self.published);
        for context in self.waiters.retry_reads(self.now, || published.next_request_id()) {
            self.consensus.ask_read_index(context);
        }
    }

    /// The one place that answers requests whose deadline has passed.
    fn end_waiting(&mut self, output: &mut Output<W>) {
        let mut expired = Vec::new();
        self.consensus.take_expired(self.now, |deadline, waiter| expired.push((deadline, waiter)));
        self.waiters.take_expired(self.now, |deadline, waiter| expired.push((deadline, waiter)));
        for (deadline, waiter) in expired {
            let asked_at = deadline.saturating_sub(self.config.request_timeout());
            output.refuse(waiter, self.consensus.why_late(asked_at, self.config.election_timeout()));
        }
    }

    /// Hands proposals and read requests to raft, and takes what raft decides.
    fn agree(&mut self, output: &mut Output<W>) {
        self.waiters.set_term(self.consensus.status().term);
        self.consensus.admit_queued(&mut self.waiters, output);
        self.revoke_expired();
        self.propose_batch(output);
        self.consensus.propose_member_changes(&mut self.waiters);
        if self.waiters.has_lease_queries() {
            self.ask_leadership();
        }
        let published = Arc::clone(&self.published);
        let context = self.waiters.begin_read_round(self.now, || published.next_request_id());
        if let Some(context) = context {
            self.consensus.ask_read_index(context);
        }
        while let Some(committed) = self.consensus.decide(&mut self.waiters, output) {
            self.machine.commit(committed);
        }
        if let Some(led_at) = self.consensus.led_at()
            && self.led_at.is_none_or(|known| known < led_at)
        {
            self.led_at = Some(led_at);
            self.machine.prove_leadership(self.led_at, self.now, &mut self.waiters, output);
        }
    }

    /// Queries about leases wait for a proof that this member leads. Heartbeats bring one with each tick; a read
    /// brings one at once.
    fn ask_leadership(&mut self) {
        let is_due = self.leadership_asked_at.is_none_or(|at| at + self.config.tick <= self.now);
        if is_due {
            self.leadership_asked_at = Some(self.now);
            self.consensus.ask_read_index(self.published.next_request_id());
        }
    }

    /// Answers requests that were meant for a leader that no longer leads.
    fn look_for_leader(&mut self, output: &mut Output<W>) {
        if self.consensus.look_for_leader(self.now, output) {
            self.machine.step_down();
            let ended = self.waiters.take_leaders();
            ended.for_each(|waiter| output.refuse(waiter, Unserved::LeaderChanged));
            let led_by_wish = self.waiters.take_transfers(self.consensus.status().leader);
            output.answers.extend(led_by_wish.into_iter().map(|waiter| (waiter, Answer::Transferred)));
        }
    }

    /// Proposes to revoke expired leases: as many as may be under way and there is room for. The others are
    /// tried again when there may be more room.
    fn revoke_expired(&mut self) {
        self.consensus.take_revokes().for_each(|id| self.machine.revoking(id));
        for id in self.machine.expired_leases(self.now) {
            let is_disk_full = self.consensus.admission().is_disk_full();
            let (proposal, weight) = self.machine.revocation(id, is_disk_full);
            if !self.consensus.propose_revocation(proposal, weight) {
                self.has_postponed_revocations = true;
            }
        }
        self.consensus.take_revokes().for_each(|id| self.machine.revoking(id));
    }

    /// If the leader was lost since the proposals were admitted, no member has them.
    fn propose_batch(&mut self, output: &mut Output<W>) {
        let own = self.machine.take_proposals();
        let Err(lost) = self.consensus.propose_batch(own) else { return };
        self.machine.revokes_lost(&lost.revokes);
        for id in lost.ids {
            if let Some(waiter) = self.waiters.take_proposal(id) {
                output.refuse(waiter, Unserved::LeaderChanged);
            }
            self.waiters.take_alarmed(id).into_iter().for_each(|waiter| output.refuse_for_space(waiter));
        }
    }

    /// A lone voter makes itself the leader. A member that begins to lead starts the work of a leader.
    fn lead(&mut self, output: &mut Output<W>) {
        if self.consensus.campaign_if_alone() {
            self.look_for_leader(output);
        }
        let Status { term, leader, .. } = self.consensus.status();
        if leader != 0 {
            self.machine.introduce(self.now, self.config.request_timeout());
        }
        if self.consensus.leads() && self.led_term != term {
            self.led_term = term;
            self.machine.lead(self.now);
            self.machine.prove_leadership(self.led_at, self.now, &mut self.waiters, output);
        }
    }

    fn moment(&self) -> Moment {
        Moment { now: self.now, is_leader: self.consensus.status().role == Role::Leader }
    }

    fn publish_numbers(&mut self) {
        let status = self.consensus.status();
        let published = &self.published;
        published.term.store(status.term, Ordering::Relaxed);
        published.leader.store(status.leader, Ordering::Relaxed);
        published.committed.store(status.commit, Ordering::Relaxed);
        published.has_space.store(self.consensus.admission().has_space(), Ordering::Relaxed);
        self.machine.publish();
        // Stored last: a thread that reads `true` also sees everything that was applied before.
        published.reads_at_once.store(self.consensus.answers_alone(), Ordering::Release);
    }
}
