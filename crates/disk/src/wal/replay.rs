//! What the records of a log add up to.
//!
//! Pure: takes records in order and knows no files. The rules are etcd's: an entry replaces every collected entry from
//! its index on, the last state wins. Since a record's type is outside its checksum, each record is also held against
//! what raft can have written, so that one read as another type is found out.

use std::borrow::Cow;

use prost::Message;
use prost::bytes::Bytes;
use prost::encoding::{DecodeContext, decode_key, skip_field};
use proto::raftpb::{Entry, EntryType, HardState};
use proto::walpb::Snapshot;

use super::Metadata;
use super::decode::Record;
use super::encode::Kind;

/// Why a record cannot follow those before it: what should stand in its place.
pub(super) type Refusal = Cow<'static, str>;

/// Names an entry.
#[derive(Debug, Clone, Copy, Default)]
struct EntryId {
    index: u64,
    term: u64,
}

/// The sum of the records read so far.
#[derive(Debug)]
pub(super) struct Replay {
    from_index: u64,
    pub(super) metadata: Option<Metadata>,
    pub(super) hard_state: HardState,
    /// Contiguous, the first behind the one given away last.
    pub(super) entries: Vec<Entry>,
    entries_bytes: usize,
    /// The last entry that was given away; without one, that at `from_index`.
    given_index: u64,
    given_term: u64,
    pub(super) snapshots: Vec<Snapshot>,
    /// Index of the last entry read, also of one at or below `from_index`.
    last_read: u64,
    /// The last entry at or below `from_index`.
    last_skipped: EntryId,
    /// Whether the file being read holds a record behind its head.
    has_record: bool,
}

impl Replay {
    /// Collects the entries above `from_index`.
    pub(super) fn new(from_index: u64) -> Replay {
        Replay {
            from_index,
            metadata: None,
            hard_state: HardState::default(),
            entries: Vec::new(),
            entries_bytes: 0,
            given_index: from_index,
            given_term: 0,
            snapshots: Vec::new(),
            last_read: 0,
            last_skipped: EntryId::default(),
            has_record: false,
        }
    }

    /// Takes the second record of a file, which says whose log it is.
    pub(super) fn head(&mut self, record: Option<Record<'_>>) -> Result<(), Refusal> {
        let metadata = match record {
            Some(Record { kind: Kind::Metadata, data, .. }) => Metadata::decode(data),
            _ => None,
        };
        let metadata = metadata.ok_or("the metadata record, second in each file")?;
        if *self.metadata.get_or_insert(metadata) != metadata {
            return Err("the same member and cluster as in the file before".into());
        }
        self.has_record = false;
        Ok(())
    }

    /// Takes any record after the head of a file.
    pub(super) fn record(&mut self, record: Record<'_>) -> Result<(), Refusal> {
        let is_first = !std::mem::replace(&mut self.has_record, true);
        match record.kind {
            Kind::Entry => self.entry(record.data),
            Kind::State => self.state(record.data),
            Kind::Snapshot if record.data.is_empty() && !is_first => {
                Err("a snapshot record without an index only behind the head of the first file".into())
            }
            Kind::Snapshot => {
                let snapshot = Snapshot::decode(record.data).map_err(|_| "a snapshot record")?;
                self.snapshot(snapshot);
                Ok(())
            }
            Kind::Crc if !is_first => Ok(()),
            Kind::Metadata | Kind::Crc => Err("an entry, a state or a snapshot record".into()),
        }
    }

    /// Whether anything was promised: an entry, or a state.
    pub(super) fn has_history(&self) -> bool {
        self.last_read > 0 || self.hard_state != HardState::default()
    }

    /// Whether the log reaches the checkpoint that the member starts from: entries up to it were durable, so a log that
    /// ends before has lost some. The error is the index that the log reaches, and the one that it should reach.
    pub(super) fn check_reach(&self) -> Result<(), (u64, u64)> {
        let reached = self.marked_index().max(self.last_read);
        if reached >= self.from_index { Ok(()) } else { Err((reached, self.from_index)) }
    }

    fn marked_index(&self) -> u64 {
        self.snapshots.iter().map(|snapshot| snapshot.index).max().unwrap_or(0)
    }

