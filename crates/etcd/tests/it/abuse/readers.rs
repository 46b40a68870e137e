//! Clients that ask and do not read, and watchers to whom nothing happens.

use prost::Message;
use proto::etcdserverpb::watch_request::RequestUnion;
use proto::etcdserverpb::{RangeRequest, WatchCreateRequest, WatchRequest};
use tokio::io::AsyncWriteExt;

use super::streams::put_long_values;
use super::trial::Trial;
use super::wire;
use crate::client::{Client, Stream};
use crate::setting;

const RANGE: &str = "/etcdserverpb.KV/Range";
const RANGE_STREAM: &str = "/etcdserverpb.KV/RangeStream";
const WATCH: &str = "/etcdserverpb.Watch/Watch";
/// What an idle watcher may cost, in bytes.
const WATCHER_BYTES_MAX: usize = 1024;
/// What the server may take for other reasons, in bytes.
const SLACK_BYTES: usize = 32 << 20;

#[test]
fn answers_that_are_never_read_cost_bounded_memory() {
    Trial::run("unread answers", async |mut trial| {
        trial.prepare(async |client| put_long_values(client, 1).await).await;
        let (address, range) =
            (trial.address(), RangeRequest { key: "long/0".into(), ..RangeRequest::default() });
        let mut sockets = Vec::new();
        let abuse = async {
            for _ in 0..2 {
                let calls = (0..400).map(|n| wire::unary(2 * n + 1, RANGE, &range.encode_to_vec()));
                let bytes = [wire::hello(), calls.collect::<Vec<_>>().concat()].concat();
                sockets.push(wire::send(address, &bytes).await);
            }
        };
        trial.endure(abuse).await;
        trial.endure(std::future::ready(())).await;
        drop(sockets);
        trial.end(128);
    });
}

#[test]
fn answers_to_calls_opened_before_cost_bounded_memory() {
    let range = RangeRequest { key: "long/0".into(), ..RangeRequest::default() }.encode_to_vec();
    let watch = create_from("long/", 1).encode_to_vec();
    for (path, request) in [(RANGE, &range), (RANGE_STREAM, &range), (WATCH, &watch)] {
        Trial::run("calls opened before", async |mut trial| {
            trial.prepare(async |client| put_long_values(client, 1).await).await;
            // All are begun while nothing waits for the client; only then comes what they ask for.
            let opened: Vec<u8> = (0..300).flat_map(|n| wire::call(2 * n + 1, path)).collect();
            let bytes = [wire::hello_without_window(), opened].concat();
            let mut socket = trial.endure(wire::send(trial.address(), &bytes)).await;
            let asked: Vec<u8> = (0..300).flat_map(|n| wire::message(2 * n + 1, request)).collect();
            trial.endure(socket.write_all(&asked)).await.unwrap();
            trial.endure(std::future::ready(())).await;
            drop(socket);
            trial.end(96);
        });
    }
}

#[test]
fn tiny_answers_that_may_not_be_sent_cost_bounded_memory() {
    Trial::run("a client without a window", async |trial| {
        let range = RangeRequest { key: "bystander".into(), ..RangeRequest::default() }.encode_to_vec();
        let calls = (0..100_000).map(|n| wire::unary(2 * n + 1, RANGE, &range)).collect::<Vec<_>>().concat();
        let abuse = async {
            let (mut answers, mut socket) =
                wire::send(trial.address(), &wire::hello_without_window()).await.into_split();
            let mut sink = tokio::io::sink();
            tokio::select! {
                sent = socket.write_all(&calls) => sent.unwrap(),
                _ = tokio::io::copy(&mut answers, &mut sink) => panic!("it is disconnected"),
            }
            (answers, socket)
        };
        let open = trial.endure(abuse).await;
        trial.endure(std::future::ready(())).await;
        drop(open);
        trial.end(64);
    });
}

#[test]
fn a_client_that_never_reads_is_not_read_from() {
    Trial::run("a client that never reads", async |trial| {
        let address = trial.address();
        let range = RangeRequest { key: "bystander".into(), ..RangeRequest::default() }.encode_to_vec();
        let mut sockets = Vec::new();
        let abuse = async {
            let mut socket = wire::send(address, &wire::hello()).await;
            // More than the sockets hold: at some time the server takes no more, and the write waits for
            // ever.
            let asking = async {
                for n in 0.. {
                    if socket.write_all(&wire::unary(2 * n + 1, RANGE, &range)).await.is_err() {
                        break;
                    }
                }
            };
            let bystander = async {
                for _ in 0..200 {
                    Client::connect(address)
                        .await
                        .unary("/etcdserverpb.Maintenance/Status", &[])
                        .await
                        .unwrap();
                }
            };
            tokio::select! { () = asking => {}, () = bystander => {} }
            sockets.push(socket);
        };
        trial.endure(abuse).await;
        trial.end(192);
    });
}

#[test]
fn watchers_who_never_read_cost_bounded_memory() {
    Trial::run("watchers who never read", async |trial| {
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
        trial.end(200);
    });
}

#[test]
fn idle_watchers_cost_little() {
    Trial::run("idle watchers", async |trial| {
        let address = trial.address();
        let n = 20 * setting("ABUSE_CONNECTIONS", 1000);
        let abuse = async {
            let client = Client::connect(address).await;
            let mut stream = client.open(WATCH).await.unwrap();
            let filler = RangeRequest { key: vec![7; 8 << 10].into(), ..RangeRequest::default() };
            for number in 0..n {
                stream.send(&create(&format!("/registry/pods/{number:09}")).encode_to_vec(), false).unwrap();
                assert!(stream.next().await.unwrap().is_some());
                // What was read together must not stay together.
                if number % 10 == 0 {
                    client.range(&filler).await.unwrap();
                }
            }
            (client, stream)
        };
        let open = trial.endure(abuse).await;
        let growth = trial.growth();
        println!("{} bytes for each of {n} watchers", growth / n);
        assert!(growth <= n * WATCHER_BYTES_MAX + SLACK_BYTES, "{growth} bytes for {n} watchers");
        drop(open);
        trial.end((n * WATCHER_BYTES_MAX + 2 * SLACK_BYTES) >> 20);
    });
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
    create_from(key, 0)
}

/// The same from a revision on.
fn create_from(key: &str, start_revision: i64) -> WatchRequest {
    let range_end = [key.as_bytes(), &[0xff]].concat().into();
    let key = key.to_owned().into();
    let create = WatchCreateRequest { key, range_end, start_revision, ..WatchCreateRequest::default() };
    WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) }
}
