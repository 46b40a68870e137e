//! All requests that wait for an answer of the node, except commands that are not proposed yet.
//!
//! Each has a deadline, which is compared with the time that each call of the node brings.
//! [`Waiters::take_expired`] takes out those whose deadline has passed.

mod reads;
mod wait_list;

use std::collections::VecDeque;
use std::time::Duration;

use self::reads::Reads;
use self::wait_list::WaitList;
use crate::machine::lessor::LeaseQuery;

/// A proposal of at least this many bytes counts as long: WAL and store need as much time for it as for many
/// others.
pub(crate) const LONG_LEN_MIN: usize = 64 << 10;

/// A proposal without a result so far.
#[derive(Debug)]
struct Proposed<W> {
    id: u64,
    /// Bytes of the entry.
    bytes: usize,
    deadline: Duration,
    /// The term in which it was proposed.
    term: u64,
    waiter: W,
}

/// Waiters of proposals, reads, compactions, alarms and renewals.
#[derive(Debug)]
pub(crate) struct Waiters<W> {
    /// The deadline of requests that begin to wait now.
    deadline: Duration,
    /// The term in which proposals are made from now on.
    term: u64,
    /// By request id, ascending. Most are proposed and applied in that order, so it grows and shrinks at its
    /// ends.
    proposals: VecDeque<Proposed<W>>,
    /// Bytes of the entries of all proposals.
    proposals_bytes: usize,
    /// Bytes of those that are long.
    long_bytes: usize,
    reads: Reads<W>,
    /// Requests that wait until a compaction has finished, by its revision.
    compactions: WaitList<i64, W>,
    /// Requests that wait until an alarm is raised because of them, by the request id of the alarm.
    alarmed: WaitList<u64, W>,
    /// Renewals that wait until a command about their lease is applied, by the id of the lease.
    renewals: WaitList<i64, W>,
    /// Queries about leases that wait until it is proven that this member leads.
    lease_queries: WaitList<(), (LeaseQuery, W)>,
    /// Requests to hand leadership over, by the member that is to lead.
    transfers: WaitList<u64, W>,
    /// Requests that wait for a defragmentation, by its number. They wait as long as it makes progress.
    defragmentations: WaitList<u64, W>,
}

impl<W> Default for Waiters<W> {
    fn default() -> Self {
        Waiters {
            deadline: Duration::ZERO,
            term: 0,
            proposals: VecDeque::new(),
            proposals_bytes: 0,
            long_bytes: 0,
            reads: Reads::default(),
            compactions: WaitList::default(),
            alarmed: WaitList::default(),
            renewals: WaitList::default(),
            lease_queries: WaitList::default(),
            transfers: WaitList::default(),
            defragmentations: WaitList::default(),
        }
    }
}

impl<W> Waiters<W> {
    /// Sets the deadline of requests that begin to wait from now on. It never decreases.
    pub(crate) fn set_deadline(&mut self, deadline: Duration) {
        self.deadline = deadline;
    }

    /// Sets the term in which proposals are made from now on.
    pub(crate) fn set_term(&mut self, term: u64) {
        self.term = term;
    }

    /// Takes proposals that were made in terms before `term`.
    pub(crate) fn take_proposals_before(&mut self, term: u64) -> Vec<W> {
        let all = std::mem::take(&mut self.proposals);
        let (old, kept): (VecDeque<_>, VecDeque<_>) = all.into_iter().partition(|p| p.term < term);
        self.proposals = kept;
        old.iter().for_each(|proposed| self.uncount(proposed.bytes));
        old.into_iter().map(|proposed| proposed.waiter).collect()
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        let lists = self.compactions.len() + self.alarmed.len() + self.renewals.len();
        let lists = lists + self.lease_queries.len() + self.transfers.len() + self.defragmentations.len();
        self.proposals.len() + self.reads.len() + lists
    }

    pub(crate) fn proposals_bytes(&self) -> usize {
        self.proposals_bytes
    }

    pub(crate) fn long_bytes(&self) -> usize {
        self.long_bytes
    }

    pub(crate) fn add_proposal(&mut self, id: u64, bytes: usize, deadline: Duration, waiter: W) {
        self.proposals_bytes += bytes;
        self.long_bytes += long(bytes);
        let at = match self.proposals.back() {
            Some(last) if last.id > id => self.proposals.partition_point(|proposed| proposed.id < id),
            _ => self.proposals.len(),
        };
        let term = self.term;
        self.proposals.insert(at, Proposed { id, bytes, deadline, term, waiter });
    }

