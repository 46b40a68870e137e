//! The store as a watch over everything tells it.

use std::collections::BTreeMap;
use std::sync::Mutex;

use bytes::Bytes;
use prost::Message;
use proto::etcdserverpb::watch_request::RequestUnion;
use proto::etcdserverpb::{RangeRequest, WatchCreateRequest, WatchRequest, WatchResponse};
use proto::mvccpb::event::EventType;
use proto::mvccpb::{Event, KeyValue};
use tokio::sync::watch;

use crate::client::Client;

/// As key and as end of a range: all keys.
const ALL: &[u8] = b"\0";
/// Keys in a page when all are read back; a page of long values is still an answer that a client takes.
const PAGE_KEYS: i64 = 30;

/// Follows a store from its first revision.
///
/// It asserts that each revision is told once, whole and in order, and that each change fits the ones
/// before.
pub(super) struct Model {
    keys: Mutex<BTreeMap<Bytes, KeyValue>>,
    revision: watch::Sender<i64>,
}

impl Model {
    /// The model of a new store.
    pub(super) fn new() -> Model {
        Model { keys: Mutex::default(), revision: watch::Sender::new(1) }
    }

    /// The last revision that was told.
    pub(super) fn revision(&self) -> i64 {
        *self.revision.borrow()
    }

    /// Waits until a revision has been told.
    pub(super) async fn wait_for(&self, revision: i64) {
        self.revision.subscribe().wait_for(|told| *told >= revision).await.unwrap();
    }

    /// Takes every change until the connection is lost.
    pub(super) async fn follow(&self, client: &Client) {
        let everything = WatchCreateRequest {
            key: ALL.into(),
            range_end: ALL.into(),
            start_revision: self.revision() + 1,
            ..WatchCreateRequest::default()
        };
        let request = WatchRequest { request_union: Some(RequestUnion::CreateRequest(everything)) };
        let mut stream = client.open("/etcdserverpb.Watch/Watch").await.unwrap();
        stream.send(&request.encode_to_vec(), false).unwrap();
        while let Ok(answer) = stream.receive().await {
            let answer = WatchResponse::decode(answer.expect("a watch does not end by itself")).unwrap();
            assert!(!answer.canceled, "a watch is not cancelled: {answer:?}");
            self.take(answer.events);
        }
    }

    /// Reads everything back, and compares.
    pub(super) async fn verify(&self, client: &Client) {
        let (expected, revision) = {
            let keys = self.keys.lock().unwrap();
            (keys.clone(), self.revision())
        };
        let mut actual = BTreeMap::new();
        let mut request = RangeRequest {
            key: ALL.into(),
            range_end: ALL.into(),
            revision,
            limit: PAGE_KEYS,
            ..RangeRequest::default()
        };
        loop {
            let page = client.range(&request).await.unwrap();
            let Some(last) = page.kvs.last() else { break };
            request.key = [&last.key[..], b"\0"].concat().into();
            actual.extend(page.kvs.into_iter().map(|kv| (kv.key.clone(), kv)));
            if !page.more {
                break;
            }
        }
        assert!(actual == expected, "the store at revision {revision} is what the watch told");
        println!("{} keys at revision {revision} are what the watch told", actual.len());
    }

    fn take(&self, events: Vec<Event>) {
        let mut keys = self.keys.lock().unwrap();
        let told = self.revision();
        let mut revision = told;
        for event in events {
            let is_put = event.r#type() == EventType::Put;
            let kv = event.kv.expect("an event is about a key");
            let is_next = kv.mod_revision == revision + 1 || (kv.mod_revision == revision && revision > told);
            assert!(is_next, "revision {} follows {revision} in one answer", kv.mod_revision);
            revision = kv.mod_revision;
            let before = keys.remove(&kv.key);
            if is_put {
                let (created, version) =
                    before.map_or((revision, 1), |before| (before.create_revision, before.version + 1));
                assert_eq!((kv.create_revision, kv.version), (created, version), "{:?}", kv.key);
                keys.insert(kv.key.clone(), kv);
            } else {
                assert!(before.is_some(), "{:?} existed before it was deleted", kv.key);
            }
        }
        self.revision.send_replace(revision);
    }
}
