//! Who waits for which answer.

use std::collections::{BTreeMap, VecDeque};

/// From so many bytes on a proposal is long: it costs log and store as much time as many others.
pub(crate) const LONG_LEN_MIN: usize = 64 << 10;

/// Reads that wait together for one read index.
#[derive(Debug)]
struct ReadRound<W> {
    context: u64,
    /// Known once raft has answered.
    index: Option<u64>,
    waiters: Vec<W>,
}

/// A proposal that has not come to its result.
#[derive(Debug)]
struct Proposed<W> {
    id: u64,
    /// Of the log entry.
    bytes: usize,
    waiter: W,
}

/// Waiters of proposals, of reads, of compactions and of alarms.
#[derive(Debug)]
pub(crate) struct Waiters<W> {
    /// By request id, ascending. Most are proposed and applied in that order, so it grows and shrinks at its ends.
    proposals: VecDeque<Proposed<W>>,
    /// Bytes of the log entries of all proposals.
    proposals_bytes: usize,
    /// Bytes of those that are long.
    long_bytes: usize,
    rounds: VecDeque<ReadRound<W>>,
    next_context: u64,
    /// Waiting for a compaction to have finished; by its revision.
    compactions: Vec<(i64, W)>,
    /// Waiting for an alarm to be raised on their account, by the request id of that.
    alarmed: BTreeMap<u64, Vec<W>>,
}

impl<W> Default for Waiters<W> {
    fn default() -> Self {
        Waiters {
            proposals: VecDeque::new(),
            proposals_bytes: 0,
            long_bytes: 0,
            rounds: VecDeque::new(),
            next_context: 1,
            compactions: Vec::new(),
            alarmed: BTreeMap::new(),
        }
    }
}

impl<W> Waiters<W> {
    pub(crate) fn proposals_len(&self) -> usize {
        self.proposals.len()
    }

    pub(crate) fn proposals_bytes(&self) -> usize {
        self.proposals_bytes
    }

    pub(crate) fn long_bytes(&self) -> usize {
        self.long_bytes
    }

    pub(crate) fn add_proposal(&mut self, id: u64, bytes: usize, waiter: W) {
        self.proposals_bytes += bytes;
        self.long_bytes += long(bytes);
        let at = match self.proposals.back() {
            Some(last) if last.id > id => self.proposals.partition_point(|proposed| proposed.id < id),
            _ => self.proposals.len(),
        };
        self.proposals.insert(at, Proposed { id, bytes, waiter });
    }

    pub(crate) fn take_proposal(&mut self, id: u64) -> Option<W> {
        let at = match self.proposals.front()? {
            first if first.id == id => 0,
            _ => self.proposals.binary_search_by_key(&id, |proposed| proposed.id).ok()?,
        };
        let Proposed { bytes, waiter, .. } = self.proposals.remove(at)?;
        self.proposals_bytes -= bytes;
        self.long_bytes -= long(bytes);
        Some(waiter)
    }

    /// Everyone who waits for a proposal.
    pub(crate) fn take_proposals(&mut self) -> impl Iterator<Item = W> + use<W> {
        (self.proposals_bytes, self.long_bytes) = (0, 0);
        std::mem::take(&mut self.proposals).into_iter().map(|proposed| proposed.waiter)
    }

    /// Begins a round of reads; returns the context that names it to raft.
    pub(crate) fn add_reads(&mut self, waiters: Vec<W>) -> u64 {
        let context = self.next_context;
        self.next_context += 1;
        self.rounds.push_back(ReadRound { context, index: None, waiters });
        context
    }

    /// The round `context` may read once `index` is applied.
    pub(crate) fn set_read_index(&mut self, context: u64, index: u64) {
        if let Some(round) = self.rounds.iter_mut().find(|r| r.context == context) {
            round.index = Some(index);
        }
    }

    /// The reads that may be served now that `applied` is applied.
    pub(crate) fn take_readable(&mut self, applied: u64, readable: &mut Vec<W>) {
        while self.rounds.front().is_some_and(|r| r.index.is_some_and(|index| index <= applied)) {
            readable.extend(self.rounds.pop_front().into_iter().flat_map(|r| r.waiters));
        }
    }

    /// Everyone who waits for a read.
    pub(crate) fn take_reads(&mut self) -> impl Iterator<Item = W> + use<W> {
        std::mem::take(&mut self.rounds).into_iter().flat_map(|r| r.waiters)
    }

    pub(crate) fn add_compaction(&mut self, revision: i64, waiter: W) {
        self.compactions.push((revision, waiter));
    }

    /// Those who waited for the compaction at `revision` or an earlier one.
    pub(crate) fn take_compacted(&mut self, revision: i64) -> impl Iterator<Item = W> {
        self.compactions.extract_if(.., move |(at, _)| *at <= revision).map(|(_, waiter)| waiter)
    }

    pub(crate) fn add_alarmed(&mut self, id: u64, waiters: Vec<W>) {
        self.alarmed.insert(id, waiters);
    }

    /// Those who waited for the alarm that was proposed under `id`.
    pub(crate) fn take_alarmed(&mut self, id: u64) -> impl Iterator<Item = W> + use<W> {
        self.alarmed.remove(&id).into_iter().flatten()
    }

    /// Everyone who waits for an alarm.
    pub(crate) fn take_all_alarmed(&mut self) -> impl Iterator<Item = W> + use<W> {
        std::mem::take(&mut self.alarmed).into_values().flatten()
    }
}

/// What a proposal of so many bytes adds to the long ones.
fn long(bytes: usize) -> usize {
    if bytes >= LONG_LEN_MIN { bytes } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_are_served_in_order_once_their_index_is_applied() {
        let mut waiters = Waiters::default();
        let (first, second) = (waiters.add_reads(vec![1, 2]), waiters.add_reads(vec![3]));
        let mut readable = Vec::new();
        waiters.set_read_index(second, 5);
        waiters.take_readable(9, &mut readable);
        assert!(readable.is_empty(), "the first round has no index yet");
        waiters.set_read_index(first, 7);
        waiters.take_readable(6, &mut readable);
        assert!(readable.is_empty(), "its index is not applied yet");
        waiters.take_readable(7, &mut readable);
        assert_eq!(readable, [1, 2, 3]);
    }

    #[test]
    fn a_finished_compaction_answers_for_earlier_ones() {
        let mut waiters = Waiters::default();
        for (revision, waiter) in [(3, "a"), (9, "b"), (5, "c")] {
            waiters.add_compaction(revision, waiter);
        }
        assert_eq!(waiters.take_compacted(5).collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!(waiters.take_compacted(9).collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn a_proposal_is_answered_once() {
        let mut waiters = Waiters::default();
        waiters.add_proposal(4, 10, 'a');
        assert_eq!(waiters.take_proposal(4), Some('a'));
        assert_eq!(waiters.take_proposal(4), None);
    }

    #[test]
    fn proposals_may_come_and_go_in_any_order() {
        let mut waiters = Waiters::default();
        for id in [3, 7, 5, 1, 9] {
            waiters.add_proposal(id, LONG_LEN_MIN, id);
        }
        for id in [5, 1, 9] {
            assert_eq!(waiters.take_proposal(id), Some(id));
        }
        assert_eq!((waiters.take_proposal(4), waiters.take_proposal(10)), (None, None));
        assert_eq!((waiters.proposals_bytes(), waiters.long_bytes()), (2 * LONG_LEN_MIN, 2 * LONG_LEN_MIN));
        assert_eq!(waiters.take_proposals().collect::<Vec<_>>(), [3, 7]);
    }
}
