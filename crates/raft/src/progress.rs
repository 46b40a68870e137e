//! What a leader knows of one member's log, and how it sends to it.
//!
//! A member is *probed* (one message, then wait for an answer) until the point where both logs agree is
//! found; then entries are *replicated* in a pipeline with a bounded number of unacknowledged messages. A
//! member that refuses even the oldest point that the leader remembers needs a *snapshot*. While that is
//! under way, it gets nothing else.
//!
//! ```text
//!            acknowledges                    refuses the oldest point
//!   Probe ----------------> Replicate   Probe -----------------------> Snapshot
//!     ^                         |         ^                                |
//!     +-- refuses, unreachable -+         +- sent, failed, acknowledged ---+
//! ```
//!
//! Invariants: `matched < next`; what is at or below `matched` is durable on the member in this leader's
//! term.

use crate::inflight::{Inflight, InflightLimit};

/// How a leader sends to a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProgressState {
    /// One message at a time, looking for the last common entry.
    Probe,
    /// Pipelined.
    Replicate,
    /// No entries are sent: those it needs are compacted, so it needs a snapshot, or one is on its way.
    Snapshot,
}

/// What a member counts for. A joint configuration has two sets of voters, which a member may both be in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Standing {
    /// It has a vote in the configuration, or in the one that a joint configuration leads to.
    pub(crate) incoming: bool,
    /// It has a vote in the configuration that a joint one leaves behind.
    pub(crate) outgoing: bool,
    /// It becomes a learner when the joint configuration ends.
    pub(crate) next_learner: bool,
}

impl Standing {
    pub(crate) const LEARNER: Standing = Standing { incoming: false, outgoing: false, next_learner: false };

    pub(crate) fn is_voter(self) -> bool {
        self.incoming || self.outgoing
    }
}

/// A leader's view of one member. On a follower only `id` and [`Progress::is_learner`] mean something.
#[derive(Debug, Clone)]
pub struct Progress {
    /// The member.
    pub id: u64,
    /// Last index known to be durable on it and equal to the leader's.
    pub matched: u64,
    /// Index of the next entry to send.
    pub next: u64,
    /// How it is sent to.
    pub state: ProgressState,
    /// Index of the snapshot that was sent to it and that it has neither acknowledged nor missed; 0 if there
    /// is none.
    pub pending_snapshot: u64,
    /// Whether it was heard from since the last quorum check.
    pub recent_active: bool,
    pub(crate) standing: Standing,
    /// Highest read round it has confirmed in this term.
    pub(crate) read_round: u64,
    commit_sent: u64,
    inflight: Inflight,
    probe_sent: bool,
    must_send: bool,
}

impl Progress {
    /// A member of which nothing is known but that `next` is worth trying.
    pub(crate) fn new(id: u64, standing: Standing, next: u64) -> Progress {
        Progress {
            id,
            matched: 0,
            next,
            state: ProgressState::Probe,
            pending_snapshot: 0,
            recent_active: false,
            standing,
            read_round: 0,
            commit_sent: 0,
            inflight: Inflight::default(),
            probe_sent: false,
            must_send: false,
        }
    }

    /// Whether it receives entries without a vote.
    pub fn is_learner(&self) -> bool {
        !self.standing.is_voter()
    }

    /// Whether a MsgApp should go out now: there is something new to say and the pipeline allows it.
    pub(crate) fn wants_append(&self, last: u64, committed: u64, limit: InflightLimit) -> bool {
        match self.state {
            ProgressState::Probe => !self.probe_sent,
            ProgressState::Snapshot => false,
            ProgressState::Replicate => {
                self.must_send
                    || self.commit_sent < committed.min(self.next - 1)
                    || self.takes_entries(last, limit)
            }
        }
    }

    /// Whether the next MsgApp may carry entries.
    pub(crate) fn takes_entries(&self, last: u64, limit: InflightLimit) -> bool {
        self.next <= last && self.state != ProgressState::Snapshot && !self.inflight.is_full(limit)
    }

    /// Whether a snapshot should be sent now. One that is sent to a member that does not answer would only
    /// keep the sender busy.
    pub(crate) fn wants_snapshot(&self) -> bool {
        self.state == ProgressState::Snapshot && self.pending_snapshot == 0 && self.recent_active
    }

