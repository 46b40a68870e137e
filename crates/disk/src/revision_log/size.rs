//! How much the log holds.

use super::RevisionLog;

/// Bytes of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Bytes written, dead records included; space reserved and not yet written does not count.
    pub bytes: u64,
    /// Bytes of it that belong to live records.
    pub live_bytes: u64,
}

impl RevisionLog {
    /// Bytes of the segments of the log; those that wait to be removed do not count.
    pub fn size(&self) -> Size {
        let active_bytes = self.active.as_ref().map_or(0, |active| active.segment().flushed());
        Size { bytes: self.sealed_bytes + active_bytes, live_bytes: self.live_bytes }
    }

    /// Adds up anew what [`RevisionLog::size`] tells, after the segments of the log have changed.
    pub(super) fn measure(&mut self) {
        self.sealed_bytes = self.sealed.iter().map(|segment| segment.flushed()).sum();
        self.live_bytes = self.segments.log().iter().map(|segment| segment.live()).sum();
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use crate::SimDisk;
    use crate::revision_log::{Options, RecordMeta, Revision, RevisionLog};

    #[test]
    fn dead_records_count_as_written_but_not_as_live() {
        let mut log =
            RevisionLog::open(Arc::new(SimDisk::new(1)), Path::new("/log"), Options::default(), &[]).unwrap();
        let key_value = b"\x0a\x01k\x2a\x01v";
        let mut locations = Vec::new();
        for main in 2..6 {
            let revision = Revision { main, sub: 0 };
            let meta = RecordMeta { revision, tombstone: false, create_revision: main, version: 1, lease: 0 };
            locations.push(log.append(&meta, key_value).unwrap());
        }
        log.flush().unwrap();
        let before = log.size();
        log.mark_dead(locations[0]);
        let after = log.size();
        assert_eq!(after.bytes, before.bytes);
        assert_eq!(before.live_bytes - after.live_bytes, before.live_bytes / 4);
    }
}
