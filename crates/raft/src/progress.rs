//! What a leader knows of one member's log, and how it sends to it.
//!
//! A member is *probed* (one message, then wait for an answer) until the point where both logs agree is found;
//! then entries are *replicated* in a pipeline with a bounded number of unacknowledged messages. A member that
//! refuses even the oldest point that the leader remembers needs a *snapshot*; once a heartbeat it is asked whether
//! it has one by now.
//!
//! Invariants: `matched < next`; what is at or below `matched` is durable on the member in this leader's term.

use std::collections::VecDeque;

/// How a leader sends to a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProgressState {
    /// One message at a time, looking for the last common entry.
    Probe,
    /// Pipelined.
    Replicate,
    /// No entries are sent: those it needs are compacted, so it needs a snapshot.
    Snapshot,
}

/// A leader's view of one member. On a follower only `id` and `is_learner` mean something.
#[derive(Debug, Clone)]
pub struct Progress {
    /// The member.
    pub id: u64,
    /// Whether it receives entries without a vote.
    pub is_learner: bool,
    /// Last index known to be durable on it and equal to the leader's.
    pub matched: u64,
    /// Index of the next entry to send.
    pub next: u64,
    /// How it is sent to.
    pub state: ProgressState,
    /// Whether it was heard from since the last quorum check.
    pub recent_active: bool,
    /// Highest read round it has confirmed in this term.
    pub(crate) read_round: u64,
    commit_sent: u64,
    inflight: VecDeque<u64>,
    probe_sent: bool,
    must_send: bool,
}

impl Progress {
    /// A member of which nothing is known but that `next` is worth trying.
    pub(crate) fn new(id: u64, is_learner: bool, next: u64) -> Progress {
        Progress {
            id,
            is_learner,
            matched: 0,
            next,
            state: ProgressState::Probe,
            recent_active: false,
            read_round: 0,
            commit_sent: 0,
            inflight: VecDeque::new(),
            probe_sent: false,
            must_send: false,
        }
    }

    /// Whether a MsgApp should go out now: there is something new to say and the pipeline allows it.
    pub(crate) fn wants_append(&self, last: u64, committed: u64, max_inflight: usize) -> bool {
        match self.state {
            ProgressState::Probe => !self.probe_sent,
            ProgressState::Snapshot => self.must_send,
            ProgressState::Replicate => {
                self.must_send
                    || self.commit_sent < committed.min(self.next - 1)
                    || self.takes_entries(last, max_inflight)
            }
        }
    }

    /// Whether the next MsgApp may carry entries.
    pub(crate) fn takes_entries(&self, last: u64, max_inflight: usize) -> bool {
        self.next <= last && self.state != ProgressState::Snapshot && self.inflight.len() < max_inflight
    }

    /// Skips what is compacted: what comes before `first`, the leader's first entry, cannot be sent.
    pub(crate) fn skip_to(&mut self, first: u64) {
        self.next = self.next.max(first);
    }

    /// Notes a MsgApp with `count` entries from `next` on, carrying `committed`.
    pub(crate) fn sent(&mut self, count: u64, committed: u64) {
        self.must_send = false;
        match self.state {
            ProgressState::Replicate => {
                self.next += count;
                if count > 0 {
                    self.inflight.push_back(self.next - 1);
                }
                self.commit_sent = self.commit_sent.max(committed.min(self.next - 1));
            }
            ProgressState::Probe | ProgressState::Snapshot => self.probe_sent = true,
        }
    }

    /// Notes that `index` is durable on the member; `first` is the leader's first entry. False if that was known.
    pub(crate) fn acknowledged(&mut self, index: u64, first: u64) -> bool {
        self.probe_sent = false;
        let news = index > self.matched;
        self.matched = self.matched.max(index);
        self.next = self.next.max(index + 1);
        while self.inflight.front().is_some_and(|&last| last <= index) {
            self.inflight.pop_front();
        }
        match self.state {
            ProgressState::Probe => self.switch(ProgressState::Replicate),
            ProgressState::Snapshot if self.matched + 1 >= first => self.switch(ProgressState::Probe),
            ProgressState::Snapshot | ProgressState::Replicate => {}
        }
        news
    }

