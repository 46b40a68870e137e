//! Snapshots: how a member that needs compacted entries gets the state instead (Ongaro & Ousterhout 2014,
//! §7).
//!
//! ```text
//!   leader: MsgSnap (index, term, members) --> transport: adds the state, sends it whole --> report_snapshot
//!   member: transport: has received all --> step(MsgSnap) --> Persist.snapshot --> persisted --> MsgAppResp
//! ```
//!
//! Raft knows nothing of the state. It names the applied entry that the state must contain at least, and the
//! transport may send a newer state with its own index, term and members. The receiver replaces its whole
//! log by what the message names, and acknowledges once the state is installed.

use proto::raftpb::{ConfState, Message, MessageType, Snapshot, SnapshotMetadata};

use super::{NONE, Raft};
use crate::Error;
use crate::log::INDEX_MAX;
use crate::members::Members;
use crate::progress::Progress;

impl Raft {
    /// Notes how the sending of the last MsgSnap to member `id` ended: whether the member has received all
    /// of it.
    ///
    /// Each MsgSnap that was handed out needs such a report, unless this member stops to lead before: until
    /// then, or until the member acknowledges that it has caught up, the leader sends it nothing but
    /// heartbeats. After a failure it is sent another one once it answers.
    pub fn report_snapshot(&mut self, id: u64, is_ok: bool) {
        if let Some(member) = self.members.get_mut(id) {
            member.snapshot_reported(is_ok);
        }
    }

    /// Makes a MsgSnap for each member that needs one, without the state itself.
    pub(super) fn send_snapshots(&mut self) {
        if !self.members.iter().any(Progress::wants_snapshot) {
            return;
        }
        let index = self.log.applied();
        let term = self.log.term(index).expect("the term of the applied entry is kept");
        let metadata = SnapshotMetadata { conf_state: Some(self.members.conf_state()), index, term };
        let template = self.message(MessageType::MsgSnap, NONE);
        for member in self.members.iter_mut().filter(|member| member.wants_snapshot()) {
            member.snapshot_sent(index);
            let snapshot = Some(Snapshot { metadata: Some(metadata.clone()), ..Snapshot::default() });
            self.outbox.push(Message { to: member.id, snapshot, ..template.clone() });
        }
    }

    /// Takes the leader's snapshot, whose state the caller has received. The log and the members are
    /// replaced, whether or not this member is among them.
    ///
    /// One that is behind the commit index, or that ends in an entry that is here, only tells what is
    /// committed.
    pub(super) fn handle_snapshot(&mut self, message: &Message) -> Result<(), Error> {
        let (metadata, conf_state) = metadata(message)?;
        let (index, term) = (metadata.index, metadata.term);
        let committed = self.log.committed();
        if index > committed && self.log.term(committed).is_some_and(|committed| term < committed) {
            return Err(Error::MalformedMessage("terms never fall along the log"));
        }
        self.follow(message.from);
        if self.log.term(index) == Some(term) {
            self.log.commit_to(index);
        } else if index > committed {
            self.members = Members::new(conf_state, index + 1).map_err(malformed)?;
            self.log.restore(index, term);
            self.received_snapshot = Some(metadata.clone());
        }
        let answer = self.message(MessageType::MsgAppResp, message.from);
        self.send(Message { index: self.log.committed(), ..answer });
        Ok(())
    }
}

/// Checks what no correct leader would send.
pub(super) fn check(message: &Message) -> Result<(), Error> {
    let (metadata, conf_state) = metadata(message)?;
    let is_of_the_past = metadata.term != 0 && metadata.term <= message.term;
    if !is_of_the_past || metadata.index == 0 || metadata.index > INDEX_MAX {
        return Err(Error::MalformedMessage("a snapshot ends in an entry of its leader's term or before"));
    }
    if conf_state.voters.is_empty() {
        return Err(Error::MalformedMessage("a snapshot names voters"));
    }
    Members::new(conf_state, metadata.index).map(|_| ()).map_err(malformed)
}

fn metadata(message: &Message) -> Result<(&SnapshotMetadata, &ConfState), Error> {
    let metadata = message.snapshot.as_ref().and_then(|snapshot| snapshot.metadata.as_ref());
    let conf_state = metadata.and_then(|metadata| metadata.conf_state.as_ref());
    metadata
        .zip(conf_state)
        .ok_or(Error::MalformedMessage("a snapshot says where it ends and who the members are"))
}

fn malformed(error: Error) -> Error {
    match error {
        Error::InvalidConfState(rule) => Error::MalformedMessage(rule),
        other => other,
    }
}

#[cfg(test)]
mod tests;
