//! The lease clock, shared between the node, which owns it, and the threads that renew leases.
//!
//! A renewal changes nothing that is replicated: a look at the clock of the leader answers it. So it need not
//! wait for the node's turn. What the clock alone cannot answer (a lease that is unknown or has run out, a
//! member that does not lead) is for the node.
//!
//! A leader may have been replaced without knowing it. So the clock is good only for some time after a majority has
//! confirmed that this member leads: for an election timeout. A new leader, elected after that confirmation, gives
//! each lease its whole time and an election timeout more, which is longer than anything that is promised here.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::lease_clock::{LeaseClock, Renewal};

/// Renews the leases of a node from any thread.
#[derive(Debug, Clone, Default)]
pub struct LeaseRenewer {
    /// `None` while the member does not lead.
    leading: Arc<Mutex<Option<Leading>>>,
}

/// The clock of a leader.
#[derive(Debug)]
pub(crate) struct Leading {
    pub(crate) clock: LeaseClock,
    /// Until then this member may promise something.
    pub(crate) valid_until: Duration,
}

impl LeaseRenewer {
    /// Gives a lease its whole time again; returns the seconds that it has from now on. Without an answer
    /// nothing has happened: the node must be asked ([`crate::LeaseQuery::Renew`]).
    ///
    /// `now` counts from the same moment as in [`crate::Node::handle`].
    pub fn renew(&self, id: i64, now: Duration) -> Option<i64> {
        let mut leading = self.leading();
        let Leading { clock, valid_until } = leading.as_mut()?;
        if now >= *valid_until && !disk::seeded_bug!("renewed-without-proof") {
            return None;
        }
        match clock.renew(id, now) {
            Renewal::Renewed(ttl_s) => Some(ttl_s),
            Renewal::Unknown | Renewal::RunOut | Renewal::Bound => None,
        }
    }

    pub(crate) fn leading(&self) -> MutexGuard<'_, Option<Leading>> {
        self.leading.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
