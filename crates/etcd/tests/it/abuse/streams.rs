//! Calls that are too big, never finished, or given up as soon as they are made.

use prost::Message;
use proto::etcdserverpb::{PutRequest, RangeRequest};
use tokio::io::AsyncWriteExt;

use super::trial::Trial;
use super::wire;
use crate::client::{Client, Failure};
use crate::setting;

const PUT: &str = "/etcdserverpb.KV/Put";
const RANGE: &str = "/etcdserverpb.KV/Range";
const RESOURCE_EXHAUSTED: u32 = 8;

/// A little less than the longest request, in bytes.
const LONG: usize = 1_500_000;
/// Calls given up in a row, on one connection.
const RESETS: u32 = 5000;

#[test]
fn huge_headers_cost_their_call_alone() {
    Trial::run("huge headers", async |trial| {
        let address = trial.address();
        let abuse = async {
            for n_fields in [1, 20, 200] {
                let client = Client::connect(address).await;
                let value = vec![b'x'; (100 << 10) / n_fields];
                let fields = vec![("x-field", &value[..]); n_fields];
                let mut call = client.open_with(RANGE, &fields).await.unwrap();
                // The server may have answered already.
                let _ = call.send(&[], true);
                assert_eq!(call.next().await, Err(Failure::Lost), "it is refused in HTTP's terms");
                client.range(&RangeRequest { key: "k".into(), ..RangeRequest::default() }).await.unwrap();
            }
        };
        trial.endure(abuse).await;
        trial.end(32);
    });
}

#[test]
fn messages_announced_as_huge_are_refused_before_they_come() {
    Trial::run("huge messages", async |trial| {
        let address = trial.address();
        let abuse = async {
            let client = Client::connect(address).await;
            for len in [2 << 20 | 1, 100 << 20, u32::MAX as usize] {
                let mut call = client.open(PUT).await.unwrap();
                call.send_part(b"beginning", len, false).unwrap();
                let text = format!("grpc: received message larger than max ({len} vs. 2097152)");
                assert_eq!(call.next().await, Err(Failure::Refused(RESOURCE_EXHAUSTED, text)));
            }
        };
        trial.endure(abuse).await;
        trial.end(32);
    });
}

#[test]
fn calls_given_up_at_once_harm_nobody() {
    Trial::run("rapid resets", async |trial| {
        let address = trial.address();
        let abuse = async {
            let calls = (0..RESETS).map(|n| [wire::call(2 * n + 1, RANGE), wire::reset(2 * n + 1)].concat());
            let bytes = [wire::hello(), calls.collect::<Vec<_>>().concat()].concat();
            for _ in 0..10 {
                let mut socket = wire::send(address, &bytes).await;
                let _ = socket.shutdown().await;
                wire::read_to_the_end(socket).await;
            }
        };
        trial.endure(abuse).await;
        trial.end(64);
    });
}

#[test]
fn answers_given_up_half_way_are_forgotten() {
    Trial::run("answers given up", async |mut trial| {
        trial.prepare(async |client| put_long_values(client, 8).await).await;
        let address = trial.address();
        let abuse = async {
            let all =
                RangeRequest { key: "long/".into(), range_end: "long0".into(), ..RangeRequest::default() };
            for _ in 0..setting("ABUSE_CONNECTIONS", 300) / 3 {
                let client = Client::connect_narrow(address).await;
                let mut call = client.open(RANGE).await.unwrap();
                call.send(&all.encode_to_vec(), true).unwrap();
                call.wait_for_head().await.unwrap();
            }
        };
        trial.endure(abuse).await;
        trial.end(128);
    });
}

#[test]
fn messages_that_never_end_cost_bounded_memory_and_leave_room() {
    Trial::run("unfinished messages", async |trial| {
        let address = trial.address();
        let abuse = async {
            let mut calls = Vec::new();
            for _ in 0..2 {
                let client = Client::connect(address).await;
                for _ in 0..200 {
                    let mut call = client.open(PUT).await.unwrap();
                    call.send_part(&vec![0; LONG], LONG + 1, false).unwrap();
                    calls.push(call);
                }
                // Behind all of them.
                let _ = client.unary("/etcdserverpb.Maintenance/Status", &[]).await;
            }
            calls
        };
        let calls = trial.endure(abuse).await;
        trial.endure(put_long_values(&Client::connect(address).await, 10)).await;
        drop(calls);
        trial.end(512);
    });
}

#[test]
fn long_puts_all_at_once_cost_bounded_memory() {
    Trial::run("long puts", async |trial| {
        let address = trial.address();
        let abuse = async {
            let mut puts = tokio::task::JoinSet::new();
            for _ in 0..4 {
                let client = Client::connect(address).await;
                for _ in 0..50 {
                    let client = client.clone();
                    let value = vec![7; LONG].into();
                    let put = PutRequest { key: "long".into(), value, ..PutRequest::default() };
                    puts.spawn(async move { client.put(&put).await.map(drop) });
                }
            }
            puts.join_all().await
        };
        let answers = trial.endure(abuse).await;
        println!(
            "{} of {} long puts taken",
            answers.iter().filter(|answer| answer.is_ok()).count(),
            answers.len()
        );
        trial.end(768);
    });
}

/// Puts `n` values under `long/`.
pub(super) async fn put_long_values(client: &Client, n: usize) {
    for number in 0..n {
        let key = format!("long/{number}").into();
        let put = PutRequest { key, value: vec![7; LONG].into(), ..PutRequest::default() };
        client.put(&put).await.unwrap();
    }
}