    /// Skips what is compacted: what comes before `first`, the leader's first entry, cannot be sent.
    pub(crate) fn skip_to(&mut self, first: u64) {
        self.next = self.next.max(first);
    }

    /// Notes a MsgApp with `count` entries of `bytes` from `next` on, carrying `committed`.
    pub(crate) fn sent(&mut self, count: u64, bytes: u64, committed: u64) {
        self.must_send = false;
        if self.state != ProgressState::Replicate {
            self.probe_sent = true;
            return;
        }
        self.next += count;
        if count > 0 {
            self.inflight.add(self.next - 1, bytes);
        }
        self.commit_sent = self.commit_sent.max(committed.min(self.next - 1));
    }

    /// Notes that a snapshot at `index` is on its way.
    pub(crate) fn snapshot_sent(&mut self, index: u64) {
        self.pending_snapshot = index;
    }

    /// Notes how the sending of the snapshot ended. The member is probed after its next answer: from behind
    /// the snapshot if it has it, and otherwise from what it has acknowledged.
    pub(crate) fn snapshot_reported(&mut self, is_ok: bool) {
        if self.state != ProgressState::Snapshot || self.pending_snapshot == 0 {
            return;
        }
        let received = if is_ok { self.pending_snapshot } else { 0 };
        self.switch(ProgressState::Probe);
        self.next = self.next.max(received + 1);
        self.pending_snapshot = received;
        self.probe_sent = true;
    }

    /// Notes that `index` is durable on the member; `first` is the leader's first entry. False if that was
    /// known.
    pub(crate) fn acknowledged(&mut self, index: u64, first: u64) -> bool {
        self.probe_sent = false;
        let news = index > self.matched;
        self.matched = self.matched.max(index);
        self.next = self.next.max(index + 1);
        self.inflight.acknowledged(index);
        let has_snapshot = self.pending_snapshot != 0 && self.matched >= self.pending_snapshot;
        match self.state {
            ProgressState::Probe => self.switch(ProgressState::Replicate),
            ProgressState::Snapshot if self.matched + 1 >= first => self.switch(ProgressState::Replicate),
            ProgressState::Snapshot if has_snapshot => self.switch(ProgressState::Probe),
            ProgressState::Snapshot | ProgressState::Replicate => {}
        }
        news
    }

    /// Notes that the member has no entry at `refused` equal to ours, and that logs may agree at `hint`;
    /// `first` is the leader's first entry.
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
                self.pending_snapshot = 0;
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
        self.pending_snapshot = 0;
        self.commit_sent = self.commit_sent.min(self.matched);
        self.inflight.clear();
        self.probe_sent = false;
        self.must_send = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: InflightLimit = InflightLimit { messages: 4, bytes: u64::MAX };

    fn probing(next: u64) -> Progress {
        Progress::new(2, Standing { incoming: true, ..Standing::LEARNER }, next)
    }

    fn replicating(matched: u64) -> Progress {
        let mut progress = probing(matched + 1);
        progress.acknowledged(matched, 1);
        progress
    }

    /// A member that needs a snapshot of a leader whose log begins at 10.
    fn behind() -> Progress {
        let mut progress = probing(2);
        progress.recent_active = true;
        progress.skip_to(10);
        progress.refused(9, 1, 10);
        assert_eq!(progress.state, ProgressState::Snapshot);
        progress
    }

    #[test]
    fn probe_sends_once_until_answered() {
        let mut progress = probing(5);
        assert!(progress.wants_append(9, 0, LIMIT));
        progress.sent(5, 10, 0);
        assert_eq!(progress.next, 5);
        assert!(!progress.wants_append(9, 0, LIMIT));
        progress.alive(9);
        assert!(progress.wants_append(9, 0, LIMIT));
    }

    #[test]
    fn full_pipeline_waits_for_an_acknowledgement() {
        let limit = InflightLimit { messages: 2, ..LIMIT };
        let mut progress = replicating(3);
        progress.sent(1, 10, 0);
        progress.sent(1, 10, 0);
        assert!(!progress.wants_append(9, 0, limit));
        progress.acknowledged(4, 1);
        assert!(progress.wants_append(9, 0, limit));
    }

