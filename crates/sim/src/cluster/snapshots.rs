//! States that members send each other, since the raft log no longer holds what a member lacks.
//!
//! A message of type MsgSnap asks for it. The state is written down when the transfer ends, as a file on the
//! receiver's disk; then the receiver gets the message with what the file contains. A transfer fails with the link, with
//! either member, or when a message would be lost; nothing of it is left then. The sender learns of both ends.

use std::path::PathBuf;
use std::time::Duration;

use disk::Disk as _;
use node::{Input, Note};
use proto::raftpb::{Message, Snapshot};

use super::Cluster;
use super::members::place_of;
use crate::member::ID;

/// The longest time that a transfer takes.
const TRANSFER_MS_MAX: u64 = 1000;
/// Transfers of a hundred that fail while faults are allowed.
const FAILING_PERCENT: u64 = 20;

/// A state on its way.
#[derive(Debug)]
pub(super) struct Transfer {
    from: usize,
    message: Message,
    due: Duration,
}

impl Cluster<'_> {
    /// The member at `from` wants to send its state.
    pub(super) fn begin_transfer(&mut self, from: usize, message: Message) {
        let due = self.now + Duration::from_millis(self.faults_random.below(TRANSFER_MS_MAX));
        self.transfers.push(Transfer { from, message, due });
    }

    /// When the next transfer ends.
    pub(super) fn next_transfer(&self) -> Option<Duration> {
        self.transfers.iter().map(|transfer| transfer.due).min()
    }

    /// Ends a transfer whose time has come; false if there is none.
    pub(super) fn end_transfer(&mut self) -> bool {
        let Some(at) = self.transfers.iter().position(|transfer| transfer.due <= self.now) else {
            return false;
        };
        let Transfer { from, message, .. } = self.transfers.remove(at);
        let to = place_of(message.to);
        let is_failing = !self.are_faults_over && self.faults_random.percent(FAILING_PERCENT);
        let is_ok =
            !is_failing && !self.network.is_cut(from, to) && self.transfer(from, to, message).is_some();
        self.report.snapshots_sent += u64::from(is_ok);
        self.report.snapshots_failed += u64::from(!is_ok);
        self.note(format_args!("state of {from} for {to}: {is_ok}"));
        if let Some(sender) = &mut self.hosts[from].member {
            sender.send(Input::SnapshotReported { id: ID + to as u64, is_ok });
        }
        true
    }

    /// Writes the state of one member to the disk of another, and tells it; `None` if that fails.
    fn transfer(&mut self, from: usize, to: usize, message: Message) -> Option<()> {
        let sender = self.hosts[from].member.as_mut()?;
        let (metadata, state) = sender.export()?;
        let receiver = &mut self.hosts[to];
        receiver.member.as_ref()?;
        let number = self.report.snapshots_sent + self.report.snapshots_failed;
        let file = PathBuf::from(format!("/received-{number}.snap.db"));
        let written = receiver.disk.create(&file).and_then(|created| {
            created.write_at(0, &state)?;
            created.sync()
        });
        written.ok()?;
        let snapshot = Some(Snapshot { metadata: Some(metadata), ..Snapshot::default() });
        let message = Box::new(Message { snapshot, ..message });
        receiver.member.as_mut()?.send(Input::Snapshot { message, file });
        Some(())
    }

    /// The member at `place` uses a state that it has received: from now on, not only once it has applied something.
    pub(super) fn note_snapshot(&mut self, place: usize, note: &Note) -> Result<(), String> {
        let Note::Snapshot { index, refusal: None } = note else { return Ok(()) };
        if *index > self.history.len() {
            return Err(format!(
                "member {place} uses a state that contains entry {index}, which is not committed"
            ));
        }
        self.report.snapshots_installed += 1;
        let host = &mut self.hosts[place];
        host.installed = *index;
        host.apply_to(*index, &self.history);
        self.compare_position(place)
    }
}
