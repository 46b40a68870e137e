//! How clusters begin, and what becomes of a member that begins where it should not.

use std::fs;

use proto::etcdserverpb::{MemberListRequest, MemberListResponse};

use super::member::{Origin, TOKEN};
use super::requests::{put, value};
use super::{Cluster, eventually};
use crate::server::Server;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_find_each_other_at_a_discovery_service() {
    let service_dir = tempfile::tempdir().unwrap();
    let service = Server::start(service_dir.path());
    let at_service = crate::client::Client::connect(service.address).await;
    put(&at_service, &format!("/_etcd/registry/{TOKEN}/_config/size"), "3").await.unwrap();

    let mut cluster = Cluster::start(0).await;
    let endpoint = format!("http://{}", service.address);
    for place in 0..3 {
        cluster.make_member().await;
        cluster.members[place].launch(&cluster.network, Origin::Discovered, &endpoint);
    }
    for member in &mut cluster.members {
        member.wait_until_identified(&cluster.network);
    }
    (0..3).for_each(|place| cluster.wait_until_ready(place));
    let client = cluster.client(cluster.leader().await).await;
    eventually("a put is acknowledged", async || put(&client, "k", "v").await.ok()).await;
    assert_eq!(cluster.member_places().await.len(), 3);

    // One more than the service says.
    let late = cluster.make_member().await;
    let refusal = cluster.members[late].spawn_in_vain(&cluster.network, Origin::Discovered, &endpoint);
    assert!(
        refusal.log.contains("failed to join discovery cluster (discovery: cluster is full)"),
        "{}",
        refusal.log
    );
    assert!(refusal.log.contains("failed to bootstrap; discovery token was already used"), "{}", refusal.log);
    assert_eq!(refusal.code, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_has_lost_its_data_does_not_begin_anew() {
    let mut cluster = Cluster::start(3).await;
    let wiped = cluster.follower().await;
    let id = cluster.members[wiped].id();
    cluster.kill(wiped);
    fs::remove_dir_all(&cluster.members[wiped].data_dir).unwrap();
    let everybody = cluster.initial_cluster(&[0, 1, 2]);
    let refusal = cluster.members[wiped].spawn_in_vain(&cluster.network, Origin::New, &everybody);
    for text in [
        format!("member {id:x} has already been bootstrapped"),
        format!("`etcdctl member remove {id:x}`"),
        "--initial-cluster-state=existing".to_owned(),
    ] {
        assert!(refusal.log.contains(&text), "{text} is not in {}", refusal.log);
    }
    assert_eq!(refusal.code, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_was_not_added_is_told_how_to_join() {
    let mut cluster = Cluster::start(1).await;
    let stranger = cluster.make_member().await;
    let list = cluster.initial_cluster(&[0, stranger]);
    let refusal = cluster.members[stranger].spawn_in_vain(&cluster.network, Origin::Existing, &list);
    let add = format!("`etcdctl member add m{stranger} --peer-urls={}`", cluster.members[stranger].peer_url);
    for text in ["member count is unequal", &add, &format!("--initial-cluster={list}")] {
        assert!(refusal.log.contains(text), "{text} is not in {}", refusal.log);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_three_goes_on_alone_and_grows_again() {
    let mut cluster = Cluster::start(3).await;
    let survivor = cluster.follower().await;
    let client = cluster.client(survivor).await;
    eventually("a put is acknowledged", async || put(&client, "k", "v").await.ok()).await;
    eventually("the survivor has it", async || value(&client, "k", true).await.ok()?).await;
    // With the put after it, the commit index of the first goes to the survivor's disk.
    eventually("a put is acknowledged", async || put(&client, "k2", "v").await.ok()).await;
    let ids: Vec<u64> = cluster.members.iter().map(super::Member::id).collect();
    (0..3).for_each(|place| cluster.kill(place));

    let list = cluster.initial_cluster(&[survivor]);
    let member = &mut cluster.members[survivor];
    member.flags.push("--force-new-cluster".to_owned());
    member.launch(&cluster.network, Origin::Existing, &list);
    member.wait_for_log("forcing restart member");
    member.wait_for_log("ready to serve client requests");
    cluster.kill(survivor);
    cluster.members[survivor].flags.pop();
    cluster.restart(survivor);

    let client = cluster.client(survivor).await;
    let request = MemberListRequest { linearizable: true };
    let list: MemberListResponse = client.call("/etcdserverpb.Cluster/MemberList", &request).await.unwrap();
    assert_eq!(list.members.iter().map(|member| member.id).collect::<Vec<_>>(), [ids[survivor]]);
    assert_eq!(value(&client, "k", false).await.unwrap().as_deref(), Some(&b"v"[..]));
    let new = cluster.join(false).await;
    let at_new = cluster.client(new).await;
    eventually("the new member has the data", async || value(&at_new, "k", true).await.ok()?).await;
}
