//! The part of a member that agrees with the others: proposals, raft, the WAL's room, messages, read indexes.
//!
//! ```text
//!   proposals ─▶ admission ─▶ batch ─▶ raft ─▶ WAL tasks, messages
//!                    │                  └────▶ committed entries ─▶ machine
//!                    └▶ queues: no leader, no room yet, long
//! ```
//!
//! Does not know what a command means. Its decisions leave the node before the machine applies anything.

pub(crate) mod admission;
mod handover;
mod member_changes;
mod proposal_queue;
mod received;
mod snapshots;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use proto::raftpb::{ConfChange, ConfState, Entry, Message};
use raft::{Persist, Raft, Ready, Role, Status};

use self::admission::{Admission, ENTRY_BYTES};
use self::proposal_queue::{ProposalQueue, Queued};
use crate::config::Config;
use crate::error::Unserved;
use crate::handover::{EntryId, RevisionRoom};
use crate::input::Proposal;
use crate::output::{Note, Output};
use crate::waiters::{LONG_LEN_MIN, Waiters};
use crate::wal_writer::{WalReport, WalTask};

/// Requests that may wait at a time, for whatever reason.
pub(crate) const WAITING_MAX: usize = 100_000;

/// Bytes of the raft log entries of proposals that may wait at a time. Each entry is held about twice more on
/// its way into the WAL.
const PROPOSALS_BYTES_MAX: usize = 256 << 20;

/// Bytes of long proposals that may be under way (written or applied) before the next long one waits, so that
/// short ones never wait for many. The proposal that passes the limit is admitted.
const LONG_BYTES_MAX: usize = 2 << 20;

/// Bytes of applied entries kept in memory for slow followers. Their number alone is no bound: entries may
/// have a megabyte each.
pub(crate) const CATCHUP_BYTES_MAX: u64 = 32 << 20;

/// Bytes of a leader's entries that may wait for a file of the WAL.
const HELD_BYTES_MAX: usize = 8 << 20;

/// Election timeouts between two times that a leader hands over because of its disk.
const HANDOVER_REST: u32 = 60;

/// A change of the members that waits to be proposed.
#[derive(Debug)]
struct QueuedChange<W> {
    id: u64,
    /// The `raftpb.ConfChange`.
    data: Bytes,
    deadline: Duration,
    waiter: W,
}

/// What commands take of the room for commands.
#[derive(Debug, Clone, Default)]
pub(crate) struct Weight {
    pub(crate) bytes: u64,
    pub(crate) takes_space: bool,
    /// The leases that they revoke.
    pub(crate) revokes: Vec<i64>,
}

/// Proposals that no member has.
#[derive(Debug)]
pub(crate) struct Lost {
    pub(crate) ids: Vec<u64>,
    /// The leases that they would have revoked.
    pub(crate) revokes: Vec<i64>,
}

/// The decision about a proposal.
enum Admitted<W> {
    /// It is part of the next batch, or waits for other long ones.
    Taken,
    /// It has to wait for a spare file.
    TooEarly(Queued<W>),
    /// There is no room, and none is expected.
    NoSpace(W),
}

/// A member's part in the agreement.
#[derive(Debug)]
pub(crate) struct Consensus<W> {
    raft: Raft,
    catchup_entries: u64,
    is_only_voter: bool,
    /// From which applied index on nobody else can have answered for an entry that this member has not applied;
    /// `None` while there are other members, also ones without a vote.
    alone_from: Option<u64>,
    /// The last entry that the machine has applied.
    applied: EntryId,
    admission: Admission,
    /// Proposals that wait for a leader to be known, or for a spare file that is late.
    queue: ProposalQueue<W>,
    /// Long proposals that wait for those before them. Empty unless the limit of long proposals is reached.
    long_queue: ProposalQueue<W>,
    /// Proposals of the next batch.
    batch: Vec<Proposal>,
    /// Changes of the members that wait to be proposed: one at a time can be under way.
    member_changes: VecDeque<QueuedChange<W>>,
    /// Appends of the leader that wait for a file of the WAL, in order.
    held: VecDeque<Message>,
    /// Bytes of their entries.
    held_bytes: usize,
    /// Batches that must not be written before the state of a snapshot is installed, which the first of them is about.
    behind_snapshot: VecDeque<Persist>,
    /// Leases that proposals admitted since the last look revoke.
    revokes: Vec<i64>,
    /// WAL tasks that need no sync by themselves: they go with the next that does, or with the next tick.
    deferred: Vec<WalTask>,
    /// The time of the call under way.
    now: Duration,
    /// When this member last began to hand over because of its disk.
    disk_handover_at: Option<Duration>,
    /// The leader as last told, and its term.
    leader: (u64, u64),
    /// When it became known.
    leader_since: Option<Duration>,
}