    /// Bytes of the entries that are collected, about.
    pub(super) fn entries_bytes(&self) -> usize {
        self.entries_bytes
    }

    /// Gives away the entries that the last state says are committed: no later record can replace them.
    pub(super) fn take_committed(&mut self) -> Vec<Entry> {
        let n_committed = self.hard_state.commit.saturating_sub(self.given_index);
        let n_committed = self.entries.len().min(usize::try_from(n_committed).unwrap_or(usize::MAX));
        let committed: Vec<Entry> = self.entries.drain(..n_committed).collect();
        if let Some(last) = committed.last() {
            self.given_index = last.index;
            self.given_term = last.term;
        }
        self.entries_bytes = self.entries.iter().map(entry_bytes).sum();
        committed
    }

    /// The term of the last entry collected or given away.
    fn newest_term(&self) -> u64 {
        self.entries.last().map_or(self.given_term, |entry| entry.term)
    }

    /// Index of the newest entry known of, as an entry or as part of a checkpoint.
    pub(super) fn last_index(&self) -> u64 {
        self.marked_index().max(self.given_index + self.entries.len() as u64)
    }

    /// Holds the sum against the one promise that spans records, that what is committed is in the log, and repairs
    /// the one loss that leaves whole records: entries whose state was lost carry a term that the member has certainly
    /// reached. It has not voted in that term, or the vote would have been durable before.
    pub(super) fn finish(&mut self) -> Result<(), Refusal> {
        if self.hard_state.commit > self.last_index() {
            let (commit, last) = (self.hard_state.commit, self.last_index());
            return Err(format!("entries up to the committed index {commit}; the last is {last}").into());
        }
        let newest_term = self.newest_term();
        if newest_term > self.hard_state.term {
            self.hard_state = HardState { term: newest_term, vote: 0, ..self.hard_state };
        }
        Ok(())
    }

    /// A checkpoint of the member's own contains entries of this log. One that the leader sent may replace them: then
    /// the entry at its index is missing or is of another term, and those above it do not follow the leader's.
    fn snapshot(&mut self, snapshot: Snapshot) {
        if snapshot.index > self.given_index || self.given_index == self.from_index {
            // Index 0 is the empty state that every log begins with.
            let is_own = snapshot.index == 0
                || snapshot.index < self.from_index
                || self.term_at(snapshot.index) == Some(snapshot.term);
            if !is_own {
                self.entries.retain(|entry| entry.index <= snapshot.index);
                self.entries_bytes = self.entries.iter().map(entry_bytes).sum();
                if snapshot.index == self.from_index {
                    // The log goes on from here: the member's own checkpoint at the same index replaces nothing.
                    self.last_skipped = EntryId { index: snapshot.index, term: snapshot.term };
                }
            }
        }
        self.snapshots.push(snapshot);
    }

    /// The term of an entry that is collected, or of the last one at or below `from_index`.
    fn term_at(&self, index: u64) -> Option<u64> {
        if index == self.last_skipped.index && index > 0 {
            return Some(self.last_skipped.term);
        }
        let at = usize::try_from(index.checked_sub(self.given_index + 1)?).ok()?;
        Some(self.entries.get(at)?.term)
    }

