//! Handing leadership over: by an operator's wish, or because this member's disk stands still.

use std::time::Duration;

use raft::Role;

use super::{Consensus, HANDOVER_REST};
use crate::output::{Note, Output};

impl<W> Consensus<W> {
    /// Whether a leader takes proposals: one is known, and is not handing over as far as this member knows.
    pub(crate) fn takes_proposals(&self) -> bool {
        let status = self.raft.status();
        status.leader != 0 && status.transferee == 0
    }

    /// A leader whose disk has not finished a batch for an election timeout, while a majority without it has written and
    /// committed more, hands over to the voter that has most of the raft log. It does so no more than once in sixty
    /// election timeouts: each new leader gives all leases their whole time again.
    pub(crate) fn hand_over_if_stalled(&mut self, election_timeout: Duration, output: &mut Output<W>) {
        let Some(since) = self.admission.writing_since() else { return };
        let stalled = self.now.saturating_sub(since);
        let rest = HANDOVER_REST * election_timeout;
        let is_due = self.disk_handover_at.is_none_or(|at| at + rest <= self.now);
        let status = self.raft.status();
        let is_behind = status.role == Role::Leader && status.durable < status.commit;
        if !is_behind || status.transferee != 0 || stalled < election_timeout || !is_due {
            return;
        }
        let others = self.raft.members().filter(|m| m.id != status.id && !m.is_learner() && m.recent_active);
        let Some(to) = others.max_by_key(|member| member.matched).map(|member| member.id) else { return };
        self.disk_handover_at = Some(self.now);
        if self.raft.transfer_leader(to).is_ok() {
            output.notes.push(Note::DiskStalled { stalled, to });
        }
    }

    /// Begins to hand leadership over to `to`. False if that is no voter.
    pub(crate) fn transfer_leader(&mut self, to: u64) -> bool {
        self.raft.transfer_leader(to).is_ok()
    }
}
