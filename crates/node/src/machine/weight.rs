//! What commands take of the room in the revision log, before they are proposed.

use proto::etcdserverpb::LeaseRevokeRequest;
use proto::raftpb::{Entry, EntryType};
use store::{Command, Footprint, Request};

use super::Machine;
use super::members::read_conf_change;
use crate::consensus::Weight;
use crate::consensus::admission::ENTRY_BYTES;
use crate::input::Proposal;

impl Machine {
    /// Bytes that a proposal takes of the room for commands: those of its entry, or more if what it writes
    /// depends on what the store holds.
    ///
    /// As long as the disk may have space for more segments, no more than a part of a segment is counted.
    /// Applying waits for the rest if it must.
    pub(crate) fn weigh(&self, proposal: &Proposal, is_disk_full: bool) -> u64 {
        let len = proposal.len() as u64;
        if !proposal.writes_more {
            return len;
        }
        // What cannot be decoded stops the member once it is committed.
        let Ok(command) = Command::decode(proposal.data.clone()) else { return len };
        len.max(self.weigh_records(&command.request, is_disk_full))
    }

    fn weigh_records(&self, request: &Request, is_disk_full: bool) -> u64 {
        // More than there can be room for need not be counted on a full disk either.
        let bytes_max = if is_disk_full { self.footprint_refused } else { self.footprint_waited_for };
        let footprint = self.store.footprint(Footprint::default(), request, bytes_max, &mut || {});
        footprint.bytes.min(bytes_max)
    }

    /// What forwarded entries take of the room for commands. Those that cannot be read are left out: applying
    /// them would stop each member.
    pub(crate) fn weigh_forwarded(&self, entries: Vec<Entry>, is_disk_full: bool) -> (Vec<Entry>, Weight) {
        let mut weight = Weight::default();
        let mut readable = Vec::with_capacity(entries.len());
        for entry in entries {
            if entry.r#type() == EntryType::EntryNormal {
                let Some(proposal) = Proposal::decode(entry.data.clone()) else { continue };
                weight.bytes += self.weigh(&proposal, is_disk_full) + ENTRY_BYTES as u64;
                weight.takes_space |= proposal.takes_space;
                weight.revokes.extend(proposal.revokes);
            } else if read_conf_change(&entry).is_err() {
                continue;
            }
            readable.push(entry);
        }
        (readable, weight)
    }

    /// The proposal that revokes a lease, and what it takes of the room for commands.
    pub(crate) fn revocation(&self, id: i64, is_disk_full: bool) -> (Proposal, u64) {
        let request = Request::LeaseRevoke(LeaseRevokeRequest { id });
        let weight = self.weigh_records(&request, is_disk_full);
        let proposal = Proposal::new(self.published.next_request_id(), request);
        let len = proposal.len() as u64;
        (proposal, len.max(weight))
    }
}
