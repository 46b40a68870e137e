//! Whether there is a leader, for clients that want to be told when it is lost.

use std::rc::Rc;

use tokio::time::sleep;

use super::Api;
use crate::local_event::LocalEvent;

/// Checks in a row that find no leader, after which it counts as lost, as in etcd.
const CHECKS_WITHOUT_LEADER: u32 = 3;

impl Api {
    /// Whether a leader is known.
    pub(crate) fn has_leader(&self) -> bool {
        self.published.leader() != 0
    }

    /// Sets `lost` while there has been no leader for three election timeouts. Runs as long as the thread.
    pub(crate) async fn watch_leader(self: Rc<Self>, lost: Rc<LocalEvent>) {
        let mut checks_without = 0;
        loop {
            sleep(self.settings.election_timeout).await;
            checks_without = if self.has_leader() { 0 } else { checks_without + 1 };
            lost.set(checks_without >= CHECKS_WITHOUT_LEADER);
        }
    }
}
