//! What a follower does for its clients, with the help of the leader and without.

use prost::Message;
use proto::etcdserverpb::WatchResponse;

use super::requests::{grant, put, renew, value, watch};
use super::{Cluster, eventually};

const UNAVAILABLE: u32 = 14;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_put_at_a_follower_is_read_at_once_everywhere() {
    let cluster = Cluster::start(3).await;
    let follower = cluster.follower().await;
    let at_follower = cluster.client(follower).await;
    eventually("a put is acknowledged", async || put(&at_follower, "k", "0").await.ok()).await;
    for i in 1..50 {
        let writer = cluster.client(i % 3).await;
        let written = i.to_string();
        eventually("a put is acknowledged", async || put(&writer, "k", &written).await.ok()).await;
        let reader = cluster.client((i + 1) % 3).await;
        let read = eventually("a read is answered", async || value(&reader, "k", false).await.ok()).await;
        assert_eq!(read.unwrap(), written, "a read sees what was acknowledged before it");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_without_a_majority_serves_only_serializable_reads() {
    let mut cluster = Cluster::start(3).await;
    let follower = cluster.follower().await;
    let client = cluster.client(follower).await;
    eventually("a put is acknowledged", async || put(&client, "k", "v").await.ok()).await;
    for other in (0..3).filter(|&place| place != follower) {
        cluster.kill(other);
    }
    eventually("the leader is known to be lost", async || {
        let status = cluster.status(follower).await?;
        (status.leader == 0).then_some(())
    })
    .await;
    assert_eq!(value(&client, "k", true).await.unwrap().as_deref(), Some(&b"v"[..]));
    let refusal = value(&client, "k", false).await.unwrap_err();
    assert!(matches!(refusal, crate::client::Failure::Refused(UNAVAILABLE, _)), "{refusal:?}");
    let refusal = put(&client, "k", "w").await.unwrap_err();
    assert!(matches!(refusal, crate::client::Failure::Refused(UNAVAILABLE, _)), "{refusal:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_at_a_follower_tells_what_is_put_elsewhere() {
    let cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let follower = cluster.follower().await;
    let mut stream = cluster.client(follower).await.open("/etcdserverpb.Watch/Watch").await.unwrap();
    stream.send(&watch("k", "", 0), false).unwrap();
    let created = WatchResponse::decode(stream.next().await.unwrap().unwrap()).unwrap();
    assert!(created.created);
    let client = cluster.client(leader).await;
    let mut revisions = Vec::new();
    for i in 0..20 {
        let value = i.to_string();
        revisions.push(eventually("a put", async || put(&client, "k", &value).await.ok()).await);
    }
    let mut seen = Vec::new();
    while seen.last() != revisions.last() {
        let answer = WatchResponse::decode(stream.next().await.unwrap().unwrap()).unwrap();
        seen.extend(answer.events.iter().map(|event| event.kv.as_ref().unwrap().mod_revision));
    }
    // A put in doubt may have been carried out, and is seen beside those that were acknowledged.
    assert!(seen.is_sorted() && revisions.iter().all(|revision| seen.contains(revision)), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_is_granted_and_renewed_at_a_follower() {
    let cluster = Cluster::start(3).await;
    let follower = cluster.follower().await;
    let client = cluster.client(follower).await;
    let id = eventually("a lease is granted", async || grant(&client, 60).await.ok()).await;
    let ttl = eventually("it is renewed", async || renew(&client, id).await.ok()).await;
    assert_eq!(ttl, 60);
    assert_eq!(
        eventually("an answer", async || renew(&client, id + 1).await.ok()).await,
        0,
        "there is no such lease"
    );
}
