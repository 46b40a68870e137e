//! A follower without room on its disk: it refuses what the leader sends and lives on, and the others do without it.
//!
//! Needs a file system of its own, hence root; skipped where none can be mounted.

use proto::etcdserverpb::PutRequest;

use super::requests::value;
use super::{Cluster, eventually};
use crate::full_disk::Mount;

/// Longer puts than the files of the WAL that were made in advance have room for.
const PUTS: usize = 70;
const VALUE_LEN: usize = 1 << 20;
/// Room for the state of the member, and for another one that the leader sends.
const SIZE: &str = "600m";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_with_a_full_disk_lives_on_and_catches_up_when_there_is_room() {
    let Some(mount) = Mount::with_size(SIZE) else { return };
    let mut cluster = Cluster::prepare(3, &[]).await;
    let full = 0;
    cluster.members[full].data_dir = mount.data_dir();
    cluster.found();
    if cluster.leader().await == full {
        cluster.kill(full);
        cluster.leader_other_than(full).await;
        cluster.restart(full);
    }
    mount.fill();
    let leader = cluster.leader_other_than(full).await;
    let client = cluster.client(leader).await;
    for i in 0..PUTS {
        let value = vec![b'v'; VALUE_LEN].into();
        let put = PutRequest { key: format!("k{i}").into(), value, ..PutRequest::default() };
        eventually("the others go on", async || client.put(&put).await.ok()).await;
    }
    let behind = cluster.client(full).await;
    let last = format!("k{}", PUTS - 1);
    assert_eq!(value(&behind, &last, true).await.unwrap(), None, "there was no room for it");
    mount.make_room();
    eventually("it catches up", async || value(&behind, &last, true).await.ok()?).await;
}
