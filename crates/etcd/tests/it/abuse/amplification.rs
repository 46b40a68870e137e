//! Clients whose few bytes ask for much work, long answers or much memory.

use prost::Message;
use proto::etcdserverpb::request_op::Request;
use proto::etcdserverpb::{HashKvRequest, PutRequest, RangeRequest, RequestOp, TxnRequest};

use super::streams::put_long_values;
use super::trial::Trial;
use super::wire;
use crate::client::Client;

const RANGE: &str = "/etcdserverpb.KV/Range";
const WATCH: &str = "/etcdserverpb.Watch/Watch";
const HASH_KV: &str = "/etcdserverpb.Maintenance/HashKV";

/// Calls with a header of 4 KB that is on the wire once.
const REFUSED: u32 = 20_000;
/// Frames of one byte, and calls of each of the other tests.
const TINY_FRAMES: usize = 5000;
const CALLS: u32 = 400;
/// Keys that a hash covers, and in how many transactions they are put.
const TXNS: usize = 160;
const PUTS: usize = 125;

#[test]
fn refusals_of_long_headers_are_short_and_hold_up_nobody() {
    Trial::run("refusals of long headers", async |trial| {
        let address = trial.address();
        let abuse = async {
            let bytes = [wire::hello(), wire::refused_calls(REFUSED)].concat();
            wire::exchange(address, &bytes, |received| received < REFUSED as usize * 100).await
        };
        let received = trial.endure(abuse).await;
        assert!(received < REFUSED as usize * 500, "{received} bytes for {REFUSED} calls");
        trial.end(32);
    });
}

#[test]
fn content_in_frames_of_one_byte_costs_little() {
    Trial::run("frames of one byte", async |trial| {
        let address = trial.address();
        let abuse = async {
            let mut bytes = [wire::hello(), wire::call(1, WATCH)].concat();
            // A message that never ends, its bytes far from each other in what the server reads.
            for _ in 0..TINY_FRAMES {
                bytes.extend(wire::data(1, &[0]));
                bytes.extend(wire::unknown_frame(16 << 10));
            }
            wire::send(address, &bytes).await
        };
        let socket = trial.endure(abuse).await;
        drop(socket);
        trial.end(32);
    });
}

#[test]
fn long_ranges_that_are_never_read_cost_bounded_memory() {
    Trial::run("long ranges", async |mut trial| {
        trial.prepare(async |client| put_long_values(client, 40).await).await;
        let range =
            RangeRequest { key: "long/".into(), range_end: "long0".into(), ..RangeRequest::default() };
        let calls = (0..20).map(|n| wire::unary(2 * n + 1, RANGE, &range.encode_to_vec()));
        let bytes = [wire::hello_without_window(), calls.collect::<Vec<_>>().concat()].concat();
        let address = trial.address();
        // Sixty megabytes each.
        let socket = trial.endure(wire::send(address, &bytes)).await;
        trial.endure(std::future::ready(())).await;
        drop(socket);
        trial.end(64);
    });
}

#[test]
fn hashes_asked_for_all_at_once_cost_as_much_as_one() {
    Trial::run("hashes all at once", async |mut trial| {
        trial.prepare(async |client| put_many_keys(client).await).await;
        let request = HashKvRequest::default().encode_to_vec();
        let calls = (0..CALLS).map(|n| wire::unary(2 * n + 1, HASH_KV, &request));
        let bytes = [wire::hello(), calls.collect::<Vec<_>>().concat()].concat();
        let address = trial.address();
        trial.endure(wire::exchange(address, &bytes, |received| received < CALLS as usize * 50)).await;
        trial.end(48);
    });
}

async fn put_many_keys(client: &Client) {
    for txn in 0..TXNS {
        let put = |n| PutRequest { key: format!("key/{txn}/{n}").into(), ..PutRequest::default() };
        let op = |n| RequestOp { request: Some(Request::RequestPut(put(n))) };
        let success = (0..PUTS).map(op).collect();
        client.txn(&TxnRequest { success, ..TxnRequest::default() }).await.unwrap();
    }
}
