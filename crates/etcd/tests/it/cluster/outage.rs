//! How long a cluster takes no writes when its leader is killed, and when it is asked to stop.
//!
//! Clients at the two other members put a key again and again. The time without service is the longest between two
//! puts that were acknowledged. The test asserts that service comes back; the times are printed:
//! `CLUSTER_SECONDS=60 cargo test --release -p etcd --test it outage -- --nocapture`.

use std::env;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::requests::put;
use super::{BETWEEN_LOOKS, Cluster, PATIENCE};
use crate::client::Client;

/// How many times the leader ends in the short form and in the long one.
const ENDS: usize = 1;
const ENDS_LONG: usize = 20;
const CLIENTS_AT_A_MEMBER: usize = 2;
/// How long a put may take before its client sends another one. What was passed on to a leader that is gone is never
/// answered, so this much may be added to the time without service.
const PUT_LIMIT: Duration = Duration::from_millis(100);

/// How the leader ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Kill,
    Terminate,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn service_comes_back_when_the_leader_is_killed_or_stopped() {
    let is_long = env::var_os("CLUSTER_SECONDS").is_some();
    let n_ends = if is_long { ENDS_LONG } else { ENDS };
    let mut cluster = Cluster::start(3).await;
    for end in [End::Kill, End::Terminate] {
        let mut times = Vec::new();
        for _ in 0..n_ends {
            times.push(outage(&mut cluster, end).await);
        }
        times.sort_unstable();
        let (median, longest) = (times[times.len() / 2], times[times.len() - 1]);
        println!("{end:?}: {n_ends} times without service: {median:.1?} (median), {longest:.1?} (longest)");
    }
}

/// Ends the leader while others are written to; the longest time between two acknowledged puts. Then the member comes
/// back.
async fn outage(cluster: &mut Cluster, end: End) -> Duration {
    let leader = cluster.leader().await;
    let acknowledged = watch::Sender::new(Vec::new());
    let mut clients = JoinSet::new();
    for place in (0..3).filter(|place| *place != leader) {
        for _ in 0..CLIENTS_AT_A_MEMBER {
            clients.spawn(put_on(cluster.client(place).await, acknowledged.clone()));
        }
    }
    wait_for_one_after(Instant::now(), &acknowledged).await;
    if end == End::Terminate {
        cluster.members[leader].terminate();
        cluster.members[leader].wait_for_end();
    }
    cluster.kill(leader);
    wait_for_one_after(Instant::now(), &acknowledged).await;
    clients.shutdown().await;
    cluster.restart(leader);
    let times = acknowledged.borrow();
    times.windows(2).map(|pair| pair[1].duration_since(pair[0])).max().expect("there are two at least")
}

async fn wait_for_one_after(moment: Instant, acknowledged: &watch::Sender<Vec<Instant>>) {
    let mut times = acknowledged.subscribe();
    let later = times.wait_for(|times| times.last().is_some_and(|last| *last > moment));
    timeout(PATIENCE, later).await.expect("service comes back").expect("the sender is there");
}

/// Puts for ever, and notes when a put is acknowledged.
async fn put_on(client: Client, acknowledged: watch::Sender<Vec<Instant>>) {
    loop {
        match timeout(PUT_LIMIT, put(&client, "outage", "v")).await {
            Ok(Ok(_)) => acknowledged.send_modify(|times| times.push(Instant::now())),
            Ok(Err(_)) => tokio::time::sleep(BETWEEN_LOOKS).await,
            Err(_) => {}
        }
    }
}
