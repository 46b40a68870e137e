//! The member as its peers reach it: from the peers' thread to the node's.

use std::io;
use std::path::PathBuf;

use node::Input;
use proto::etcdserverpb::Member;
use proto::raftpb::Message as RaftMessage;

use super::{Message, NodeHandle};
use crate::peers::{Backlog, Local, OutgoingSnapshot, backlog_bytes};

impl Local for NodeHandle {
    fn step(&self, messages: &mut Vec<RaftMessage>) {
        self.backlog.grow(messages.iter().map(backlog_bytes).sum());
        let inputs = messages.drain(..).map(|message| Message::Input(Input::Message(Box::new(message))));
        self.member.inbox.extend(inputs);
    }

    fn backlog(&self) -> &Backlog {
        &self.backlog
    }

    fn report_unreachable(&self, id: u64) {
        self.member.inbox.push(Message::Input(Input::Unreachable(id)));
    }

    fn report_snapshot(&self, id: u64, is_ok: bool) {
        self.member.inbox.push(Message::Input(Input::SnapshotReported { id, is_ok }));
    }

    fn is_removed(&self, id: u64) -> bool {
        self.published.control().is_removed(id)
    }

    fn removed_by_peer(&self) {
        self.member.inbox.push(Message::Removed);
    }

    fn members(&self) -> Vec<Member> {
        self.published.control().members().cloned().collect()
    }

    fn cluster_version(&self) -> String {
        self.published.control().cluster_version().to_owned()
    }

    fn open_snapshot(&self, _: RaftMessage) -> io::Result<OutgoingSnapshot> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "snapshots of this member are not available"))
    }

    fn snapshot_dir(&self) -> io::Result<PathBuf> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "this member takes no snapshots"))
    }
}