    #[test]
    fn full_pipeline_still_tells_the_commit() {
        let limit = InflightLimit { messages: 1, ..LIMIT };
        let mut progress = replicating(3);
        progress.sent(1, 10, 0);
        assert!(progress.wants_append(9, 3, limit));
        progress.sent(0, 0, 3);
        assert!(!progress.wants_append(9, 3, limit));
    }

    #[test]
    fn refusal_of_an_acknowledged_index_is_old() {
        let mut progress = replicating(3);
        progress.refused(3, 1, 1);
        assert_eq!(progress.state, ProgressState::Replicate);
        progress.sent(4, 10, 0);
        progress.refused(7, 1, 1);
        assert_eq!((progress.state, progress.next), (ProgressState::Probe, 4));
    }

    #[test]
    fn probe_follows_the_hint_and_ignores_old_refusals() {
        let mut progress = probing(10);
        progress.refused(4, 2, 1);
        assert_eq!(progress.next, 10);
        progress.refused(9, 2, 1);
        assert_eq!(progress.next, 3);
        progress.refused(2, 8, 1);
        assert_eq!(progress.next, 2, "a hint beyond what was refused does not move forward");
    }

    #[test]
    fn one_snapshot_at_a_time_goes_to_a_member_that_answers() {
        let mut progress = Progress { recent_active: false, ..behind() };
        assert!(!progress.wants_snapshot());
        progress.alive(20);
        assert!(progress.wants_snapshot());
        progress.snapshot_sent(15);
        progress.alive(20);
        assert!(!progress.wants_snapshot() && !progress.wants_append(20, 20, LIMIT));
    }

    #[test]
    fn reported_snapshot_is_followed_by_a_probe_once_the_member_answers() {
        for (is_ok, next) in [(true, 16), (false, 1)] {
            let mut progress = behind();
            progress.snapshot_sent(15);
            progress.snapshot_reported(is_ok);
            assert_eq!((progress.state, progress.next), (ProgressState::Probe, next));
            assert!(!progress.wants_append(20, 20, LIMIT));
            progress.alive(20);
            assert!(progress.wants_append(20, 20, LIMIT));
        }
    }

    #[test]
    fn snapshot_is_pending_until_it_is_acknowledged_or_missed() {
        let mut progress = behind();
        progress.snapshot_sent(15);
        progress.snapshot_reported(true);
        assert_eq!(progress.pending_snapshot, 15, "the entries behind it will be needed");
        let mut missed = progress.clone();
        missed.refused(15, 3, 10);
        assert_eq!((missed.pending_snapshot, missed.next), (0, 4));
        progress.acknowledged(15, 10);
        assert_eq!((progress.pending_snapshot, progress.state), (0, ProgressState::Replicate));
        let mut failed = behind();
        failed.snapshot_sent(15);
        failed.snapshot_reported(false);
        assert_eq!(failed.pending_snapshot, 0);
    }

    #[test]
    fn report_without_a_snapshot_on_its_way_changes_nothing() {
        let mut progress = behind();
        progress.snapshot_reported(true);
        assert_eq!(progress.state, ProgressState::Snapshot);
        let mut progress = replicating(3);
        progress.snapshot_reported(false);
        assert_eq!(progress.state, ProgressState::Replicate);
    }

    #[test]
    fn acknowledgement_ends_a_snapshot() {
        let mut progress = behind();
        progress.snapshot_sent(15);
        progress.acknowledged(5, 10);
        assert_eq!(progress.state, ProgressState::Snapshot, "it still lacks entries that are compacted");
        progress.acknowledged(9, 10);
        assert_eq!((progress.state, progress.next), (ProgressState::Replicate, 10));

        let mut progress = behind();
        progress.snapshot_sent(15);
        progress.acknowledged(15, 40);
        assert_eq!(progress.state, ProgressState::Probe, "it has the snapshot, but that is too old by now");
    }

    #[test]
    fn unreachable_member_is_probed_from_what_it_acknowledged() {
        let mut progress = replicating(3);
        progress.sent(4, 10, 0);
        progress.unreachable();
        assert_eq!((progress.state, progress.next), (ProgressState::Probe, 4));
    }
}
