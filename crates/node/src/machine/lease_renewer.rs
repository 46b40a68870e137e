//! The lease clock, shared between the node, which owns it, and the threads that renew leases.
//!
//! A renewal changes nothing that is replicated: a look at the clock of the leader answers it. So it need not
//! wait for the node's turn. What the clock alone cannot answer (a lease that is unknown or has run out, a
//! member that does not lead) is for the node.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::lease_clock::{LeaseClock, Renewal};

/// Renews the leases of a node from any thread.
#[derive(Debug, Clone, Default)]
pub struct LeaseRenewer {
    /// `None` while the member does not lead.
    clock: Arc<Mutex<Option<LeaseClock>>>,
}

impl LeaseRenewer {
    /// Gives a lease its whole time again; returns the seconds that it has from now on. Without an answer
    /// nothing has happened: the node must be asked ([`crate::LeaseQuery::Renew`]).
    ///
    /// `now` counts from the same moment as in [`crate::Node::handle`].
    pub fn renew(&self, id: i64, now: Duration) -> Option<i64> {
        match self.clock().as_mut()?.renew(id, now) {
            Renewal::Renewed(ttl_s) => Some(ttl_s),
            Renewal::Unknown | Renewal::RunOut | Renewal::Bound => None,
        }
    }

    pub(crate) fn clock(&self) -> MutexGuard<'_, Option<LeaseClock>> {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
