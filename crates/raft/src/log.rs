//! The log as this member holds it in memory, with every mark that moves along it.
//!
//! ```text
//!   compacted   applied   emitted   committed      last
//!       |          |         |          |            |
//!   ----+----------+---------+----------+------------+
//!       | <--- entries in memory -----------------> |
//!                                 |          |
//!                              durable     handed
//! ```
//!
//! * `applied <= emitted <= committed <= last`: emitted entries were given out to be applied.
//! * `emitted <= durable <= handed <= last`: handed entries were given out to be written, durable ones are
//!   written. Only `durable` stays behind all others while a received snapshot is being installed.
//! * Committed entries never change. A conflict found above `committed` removes the tail, and what was being
//!   written of it no longer counts: a write in flight is capped at the last entry that stayed.

use std::collections::VecDeque;

use bytes::Bytes;
use proto::raftpb::{Entry, EntryType};

use crate::{Error, Restored};

/// The highest index of a restored log; so far from the end of the range that no log reaches it by growing.
pub(crate) const INDEX_MAX: u64 = i64::MAX as u64;

/// Upper bound of what an encoded entry takes beside its data.
const ENTRY_OVERHEAD_BYTES: u64 = 32;

#[derive(Debug)]
pub(crate) struct Log {
    entries: VecDeque<Entry>,
    /// Size of all of them, as [`size`] counts it.
    bytes: u64,
    /// The part of `bytes` that is not committed.
    uncommitted_bytes: u64,
    compacted: u64,
    compacted_term: u64,
    handed: u64,
    durable: u64,
    committed: u64,
    emitted: u64,
    applied: u64,
    writes: VecDeque<Write>,
}

/// A batch that was handed out and not yet confirmed.
#[derive(Debug)]
struct Write {
    seq: u64,
    /// The log is durable up to here once the batch is, as far as this batch tells.
    last: u64,
}

impl Log {
    /// Takes over what was read back from disk, all of it durable.
    pub(crate) fn new(restored: &mut Restored) -> Result<Log, Error> {
        let Restored { snapshot_index, snapshot_term, applied, .. } = *restored;
        let entries = std::mem::take(&mut restored.entries);
        check_run(snapshot_index, snapshot_term, &entries)
            .map_err(|(index, expected)| Error::InvalidLog { index, expected })?;
        let last = entries.last().map_or(snapshot_index, |entry| entry.index);
        if last > INDEX_MAX || last < snapshot_index {
            return Err(Error::InvalidLog { index: last, expected: "indexes stay below 2^63" });
        }
        if applied < snapshot_index {
            return Err(Error::InvalidLog {
                index: applied,
                expected: "entries above the applied one are kept",
            });
        }
        let committed = restored.hard_state.commit.max(applied).max(committed_by_conf_changes(&entries));
        if committed > last {
            return Err(Error::InvalidLog { index: last, expected: "the log reaches the committed index" });
        }
        let uncommitted = entries.iter().filter(|entry| entry.index > committed);
        Ok(Log {
            bytes: entries.iter().map(size).sum(),
            uncommitted_bytes: uncommitted.map(size).sum(),
            entries: entries.into(),
            compacted: snapshot_index,
            compacted_term: snapshot_term,
            handed: last,
            durable: last,
            committed,
            emitted: applied,
            applied,
            writes: VecDeque::new(),
        })
    }

    /// Index of the oldest entry that is kept, or would be.
    pub(crate) fn first(&self) -> u64 {
        self.compacted + 1
    }

    pub(crate) fn last(&self) -> u64 {
        self.compacted + self.entries.len() as u64
    }

    pub(crate) fn last_term(&self) -> u64 {
        self.entries.back().map_or(self.compacted_term, |entry| entry.term)
    }

    pub(crate) fn committed(&self) -> u64 {
        self.committed
    }

    pub(crate) fn applied(&self) -> u64 {
        self.applied
    }

    pub(crate) fn durable(&self) -> u64 {
        self.durable
    }

    /// Size of the entries that are not committed.
    pub(crate) fn uncommitted_bytes(&self) -> u64 {
        self.uncommitted_bytes
    }

    /// Whether entries wait to be handed out for writing.
    pub(crate) fn has_unhanded(&self) -> bool {
        self.handed < self.last()
    }

    /// Term of the entry at `index`; `None` if it is compacted or not there yet.
    pub(crate) fn term(&self, index: u64) -> Option<u64> {
        if index == self.compacted {
            return Some(self.compacted_term);
        }
        let at = index.checked_sub(self.first())?;
        Some(self.entries.get(usize::try_from(at).ok()?)?.term)
    }

