//! A member that was cut off gets what it has missed: from the raft log, or as a snapshot.

use super::requests::{put, value};
use super::{Cluster, eventually};

/// Cuts a follower off, puts `n_puts` keys, heals the network, and waits until the follower has the last key.
async fn catch_up_with(cluster: &Cluster, n_puts: usize) -> usize {
    let follower = cluster.follower().await;
    cluster.cut_off(follower);
    let leader = cluster.leader_other_than(follower).await;
    let client = cluster.client(leader).await;
    let behind = cluster.client(follower).await;
    for i in 0..n_puts {
        eventually("a put is acknowledged", async || put(&client, &format!("k{i}"), "v").await.ok()).await;
    }
    let last = format!("k{}", n_puts - 1);
    assert_eq!(value(&behind, &last, true).await.unwrap(), None, "a member that is cut off learns nothing");
    cluster.network.heal();
    eventually("the member catches up", async || value(&behind, &last, true).await.ok()?).await;
    let first = value(&behind, "k0", true).await.unwrap();
    assert_eq!(first.as_deref(), Some(&b"v"[..]));
    follower
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_was_cut_off_catches_up_by_the_log() {
    let cluster = Cluster::start(3).await;
    catch_up_with(&cluster, 50).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_is_too_far_behind_gets_a_snapshot() {
    let flags = ["--snapshot-count", "100", "--snapshot-catchup-entries", "10"];
    let mut cluster = Cluster::start_with(3, &flags).await;
    let follower = catch_up_with(&cluster, 600).await;
    cluster.members[follower].wait_for_log("applied snapshot");
    // What it was sent is on its disk.
    cluster.kill(follower);
    cluster.restart(follower);
    let client = cluster.client(follower).await;
    assert_eq!(value(&client, "k599", true).await.unwrap().as_deref(), Some(&b"v"[..]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_is_killed_while_it_is_behind_catches_up_at_its_next_start() {
    let flags = ["--snapshot-count", "100", "--snapshot-catchup-entries", "10"];
    let mut cluster = Cluster::start_with(3, &flags).await;
    let follower = cluster.follower().await;
    cluster.kill(follower);
    let leader = cluster.leader().await;
    let client = cluster.client(leader).await;
    for i in 0..600 {
        eventually("a put is acknowledged", async || put(&client, &format!("k{i}"), "v").await.ok()).await;
    }
    cluster.restart(follower);
    let behind = cluster.client(follower).await;
    eventually("the member catches up", async || value(&behind, "k599", true).await.ok()?).await;
}