    /// Notes that the member has no entry at `refused` equal to ours, and that logs may agree at `hint`; `first` is
    /// the leader's first entry.
    pub(crate) fn refused(&mut self, refused: u64, hint: u64, first: u64) {
        if refused <= self.matched {
            // An old answer: the index was acknowledged since.
            return;
        }
        match self.state {
            ProgressState::Replicate => self.switch(ProgressState::Probe),
            ProgressState::Probe if refused == self.next - 1 && self.next <= first => {
                self.switch(ProgressState::Snapshot);
            }
            ProgressState::Probe if refused == self.next - 1 => {
                self.next = refused.min(hint.saturating_add(1)).max(self.matched + 1);
                self.probe_sent = false;
            }
            ProgressState::Probe | ProgressState::Snapshot => {}
        }
    }

    /// Notes that the member answers heartbeats: a message lost before is worth repeating.
    pub(crate) fn alive(&mut self, last: u64) {
        self.recent_active = true;
        self.probe_sent = false;
        self.must_send = self.matched < last;
    }

    /// Notes that a message was lost on the way: what is in flight may be lost too.
    pub(crate) fn unreachable(&mut self) {
        if self.state == ProgressState::Replicate {
            self.switch(ProgressState::Probe);
        }
    }

    fn switch(&mut self, state: ProgressState) {
        self.state = state;
        self.next = self.matched + 1;
        self.commit_sent = self.commit_sent.min(self.matched);
        self.inflight.clear();
        self.probe_sent = false;
        self.must_send = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replicating(matched: u64) -> Progress {
        let mut progress = Progress::new(2, false, matched + 1);
        progress.acknowledged(matched, 1);
        progress
    }

    #[test]
    fn probe_sends_once_until_answered() {
        let mut progress = Progress::new(2, false, 5);
        assert!(progress.wants_append(9, 0, 4));
        progress.sent(5, 0);
        assert_eq!(progress.next, 5);
        assert!(!progress.wants_append(9, 0, 4));
        progress.alive(9);
        assert!(progress.wants_append(9, 0, 4));
    }

    #[test]
    fn full_pipeline_waits_for_an_acknowledgement() {
        let mut progress = replicating(3);
        progress.sent(1, 0);
        progress.sent(1, 0);
        assert!(!progress.wants_append(9, 0, 2));
        progress.acknowledged(4, 1);
        assert!(progress.wants_append(9, 0, 2));
    }

    #[test]
    fn full_pipeline_still_tells_the_commit() {
        let mut progress = replicating(3);
        progress.sent(1, 0);
        assert!(progress.wants_append(9, 3, 1));
        progress.sent(0, 3);
        assert!(!progress.wants_append(9, 3, 1));
    }

    #[test]
    fn refusal_of_an_acknowledged_index_is_old() {
        let mut progress = replicating(3);
        progress.refused(3, 1, 1);
        assert_eq!(progress.state, ProgressState::Replicate);
        progress.sent(4, 0);
        progress.refused(7, 1, 1);
        assert_eq!((progress.state, progress.next), (ProgressState::Probe, 4));
    }

    #[test]
    fn probe_follows_the_hint_and_ignores_old_refusals() {
        let mut progress = Progress::new(2, false, 10);
        progress.refused(4, 2, 1);
        assert_eq!(progress.next, 10);
        progress.refused(9, 2, 1);
        assert_eq!(progress.next, 3);
        progress.refused(2, 8, 1);
        assert_eq!(progress.next, 2, "a hint beyond what was refused does not move forward");
    }

    #[test]
    fn member_that_refuses_the_oldest_point_needs_a_snapshot_until_it_reaches_the_log() {
        let mut progress = Progress::new(2, false, 2);
        progress.skip_to(10);
        progress.refused(9, 1, 10);
        assert_eq!(progress.state, ProgressState::Snapshot);
        assert!(!progress.wants_append(20, 20, 4));
        progress.alive(20);
        assert!(progress.wants_append(20, 20, 4) && !progress.takes_entries(20, 4));
        progress.acknowledged(5, 10);
        assert_eq!(progress.state, ProgressState::Snapshot);
        progress.acknowledged(9, 10);
        assert_eq!((progress.state, progress.next), (ProgressState::Probe, 10));
    }

    #[test]
    fn unreachable_member_is_probed_from_what_it_acknowledged() {
        let mut progress = replicating(3);
        progress.sent(4, 0);
        progress.unreachable();
        assert_eq!((progress.state, progress.next), (ProgressState::Probe, 4));
    }
}
