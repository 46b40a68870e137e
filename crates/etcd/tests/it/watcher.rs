//! One watch over all keys and all lives of a server.

use std::collections::BTreeMap;

use prost::Message;
use proto::etcdserverpb::watch_request::RequestUnion;
use proto::etcdserverpb::{WatchCreateRequest, WatchRequest, WatchResponse};
use proto::mvccpb::event::EventType;
use proto::mvccpb::{Event, KeyValue};

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
        for (kv, stamp) in in_order(&mut self.next, events) {
            let change = Change { key: ledger::key_number(&kv.key), stamp };
            self.history.entry(kv.mod_revision).or_default().push(change);
        }
    }
}

/// The key of each event of one answer, and the stamp of its value unless it is deleted. Asserts that the revisions
/// begin at `next`, come in order, and none is left out; moves `next` behind them.
pub(crate) fn in_order<'a>(
    next: &'a mut i64,
    events: &'a [Event],
) -> impl Iterator<Item = (&'a KeyValue, Option<u64>)> {
    let first = *next;
    events.iter().map(move |event| {
        let kv = event.kv.as_ref().unwrap();
        let revision = kv.mod_revision;
        if revision == *next {
            *next += 1;
        }
        assert!(first <= revision && revision == *next - 1, "revision {revision} after {}", *next - 1);
        (kv, (event.r#type() == EventType::Put).then(|| ledger::stamp(&kv.value)))
    })
}