    fn entry(&mut self, data: &[u8]) -> Result<(), Refusal> {
        // Copied, not sliced: a slice would keep the whole file in memory as long as the entry lives.
        let entry = Entry::decode(Bytes::copy_from_slice(data)).map_err(|_| "an entry")?;
        let kind = EntryType::try_from(entry.r#type).map_err(|_| "an entry of a known type")?;
        if entry.term == 0
            || entry.index == 0
            || (kind == EntryType::EntryConfChange && entry.data.is_empty())
        {
            return Err("an entry with term, index and, for a change of members, data".into());
        }
        if entry.index <= self.from_index && self.given_index == self.from_index {
            self.last_read = entry.index;
            self.last_skipped = EntryId { index: entry.index, term: entry.term };
            self.entries.clear();
            return Ok(());
        }
        if entry.index <= self.hard_state.commit
            && self.entries.len() as u64 + self.given_index >= entry.index
        {
            let commit = self.hard_state.commit;
            return Err(format!("an entry above the committed index {commit}").into());
        }
        // What was given away is committed, so the index is above it.
        let position = (entry.index - self.given_index - 1) as usize;
        if position > self.entries.len() {
            let next = self.given_index + 1 + self.entries.len() as u64;
            return Err(format!("an entry of index {next} or before").into());
        }
        self.entries.truncate(position);
        if self.newest_term() > entry.term {
            return Err("an entry of no lower term than the one before".into());
        }
        self.last_read = entry.index;
        self.entries_bytes += entry_bytes(&entry);
        self.entries.push(entry);
        Ok(())
    }

    fn state(&mut self, data: &[u8]) -> Result<(), Refusal> {
        let state = HardState::decode(data).ok().filter(|_| has_only_state_fields(data)).ok_or("a state")?;
        let newest_term = self.newest_term();
        if state.term < self.hard_state.term.max(newest_term).max(1) || state.commit < self.hard_state.commit
        {
            return Err("a state whose term and commit index do not go back".into());
        }
        self.hard_state = state;
        Ok(())
    }
}

/// Bytes that an entry takes in memory, about.
fn entry_bytes(entry: &Entry) -> usize {
    size_of::<Entry>() + entry.data.len()
}

/// Whether `data` holds no field beyond those of a state, 1 to 3: an entry with data has a fourth.
fn has_only_state_fields(mut data: &[u8]) -> bool {
    while !data.is_empty() {
        let known = decode_key(&mut data).is_ok_and(|(tag, wire_type)| {
            tag <= 3 && skip_field(wire_type, tag, &mut data, DecodeContext::default()).is_ok()
        });
        if !known {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(term: u64, index: u64) -> Entry {
        Entry { term, index, data: Bytes::from_static(b"data"), ..Entry::default() }
    }

    fn replay(from_index: u64, entries: &[Entry]) -> Replay {
        let mut replay = Replay::new(from_index);
        for entry in entries {
            replay.entry(&entry.encode_to_vec()).unwrap();
        }
        replay
    }

    fn state(replay: &mut Replay, term: u64, commit: u64) -> Result<(), Refusal> {
        replay.state(&HardState { term, vote: 1, commit }.encode_to_vec())
    }

    #[test]
    fn an_entry_replaces_everything_from_its_index_on() {
        let replay = replay(0, &[entry(1, 1), entry(1, 2), entry(1, 3), entry(2, 2)]);
        assert_eq!(replay.entries, [entry(1, 1), entry(2, 2)]);
        assert_eq!(replay.last_index(), 2);
    }

    #[test]
    fn entries_up_to_the_wanted_index_are_left_out() {
        assert_eq!(replay(2, &[entry(1, 1), entry(1, 2), entry(1, 3)]).entries, [entry(1, 3)]);
        assert_eq!(replay(2, &[entry(1, 1)]).last_index(), 2);
    }

    #[test]
    fn what_is_committed_is_given_away_once_and_never_replaced() {
        let mut replay = replay(1, &[entry(1, 1), entry(1, 2), entry(1, 3), entry(1, 4)]);
        assert!(replay.take_committed().is_empty());
        state(&mut replay, 1, 3).unwrap();
        assert_eq!(replay.take_committed(), [entry(1, 2), entry(1, 3)]);
        assert!(replay.take_committed().is_empty());
        assert_eq!((replay.entries.as_slice(), replay.last_index()), (&[entry(1, 4)][..], 4));
        for index in 1..=3 {
            assert!(replay.entry(&entry(1, index).encode_to_vec()).is_err(), "{index}");
        }
        replay.entry(&entry(2, 4).encode_to_vec()).unwrap();
        assert_eq!(replay.entries, [entry(2, 4)]);
        assert!(replay.entry(&entry(1, 5).encode_to_vec()).is_err(), "its term is lower");
    }

    #[test]
    fn an_entry_left_out_replaces_those_above_it_all_the_same() {
        assert_eq!(replay(1, &[entry(1, 1), entry(1, 2), entry(2, 1)]).entries, []);
    }

    fn snapshot(replay: &mut Replay, index: u64, term: u64) {
        replay.snapshot(Snapshot { index, term, conf_state: None });
    }

    #[test]
    fn a_snapshot_of_the_leader_replaces_what_does_not_follow_it() {
        // The log held other entries at and above the index of the snapshot, or ended before it.
        for (from_index, entries) in [
            (3, vec![entry(1, 1), entry(1, 2), entry(1, 3), entry(1, 4)]),
            (3, vec![entry(1, 1), entry(1, 2)]),
        ] {
            let mut replay = replay(from_index, &entries);
            snapshot(&mut replay, 3, 2);
            assert_eq!(replay.entries, []);
            replay.entry(&entry(2, 4).encode_to_vec()).unwrap();
            assert_eq!((replay.entries.as_slice(), replay.last_index()), (&[entry(2, 4)][..], 4));
        }
    }

    #[test]
    fn a_checkpoint_at_the_index_of_a_snapshot_of_the_leader_keeps_what_follows_it() {
        let mut replay = replay(3, &[entry(1, 1), entry(1, 2)]);
        snapshot(&mut replay, 3, 2);
        replay.entry(&entry(2, 4).encode_to_vec()).unwrap();
        snapshot(&mut replay, 3, 2);
        replay.entry(&entry(2, 5).encode_to_vec()).unwrap();
        assert_eq!(replay.entries, [entry(2, 4), entry(2, 5)]);
    }

    #[test]
    fn a_checkpoint_of_the_member_keeps_what_follows_it() {
        for from_index in [0, 2, 3] {
            let mut replay = replay(from_index, &[entry(1, 1), entry(1, 2), entry(1, 3), entry(2, 4)]);
            snapshot(&mut replay, 2, 1);
            snapshot(&mut replay, 3, 1);
            assert_eq!(replay.entries.last(), Some(&entry(2, 4)), "from {from_index}");
        }
    }

    #[test]
    fn a_snapshot_that_was_not_installed_leaves_the_log_before_it() {
        let mut replay = replay(1, &[entry(1, 1), entry(1, 2), entry(1, 3)]);
        snapshot(&mut replay, 9, 2);
        assert_eq!(replay.entries, [entry(1, 2), entry(1, 3)]);
        replay.entry(&entry(3, 4).encode_to_vec()).unwrap();
        assert_eq!(replay.entries.len(), 3);
    }

    #[test]
    fn a_gap_is_refused() {
        let refusal = replay(0, &[entry(1, 1)]).entry(&entry(1, 3).encode_to_vec()).unwrap_err();
        assert_eq!(refusal, "an entry of index 2 or before");
    }

    #[test]
    fn a_committed_entry_is_never_replaced() {
        let mut replay = replay(0, &[entry(1, 1), entry(1, 2)]);
        state(&mut replay, 1, 2).unwrap();
        let refusal = replay.entry(&entry(2, 2).encode_to_vec()).unwrap_err();
        assert_eq!(refusal, "an entry above the committed index 2");
    }

    #[test]
    fn a_state_that_goes_back_is_refused() {
        let mut replay = replay(0, &[entry(3, 1)]);
        assert!(state(&mut replay, 2, 0).is_err(), "below an entry's term");
        state(&mut replay, 4, 1).unwrap();
        assert!(state(&mut replay, 3, 1).is_err());
        assert!(state(&mut replay, 4, 0).is_err());
    }

    #[test]
    fn an_entry_is_not_read_as_a_state() {
        assert!(Replay::new(0).state(&entry(1, 1).encode_to_vec()).is_err());
        let empty = Entry { term: 1, index: 1, ..Entry::default() };
        assert!(Replay::new(0).state(&empty.encode_to_vec()).is_err());
    }

    #[test]
    fn the_term_is_never_below_that_of_the_log() {
        let mut replay = replay(0, &[entry(1, 1)]);
        state(&mut replay, 1, 1).unwrap();
        replay.entry(&entry(3, 2).encode_to_vec()).unwrap();
        replay.finish().unwrap();
        assert_eq!(replay.hard_state, HardState { term: 3, vote: 0, commit: 1 });
    }

    #[test]
    fn a_log_that_lacks_what_it_committed_is_refused() {
        let mut replay = replay(0, &[entry(1, 1)]);
        state(&mut replay, 1, 5).unwrap();
        assert_eq!(replay.finish().unwrap_err(), "entries up to the committed index 5; the last is 1");
        replay.snapshots.push(Snapshot { index: 5, term: 1, conf_state: None });
        replay.finish().unwrap();
    }
}
