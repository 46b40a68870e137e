//! Short forms of the requests that several tests of clusters send.

use bytes::Bytes;
use prost::Message;
use proto::etcdserverpb::watch_request::RequestUnion;
use proto::etcdserverpb::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse, PutRequest,
    RangeRequest, WatchCreateRequest, WatchRequest,
};

use crate::client::{Client, Failure, Stream};

const KEEP_ALIVE: &str = "/etcdserverpb.Lease/LeaseKeepAlive";

/// Puts a key; returns its revision.
pub(super) async fn put(client: &Client, key: &str, value: &str) -> Result<i64, Failure> {
    let (key, value) = (key.to_owned().into(), value.to_owned().into());
    let answer = client.put(&PutRequest { key, value, ..PutRequest::default() }).await?;
    Ok(answer.header.unwrap().revision)
}

/// The value of a key, if it exists: as of now, or as of what the member that is asked has applied.
pub(super) async fn value(
    client: &Client,
    key: &str,
    is_serializable: bool,
) -> Result<Option<Bytes>, Failure> {
    let key = key.to_owned().into();
    let request = RangeRequest { key, serializable: is_serializable, ..RangeRequest::default() };
    Ok(client.range(&request).await?.kvs.pop().map(|kv| kv.value))
}

/// The encoded request for a watch on `key` from `start_revision` on.
pub(super) fn watch(key: &str, range_end: &str, start_revision: i64) -> Vec<u8> {
    let (key, range_end) = (key.to_owned().into(), range_end.to_owned().into());
    let create = WatchCreateRequest { key, range_end, start_revision, ..WatchCreateRequest::default() };
    WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) }.encode_to_vec()
}

/// Makes a lease with a time to live of `ttl_s` seconds; returns its number.
pub(super) async fn grant(client: &Client, ttl_s: i64) -> Result<i64, Failure> {
    let request = LeaseGrantRequest { ttl: ttl_s, id: 0 };
    let answer: LeaseGrantResponse = client.call("/etcdserverpb.Lease/LeaseGrant", &request).await?;
    Ok(answer.id)
}

/// Renews a lease; returns its time to live in seconds, which is 0 if there is no such lease.
pub(super) async fn renew(client: &Client, id: i64) -> Result<i64, Failure> {
    let mut stream: Stream = client.open(KEEP_ALIVE).await?;
    stream.send(&LeaseKeepAliveRequest { id }.encode_to_vec(), false)?;
    let answer = stream.next().await?.ok_or(Failure::Lost)?;
    Ok(LeaseKeepAliveResponse::decode(answer).unwrap().ttl)
}
