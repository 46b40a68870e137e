//! Linearizable reads that wait: first for a round, then for its read index, then until that index is
//! applied.
//!
//! Reads that come together share one round. A round is asked again with another context as long as there is
//! no answer, since raft may drop a request and the network may lose it.

use std::collections::VecDeque;
use std::time::Duration;

/// Rounds without an answer at a time; reads that come meanwhile wait for the next one together.
const ROUNDS_MAX: usize = 64;
/// Time after which a round without an answer is asked again: etcd's.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// Reads that were asked for together.
#[derive(Debug)]
struct Round<W> {
    /// Every context that the round was asked with.
    contexts: Vec<u64>,
    /// When it was last asked.
    asked_at: Duration,
    /// Known once raft has answered.
    index: Option<u64>,
    /// With their deadlines, which ascend.
    waiters: VecDeque<(Duration, W)>,
}

/// Reads that wait.
#[derive(Debug)]
pub(super) struct Reads<W> {
    /// Not yet part of a round. With their deadlines, which ascend.
    collected: VecDeque<(Duration, W)>,
    /// In the order in which they were first asked.
    rounds: VecDeque<Round<W>>,
    len: usize,
}

impl<W> Default for Reads<W> {
    fn default() -> Self {
        Reads { collected: VecDeque::new(), rounds: VecDeque::new(), len: 0 }
    }
}

