//! The whole state as a file, as a client takes it.

use prost::Message;
use proto::etcdserverpb::{PutRequest, SnapshotRequest, SnapshotResponse};
use sha2::{Digest, Sha256};

use crate::client::Client;
use crate::server::Server;

const BLOB_LEN_MAX: usize = 32 << 10;

#[tokio::test]
async fn a_snapshot_comes_in_blobs_with_its_checksum_behind_them() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let client = Client::connect(server.address).await;
    for i in 0..50 {
        let (key, value) = (format!("k{i:03}").into(), vec![7; 30_000].into());
        client.put(&PutRequest { key, value, ..PutRequest::default() }).await.unwrap();
    }
    let mut call = client.open("/etcdserverpb.Maintenance/Snapshot").await.unwrap();
    call.send(&SnapshotRequest {}.encode_to_vec(), true).unwrap();
    let mut messages = Vec::new();
    while let Some(bytes) = call.next().await.unwrap() {
        messages.push(SnapshotResponse::decode(bytes).unwrap());
    }
    assert!(messages.iter().all(|message| message.header.is_none() && message.version == "3.7.0"));
    let checksum = messages.pop().unwrap();
    let file = messages.iter().flat_map(|message| message.blob.to_vec()).collect::<Vec<_>>();
    assert_eq!(checksum.remaining_bytes, 0);
    assert_eq!(checksum.blob, Sha256::digest(&file)[..]);
    assert!(file.len() > 50 * 30_000 && file.len().is_multiple_of(512));
    let mut remaining = file.len();
    for message in &messages {
        assert!(message.blob.len() == BLOB_LEN_MAX || message.remaining_bytes == 0);
        remaining -= message.blob.len();
        assert_eq!(message.remaining_bytes, remaining as u64);
    }
}

#[tokio::test]
async fn snapshots_at_once_are_limited_and_end_with_their_clients() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let client = Client::connect_narrow(server.address).await;
    for i in 0..8 {
        let (key, value) = (format!("k{i:03}").into(), vec![7; 1 << 20].into());
        client.put(&PutRequest { key, value, ..PutRequest::default() }).await.unwrap();
    }
    // Nobody reads these, and each is longer than the server writes ahead.
    let mut calls = Vec::new();
    let refusal = loop {
        let client = Client::connect_narrow(server.address).await;
        let mut call = client.open("/etcdserverpb.Maintenance/Snapshot").await.unwrap();
        call.send(&SnapshotRequest {}.encode_to_vec(), true).unwrap();
        match call.next().await {
            Ok(first) => assert!(first.is_some()),
            Err(refusal) => break refusal,
        }
        calls.push((client, call));
    };
    assert_eq!(calls.len(), 8);
    assert_eq!(refusal, crate::client::Failure::Refused(2, "etcdserver: too many requests".into()));
    drop(calls);
    // The server learns of it a moment later.
    loop {
        let mut call = client.open("/etcdserverpb.Maintenance/Snapshot").await.unwrap();
        call.send(&SnapshotRequest {}.encode_to_vec(), true).unwrap();
        if call.next().await.is_ok() {
            return;
        }
    }
}
