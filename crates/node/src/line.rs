//! Proposals that wait to be admitted, in the order they came.

use std::collections::{VecDeque, vec_deque};

use crate::input::Proposal;

/// A queue that knows its bytes. Whoever adds to it bounds it.
#[derive(Debug)]
pub(crate) struct Line<W> {
    proposals: VecDeque<(Proposal, W)>,
    /// Bytes of the log entries.
    bytes: usize,
}

impl<W> Default for Line<W> {
    fn default() -> Self {
        Line { proposals: VecDeque::new(), bytes: 0 }
    }
}

impl<W> Line<W> {
    pub(crate) fn len(&self) -> usize {
        self.proposals.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.proposals.is_empty()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn first(&self) -> Option<&Proposal> {
        self.proposals.front().map(|(proposal, _)| proposal)
    }

    pub(crate) fn push(&mut self, proposal: Proposal, waiter: W) {
        self.bytes += proposal.len();
        self.proposals.push_back((proposal, waiter));
    }

    pub(crate) fn pop(&mut self) -> Option<(Proposal, W)> {
        let (proposal, waiter) = self.proposals.pop_front()?;
        self.bytes -= proposal.len();
        Some((proposal, waiter))
    }

    /// Everyone who waits; the line is empty then.
    pub(crate) fn take_waiters(&mut self) -> impl Iterator<Item = W> + use<W> {
        std::mem::take(self).into_iter().map(|(_, waiter)| waiter)
    }
}

impl<W> IntoIterator for Line<W> {
    type Item = (Proposal, W);
    type IntoIter = vec_deque::IntoIter<(Proposal, W)>;

    fn into_iter(self) -> Self::IntoIter {
        self.proposals.into_iter()
    }
}
