//! The member as its peers reach it: from the peers' thread to the node's.

use std::fs::{self, DirBuilder};
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::mpsc;

use node::Input;
use proto::etcdserverpb::Member;
use proto::raftpb::{Message as RaftMessage, Snapshot, SnapshotMetadata};
use proto::v2_store_json;
use store::Export;
use tokio::sync::oneshot;

use super::{Message, NodeHandle};
use crate::peers::{Backlog, Installed, Local, OutgoingSnapshot, backlog_bytes};

/// The member behind a [`NodeHandle`], and where states that peers send are put.
#[derive(Debug)]
pub(crate) struct LocalMember {
    handle: NodeHandle,
    snapshot_dir: PathBuf,
}

impl LocalMember {
    pub(crate) fn new(handle: NodeHandle, snapshot_dir: PathBuf) -> LocalMember {
        LocalMember { handle, snapshot_dir }
    }

    fn push(&self, message: Message) {
        self.handle.member.inbox.push(message);
    }
}

impl Local for LocalMember {
    fn step(&self, messages: &mut Vec<RaftMessage>) {
        if self.handle.member.run_brief_appends(messages) {
            return;
        }
        self.handle.backlog.grow(messages.iter().map(backlog_bytes).sum());
        let inputs = messages.drain(..).map(|message| Message::Input(Input::Message(Box::new(message))));
        self.handle.member.inbox.extend(inputs);
    }

    fn install(&self, message: RaftMessage, file: PathBuf) -> oneshot::Receiver<Installed> {
        let (done, installed) = oneshot::channel();
        self.push(Message::Snapshot { message: Box::new(message), file, done });
        installed
    }

    fn backlog(&self) -> &Backlog {
        &self.handle.backlog
    }

    fn report_unreachable(&self, id: u64) {
        self.push(Message::Input(Input::Unreachable(id)));
    }

    fn report_snapshot(&self, id: u64, is_ok: bool) {
        self.push(Message::Input(Input::SnapshotReported { id, is_ok }));
    }

    fn is_removed(&self, id: u64) -> bool {
        self.handle.published.control().is_removed(id)
    }

    fn removed_by_peer(&self) {
        self.push(Message::Removed);
    }

    fn members(&self) -> Vec<Member> {
        self.handle.published.control().members().cloned().collect()
    }

    fn cluster_version(&self) -> String {
        self.handle.published.control().cluster_version().to_owned()
    }

    /// The state is a newer one than raft has asked for: that of the moment, so that nothing is kept for it.
    fn open_snapshot(&self, mut message: RaftMessage) -> io::Result<OutgoingSnapshot> {
        let (answer, exported) = mpsc::sync_channel(1);
        self.push(Message::Export(answer));
        let mut export = exported
            .recv()
            .ok()
            .flatten()
            .ok_or_else(|| io::Error::other("the member has no state to send now"))?;
        let (index, term) = (export.applied_index(), export.applied_term());
        if term > message.term {
            return Err(io::Error::other("this member does not lead any more"));
        }
        let metadata = SnapshotMetadata { conf_state: Some(export.conf_state().clone()), index, term };
        // Members of etcd 3.6 and before read the members from here.
        let control = export.control();
        let removed = control.removed_members();
        let data = v2_store_json::encode(control.members(), removed, control.cluster_version());
        message.snapshot = Some(Snapshot { data: data.into(), metadata: Some(metadata) });
        let len = loop {
            if let Some(len) = export.measure_step() {
                break len;
            }
        };
        let reader = Box::new(ExportReader { export, at: 0, is_complete: false });
        Ok(OutgoingSnapshot { message, len, reader })
    }

    fn snapshot_dir(&self) -> io::Result<PathBuf> {
        if !self.snapshot_dir.is_dir() {
            DirBuilder::new().mode(0o700).create(&self.snapshot_dir)?;
            let parent = self.snapshot_dir.parent().unwrap_or(&self.snapshot_dir);
            fs::File::open(parent)?.sync_all()?;
        }
        Ok(self.snapshot_dir.clone())
    }
}

/// Reads a state while it is written, a megabyte at a time.
struct ExportReader {
    export: Box<Export>,
    /// What was read of the output.
    at: usize,
    is_complete: bool,
}

impl Read for ExportReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.at == self.export.output().len() {
            self.export.output().clear();
            self.at = 0;
            if self.is_complete {
                return Ok(0);
            }
            self.is_complete = self.export.write_step().map_err(io::Error::other)?;
        }
        let rest = &self.export.output()[self.at..];
        let len = rest.len().min(out.len());
        out[..len].copy_from_slice(&rest[..len]);
        self.at += len;
        Ok(len)
    }
}
