//! States that members send each other, as far as raft and the WAL are concerned.

use proto::raftpb::ConfState;
use raft::Persist;

use super::Consensus;
use crate::handover::EntryId;
use crate::output::Output;

impl<W> Consensus<W> {
    /// The snapshot that raft waits for, if it does: its state is to be installed.
    pub(crate) fn awaited_snapshot(&self) -> Option<u64> {
        Some(self.behind_snapshot.front()?.snapshot.as_ref()?.index)
    }

    /// The state of the snapshot that raft waits for is in use, and the WAL has noted it.
    pub(crate) fn installed(&mut self, applied: EntryId, conf_state: &ConfState, output: &mut Output<W>) {
        let mut is_first = true;
        while let Some(batch) = self.behind_snapshot.pop_front_if(|b| is_first || b.snapshot.is_none()) {
            is_first = false;
            self.hand_to_wal(Persist { snapshot: None, ..batch }, output);
        }
        self.note_configuration(conf_state);
        self.applied = applied;
        self.raft.applied_to(applied.index);
    }

    /// Sending a state to a member has ended.
    pub(crate) fn report_snapshot(&mut self, member: u64, is_ok: bool) {
        self.raft.report_snapshot(member, is_ok);
    }
}