impl<W> Consensus<W> {
    pub(crate) fn new(config: &Config, raft: Raft, wal_room: u64, applied: EntryId) -> Consensus<W> {
        let is_only_voter = is_only_voter(&raft.conf_state(), config.member.id);
        // Leading needs an entry of the new term to be applied, and so all before.
        let alone_from = is_only_member(&raft.conf_state(), config.member.id).then_some(0);
        Consensus {
            raft,
            catchup_entries: config.catchup_entries,
            is_only_voter,
            alone_from,
            applied,
            admission: Admission::new(config.segment_bytes, wal_room),
            queue: ProposalQueue::default(),
            long_queue: ProposalQueue::default(),
            batch: Vec::new(),
            member_changes: VecDeque::new(),
            held: VecDeque::new(),
            held_bytes: 0,
            behind_snapshot: VecDeque::new(),
            revokes: Vec::new(),
            deferred: Vec::new(),
            now: Duration::ZERO,
            disk_handover_at: None,
            leader: (0, 0),
            leader_since: None,
        }
    }

    pub(crate) fn status(&self) -> Status {
        self.raft.status()
    }

    pub(crate) fn entry_term(&self, index: u64) -> Option<u64> {
        self.raft.entry_term(index)
    }

    pub(crate) fn admission(&self) -> &Admission {
        &self.admission
    }

    /// Whether this member leads, and has applied an entry of its own term: it knows all that was committed
    /// before.
    pub(crate) fn leads(&self) -> bool {
        let status = self.raft.status();
        status.role == Role::Leader && self.applied.term == status.term
    }

    /// Whether nothing can be acknowledged that this member has not applied: it leads, there is no other member, and
    /// what was committed while there were others is applied. A learner may apply an entry, and answer for it, before
    /// the leader does.
    pub(crate) fn answers_alone(&self) -> bool {
        self.leads() && self.alone_from.is_some_and(|index| self.applied.index >= index)
    }

    pub(crate) fn tick(&mut self, output: &mut Output<W>) {
        self.raft.tick();
        if self.admission.spare_file().tick() {
            output.wal.push(WalTask::OfferNext);
        }
        output.wal.append(&mut self.deferred);
    }

    /// Lets `ticks` pass for a member that waits for a leader.
    pub(crate) fn advance_election(&mut self, ticks: u32) {
        for _ in 0..ticks {
            if self.raft.status().role == Role::Follower {
                self.raft.tick();
            }
        }
    }

    /// A message to this member was lost.
    pub(crate) fn report_unreachable(&mut self, member: u64) {
        self.raft.report_unreachable(member);
    }

    pub(crate) fn wal_written(&mut self, report: WalReport, output: &mut Output<W>) {
        if let Some(seq) = report.persisted {
            self.raft.persisted(seq);
        }
        self.admission.set_wal_room(report.room, report.persisted);
        self.step_held();
        output.jobs.extend(report.next.map(crate::Job::PrepareWalFile));
    }

    /// A spare file of the WAL was made, or could not be for want of space: then the next attempt comes after
    /// `retry_ticks`.
    pub(crate) fn wal_file_made(
        &mut self,
        file: Option<disk::wal::SpareFile>,
        retry_ticks: u32,
        output: &mut Output<W>,
    ) {
        self.admission.spare_file().finished(file.is_none().then_some(retry_ticks));
        output.wal.extend(file.map(WalTask::Adopt));
        self.step_held();
    }

