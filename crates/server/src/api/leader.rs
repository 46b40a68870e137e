//! Whether there is a leader, for clients that want to be told when it is lost.

use std::rc::Rc;

use tokio::sync::watch;
use tokio::time::timeout;

use super::Api;
use crate::local_event::LocalEvent;

/// Election timeouts without a leader after which it counts as lost, as in etcd.
const TIMEOUTS_WITHOUT: u32 = 3;

impl Api {
    /// Whether this member is a learner.
    pub(crate) fn is_learner(&self) -> bool {
        self.published.is_learner()
    }

    /// Whether a leader is known.
    pub(crate) fn has_leader(&self) -> bool {
        self.published.leader() != 0
    }

    /// News of whether a leader is known.
    pub(crate) fn leader_news(&self) -> watch::Receiver<bool> {
        self.node.has_leader()
    }

    /// Tells whether there has been no leader for three election timeouts, for as long as the thread runs.
    pub(crate) async fn watch_leader(self: Rc<Self>, lost: Rc<LocalEvent>) {
        let mut has_leader = self.node.has_leader();
        // An error means that the member is gone, and its clients with it.
        while has_leader.wait_for(|has_leader| !has_leader).await.is_ok() {
            let limit = TIMEOUTS_WITHOUT * self.settings.election_timeout;
            if timeout(limit, has_leader.wait_for(|has_leader| *has_leader)).await.is_err() {
                lost.set(true);
                let _ = has_leader.wait_for(|has_leader| *has_leader).await;
                lost.set(false);
            }
        }
    }
}
