//! One watch over all keys and all lives of a server.

use std::collections::BTreeMap;

use prost::Message;
use proto::etcdserverpb::watch_request::RequestUnion;
use proto::etcdserverpb::{WatchCreateRequest, WatchRequest, WatchResponse};
use proto::mvccpb::Event;
use proto::mvccpb::event::EventType;

use crate::client::{Client, Failure};
use crate::ledger::{self, Change, PREFIX, PREFIX_END, Write};

/// Goes on behind the last revision it has seen, whichever connection that came over.
///
/// It asserts that each revision comes once, in order, whole in one response, and none is left out.
#[derive(Debug)]
pub(crate) struct Watcher {
    next: i64,
    history: BTreeMap<i64, Write>,
}

impl Watcher {
    /// A watcher that has seen nothing of a new store.
    pub(crate) fn new() -> Watcher {
        Watcher { next: 2, history: BTreeMap::new() }
    }

    /// Follows the changes until it has seen revision `until`, or the connection is lost.
    pub(crate) async fn follow(&mut self, client: &Client, until: i64) -> Result<(), Failure> {
        if self.next > until {
            return Ok(());
        }
        let mut stream = client.open("/etcdserverpb.Watch/Watch").await?;
        stream.send(&self.request().encode_to_vec(), false)?;
        while self.next <= until {
            let bytes = stream.receive().await?.expect("a watch does not end by itself");
            let response = WatchResponse::decode(bytes).unwrap();
            assert!(!response.canceled, "a watch is not cancelled: {response:?}");
            self.take(&response.events);
        }
        Ok(())
    }

    /// What was seen since the last call, by revision.
    pub(crate) fn take_history(&mut self) -> BTreeMap<i64, Write> {
        std::mem::take(&mut self.history)
    }

    fn request(&self) -> WatchRequest {
        let create = WatchCreateRequest {
            key: PREFIX.into(),
            range_end: PREFIX_END.into(),
            start_revision: self.next,
            ..WatchCreateRequest::default()
        };
        WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) }
    }

    fn take(&mut self, events: &[Event]) {
        let first = self.next;
        for event in events {
            let kv = event.kv.as_ref().unwrap();
            let revision = kv.mod_revision;
            if revision == self.next {
                self.next += 1;
            }
            assert!(
                first <= revision && revision == self.next - 1,
                "revision {revision} after {}",
                self.next - 1
            );
            let stamp = (event.r#type() == EventType::Put).then(|| ledger::stamp(&kv.value));
            let change = Change { key: ledger::key_number(&kv.key), stamp };
            self.history.entry(revision).or_default().push(change);
        }
    }
}
