//! A member with peers waits less for a leader at its start: by then it has heard of one, or there is none.

use std::time::Duration;

use node::Input;
use tokio::task::spawn_local;
use tokio::time::sleep;
use tracing::info;

use crate::config::Config;
use crate::driver::{NodeClient, NodeHandle};
use crate::peers::PeersHandle;

/// Time between two looks at the peers, and how often they are looked at: five seconds in all, as in etcd.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
const LOOKS: usize = 100;

/// Ticks that are left to hear from a leader once peers are connected.
const TICKS_LEFT: u32 = 2;

/// Starts to watch the peers, on this thread; returns `node`.
pub(super) fn start(
    config: &Config,
    node: NodeHandle,
    peers: &PeersHandle,
    node_client: &NodeClient,
) -> NodeHandle {
    let member_count = node.published().control().members().count();
    spawn_local(advance_election(config.clone(), member_count, peers.clone(), node_client.clone()));
    node
}

/// Waits until more than one peer is connected, and lets the member stand for election soon after. Does nothing for a
/// lone member, which stands at once, nor if the settings forbid it.
async fn advance_election(config: Config, member_count: usize, peers: PeersHandle, node: NodeClient) {
    let election_ticks = config.election_ticks();
    if member_count <= 1 {
        return;
    }
    if !config.initial_election_tick_advance {
        info!("election-ticks" = election_ticks, "skipping initial election tick advance");
        return;
    }
    info!("election-ticks" = election_ticks, "starting initial election tick advance");
    if let Some(active) = wait_for_peers(|| peers.n_active()).await {
        let ticks = election_ticks.saturating_sub(TICKS_LEFT);
        info!(
            "forward-ticks" = ticks,
            "election-ticks" = election_ticks,
            "active-remote-members" = active,
            "initialized peer connections; fast-forwarding election ticks"
        );
        node.send(Input::AdvanceElection { ticks });
    }
}

/// How many peers are connected, once that is more than one; `None` if it is not in time.
async fn wait_for_peers(n_active: impl Fn() -> usize) -> Option<usize> {
    for _ in 0..LOOKS {
        sleep(LOOK_INTERVAL).await;
        let active = n_active();
        if active > 1 {
            return Some(active);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn two_peers_are_enough_and_one_is_not() {
        let looks = Cell::new(0);
        let active = || {
            looks.set(looks.get() + 1);
            looks.get() / 10
        };
        let began = Instant::now();
        assert_eq!(wait_for_peers(active).await, Some(2));
        assert_eq!(began.elapsed(), 20 * LOOK_INTERVAL);
        assert_eq!(wait_for_peers(|| 1).await, None);
        assert_eq!(began.elapsed(), 20 * LOOK_INTERVAL + Duration::from_secs(5));
    }
}
