//! Proposals that wait to be proposed, in the order they came.

use std::collections::VecDeque;
use std::time::Duration;

use crate::input::Proposal;

/// A proposal that waits.
#[derive(Debug)]
pub(super) struct Queued<W> {
    pub(super) proposal: Proposal,
    /// Bytes that it takes of the room for commands.
    pub(super) weight: u64,
    pub(super) deadline: Duration,
    pub(super) waiter: W,
}

/// A queue that counts its bytes. The caller bounds it.
///
/// Invariant: deadlines ascend.
#[derive(Debug)]
pub(super) struct ProposalQueue<W> {
    queue: VecDeque<Queued<W>>,
    /// Bytes of the log entries.
    bytes: usize,
    /// How many of the queued proposals were looked at, one after the other.
    #[cfg(test)]
    pub(super) n_looks: std::cell::Cell<usize>,
}

impl<W> Default for ProposalQueue<W> {
    fn default() -> Self {
        ProposalQueue {
            queue: VecDeque::new(),
            bytes: 0,
            #[cfg(test)]
            n_looks: std::cell::Cell::default(),
        }
    }
}

impl<W> ProposalQueue<W> {
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn first(&self) -> Option<&Queued<W>> {
        #[cfg(test)]
        self.n_looks.update(|n| n + 1);
        self.queue.front()
    }

    pub(super) fn push(&mut self, queued: Queued<W>) {
        self.bytes += queued.proposal.len();
        self.queue.push_back(queued);
    }

    /// Puts back what was just taken.
    pub(super) fn push_front(&mut self, queued: Queued<W>) {
        self.bytes += queued.proposal.len();
        self.queue.push_front(queued);
    }

    pub(super) fn pop(&mut self) -> Option<Queued<W>> {
        self.pop_if(|_| true)
    }

    /// Takes the first if its deadline has passed.
    pub(super) fn pop_expired(&mut self, now: Duration) -> Option<Queued<W>> {
        self.pop_if(|queued| queued.deadline <= now)
    }

    /// Takes all; the queue is empty then.
    pub(super) fn take_waiters(&mut self) -> impl Iterator<Item = W> + use<W> {
        std::mem::take(self).queue.into_iter().map(|queued| queued.waiter)
    }

    fn pop_if(&mut self, is_wanted: impl FnOnce(&Queued<W>) -> bool) -> Option<Queued<W>> {
        #[cfg(test)]
        self.n_looks.update(|n| n + 1);
        let queued = self.queue.pop_front_if(|queued| is_wanted(queued))?;
        self.bytes -= queued.proposal.len();
        Some(queued)
    }
}
