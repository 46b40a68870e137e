//! The room of the log: what is left of the active segment, and the files of the next ones, made ahead of need.

use super::prepare::{PrepareSegment, SpareSegment};
use super::rewrite_choice;
use super::segment_header::SEGMENT_HEADER_LEN;
use super::{RevisionLog, segment_path};

/// An active segment that wastes less than this part of a segment is not sealed for it: the next one would soon be
/// the same.
const ACTIVE_WASTE_SHARE: u64 = 8;

/// A file made for long records has place for so many of them: the end of a segment that stays unused is then a
/// small part of it.
const RECORDS_MIN: u64 = 4;

impl RevisionLog {
    /// Bytes of records (headers included) that can be appended without asking the disk for space. The end of a
    /// segment may stay unused, so keep a margin of the longest record.
    pub fn room(&self) -> u64 {
        self.active_room() + self.prepared.iter().map(SpareSegment::room).sum::<u64>()
    }

    /// Whether records of so many bytes together (headers included), of which none is longer than `longest`, can be
    /// appended without asking the disk for space, in whatever order they come.
    pub fn has_room_for(&self, bytes: u64, longest: u64) -> bool {
        let mut left = bytes;
        // A file in which the longest record has no place may be passed over.
        let prepared = self.prepared.iter().map(SpareSegment::room).filter(|room| *room >= longest);
        for room in std::iter::once(self.active_room()).chain(prepared) {
            if left <= room {
                return true;
            }
            // A segment ends with the first record that does not fit.
            left -= room.saturating_sub(longest);
        }
        false
    }

    /// Whether the dead bytes of the active segment alone make the log too large. It is sealed then, and can be
    /// rewritten, once the next segment's file is at hand.
    pub fn is_active_wasteful(&self) -> bool {
        let wasted = self.active.as_ref().map_or(0, |active| active.segment().wasted());
        let wasted_min = self.options.segment_bytes / ACTIVE_WASTE_SHARE;
        wasted > wasted_min && rewrite_choice::is_bloated(wasted, self.live_bytes)
    }

    /// Whether the next segment's file is at hand.
    pub fn has_next(&self) -> bool {
        !self.prepared.is_empty()
    }

    /// [`RevisionLog::next_segment`], with room for some records of `longest` bytes (header included).
    pub fn next_segment_for(&mut self, longest: u64) -> PrepareSegment {
        let capacity = self.options.segment_bytes.max(SEGMENT_HEADER_LEN as u64 + RECORDS_MIN * longest);
        self.next_segment_of(capacity.min(u32::MAX.into()))
    }

    /// Takes the file that a [`PrepareSegment`] made.
    pub fn adopt(&mut self, prepared: SpareSegment) {
        self.prepared.push_back(prepared);
    }

    pub(super) fn next_segment_of(&mut self, capacity: u64) -> PrepareSegment {
        let id = self.next_id;
        self.next_id = id.checked_add(1).expect("fewer than 2^32 segments are made before a restart");
        PrepareSegment { disk: self.disk.clone(), path: segment_path(self.dir.path(), id), id, capacity }
    }

    /// The first prepared file of at least `len` bytes, or else the first.
    pub(super) fn take_prepared(&mut self, len: u64) -> Option<SpareSegment> {
        let at = self.prepared.iter().position(|prepared| prepared.capacity >= len);
        self.prepared.remove(at.unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use crate::SimDisk;
    use crate::revision_log::{Options, RecordMeta, Revision, RevisionLog};

    const SEGMENT_BYTES: u64 = 4096;

    fn append(log: &mut RevisionLog, main: i64, value_len: usize) -> u64 {
        let revision = Revision { main, sub: 0 };
        let meta = RecordMeta { revision, tombstone: false, create_revision: main, version: 1, lease: 0 };
        let mut key_value = b"\x0a\x01k\x2a".to_vec();
        key_value.extend([(value_len % 128) as u8 | 0x80, (value_len / 128) as u8]);
        key_value.extend(vec![b'v'; value_len]);
        log.append(&meta, &key_value).unwrap().record_len()
    }

    #[test]
    fn what_there_is_room_for_is_appended_to_a_full_disk() {
        for len in [100, 700, 1300, 3000, 5000] {
            for n_spares in 0..4 {
                let disk = SimDisk::new(1);
                let options = Options { segment_bytes: SEGMENT_BYTES };
                let mut log =
                    RevisionLog::open(Arc::new(disk.clone()), Path::new("/log"), options, &[]).unwrap();
                let longest = append(&mut log, 2, len);
                log.flush().unwrap();
                for _ in 0..n_spares {
                    let job = log.next_segment_for(longest);
                    log.adopt(job.run().unwrap());
                }
                disk.set_capacity(Some(disk.used()));
                let n = (0..).take_while(|n| log.has_room_for((n + 1) * longest, longest)).count() as i64;
                assert!(n >= n_spares, "{n} records of {len} bytes into {n_spares} files");
                (0..n).for_each(|i| {
                    append(&mut log, 3 + i, len);
                });
                log.flush().unwrap();
            }
        }
    }
}
