//! The metrics served against those of etcd 3.7.1: names, types, labels and bounds.
//!
//! `fixtures/metrics.txt` is what a lone etcd shows: a line a metric with its type, the names of its labels and the
//! bounds of its buckets; `go_*` is left out.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use proto::etcdserverpb::request_op::Request as Op;
use proto::etcdserverpb::{
    AlarmRequest, AlarmResponse, CompactionRequest, DeleteRangeRequest, HashKvRequest, HashKvResponse,
    LeaseGrantRequest, LeaseGrantResponse, LeaseRevokeRequest, LeaseRevokeResponse, PutRequest, RangeRequest,
    RequestOp, TxnRequest,
};

use crate::client::Client;
use crate::server::Server;

/// Beginnings of names of etcd that are not served, and why.
const LEFT_OUT: [(&str, &str); 8] = [
    ("etcd_debugging_disk_backend_commit_", "the steps of a commit of bbolt, which is not here"),
    (
        "etcd_debugging_snap_save_",
        "a checkpoint stands for a snapshot, as etcd_disk_backend_commit_duration_seconds",
    ),
    ("etcd_snap_fsync_duration_seconds", "the same"),
    ("etcd_debugging_store_", "etcd's store of version 2, which is not here"),
    ("etcd_grpc_proxy_", "the proxy is another program"),
    ("etcd_server_go_version", "there is no Go"),
    (
        "etcd_debugging_server_watch_send_loop_",
        "to time an answer to a watch would cost a tenth of the answer",
    ),
    // Of the process itself, and not of every kernel.
    ("process_network_", "told where /proc/self/net/netstat is"),
];

/// What etcd serves as well, once there is something to count.
const WHEN_COUNTED: [&str; 2] = [
    "gauge etcd_debugging_server_alarms{alarm_type,server_id}",
    "counter etcd_network_server_stream_failures_total{API,Type}",
];

/// A metric as a line of the fixture has it.
#[derive(Default)]
struct Shape {
    kind: String,
    labels: Vec<String>,
    bounds: Vec<String>,
}

/// The metrics of a text, by name.
fn shapes(text: &str) -> BTreeMap<String, Shape> {
    let mut shapes = BTreeMap::<String, Shape>::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            shapes.entry(name.to_owned()).or_default().kind = kind.to_owned();
        } else if !line.starts_with('#') {
            let (series, _value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.trim_end_matches('}').split_once('{').unwrap_or((series, ""));
            let endings = ["_bucket", "_sum", "_count"];
            let family = endings.iter().find_map(|ending| shapes.get_key_value(name.strip_suffix(ending)?));
            let family = family.map_or(name, |(family, _)| family).to_owned();
            let shape = shapes.get_mut(&family).unwrap();
            for label in labels.split("\",").filter(|label| !label.is_empty()) {
                let (name, value) = label.split_once("=\"").unwrap();
                let (list, item) = match name {
                    "le" => (&mut shape.bounds, value.trim_end_matches('"')),
                    name => (&mut shape.labels, name),
                };
                if !list.iter().any(|have| have == item) {
                    list.push(item.to_owned());
                }
            }
            shape.labels.sort();
        }
    }
    shapes
}

/// The lines of the fixture that `text` comes to.
fn described(text: &str) -> Vec<String> {
    let line = |(name, shape): (&String, &Shape)| {
        let Shape { kind, labels, bounds } = shape;
        format!("{kind} {name}{{{}}} {}", labels.join(","), bounds.join(" ")).trim_end().to_owned()
    };
    shapes(text).iter().map(line).collect()
}

fn get(address: SocketAddr, path: &str) -> String {
    let mut socket = TcpStream::connect(address).unwrap();
    write!(socket, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    body.to_owned()
}

fn put(key: &'static str, value: &'static str) -> PutRequest {
    PutRequest { key: key.into(), value: value.into(), ..PutRequest::default() }
}

fn txn(puts: &[PutRequest]) -> TxnRequest {
    let op = |put: &PutRequest| RequestOp { request: Some(Op::RequestPut(put.clone())) };
    TxnRequest { success: puts.iter().map(op).collect(), ..TxnRequest::default() }
}

/// Does some of everything that is counted.
async fn work(client: &Client) {
    for request in [put("a", "b"), put("a", "c"), put("b", "dd")] {
        client.put(&request).await.unwrap();
    }
    client.range(&RangeRequest { key: "a".into(), ..RangeRequest::default() }).await.unwrap();
    client
        .delete_range(&DeleteRangeRequest { key: "b".into(), ..DeleteRangeRequest::default() })
        .await
        .unwrap();
    client.compact(&CompactionRequest { revision: 3, physical: true }).await.unwrap();
    client.txn(&txn(&[put("x", "y"), put("y", "z")])).await.unwrap();
    client.txn(&txn(&[put("x", "y")])).await.unwrap();
    let grant = LeaseGrantRequest { ttl: 60, id: 7 };
    client.call::<LeaseGrantResponse>("/etcdserverpb.Lease/LeaseGrant", &grant).await.unwrap();
    let revoke = LeaseRevokeRequest { id: 7 };
    client.call::<LeaseRevokeResponse>("/etcdserverpb.Lease/LeaseRevoke", &revoke).await.unwrap();
    let hash = HashKvRequest::default();
    client.call::<HashKvResponse>("/etcdserverpb.Maintenance/HashKV", &hash).await.unwrap();
    let alarm = AlarmRequest { action: 1, member_id: 0xab, alarm: 2 };
    client.call::<AlarmResponse>("/etcdserverpb.Maintenance/Alarm", &alarm).await.unwrap();
}

#[tokio::test]
async fn metrics_are_those_of_etcd() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    get(server.address, "/livez");
    get(server.address, "/readyz");
    work(&Client::connect(server.address).await).await;
    let text = get(server.address, "/metrics");

    let is_left_out =
        |line: &&str| LEFT_OUT.iter().any(|(name, _)| line.split(' ').nth(1).unwrap().starts_with(name));
    let fixture = include_str!("../fixtures/metrics.txt").lines().filter(|line| !is_left_out(line));
    let mut expected: Vec<_> = fixture.chain(WHEN_COUNTED).collect();
    let name = |line: &str| line.split([' ', '{']).nth(1).map(str::to_owned);
    expected.sort_by_key(|line| name(line));
    let served = described(&text);
    let served: Vec<_> = served.iter().map(String::as_str).filter(|line| !is_left_out(line)).collect();
    assert_eq!(served, expected);

    for line in [
        "etcd_debugging_mvcc_total_put_size_in_bytes 13",
        "etcd_mvcc_put_total 6",
        "etcd_mvcc_delete_total 1",
        "etcd_mvcc_txn_total 1",
        "etcd_debugging_mvcc_db_compaction_keys_total 1",
        "etcd_debugging_mvcc_db_compaction_total_duration_milliseconds_count 1",
        "etcd_server_apply_duration_seconds_count{op=\"Put\",success=\"true\",version=\"v3\"} 3",
        "etcd_server_request_duration_seconds_count{success=\"true\",type=\"Txn\"} 2",
        "etcd_mvcc_hash_rev_duration_seconds_count 1",
        "etcd_debugging_server_alarms{alarm_type=\"CORRUPT\",server_id=\"ab\"} 1",
        "etcd_debugging_lease_ttl_total_sum 60",
    ] {
        assert!(text.lines().any(|have| have == line), "{line} is missing in\n{text}");
    }
    server.terminate();
}
