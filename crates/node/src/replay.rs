//! A restart applies the committed entries of the WAL before the node is created.
//!
//! A WAL may be long, so its entries come in batches, and a batch is freed once it is applied. Only the
//! newest entries are kept, for slow followers. No client waits and none watches, so the outcomes are
//! dropped. Afterwards the member has the state that a checkpoint at the last applied entry would give it.
//!
//! On a full disk an entry may find no room in the revision log. It and those behind it are then left to the
//! node, which waits until there is room.

use std::collections::VecDeque;

use proto::raftpb::{Entry, EntryType, HardState};
use raft::{Raft, Restored};
use store::{Command, Footprint, Request, Store};

use crate::consensus::CATCHUP_BYTES_MAX;
use crate::consensus::admission::entry_bytes;
use crate::error::Fatal;
use crate::handover::EntryId;
use crate::machine::{AppliedState, change_members};

/// The state of a member while its WAL is replayed.
#[derive(Debug)]
pub(crate) struct Replay<'a> {
    store: &'a mut Store,
    raft_config: &'a raft::Config,
    replayed: Replayed,
    max_learners: usize,
    /// How many applied entries are kept at most.
    kept_max: u64,
    kept_bytes: u64,
    /// Commands that are applied next, together, and what they may write.
    requests: Vec<Request>,
    footprint: Footprint,
}

/// The end of a replay.
#[derive(Debug)]
pub(crate) struct Replayed {
    pub(crate) applied: AppliedState,
    /// Bytes of all applied entries.
    pub(crate) bytes: u64,
    /// The newest applied entries.
    pub(crate) kept: VecDeque<Entry>,
    /// The entry before them.
    pub(crate) kept_after: EntryId,
    /// Committed entries that the disk had no space for.
    pub(crate) unapplied: Vec<Entry>,
}

impl<'a> Replay<'a> {
    /// Continues from a store as of `applied`, and keeps `kept_max` entries.
    pub(crate) fn new(
        store: &'a mut Store,
        raft_config: &'a raft::Config,
        applied: AppliedState,
        max_learners: usize,
        kept_max: u64,
    ) -> Replay<'a> {
        let kept_after = applied.entry;
        let (kept, unapplied) = (VecDeque::new(), Vec::new());
        Replay {
            store,
            raft_config,
            replayed: Replayed { applied, bytes: 0, kept, kept_after, unapplied },
            max_learners,
            kept_max,
            kept_bytes: 0,
            requests: Vec::new(),
            footprint: Footprint::default(),
        }
    }

    /// Applies the next committed entries, as far as there is room.
    pub(crate) fn apply(&mut self, entries: Vec<Entry>) -> Result<(), Fatal> {
        for entry in entries {
            if !self.replayed.unapplied.is_empty() || !self.take(&entry)? {
                self.replayed.unapplied.push(entry);
            } else {
                self.replayed.applied.entry = EntryId { index: entry.index, term: entry.term };
                self.replayed.bytes += entry_bytes(&entry) as u64;
                self.keep(entry);
            }
        }
        self.apply_requests()
    }

    pub(crate) fn finish(self) -> Replayed {
        self.replayed
    }

    /// Applies an entry, or adds it to those that are applied together. False if there is no room for it.
    fn take(&mut self, entry: &Entry) -> Result<bool, Fatal> {
        if entry.r#type() != EntryType::EntryNormal {
            self.apply_requests()?;
            self.apply_conf_change(entry)?;
            return Ok(true);
        }
        // The entry with which a leader begins its term holds no command.
        if entry.data.is_empty() {
            return Ok(true);
        }
        let command = Command::decode(entry.data.clone())
            .map_err(|error| Fatal::Entry { index: entry.index, error })?;
        let mut footprint = self.footprint_with(&command.request);
        if !self.store.log().has_room_for(footprint.bytes, footprint.longest) {
            // Once the commands before it are applied, the store tells more exactly what this one writes.
            self.apply_requests()?;
            footprint = self.footprint_with(&command.request);
            if !self.make_room(footprint)? {
                return Ok(false);
            }
        }
        self.footprint = footprint;
        self.requests.push(command.request);
        Ok(true)
    }

    /// Makes segments until there is room. False if the disk has no space for them.
    fn make_room(&mut self, footprint: Footprint) -> Result<bool, Fatal> {
        let Footprint { bytes, longest } = footprint;
        while !self.store.log().has_room_for(bytes, longest) {
            match self.store.log().next_segment_for(longest).run() {
                Ok(segment) => self.store.log().adopt(segment),
                Err(error) if error.may_be_retried() => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    /// What the commands that are applied next and `request` may write.
    fn footprint_with(&self, request: &Request) -> Footprint {
        self.store.footprint(self.footprint, request, u64::MAX, &mut || {})
    }

    fn apply_requests(&mut self) -> Result<(), Fatal> {
        self.store.apply(&self.requests)?;
        self.requests.clear();
        self.footprint = Footprint::default();
        Ok(())
    }

    fn apply_conf_change(&mut self, entry: &Entry) -> Result<(), Fatal> {
        let (change, _) = change_members(self.store, entry, self.max_learners)?;
        // Only raft knows the configuration that a change results in. This instance is used for nothing else.
        let applied = &mut self.replayed.applied;
        let restored = Restored {
            hard_state: HardState { term: entry.term, vote: 0, commit: entry.index },
            conf_state: applied.conf_state.clone(),
            snapshot_index: entry.index,
            snapshot_term: entry.term,
            entries: Vec::new(),
            applied: entry.index,
        };
        let mut raft = Raft::new(self.raft_config.clone(), restored)?;
        applied.conf_state = raft.apply_conf_change(&raft::single_change(&change));
        Ok(())
    }

    fn keep(&mut self, entry: Entry) {
        let Replayed { kept, kept_after, .. } = &mut self.replayed;
        self.kept_bytes += entry.data.len() as u64;
        kept.push_back(entry);
        while kept.len() as u64 > self.kept_max || self.kept_bytes > CATCHUP_BYTES_MAX {
            let Some(oldest) = kept.pop_front() else { break };
            self.kept_bytes -= oldest.data.len() as u64;
            *kept_after = EntryId { index: oldest.index, term: oldest.term };
        }
    }
}
