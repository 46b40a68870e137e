//! Who leads, and how leadership passes to another.

use std::os::unix::process::ExitStatusExt;

use proto::etcdserverpb::{MoveLeaderRequest, MoveLeaderResponse};

use super::requests::{put, value};
use super::{Cluster, eventually};
use crate::client::Failure;

const MOVE_LEADER: &str = "/etcdserverpb.Maintenance/MoveLeader";

/// Puts at the member until it is acknowledged: right after an election a member may not know the leader yet.
async fn put_until_acknowledged(cluster: &Cluster, place: usize, key: &str) {
    let client = cluster.client(place).await;
    eventually("a put is acknowledged", async || put(&client, key, "v").await.ok()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_members_elect_a_leader_and_replicate() {
    let cluster = Cluster::start(3).await;
    cluster.leader().await;
    for place in 0..3 {
        put_until_acknowledged(&cluster, place, &format!("k{place}")).await;
    }
    for place in 0..3 {
        let client = cluster.client(place).await;
        for key in ["k0", "k1", "k2"] {
            let read = eventually("a read", async || value(&client, key, false).await.ok()).await;
            assert_eq!(read.as_deref(), Some(&b"v"[..]), "{key} at member {place}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_go_on_when_the_leader_is_killed_and_it_comes_back() {
    let mut cluster = Cluster::start(3).await;
    let killed = cluster.leader().await;
    put_until_acknowledged(&cluster, killed, "before").await;
    cluster.kill(killed);
    let leader = cluster.leader_other_than(killed).await;
    put_until_acknowledged(&cluster, leader, "meanwhile").await;

    cluster.restart(killed);
    let client = cluster.client(killed).await;
    for key in ["before", "meanwhile"] {
        let read = eventually("a read", async || value(&client, key, false).await.ok()).await;
        assert_eq!(read.as_deref(), Some(&b"v"[..]), "{key}");
    }
    put_until_acknowledged(&cluster, killed, "after").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_members_killed_at_once_come_back_with_everything() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    put_until_acknowledged(&cluster, leader, "before").await;
    (0..3).for_each(|place| cluster.kill(place));
    (0..3).for_each(|place| cluster.spawn_again(place));
    (0..3).for_each(|place| cluster.wait_until_ready(place));
    for place in 0..3 {
        let client = cluster.client(place).await;
        let read = eventually("a read", async || value(&client, "before", false).await.ok()).await;
        assert_eq!(read.as_deref(), Some(&b"v"[..]), "member {place}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_moves_where_an_operator_wants_it() {
    let cluster = Cluster::start(3).await;
    let follower = cluster.follower().await;
    let request = MoveLeaderRequest { target_id: cluster.members[follower].id() };
    let refusal = cluster.client(follower).await;
    let refusal = refusal.call::<MoveLeaderResponse>(MOVE_LEADER, &request).await.unwrap_err();
    assert_eq!(refusal, Failure::Refused(9, "etcdserver: not leader".to_owned()));
    let leader = cluster.leader().await;
    let client = cluster.client(leader).await;
    // An election of its own accord may come first; then the wanted member may lead already.
    eventually("the leader has moved", async || {
        let _: Result<MoveLeaderResponse, _> = client.call(MOVE_LEADER, &request).await;
        (cluster.leader().await == follower).then_some(())
    })
    .await;
    put_until_acknowledged(&cluster, leader, "after").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_asked_to_stop_hands_leadership_over_first() {
    let mut cluster = Cluster::start(3).await;
    let stopped = cluster.leader().await;
    put_until_acknowledged(&cluster, stopped, "before").await;
    cluster.members[stopped].terminate();
    let (status, log) = cluster.members[stopped].wait_for_end();
    cluster.publish_endpoints();
    assert_eq!(status.signal(), Some(15), "{log}");
    assert!(log.contains("leadership transfer finished"), "{log}");
    let leader = cluster.leader_other_than(stopped).await;
    put_until_acknowledged(&cluster, leader, "after").await;
    cluster.restart(stopped);
    assert_ne!(cluster.leader().await, stopped, "who comes back does not take leadership away");
}