impl<W> Reads<W> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn add(&mut self, deadline: Duration, waiter: W) {
        self.collected.push_back((deadline, waiter));
        self.len += 1;
    }

    /// Begins a round of all reads that wait for one, under a context that `next_context` makes. `None` if
    /// there are no such reads, or too many rounds.
    pub(super) fn begin_round(&mut self, now: Duration, next_context: impl FnOnce() -> u64) -> Option<u64> {
        let n_open = self.rounds.iter().filter(|round| round.index.is_none()).count();
        if self.collected.is_empty() || n_open >= ROUNDS_MAX {
            return None;
        }
        let context = next_context();
        let waiters = std::mem::take(&mut self.collected);
        self.rounds.push_back(Round { contexts: vec![context], asked_at: now, index: None, waiters });
        Some(context)
    }

    /// Contexts under which rounds without an answer are to be asked again.
    pub(super) fn retry(&mut self, now: Duration, mut next_context: impl FnMut() -> u64) -> Vec<u64> {
        let is_due = |round: &Round<W>| round.index.is_none() && round.asked_at + RETRY_AFTER <= now;
        let mut asked = Vec::new();
        for round in self.rounds.iter_mut().filter(|round| is_due(round)) {
            let context = next_context();
            round.contexts.push(context);
            round.asked_at = now;
            asked.push(context);
        }
        asked
    }

    /// The round with this context may read once `index` is applied, and so may all rounds before it. A
    /// context that no round has is ignored.
    pub(super) fn set_index(&mut self, context: u64, index: u64) {
        let at = self.rounds.iter().position(|round| round.contexts.contains(&context));
        let is_for_all = disk::seeded_bug!("read-index-for-later-reads");
        let end = if is_for_all { self.rounds.len() } else { at.map_or(0, |at| at + 1) };
        for round in self.rounds.iter_mut().take(end) {
            round.index.get_or_insert(index);
        }
    }

    /// Takes the reads that may be served now that `applied` is applied.
    pub(super) fn take_readable(&mut self, applied: u64, mut readable: impl FnMut(W)) {
        let applied = if disk::seeded_bug!("read-before-applied") { u64::MAX } else { applied };
        while let Some(round) = self.rounds.pop_front_if(|r| r.index.is_some_and(|index| index <= applied)) {
            self.len -= round.waiters.len();
            round.waiters.into_iter().for_each(|(_, waiter)| readable(waiter));
        }
    }

    /// Takes the reads whose deadline has passed.
    pub(super) fn take_expired(&mut self, now: Duration, mut expired: impl FnMut(Duration, W)) {
        let queues = self.rounds.iter_mut().map(|round| &mut round.waiters);
        for queue in queues.chain([&mut self.collected]) {
            while let Some((deadline, waiter)) = queue.pop_front_if(|(deadline, _)| *deadline <= now) {
                self.len -= 1;
                expired(deadline, waiter);
            }
        }
        self.rounds.retain(|round| !round.waiters.is_empty());
    }

    /// Takes all.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = W> + use<W> {
        let Reads { collected, rounds, .. } = std::mem::take(self);
        let asked = rounds.into_iter().flat_map(|round| round.waiters);
        asked.chain(collected).map(|(_, waiter)| waiter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn readable(reads: &mut Reads<u32>, applied: u64) -> Vec<u32> {
        let mut taken = Vec::new();
        reads.take_readable(applied, |waiter| taken.push(waiter));
        taken
    }

    #[test]
    fn reads_are_served_once_their_index_is_applied() {
        let mut reads = Reads::default();
        reads.add(S, 1);
        reads.add(S, 2);
        assert_eq!(reads.begin_round(S, || 11), Some(11));
        assert_eq!(reads.begin_round(S, || 12), None, "nobody waits for a round");
        reads.add(S, 3);
        assert_eq!(reads.begin_round(S, || 12), Some(12));
        assert!(readable(&mut reads, 9).is_empty());
        reads.set_index(11, 7);
        assert!(readable(&mut reads, 6).is_empty());
        assert_eq!(readable(&mut reads, 7), [1, 2]);
        assert_eq!(reads.len(), 1);
    }

    #[test]
    fn the_answer_to_a_round_counts_for_those_asked_before_it_and_for_no_later_one() {
        let mut reads = Reads::default();
        for context in 1..=3 {
            reads.add(S, context);
            reads.begin_round(S, || context.into());
        }
        reads.set_index(2, 5);
        assert_eq!(readable(&mut reads, 5), [1, 2]);
    }

    #[test]
    fn a_context_that_was_not_asked_changes_nothing() {
        let mut reads = Reads::default();
        reads.add(S, 1);
        reads.begin_round(S, || 11);
        reads.set_index(10, 0);
        assert!(readable(&mut reads, 9).is_empty());
    }

    #[test]
    fn a_round_without_an_answer_is_asked_again_and_any_answer_counts() {
        let mut reads = Reads::default();
        reads.add(9 * S, 1);
        reads.begin_round(S, || 11);
        assert!(reads.retry(S + RETRY_AFTER / 2, || 12).is_empty());
        assert_eq!(reads.retry(S + RETRY_AFTER, || 12), [12]);
        assert!(reads.retry(S + RETRY_AFTER, || 13).is_empty());
        reads.set_index(11, 5);
        assert!(reads.retry(9 * S, || 14).is_empty());
        assert_eq!(readable(&mut reads, 5), [1]);
    }

    #[test]
    fn rounds_are_few_and_reads_beyond_them_share_the_next() {
        let mut reads = Reads::default();
        for n in 0..ROUNDS_MAX as u64 + 2 {
            reads.add(S, n as u32);
            assert_eq!(reads.begin_round(S, || n).is_some(), n < ROUNDS_MAX as u64);
        }
        reads.set_index(0, 1);
        assert_eq!(readable(&mut reads, 1), [0]);
        assert_eq!(reads.begin_round(S, || 99), Some(99));
        reads.set_index(99, 1);
        assert_eq!(readable(&mut reads, 1).len(), ROUNDS_MAX + 1);
    }

    #[test]
    fn reads_expire_in_rounds_and_before_them() {
        let mut reads = Reads::default();
        reads.add(S, 1);
        reads.begin_round(S, || 11);
        reads.add(2 * S, 2);
        reads.add(3 * S, 3);
        let mut expired = Vec::new();
        reads.take_expired(2 * S, |deadline, waiter| expired.push((deadline, waiter)));
        assert_eq!(expired, [(S, 1), (2 * S, 2)]);
        assert_eq!((reads.len(), reads.rounds.len()), (1, 0));
    }
}
