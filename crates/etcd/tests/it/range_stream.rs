//! A range in chunks, as a client takes it.

use prost::Message;
use proto::etcdserverpb::{PutRequest, RangeRequest, RangeStreamResponse};

use crate::client::Client;
use crate::server::Server;

/// Longest request that the server takes; chunks are measured by it.
const REQUEST_LEN_MAX: usize = 100_000;
const VALUE_LEN: usize = 30_000;
const KEYS: usize = 60;

#[tokio::test]
async fn chunks_are_bounded_and_only_the_last_tells_of_the_range() {
    let dir = tempfile::tempdir().unwrap();
    let flags = ["--max-request-bytes", &REQUEST_LEN_MAX.to_string()];
    let server = Server::start_with(dir.path(), &flags);
    let client = Client::connect(server.address).await;
    let put = |i: usize, len| PutRequest {
        key: format!("k{i:03}").into(),
        value: vec![7; len].into(),
        ..PutRequest::default()
    };
    // Short values first: the chunks grow before the long ones come.
    for i in 0..2 * KEYS {
        client.put(&put(i, if i < KEYS { 1 } else { VALUE_LEN })).await.unwrap();
    }
    let request = RangeRequest { key: "k".into(), range_end: "l".into(), ..RangeRequest::default() };
    let mut call = client.open("/etcdserverpb.KV/RangeStream").await.unwrap();
    call.send(&request.encode_to_vec(), true).unwrap();
    let mut chunks = Vec::new();
    while let Some(bytes) = call.next().await.unwrap() {
        assert!(bytes.len() < 2 * REQUEST_LEN_MAX + VALUE_LEN + 200, "a chunk of {} bytes", bytes.len());
        chunks.push(RangeStreamResponse::decode(bytes).unwrap().range_response.unwrap());
    }
    let last = chunks.pop().unwrap();
    assert!(chunks.iter().all(|chunk| chunk.header.is_none() && chunk.count == 0 && !chunk.more));
    assert_eq!(chunks[0].kvs.len(), 10);
    let header = last.header.unwrap();
    assert_eq!((header.revision, last.count, last.more), (2 * KEYS as i64 + 1, 2 * KEYS as i64, false));
    assert!(header.cluster_id != 0 && header.member_id != 0 && header.raft_term != 0);
    chunks.push(last);
    let together = chunks.into_iter().flat_map(|chunk| chunk.kvs).collect::<Vec<_>>();
    // Well over a megabyte, so that the answer is made in pieces.
    let whole = client.range(&request).await.unwrap();
    assert_eq!((whole.count, whole.more, whole.header.unwrap()), (2 * KEYS as i64, false, header));
    assert_eq!(together, whole.kvs);
}