    /// Adds a proposal of a client to the next batch or to a queue, or refuses it. The proposal takes
    /// `weight` bytes of the room for commands.
    pub(crate) fn propose(
        &mut self,
        proposal: Proposal,
        weight: u64,
        deadline: Duration,
        waiter: W,
        waiters: &mut Waiters<W>,
        output: &mut Output<W>,
    ) {
        let bytes = waiters.proposals_bytes() + self.queue.bytes() + self.long_queue.bytes();
        if !self.may_wait(waiters) || bytes + proposal.len() > PROPOSALS_BYTES_MAX {
            return output.refuse(waiter, Unserved::TooManyRequests);
        }
        let queued = Queued { proposal, weight: weight + ENTRY_BYTES as u64, deadline, waiter };
        if !self.takes_proposals() || !self.queue.is_empty() {
            // New proposals queue behind those that wait already.
            self.queue.push(queued);
        } else {
            match self.admit(queued, waiters) {
                Admitted::Taken => {}
                Admitted::TooEarly(queued) => self.queue.push(queued),
                Admitted::NoSpace(waiter) => output.refuse_for_space(waiter),
            }
        }
    }

    /// Whether one more request may wait.
    pub(crate) fn may_wait(&self, waiters: &Waiters<W>) -> bool {
        let queued = self.queue.len() + self.long_queue.len() + self.member_changes.len();
        waiters.len() + queued < WAITING_MAX
    }

    /// Admits queued proposals as far as possible. Looks at those that leave the queues, and at one more.
    pub(crate) fn admit_queued(&mut self, waiters: &mut Waiters<W>, output: &mut Output<W>) {
        while self.takes_proposals()
            && let Some(queued) = self.queue.pop()
        {
            match self.admit(queued, waiters) {
                Admitted::Taken => {}
                Admitted::TooEarly(queued) => {
                    self.queue.push_front(queued);
                    break;
                }
                Admitted::NoSpace(waiter) => output.refuse_for_space(waiter),
            }
        }
        while self.takes_proposals()
            && waiters.long_bytes() < LONG_BYTES_MAX
            && let Some(queued) = self.long_queue.pop()
        {
            match self.admit(queued, waiters) {
                Admitted::Taken => {}
                Admitted::TooEarly(queued) => {
                    self.long_queue.push_front(queued);
                    break;
                }
                Admitted::NoSpace(waiter) => output.refuse_for_space(waiter),
            }
        }
    }

    /// Whether [`Consensus::admit_queued`] could admit something.
    pub(crate) fn can_admit_queued(&self) -> bool {
        self.first_fits() == Some(true)
    }

    /// Whether queued proposals wait for room.
    pub(crate) fn is_waiting_for_room(&self) -> bool {
        self.first_fits() == Some(false)
    }

    /// Whether there is room for the first queued proposal; `None` if there is none, or if it waits for a
    /// leader.
    fn first_fits(&self) -> Option<bool> {
        let first = self.queue.first().filter(|_| self.takes_proposals())?;
        Some(self.admission.fits(first.weight, first.proposal.takes_space))
    }

    /// Admits a revocation of a lease that has run out, if there is room. It takes no space: what is deleted
    /// with the lease is worth more than the little that the revocation writes.
    pub(crate) fn propose_revocation(&mut self, proposal: Proposal, weight: u64) -> bool {
        let weight = weight + ENTRY_BYTES as u64;
        let fits = self.admission.fits(weight, proposal.takes_space);
        if fits {
            self.add_to_batch(proposal, weight);
        }
        fits
    }

    /// The leases that were not known to be revoked when this was last asked.
    pub(crate) fn take_revokes(&mut self) -> impl Iterator<Item = i64> {
        self.revokes.drain(..)
    }

