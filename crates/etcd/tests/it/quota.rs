//! What etcd's documentation tells an operator to do when the quota is used up: compact, defragment, clear the alarm.

use prost::Message;
use proto::etcdserverpb::{
    AlarmRequest, CompactionRequest, DefragmentRequest, PutRequest, RangeRequest, StatusRequest,
    StatusResponse,
};

use crate::client::{Client, Failure};
use crate::server::Server;

const NO_SPACE: &str = "etcdserver: mvcc: database space exceeded";
const RESOURCE_EXHAUSTED: u32 = 8;

/// How an operator follows the steps.
struct Variant {
    quota_bytes: u64,
    is_physical: bool,
    defragments: bool,
}

fn put() -> PutRequest {
    PutRequest { key: "k".into(), value: vec![7; 500_000].into(), ..PutRequest::default() }
}

async fn status(client: &Client) -> StatusResponse {
    client.call("/etcdserverpb.Maintenance/Status", &StatusRequest::default()).await.unwrap()
}

/// Puts until it is refused.
async fn fill(client: &Client) {
    loop {
        match client.put(&put()).await {
            Ok(_) => {}
            Err(Failure::Refused(RESOURCE_EXHAUSTED, text)) if text == NO_SPACE => return,
            Err(other) => panic!("{other:?}"),
        }
    }
}

async fn follow(variant: &Variant) {
    let dir = tempfile::tempdir().unwrap();
    let quota = variant.quota_bytes.to_string();
    let server = Server::start_with(dir.path(), &["--quota-backend-bytes", &quota]);
    let client = Client::connect(server.address).await;
    fill(&client).await;
    assert!(client.put(&put()).await.is_err(), "the alarm is raised");

    let key = RangeRequest { key: "k".into(), ..RangeRequest::default() };
    let revision = client.range(&key).await.unwrap().header.unwrap().revision;
    client.compact(&CompactionRequest { revision, physical: variant.is_physical }).await.unwrap();
    if variant.defragments {
        client
            .unary("/etcdserverpb.Maintenance/Defragment", &DefragmentRequest {}.encode_to_vec())
            .await
            .unwrap();
        let line = server.wait_for("finished defragmenting");
        let bytes = |name: &str| line[name].as_u64().unwrap();
        let (before, after) = (bytes("previous-db-size-bytes"), bytes("current-db-size-bytes"));
        assert!(after < 1_000_000 && before > variant.quota_bytes / 2, "{before} to {after} bytes");
        assert_eq!(status(&client).await.db_size as u64, after, "it is done when it is answered");
    } else if !variant.is_physical {
        server.wait_for("finished scheduled compaction");
    }
    let clear = AlarmRequest { action: 2, member_id: 0, alarm: 1 };
    let member_id = status(&client).await.header.unwrap().member_id;
    let clear = AlarmRequest { member_id, ..clear };
    client.unary("/etcdserverpb.Maintenance/Alarm", &clear.encode_to_vec()).await.unwrap();
    client.put(&put()).await.unwrap();
    assert!(status(&client).await.errors.is_empty(), "no alarm is raised again");
}

#[tokio::test]
async fn the_steps_against_a_used_up_quota_work_without_a_pause() {
    // One quota below the length of a segment, one far below.
    for quota_bytes in [16 << 20, 3_000_000] {
        for is_physical in [true, false] {
            for defragments in [true, false] {
                follow(&Variant { quota_bytes, is_physical, defragments }).await;
            }
        }
    }
}
