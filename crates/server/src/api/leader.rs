//! Looking after the leader, for clients who want to be told when it is lost.

use std::rc::Rc;

use tokio::time::sleep;

use super::Api;
use crate::condition::Condition;

/// Looks without a leader after which it counts as lost, as in etcd.
const LOOKS_WITHOUT: u32 = 3;

impl Api {
    /// Whether a leader is known.
    pub(crate) fn has_leader(&self) -> bool {
        self.published.leader() != 0
    }

    /// Tells whether there has been no leader for three election timeouts, for as long as the thread runs.
    pub(crate) async fn watch_leader(self: Rc<Self>, lost: Rc<Condition>) {
        let mut without = 0;
        loop {
            sleep(self.settings.election_timeout).await;
            without = if self.has_leader() { 0 } else { without + 1 };
            lost.set(without >= LOOKS_WITHOUT);
        }
    }
}
