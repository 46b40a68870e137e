//! Members that come and go.

use proto::etcdserverpb::{MemberListRequest, MemberListResponse};

use super::member::Origin;
use super::requests::{put, value};
use super::{Cluster, eventually};
use crate::client::{Client, Failure};

const REMOVED: &str = "the member has been permanently removed from the cluster";

async fn put_until_acknowledged(client: &Client, key: &str) {
    eventually("a put is acknowledged", async || put(client, key, "v").await.ok()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_learner_joins_is_promoted_and_counts() {
    let mut cluster = Cluster::start(3).await;
    let client = cluster.client(0).await;
    put_until_acknowledged(&client, "before").await;
    let learner = cluster.join(true).await;
    let at_learner = cluster.client(learner).await;
    eventually("the learner catches up", async || value(&at_learner, "before", true).await.ok()?).await;
    let refusal = put(&at_learner, "k", "v").await.unwrap_err();
    assert_eq!(refusal, Failure::Refused(9, "etcdserver: rpc not supported for learner".to_owned()));

    cluster.promote(learner).await;
    put_until_acknowledged(&at_learner, "after").await;
    // Of four members three are a majority: without the new one there would be none.
    let others: Vec<_> = (0..3).filter(|place| *place != learner).collect();
    cluster.kill(others[0]);
    put_until_acknowledged(&at_learner, "three of four").await;
    cluster.restart(others[0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_member_stops_and_is_refused_when_it_comes_back_with_its_data() {
    let mut cluster = Cluster::start(3).await;
    let removed = cluster.follower().await;
    cluster.remove(removed).await;
    let (status, log) = cluster.members[removed].wait_for_end();
    cluster.publish_endpoints();
    assert!(log.contains(REMOVED), "{log}");
    assert_eq!(status.code(), Some(0), "{log}");

    let refusal = cluster.members[removed].spawn_in_vain(
        &cluster.network,
        Origin::Existing,
        &cluster.initial_cluster(&[removed]),
    );
    assert!(refusal.log.contains(REMOVED), "{}", refusal.log);
    let client = cluster.client(cluster.leader().await).await;
    put_until_acknowledged(&client, "after").await;
    let members: MemberListResponse = client
        .call("/etcdserverpb.Cluster/MemberList", &MemberListRequest { linearizable: true })
        .await
        .unwrap();
    assert_eq!(members.members.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_was_away_when_it_was_removed_is_refused_by_the_others() {
    let mut cluster = Cluster::start(3).await;
    let removed = cluster.follower().await;
    cluster.kill(removed);
    cluster.remove(removed).await;
    let refusal = cluster.members[removed].spawn_in_vain(
        &cluster.network,
        Origin::Existing,
        &cluster.initial_cluster(&[removed]),
    );
    assert!(refusal.log.contains(REMOVED), "{}", refusal.log);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_member_is_replaced_from_nothing() {
    let mut cluster = Cluster::start(3).await;
    let lost = cluster.follower().await;
    put_until_acknowledged(&cluster.client(cluster.leader().await).await, "before").await;
    cluster.kill(lost);
    std::fs::remove_dir_all(&cluster.members[lost].data_dir).unwrap();
    cluster.remove(lost).await;
    let new = cluster.join(false).await;
    let at_new = cluster.client(new).await;
    eventually("the new member catches up", async || value(&at_new, "before", true).await.ok()?).await;
    put_until_acknowledged(&at_new, "after").await;
    assert_eq!(cluster.member_places().await.len(), 3);
}