    pub(crate) fn take_proposal(&mut self, id: u64) -> Option<W> {
        let at = match self.proposals.front()? {
            first if first.id == id => 0,
            _ => self.proposals.binary_search_by_key(&id, |proposed| proposed.id).ok()?,
        };
        let proposed = self.proposals.remove(at)?;
        self.uncount(proposed.bytes);
        Some(proposed.waiter)
    }

    fn uncount(&mut self, bytes: usize) {
        self.proposals_bytes -= bytes;
        self.long_bytes -= long(bytes);
    }

    pub(crate) fn add_read(&mut self, waiter: W) {
        self.reads.add(self.deadline, waiter);
    }

    /// See [`Reads::begin_round`].
    pub(crate) fn begin_read_round(
        &mut self,
        now: Duration,
        next_context: impl FnOnce() -> u64,
    ) -> Option<u64> {
        self.reads.begin_round(now, next_context)
    }

    /// See [`Reads::retry`].
    pub(crate) fn retry_reads(&mut self, now: Duration, next_context: impl FnMut() -> u64) -> Vec<u64> {
        self.reads.retry(now, next_context)
    }

    /// See [`Reads::set_index`].
    pub(crate) fn set_read_index(&mut self, context: u64, index: u64) {
        self.reads.set_index(context, index);
    }

    /// See [`Reads::take_readable`].
    pub(crate) fn take_readable(&mut self, applied: u64, readable: impl FnMut(W)) {
        self.reads.take_readable(applied, readable);
    }

    pub(crate) fn add_compaction(&mut self, revision: i64, waiter: W) {
        self.compactions.add(revision, self.deadline, waiter);
    }

    /// Takes those that waited for the compaction at `revision` or an earlier one.
    pub(crate) fn take_compacted(&mut self, revision: i64) -> Vec<W> {
        self.compactions.take(i64::MIN..=revision)
    }

    pub(crate) fn add_alarmed(&mut self, id: u64, waiters: Vec<W>) {
        waiters.into_iter().for_each(|waiter| self.alarmed.add(id, self.deadline, waiter));
    }

    /// Takes those that waited for the alarm that was proposed under `id`.
    pub(crate) fn take_alarmed(&mut self, id: u64) -> Vec<W> {
        if self.alarmed.len() == 0 { Vec::new() } else { self.alarmed.take(id..=id) }
    }

    pub(crate) fn add_renewal(&mut self, lease: i64, waiter: W) {
        self.renewals.add(lease, self.deadline, waiter);
    }

    /// Takes the renewals of this lease.
    pub(crate) fn take_renewals(&mut self, lease: i64) -> Vec<W> {
        if self.renewals.len() == 0 { Vec::new() } else { self.renewals.take(lease..=lease) }
    }

    pub(crate) fn add_lease_query(&mut self, query: LeaseQuery, waiter: W) {
        self.lease_queries.add((), self.deadline, (query, waiter));
    }

    /// Takes the queries that wait until it is proven that this member leads.
    pub(crate) fn take_lease_queries(&mut self) -> Vec<(LeaseQuery, W)> {
        if self.lease_queries.len() == 0 { Vec::new() } else { self.lease_queries.take(()..=()) }
    }

    pub(crate) fn has_lease_queries(&self) -> bool {
        self.lease_queries.len() > 0
    }

    pub(crate) fn add_transfer(&mut self, to: u64, waiter: W) {
        self.transfers.add(to, self.deadline, waiter);
    }

    /// Takes those that wait until `leader` leads.
    pub(crate) fn take_transfers(&mut self, leader: u64) -> Vec<W> {
        if self.transfers.len() == 0 { Vec::new() } else { self.transfers.take(leader..=leader) }
    }

    pub(crate) fn add_defragmentation(&mut self, run: u64, waiter: W) {
        self.defragmentations.add(run, Duration::MAX, waiter);
    }

    /// Takes those that wait for defragmentations up to this one.
    pub(crate) fn take_defragmented(&mut self, run: u64) -> Vec<W> {
        self.defragmentations.take(0..=run)
    }

    /// Takes requests for the leader of a term that has ended.
    pub(crate) fn take_leaders(&mut self) -> impl Iterator<Item = W> + use<W> {
        let queries = self.lease_queries.take_all().map(|(_, waiter)| waiter);
        self.reads.take_all().chain(self.renewals.take_all()).chain(queries)
    }

