//! The keys of a discovery service, in the cluster that keeps them.
//!
//! The cluster is an ordinary one, of etcd or of this project, and is called as any client calls it.

use client::{Client, Watch, cancellation};
use proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use proto::etcdserverpb::{PutRequest, RangeRequest, WatchCreateRequest};
use proto::mvccpb::KeyValue;

use crate::config::DiscoveryService;

/// Bytes of an answer. What the members of a cluster say of themselves is short.
const ANSWER_LEN_MAX: usize = 4 << 20;

/// A key and what stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) value: String,
    pub(super) create_revision: i64,
}

/// Something that keeps keys. An error says why a call failed; a retry of each call is safe.
pub(super) trait Registry {
    /// The value of a key; `None` if it is not there.
    async fn value(&self, key: &str) -> Result<Option<String>, String>;

    /// The first `max` entries that begin with `prefix`, by creation, and the revision as of which that holds.
    async fn entries(&self, prefix: &str, max: usize) -> Result<(Vec<Entry>, i64), String>;

    /// Sets a value.
    async fn put(&self, key: &str, value: &str) -> Result<(), String>;

    /// Waits for the first changes after `revision` of entries that begin with `prefix`. Returns them and the revision
    /// up to which they go.
    async fn changes(&self, prefix: &str, revision: i64) -> Result<(Vec<Entry>, i64), String>;
}

/// A cluster that keeps the keys.
#[derive(Debug)]
pub(super) struct ClusterRegistry {
    client: Client,
}

impl ClusterRegistry {
    /// Makes a client; connections are made with the calls. Needs a tokio runtime.
    pub(super) fn connect(service: &DiscoveryService) -> Result<ClusterRegistry, String> {
        let config = client::Config {
            endpoints: service.endpoints.clone(),
            dial_timeout: service.dial_timeout,
            keepalive_time: service.keepalive_time,
            keepalive_timeout: service.keepalive_timeout,
            request_len_max: None,
            response_len_max: Some(ANSWER_LEN_MAX),
        };
        let client = Client::new(&config).map_err(|error| error.to_string())?;
        Ok(ClusterRegistry { client: client.with_timeout(service.request_timeout) })
    }

    async fn range(&self, request: RangeRequest) -> Result<(Vec<Entry>, i64), String> {
        let answer = self.client.range(request).await.map_err(|error| error.to_string())?;
        let revision = answer.header.map_or(0, |header| header.revision);
        Ok((answer.kvs.iter().map(entry).collect(), revision))
    }
}

impl Registry for ClusterRegistry {
    async fn value(&self, key: &str) -> Result<Option<String>, String> {
        let request = RangeRequest { key: key.to_owned().into(), ..RangeRequest::default() };
        let (entries, _) = self.range(request).await?;
        Ok(entries.into_iter().next().map(|entry| entry.value))
    }

    async fn entries(&self, prefix: &str, max: usize) -> Result<(Vec<Entry>, i64), String> {
        let request = RangeRequest {
            key: prefix.to_owned().into(),
            range_end: end_of(prefix).into(),
            limit: i64::try_from(max).unwrap_or(i64::MAX),
            sort_order: SortOrder::Ascend as i32,
            sort_target: SortTarget::Create as i32,
            ..RangeRequest::default()
        };
        self.range(request).await
    }

    async fn put(&self, key: &str, value: &str) -> Result<(), String> {
        let (key, value) = (key.to_owned().into(), value.to_owned().into());
        let request = PutRequest { key, value, ..PutRequest::default() };
        self.client.put(request).await.map(|_| ()).map_err(|error| error.to_string())
    }

    async fn changes(&self, prefix: &str, revision: i64) -> Result<(Vec<Entry>, i64), String> {
        let watcher = self.client.watcher();
        let request = WatchCreateRequest {
            key: prefix.to_owned().into(),
            range_end: end_of(prefix).into(),
            start_revision: revision.saturating_add(1),
            ..WatchCreateRequest::default()
        };
        first_events(watcher.watch(request).await).await
    }
}

async fn first_events(mut watch: Watch) -> Result<(Vec<Entry>, i64), String> {
    while let Some(response) = watch.next().await {
        let response = response.map_err(|error| error.to_string())?;
        if let Some(error) = cancellation(&response) {
            return Err(error.to_string());
        }
        let kvs = response.events.iter().filter_map(|event| event.kv.as_ref());
        let revision = kvs.clone().map(|kv| kv.mod_revision).max();
        if let Some(revision) = revision {
            return Ok((kvs.map(entry).collect(), revision));
        }
    }
    Err("the watch has ended".to_owned())
}

fn entry(kv: &KeyValue) -> Entry {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    Entry { key: text(&kv.key), value: text(&kv.value), create_revision: kv.create_revision }
}

/// The end of the range of keys that begin with `prefix`, which ends in a letter.
fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last = last.saturating_add(1);
    }
    end
}