    /// Proposes the member's own commands, then the batch, as one proposal. Without a leader all of it is
    /// lost, and so it is while leadership is being handed over.
    pub(crate) fn propose_batch(&mut self, own: Vec<Proposal>) -> Result<(), Lost> {
        self.admission.proposed();
        if own.is_empty() && self.batch.is_empty() {
            return Ok(());
        }
        let proposals = || own.iter().chain(&self.batch);
        let lost = Lost {
            ids: proposals().map(|proposal| proposal.id).collect(),
            revokes: proposals().filter_map(|proposal| proposal.revokes).collect(),
        };
        let data = own.into_iter().chain(self.batch.drain(..)).map(|proposal| proposal.data);
        self.raft.propose(data).map(|_| ()).map_err(|_| lost)
    }

    /// Asks for a read index under a context that no member has used before.
    pub(crate) fn ask_read_index(&mut self, context: u64) {
        self.raft.read_index(Bytes::copy_from_slice(&context.to_be_bytes()));
    }

    /// The latest time at which this member certainly led.
    pub(crate) fn led_at(&self) -> Option<Duration> {
        self.raft.led_at().map(Duration::from_nanos)
    }

    /// Notes the time of the call under way.
    pub(crate) fn set_time(&mut self, now: Duration) {
        self.now = now;
        self.raft.set_time(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Passes on what raft has decided: WAL tasks and messages to `output`, read indexes to `waiters`, and
    /// committed entries as the result. `None` if raft has decided nothing.
    pub(crate) fn decide(&mut self, waiters: &mut Waiters<W>, output: &mut Output<W>) -> Option<Vec<Entry>> {
        let ready = loop {
            if let Some(ready) = self.raft.ready() {
                break ready;
            }
            // Whatever raft has taken of a leader's entries is handed to the WAL by now. Entries that raft knew already
            // take no room there, and no report of the WAL follows: there may be room for what waits behind them.
            self.admission.appended();
            let waiting = self.held.len();
            if !disk::seeded_bug!("held-appends-forgotten") {
                self.step_held();
            }
            if self.held.len() == waiting {
                return None;
            }
        };
        let Ready { persist, messages, committed, read_states, .. } = ready;
        if let Some(batch) = persist {
            if batch.snapshot.is_some() || !self.behind_snapshot.is_empty() {
                self.behind_snapshot.push_back(batch);
            } else {
                self.hand_to_wal(batch, output);
            }
        }
        output.messages.extend(messages);
        for state in read_states {
            // Another member may answer anything: a context that was not asked for matches no round.
            if let Ok(context) = <[u8; 8]>::try_from(&state.context[..]) {
                waiters.set_read_index(u64::from_be_bytes(context), state.index);
            }
        }
        Some(committed)
    }

    fn hand_to_wal(&mut self, batch: Persist, output: &mut Output<W>) {
        self.admission.handed_to_wal(&batch, self.now);
        let must_sync = batch.must_sync;
        self.deferred.push(WalTask::Append(batch));
        if must_sync {
            output.wal.append(&mut self.deferred);
        }
    }

    /// A lone voter need not wait for an election, once it has applied everything. True if it stands for one.
    pub(crate) fn campaign_if_alone(&mut self) -> bool {
        let status = self.raft.status();
        let is_due = self.is_only_voter && status.role == Role::Follower;
        if !is_due || status.commit != self.applied.index {
            return false;
        }
        self.raft.campaign();
        self.raft.status().role != Role::Follower
    }

    /// The machine has applied entries up to `applied`.
    pub(crate) fn applied(&mut self, applied: EntryId) {
        self.applied = applied;
        self.raft.applied_to(applied.index);
        let forgotten = applied.index.saturating_sub(self.catchup_entries);
        self.raft.compact(forgotten.max(self.raft.status().first_index - 1), CATCHUP_BYTES_MAX);
    }

    /// Uses a configuration from now on. Must be called before [`Consensus::applied`] for the entry that
    /// holds the change. Returns the whole configuration.
    pub(crate) fn configure(&mut self, change: &ConfChange) -> ConfState {
        let conf_state = self.raft.apply_conf_change(&raft::single_change(change));
        self.note_configuration(&conf_state);
        conf_state
    }

    fn note_configuration(&mut self, conf_state: &ConfState) {
        let status = self.raft.status();
        self.is_only_voter = is_only_voter(conf_state, status.id);
        let is_alone = is_only_member(conf_state, status.id);
        // Others may have applied, and answered for, all that is committed by now.
        self.alone_from = is_alone.then(|| self.alone_from.unwrap_or(status.commit));
    }

    /// Notes the room in the revision log after everything up to the last applied entry.
    pub(crate) fn set_revision_room(&mut self, room: RevisionRoom, output: &mut Output<W>) {
        self.admission.set_revision_room(room, self.applied.index);
        if let Some(is_left) = self.admission.check_space() {
            output.notes.push(Note::Space { is_left });
        }
    }

    /// Takes out the queued proposals whose deadline has passed: they are never proposed.
    pub(crate) fn take_expired(&mut self, now: Duration, mut expired: impl FnMut(Duration, W)) {
        for queue in [&mut self.queue, &mut self.long_queue] {
            while let Some(queued) = queue.pop_expired(now) {
                expired(queued.deadline, queued.waiter);
            }
        }
        while let Some(change) = self.member_changes.pop_front_if(|change| change.deadline <= now) {
            expired(change.deadline, change.waiter);
        }
    }

    /// Why a request that was asked at `asked_at` was not finished in time.
    pub(crate) fn why_late(&self, asked_at: Duration, election_timeout: Duration) -> Unserved {
        let is_by_election = |since: Duration| asked_at < since && since < asked_at + 2 * election_timeout;
        match self.leader_since {
            Some(since) if is_by_election(since) => Unserved::TimedOutInElection,
            _ => Unserved::TimedOut,
        }
    }

    /// Takes out all waiting proposals.
    pub(crate) fn take_waiters(&mut self) -> impl Iterator<Item = W> + use<W> {
        let changes = std::mem::take(&mut self.member_changes).into_iter().map(|change| change.waiter);
        self.queue.take_waiters().chain(self.long_queue.take_waiters()).chain(changes)
    }

    fn admit(&mut self, queued: Queued<W>, waiters: &mut Waiters<W>) -> Admitted<W> {
        let proposal = &queued.proposal;
        if proposal.len() >= LONG_LEN_MIN && waiters.long_bytes() >= LONG_BYTES_MAX {
            self.long_queue.push(queued);
            Admitted::Taken
        } else if self.admission.fits(queued.weight, proposal.takes_space) {
            let Queued { proposal, weight, deadline, waiter } = queued;
            waiters.add_proposal(proposal.id, proposal.len(), deadline, waiter);
            self.add_to_batch(proposal, weight);
            Admitted::Taken
        } else if self.admission.expects_room() {
            Admitted::TooEarly(queued)
        } else {
            Admitted::NoSpace(queued.waiter)
        }
    }

    fn add_to_batch(&mut self, proposal: Proposal, weight: u64) {
        self.admission.admit((proposal.len() + ENTRY_BYTES) as u64, weight);
        self.revokes.extend(proposal.revokes);
        self.batch.push(proposal);
    }

    /// Notes who leads and since when. True if that has changed: the same member in a later term is another
    /// leader, since others may have led in between.
    pub(crate) fn look_for_leader(&mut self, now: Duration, output: &mut Output<W>) -> bool {
        let Status { leader, term, .. } = self.raft.status();
        let (last_leader, last_term) = self.leader;
        let is_changed = leader != last_leader || (leader != 0 && term != last_term);
        if is_changed {
            self.leader = (leader, term);
            if leader != 0 {
                self.leader_since = Some(now);
            }
            output.notes.push(Note::Leader { id: leader, term });
        }
        is_changed
    }
}

/// Whether `member` alone can decide.
fn is_only_voter(conf_state: &ConfState, member: u64) -> bool {
    let is_alone_outgoing = conf_state.voters_outgoing.iter().all(|voter| *voter == member);
    conf_state.voters == [member] && is_alone_outgoing
}

/// Whether there is no other member than `member`, with or without a vote.
fn is_only_member(conf_state: &ConfState, member: u64) -> bool {
    let has_learners = !conf_state.learners.is_empty() || !conf_state.learners_next.is_empty();
    is_only_voter(conf_state, member) && !has_learners
}

#[cfg(test)]
mod tests;
