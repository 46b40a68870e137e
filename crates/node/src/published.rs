//! Numbers of a node that other threads read without asking it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use disk::revision_log::Size;
use store::Control;

use crate::config::Config;

/// Current numbers, written by the node and read by any thread. Each number is right by itself. Two that are
/// read one after the other may be of different moments.
#[derive(Debug, Default)]
pub struct Published {
    next_request_id: AtomicU64,
    pub(crate) term: AtomicU64,
    pub(crate) leader: AtomicU64,
    pub(crate) committed: AtomicU64,
    pub(crate) applied: AtomicU64,
    pub(crate) reads_at_once: AtomicBool,
    pub(crate) size_bytes: AtomicU64,
    pub(crate) size_in_use_bytes: AtomicU64,
    pub(crate) has_space: AtomicBool,
    member_id: u64,
    is_learner: AtomicBool,
    quota_bytes: Option<u64>,
    segment_bytes: u64,
    /// Bytes of the data that count for the quota.
    counted_bytes: AtomicU64,
    control: RwLock<Arc<Control>>,
}

impl Published {
    pub(crate) fn new(config: &Config) -> Published {
        Published {
            next_request_id: AtomicU64::new(config.first_request_id),
            has_space: AtomicBool::new(true),
            member_id: config.member.id,
            quota_bytes: config.quota_bytes,
            segment_bytes: config.segment_bytes,
            ..Published::default()
        }
    }

    /// An id for a proposal of this member.
    pub fn next_request_id(&self) -> u64 {
        self.next_request_id.fetch_add(1, Ordering::Relaxed)
    }

    /// The raft term.
    pub fn term(&self) -> u64 {
        self.term.load(Ordering::Relaxed)
    }

    /// The leader's id; 0 if none is known.
    pub fn leader(&self) -> u64 {
        self.leader.load(Ordering::Relaxed)
    }

    /// Index of the last entry known to be committed.
    pub fn committed(&self) -> u64 {
        self.committed.load(Ordering::Relaxed)
    }

    /// Index of the last entry applied.
    pub fn applied(&self) -> u64 {
        self.applied.load(Ordering::Relaxed)
    }

    /// Whether a linearizable read may be served from the store at once: there is no other member and this one
    /// has committed in its term, so nothing can be acknowledged that it has not applied.
    pub fn reads_at_once(&self) -> bool {
        self.reads_at_once.load(Ordering::Acquire)
    }

    /// Whether this member leads, as far as it knows.
    pub fn leads(&self) -> bool {
        self.leader() == self.member_id
    }

    /// Bytes of the store on disk.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes.load(Ordering::Relaxed)
    }

    /// Bytes of it that are still needed.
    pub fn size_in_use_bytes(&self) -> u64 {
        self.size_in_use_bytes.load(Ordering::Relaxed)
    }

    /// Whether the disk has room for more writes.
    pub fn has_space(&self) -> bool {
        self.has_space.load(Ordering::Relaxed)
    }

    /// Bytes of data at which writes are refused; `None` means no limit.
    pub fn quota_bytes(&self) -> Option<u64> {
        self.quota_bytes
    }

    /// Whether the quota leaves room for a command of this [`store::cost`]. A cost of 0 always fits.
    pub fn has_quota_for(&self, cost: u64) -> bool {
        let counted_bytes = self.counted_bytes.load(Ordering::Relaxed);
        cost == 0 || self.quota_bytes.is_none_or(|quota| counted_bytes.saturating_add(cost) < quota)
    }

    pub(crate) fn set_counted_bytes(&self, size: Size) {
        self.counted_bytes.store(counted_bytes(size, self.segment_bytes), Ordering::Relaxed);
    }

    /// The control tables.
    pub fn control(&self) -> Arc<Control> {
        Arc::clone(&self.control.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether this member is a learner.
    pub fn is_learner(&self) -> bool {
        self.is_learner.load(Ordering::Relaxed)
    }

    pub(crate) fn set_control(&self, control: &Control) {
        let is_learner = control.member(self.member_id).is_some_and(|member| member.is_learner);
        self.is_learner.store(is_learner, Ordering::Relaxed);
        *self.control.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(control.clone());
    }
}

/// Bytes of the data that count for the quota: those of live records, and the dead bytes beyond what the
/// member leaves in its segments by itself. So a compaction alone brings the data below the quota again after
/// some time.
///
/// In sealed segments the member leaves a quarter of the live bytes, and in the active one as much or an
/// eighth of a segment ([`disk::RevisionLog::reclaim_candidate`], [`disk::RevisionLog::is_active_wasteful`]).
fn counted_bytes(size: Size, segment_bytes: u64) -> u64 {
    let dead_bytes = size.bytes.saturating_sub(size.live_bytes);
    let quarter = size.live_bytes / 4;
    let left = quarter + quarter.max(segment_bytes / 8);
    size.live_bytes + dead_bytes.saturating_sub(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dead_bytes_count_for_the_quota_once_they_are_more_than_is_left_anyway() {
        let counted = |bytes, live_bytes| counted_bytes(Size { bytes, live_bytes }, 800);
        assert_eq!(counted(100, 0), 0);
        assert_eq!(counted(700, 0), 600);
        assert_eq!(counted(400, 400), 400);
        assert_eq!(counted(600, 400), 400);
        assert_eq!(counted(601, 400), 401);
        assert_eq!(counted(6000, 4000), 4000);
    }
}