    /// Takes those that wait for something of the store that is being replaced.
    pub(crate) fn take_of_store(&mut self) -> impl Iterator<Item = W> + use<W> {
        let proposals = std::mem::take(&mut self.proposals).into_iter().map(|proposed| proposed.waiter);
        (self.proposals_bytes, self.long_bytes) = (0, 0);
        let lists = self.compactions.take_all().chain(self.alarmed.take_all());
        proposals.chain(lists).chain(self.defragmentations.take_all())
    }

    /// Takes those whose deadline has passed, with the deadline.
    pub(crate) fn take_expired(&mut self, now: Duration, mut expired: impl FnMut(Duration, W)) {
        while let Some(proposed) = self.proposals.pop_front_if(|proposed| proposed.deadline <= now) {
            self.uncount(proposed.bytes);
            expired(proposed.deadline, proposed.waiter);
        }
        self.reads.take_expired(now, &mut expired);
        while let Some((deadline, waiter)) = self.compactions.take_expired(now) {
            expired(deadline, waiter);
        }
        while let Some((deadline, waiter)) = self.alarmed.take_expired(now) {
            expired(deadline, waiter);
        }
        while let Some((deadline, waiter)) = self.renewals.take_expired(now) {
            expired(deadline, waiter);
        }
        while let Some((deadline, (_, waiter))) = self.lease_queries.take_expired(now) {
            expired(deadline, waiter);
        }
        while let Some((deadline, waiter)) = self.transfers.take_expired(now) {
            expired(deadline, waiter);
        }
    }

    /// Takes all.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = W> + use<W> {
        let Waiters {
            proposals,
            mut reads,
            mut compactions,
            mut alarmed,
            mut renewals,
            mut lease_queries,
            mut transfers,
            mut defragmentations,
            ..
        } = std::mem::take(self);
        let proposals = proposals.into_iter().map(|proposed| proposed.waiter);
        let lists = compactions.take_all().chain(alarmed.take_all()).chain(renewals.take_all());
        let lists = lists.chain(lease_queries.take_all().map(|(_, waiter)| waiter));
        let lists = lists.chain(transfers.take_all()).chain(defragmentations.take_all());
        proposals.chain(reads.take_all()).chain(lists)
    }
}

/// What a proposal of so many bytes adds to the long ones.
fn long(bytes: usize) -> usize {
    if bytes >= LONG_LEN_MIN { bytes } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn a_finished_compaction_answers_for_earlier_ones() {
        let mut waiters = Waiters::default();
        for (revision, waiter) in [(3, "a"), (9, "b"), (5, "c")] {
            waiters.add_compaction(revision, waiter);
        }
        assert_eq!(waiters.take_compacted(5), ["a", "c"]);
        assert_eq!(waiters.take_compacted(9), ["b"]);
    }

    #[test]
    fn a_proposal_is_answered_once() {
        let mut waiters = Waiters::default();
        waiters.add_proposal(4, 10, S, 'a');
        assert_eq!(waiters.take_proposal(4), Some('a'));
        assert_eq!(waiters.take_proposal(4), None);
    }

    #[test]
    fn proposals_may_come_and_go_in_any_order() {
        let mut waiters = Waiters::default();
        for id in [3, 7, 5, 1, 9] {
            waiters.add_proposal(id, LONG_LEN_MIN, S, id);
        }
        for id in [5, 1, 9] {
            assert_eq!(waiters.take_proposal(id), Some(id));
        }
        assert_eq!((waiters.take_proposal(4), waiters.take_proposal(10)), (None, None));
        assert_eq!((waiters.proposals_bytes(), waiters.long_bytes()), (2 * LONG_LEN_MIN, 2 * LONG_LEN_MIN));
        assert_eq!(waiters.take_all().collect::<Vec<_>>(), [3, 7]);
    }

    #[test]
    fn whoever_waits_expires_at_the_deadline() {
        let mut waiters = Waiters::default();
        waiters.set_deadline(S);
        waiters.add_proposal(1, 10, S, "proposal");
        waiters.add_read("read");
        waiters.add_compaction(5, "compaction");
        waiters.add_alarmed(7, vec!["alarm"]);
        waiters.add_renewal(9, "renewal");
        assert_eq!(waiters.len(), 5);
        waiters.take_expired(S / 2, |_, who| panic!("{who} expires early"));
        let mut expired = Vec::new();
        waiters.take_expired(S, |deadline, who| expired.push((deadline, who)));
        let names = ["proposal", "read", "compaction", "alarm", "renewal"];
        assert_eq!(expired, names.map(|name| (S, name)));
        assert_eq!((waiters.len(), waiters.proposals_bytes()), (0, 0));
    }
}
