//! A leader that stops hands leadership over before, so that the cluster need not wait for an election.

use std::time::Instant;

use tracing::{info, warn};

use crate::api::Api;
use crate::peers::PeersHandle;

/// Hands leadership over to the voter that has been connected for longest, if this member leads and there is another
/// voter. Tries for no longer than a request may take; what comes of it is only logged.
pub(super) async fn hand_over(api: &Api, peers: &PeersHandle) {
    let others = api.other_voters();
    if !api.is_leader() || others.is_empty() {
        return;
    }
    let own = format!("{:x}", api.member_id());
    let connected = others.into_iter().filter_map(|id| Some((peers.active_since(id)?, id)));
    let Some((_, transferee)) = connected.min() else {
        warn!("local-member-id" = own, error = "etcdserver: unhealthy cluster", "leadership transfer failed");
        return;
    };
    let (transferee_id, start) = (format!("{transferee:x}"), Instant::now());
    info!(
        "local-member-id" = own,
        "current-leader-member-id" = own,
        "transferee-member-id" = transferee_id,
        "leadership transfer starting"
    );
    match api.transfer_leader(transferee).await {
        Ok(()) => info!(
            "local-member-id" = own,
            "old-leader-member-id" = own,
            "new-leader-member-id" = transferee_id,
            took = ?start.elapsed(),
            "leadership transfer finished"
        ),
        Err(error) => {
            let error = error.text();
            warn!("local-member-id" = own, %error, "leadership transfer failed");
        }
    }
}