    /// Whether a log that ends in (`index`, `term`) holds at least what this one does (Ongaro & Ousterhout
    /// 2014, §5.4.1).
    pub(crate) fn is_up_to_date(&self, index: u64, term: u64) -> bool {
        if bugs::seeded_bug!("vote-for-shorter-log") {
            return term >= self.last_term();
        }
        (term, index) >= (self.last_term(), self.last())
    }

    /// Appends an entry of this member's own term.
    pub(crate) fn push(&mut self, term: u64, r#type: EntryType, data: Bytes) {
        let index = self.last() + 1;
        let entry = Entry { term, index, r#type: r#type as i32, data };
        self.bytes += size(&entry);
        self.uncommitted_bytes += size(&entry);
        self.entries.push_back(entry);
    }

    /// Appends a leader's `entries` after (`prev`, `prev_term`), removing what conflicts with them. Returns
    /// the last index now known to equal the leader's, or `None` if there is no such previous entry.
    ///
    /// The entries must be a run, as [`check_run`] says.
    pub(crate) fn append_after(&mut self, prev: u64, prev_term: u64, entries: Vec<Entry>) -> Option<u64> {
        if self.term(prev) != Some(prev_term) {
            return None;
        }
        let last_new = prev + entries.len() as u64;
        let known = entries.iter().take_while(|entry| self.term(entry.index) == Some(entry.term)).count();
        if known < entries.len() || bugs::seeded_bug!("old-append-truncates") {
            self.truncate(prev + known as u64);
            let added = entries[known..].iter().map(size).sum::<u64>();
            self.bytes += added;
            self.uncommitted_bytes += added;
            self.entries.extend(entries.into_iter().skip(known));
        }
        Some(last_new)
    }

    /// The largest index not above `index` whose term is not above `term`, with its term where known: a good
    /// guess at where two logs agree, which skips a whole term in one round.
    pub(crate) fn guess_agreement(&self, index: u64, term: u64) -> (u64, u64) {
        // Terms never fall along the log.
        let not_above = self.entries.partition_point(|entry| entry.term <= term) as u64;
        let index = index.min(self.compacted + not_above);
        match self.term(index) {
            // The term before the last compacted entry is forgotten.
            Some(own) if own > term => (index - 1, 0),
            own => (index, own.unwrap_or(0)),
        }
    }

    /// Marks everything up to `index` as committed; lower marks stay.
    pub(crate) fn commit_to(&mut self, index: u64) {
        assert!(
            index <= self.last(),
            "commit index {index} is past the last entry {}: this member lost entries that it acknowledged",
            self.last()
        );
        if index > self.committed {
            let range = self.position(self.committed + 1)..self.position(index + 1);
            self.uncommitted_bytes -= self.entries.range(range).map(size).sum::<u64>();
            self.committed = index;
        }
    }

    /// Clones of the entries from `index` on, up to `max_bytes` of them but at least one if there is one.
    pub(crate) fn entries_from(&self, index: u64, max_bytes: u64) -> Vec<Entry> {
        self.entries_between(index, self.last(), max_bytes)
    }

    /// Like [`Log::entries_from`], up to index `last`.
    fn entries_between(&self, first: u64, last: u64, max_bytes: u64) -> Vec<Entry> {
        let mut bytes = 0;
        let (from, to) = (self.position(first), self.position(last + 1));
        let fits = self.entries.range(from..to).take_while(|entry| {
            bytes += size(entry);
            bytes <= max_bytes
        });
        let count = fits.count().max(1).min(to - from);
        self.entries.range(from..from + count).cloned().collect()
    }

    /// Hands out what is not yet being written, as batch `seq`.
    pub(crate) fn hand_out(&mut self, seq: u64) -> Vec<Entry> {
        let from = self.position(self.handed + 1);
        self.handed = self.last();
        self.writes.push_back(Write { seq, last: self.handed });
        self.entries.range(from..).cloned().collect()
    }

    /// Notes that every batch up to `seq` is durable.
    pub(crate) fn persisted(&mut self, seq: u64) {
        while let Some(write) = self.writes.pop_front_if(|write| write.seq <= seq) {
            self.durable = self.durable.max(write.last);
        }
    }

    /// Hands out entries that became both committed and durable, to be applied: up to `max_bytes` of them
    /// but at least one if there is one.
    pub(crate) fn emit_committed(&mut self, max_bytes: u64) -> Vec<Entry> {
        let to = self.committed.min(self.durable);
        if to <= self.emitted {
            return Vec::new();
        }
        let entries = self.entries_between(self.emitted + 1, to, max_bytes);
        self.emitted += entries.len() as u64;
        entries
    }

    /// Replaces the whole log by a snapshot, which stands for all entries up to `index`, the last one of
    /// `term`. `index` is above what is committed.
    ///
    /// What is on its way to the disk holds nothing above the committed index that would still count. The
    /// log is durable up to `index` once the batch is that is handed out next.
    pub(crate) fn restore(&mut self, index: u64, term: u64) {
        assert!(
            index > self.committed,
            "a snapshot at {index} is behind the commit index {}",
            self.committed
        );
        self.durable = self.durable.min(self.committed);
        for write in &mut self.writes {
            write.last = write.last.min(self.committed);
        }
        self.entries.clear();
        self.bytes = 0;
        self.uncommitted_bytes = 0;
        self.compacted = index;
        self.compacted_term = term;
        self.handed = index;
        self.committed = index;
        self.emitted = index;
        self.applied = index;
    }

    /// Notes that everything up to `index` is applied; at most what was emitted.
    pub(crate) fn applied_to(&mut self, index: u64) {
        assert!(index <= self.emitted, "applied index {index} was never handed out (up to {})", self.emitted);
        self.applied = self.applied.max(index);
    }

    /// Forgets the entries up to `index`, keeping its term; at most what is applied.
    pub(crate) fn compact(&mut self, index: u64) {
        assert!(index <= self.applied, "compaction to {index} passes the applied index {}", self.applied);
        if let Some(term) = self.term(index).filter(|_| index > self.compacted) {
            self.bytes -=
                self.entries.drain(..self.position(index + 1)).map(|entry| size(&entry)).sum::<u64>();
            (self.compacted, self.compacted_term) = (index, term);
        }
    }

    /// The lowest index to compact to so that what is kept has at most `bytes`; no more than what is
    /// applied.
    pub(crate) fn compaction_to_bytes(&self, bytes: u64) -> u64 {
        let mut kept = self.bytes;
        let too_many = self.entries.iter().take_while(|entry| {
            let is_over = kept > bytes;
            kept -= size(entry);
            is_over
        });
        (self.compacted + too_many.count() as u64).min(self.applied)
    }

    /// Whether a committed configuration change waits to be applied.
    pub(crate) fn has_unapplied_conf_change(&self) -> bool {
        let range = self.position(self.applied + 1)..self.position(self.committed + 1);
        self.entries.range(range).any(|entry| entry.r#type != EntryType::EntryNormal as i32)
    }

    fn truncate(&mut self, last: u64) {
        if last >= self.last() {
            return;
        }
        assert!(last >= self.committed, "entry {} conflicts with committed {}", last + 1, self.committed);
        let removed = self.entries.drain(self.position(last + 1)..).map(|entry| size(&entry)).sum::<u64>();
        self.bytes -= removed;
        self.uncommitted_bytes -= removed;
        self.handed = self.handed.min(last);
        self.durable = self.durable.min(last);
        for write in &mut self.writes {
            write.last = write.last.min(last);
        }
    }

    fn position(&self, index: u64) -> usize {
        usize::try_from(index - self.first()).expect("entries in memory are counted by usize")
    }
}

/// Up to which index `entries` prove by themselves that they are committed; 0 if they prove nothing.
///
/// A leader proposes a configuration change only once it has applied the one before. So if there are two,
/// the first is committed. A torn batch may hold the second without the hard state that says so. A member
/// that did not know it would still count majorities of the configuration before both; such a majority and
/// one of the configuration after both may have no member in common, and each could elect a leader.
fn committed_by_conf_changes(entries: &[Entry]) -> u64 {
    let mut changes = entries.iter().rev().filter(|entry| entry.r#type != EntryType::EntryNormal as i32);
    changes.nth(1).map_or(0, |entry| entry.index)
}

/// Bytes of an entry as it is sent or kept.
pub(crate) fn size(entry: &Entry) -> u64 {
    entry.data.len() as u64 + ENTRY_OVERHEAD_BYTES
}

/// Whether `entry` is of a type that can be applied.
pub(crate) fn is_known_type(entry: &Entry) -> bool {
    EntryType::try_from(entry.r#type).is_ok()
}

/// Checks that `entries` follow (`prev`, `prev_term`) without gaps, with terms that never fall, and are of
/// types that can be applied. Otherwise returns the index that breaks the rule, and the rule.
pub(crate) fn check_run(prev: u64, prev_term: u64, entries: &[Entry]) -> Result<(), (u64, &'static str)> {
    let (mut index, mut term) = (prev, prev_term);
    for entry in entries {
        // A leader's message may claim any index; one that wraps matches no entry that is here.
        index = index.wrapping_add(1);
        if entry.index != index {
            return Err((index, "entries follow each other without gaps"));
        }
        if entry.term < term {
            return Err((index, "terms never fall along the log"));
        }
        if !is_known_type(entry) {
            return Err((index, "an entry is a command or a configuration change"));
        }
        term = entry.term;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
