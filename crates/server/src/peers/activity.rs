//! Which peers this member is connected to, and since when: known to all threads.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The peers that are connected, by id.
#[derive(Debug, Default)]
pub(super) struct Activity {
    since: Mutex<BTreeMap<u64, Instant>>,
}

impl Activity {
    /// Notes that a peer is connected now. True if it was not.
    pub(super) fn activate(&self, id: u64) -> bool {
        let mut since = self.lock();
        let is_new = !since.contains_key(&id);
        since.entry(id).or_insert_with(Instant::now);
        is_new
    }

    /// Notes that a peer cannot be reached. True if it could be.
    pub(super) fn deactivate(&self, id: u64) -> bool {
        self.lock().remove(&id).is_some()
    }

    /// Since when a peer is connected.
    pub(super) fn since(&self, id: u64) -> Option<Instant> {
        self.lock().get(&id).copied()
    }

    /// How many peers are connected.
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Instant>> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
