//! Messages of other members, and the room in the WAL that their entries need.

use proto::raftpb::{Message, MessageType};

use super::admission::entry_bytes;
use super::{Consensus, HELD_BYTES_MAX, Weight};

impl<W> Consensus<W> {
    /// Takes a message of another member. One that no correct member would send is dropped.
    ///
    /// Entries need room in the WAL. While a file for them is being made they wait. If the disk is full they are
    /// dropped, as if the network had lost them: the leader sends them again.
    pub(crate) fn step(&mut self, message: Message) {
        match message.r#type() {
            // It is of no use without the state that it announces: [`Consensus::step_snapshot`].
            MessageType::MsgSnap => return,
            MessageType::MsgApp if !message.entries.is_empty() => {}
            _ => {
                let _ = self.raft.step(message);
                return;
            }
        }
        let waiting = if self.held.is_empty() { self.step_append(message) } else { Some(message) };
        let Some(message) = waiting else { return };
        let bytes: usize = message.entries.iter().map(entry_bytes).sum();
        if self.admission.expects_room() && self.held_bytes + bytes <= HELD_BYTES_MAX {
            self.held_bytes += bytes;
            self.held.push_back(message);
        }
    }

    /// Takes as many of a leader's entries as there is room for; the message comes back if that is none. The leader
    /// learns how many were taken.
    fn step_append(&mut self, mut message: Message) -> Option<Message> {
        let (mut bytes, mut fitting) = (0, 0);
        for entry in &message.entries {
            let sum = bytes + entry_bytes(entry) as u64;
            if !self.admission.fits_append(sum) {
                break;
            }
            (bytes, fitting) = (sum, fitting + 1);
        }
        if fitting == 0 {
            return Some(message);
        }
        message.entries.truncate(fitting);
        self.admission.append(bytes);
        let _ = self.raft.step(message);
        None
    }

    /// Takes a message that announces a state which this member has received.
    pub(crate) fn step_snapshot(&mut self, message: Message) {
        let _ = self.raft.step(message);
    }

    /// Takes a proposal that another member forwards to this leader, if there is room for it. It takes `weight`
    /// bytes of the room for commands.
    pub(crate) fn step_forwarded(&mut self, message: Message, weight: Weight) {
        if message.entries.is_empty() || !self.admission.fits(weight.bytes, weight.takes_space) {
            return;
        }
        let bytes: usize = message.entries.iter().map(entry_bytes).sum();
        if self.raft.step(message).is_ok() {
            self.admission.admit(bytes as u64, weight.bytes);
            self.revokes.extend(weight.revokes);
        }
    }

    /// Appends that waited for a file of the WAL, as far as there is room now.
    pub(super) fn step_held(&mut self) {
        while let Some(message) = self.held.pop_front() {
            let bytes: usize = message.entries.iter().map(entry_bytes).sum();
            if let Some(message) = self.step_append(message) {
                self.held.push_front(message);
                break;
            }
            self.held_bytes -= bytes;
        }
        if !self.admission.expects_room() {
            self.held.clear();
            self.held_bytes = 0;
        }
    }
}
