//! What a leader looks after as long as the server runs: the version of the cluster, and the end of a downgrade.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::sleep;

use crate::api::Api;

/// Time between two looks at the versions of the members, as in etcd.
const VERSION_INTERVAL: Duration = Duration::from_secs(4);

/// Looks after the version of the cluster: at once when this member begins to lead, and from time to time.
pub(crate) async fn watch_versions(api: Rc<Api>) {
    let mut has_leader = api.leader_news();
    loop {
        if api.is_leader() {
            api.decide_cluster_version().await;
        }
        tokio::select! {
            // An error means that the node has ended, and soon the server.
            Ok(()) = has_leader.changed() => {}
            () = sleep(VERSION_INTERVAL) => {}
        }
    }
}

/// Ends a downgrade when all members run the version that it is for; looks at each `interval`.
pub(crate) async fn watch_downgrades(api: Rc<Api>, interval: Duration) {
    loop {
        sleep(interval).await;
        if api.is_leader() {
            api.end_downgrade().await;
        }
    }
}
