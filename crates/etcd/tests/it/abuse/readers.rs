//! Clients that ask and do not read, and watchers to whom nothing happens.

use prost::Message;
use proto::etcdserverpb::watch_request::RequestUnion;
use proto::etcdserverpb::{PutRequest, WatchCreateRequest, WatchRequest};

use super::streams::put_long_values;
use super::trial::Trial;
use crate::client::{Client, Stream};
use crate::setting;

const WATCH: &str = "/etcdserverpb.Watch/Watch";
/// What an idle watcher may cost, in bytes.
const WATCHER_BYTES_MAX: usize = 1024;
/// What the server may take for other reasons, in bytes.
const SLACK_BYTES: usize = 80 << 20;

#[tokio::test]
async fn watchers_who_never_read_cost_bounded_memory() {
    let trial = Trial::begin("watchers who never read").await;
    let address = trial.address();
    let abuse = async {
        let mut watches = Vec::new();
        for _ in 0..10 {
            let client = Client::connect_narrow(address).await;
            for _ in 0..20 {
                watches.push(watch(&client, "long/").await);
            }
        }
        put_long_values(&Client::connect(address).await, 100).await;
        watches
    };
    let watches = trial.endure(abuse).await;
    drop(watches);
    trial.end(600);
}

#[tokio::test]
async fn an_idle_watcher_costs_less_than_a_kibibyte() {
    let trial = Trial::begin("idle watchers").await;
    let address = trial.address();
    let n = 20 * setting("ABUSE_CONNECTIONS", 1000);
    let abuse = async {
        let client = Client::connect(address).await;
        let mut stream = client.open(WATCH).await.unwrap();
        let filler =
            PutRequest { key: "filler".into(), value: vec![7; 8 << 10].into(), ..PutRequest::default() };
        for number in 0..n {
            stream.send(&create(&format!("/registry/pods/{number:09}")).encode_to_vec(), false).unwrap();
            assert!(stream.next().await.unwrap().is_some());
            // What was read together must not stay together.
            if number % 10 == 0 {
                client.put(&filler).await.unwrap();
            }
        }
        (client, stream)
    };
    let open = trial.endure(abuse).await;
    let growth = trial.growth();
    println!("{} bytes for each of {n} watchers", growth / n);
    // Besides, the ring of recent events and the buffers of the logs are filled.
    assert!(growth <= n * WATCHER_BYTES_MAX + SLACK_BYTES, "{growth} bytes for {n} watchers");
    drop(open);
    trial.end((n * WATCHER_BYTES_MAX + 2 * SLACK_BYTES) >> 20);
}

/// A stream with one watch, which was created.
async fn watch(client: &Client, key: &str) -> Stream {
    let mut stream = client.open(WATCH).await.unwrap();
    stream.send(&create(key).encode_to_vec(), false).unwrap();
    assert!(stream.next().await.unwrap().is_some());
    stream
}

/// A watch over everything that begins with `key`, up to `key` and a byte of ones.
fn create(key: &str) -> WatchRequest {
    let range_end = [key.as_bytes(), &[0xff]].concat().into();
    let create =
        WatchCreateRequest { key: key.to_owned().into(), range_end, ..WatchCreateRequest::default() };
    WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) }
}
