//! Changes of the members on their way into the raft log, one at a time.

use std::time::Duration;

use prost::Message as _;
use raft::Role;
use store::MemberChange;

use super::{Consensus, QueuedChange};
use crate::waiters::Waiters;

impl<W> Consensus<W> {
    /// Proposes a change of the members, now or when a leader is known and no other change is under way.
    pub(crate) fn change_members(&mut self, id: u64, change: &MemberChange, deadline: Duration, waiter: W) {
        let data = change.encode(id).encode_to_vec().into();
        self.member_changes.push_back(QueuedChange { id, data, deadline, waiter });
    }

    /// Whether the member, if it is a learner, has nearly all of this leader's log: nine tenths of its entries, as in
    /// etcd. `None` if this member does not lead.
    pub(crate) fn is_learner_ready(&self, member: u64) -> Option<bool> {
        if self.raft.status().role != Role::Leader {
            return None;
        }
        let progress = |id: u64| self.raft.members().find(|progress| progress.id == id);
        let learner = progress(member).filter(|progress| progress.is_learner());
        let own = progress(self.raft.status().id).map_or(0, |progress| progress.matched);
        Some(learner.is_none_or(|learner| learner.matched as f64 >= own as f64 * 0.9))
    }

    /// Proposes the changes that wait, as far as raft takes them.
    pub(crate) fn propose_member_changes(&mut self, waiters: &mut Waiters<W>) {
        while let Some(change) = self.member_changes.pop_front() {
            if self.raft.propose_conf_change(change.data.clone()).is_err() {
                self.member_changes.push_front(change);
                break;
            }
            let QueuedChange { id, data, deadline, waiter } = change;
            waiters.add_proposal(id, data.len(), deadline, waiter);
        }
    }
}
