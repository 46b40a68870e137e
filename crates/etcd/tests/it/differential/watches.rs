//! The same watches on two servers, and whether they tell the same.
//!
//! Both streams get each request at the same time; what they answer is collected for each watcher. How many
//! revisions come in one response is a matter of time, so events are compared one by one, and that a revision
//! stays whole is asserted instead.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use prost::Message;
use proto::etcdserverpb::watch_request::RequestUnion;
use proto::etcdserverpb::{
    WatchCancelRequest, WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse,
};
use tokio::time::{Instant, timeout, timeout_at};

use crate::client::{Client, Stream};

/// How long a stream may take for what it owes.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long to wait for an answer to a request for progress before asking again.
const RETRY: Duration = Duration::from_millis(50);
/// The id of answers to requests for progress.
const ALL: i64 = -1;

/// One watch stream each of etcd and of ours.
pub(crate) struct Watches {
    sides: [Side; 2],
    /// Ids that were created and not cancelled by us.
    ids: Vec<i64>,
}

impl Watches {
    pub(crate) async fn open(clients: &[Client; 2]) -> Watches {
        let [etcd, ours] = clients;
        Watches { sides: [Side::open(etcd).await, Side::open(ours).await], ids: Vec::new() }
    }

    /// Creates a watch, and waits for both answers; says how they differ.
    pub(crate) async fn create(&mut self, request: WatchCreateRequest) -> Result<(), String> {
        let [etcd, ours] =
            self.ask(RequestUnion::CreateRequest(request), |response| response.created).await?;
        equal(&etcd, &ours)?;
        if !etcd.canceled {
            self.ids.push(etcd.watch_id);
            // The id may have been used before.
            for side in &mut self.sides {
                side.last_revision.remove(&etcd.watch_id);
            }
        }
        Ok(())
    }

    /// Cancels one of the watches, if there are any. None of them may be behind.
    pub(crate) async fn cancel(&mut self, choice: usize) -> Result<(), String> {
        if self.ids.is_empty() {
            return Ok(());
        }
        let id = self.ids[choice % self.ids.len()];
        self.cancel_id(id).await
    }

    async fn cancel_id(&mut self, id: i64) -> Result<(), String> {
        self.ids.retain(|&other| other != id);
        let request = RequestUnion::CancelRequest(WatchCancelRequest { watch_id: id });
        let is_answer = |response: &WatchResponse| {
            response.canceled
                && !response.created
                && response.watch_id == id
                && response.compact_revision == 0
        };
        let [etcd, ours] = self.ask(request, is_answer).await?;
        equal(&etcd, &ours)
    }

    /// Waits until no watcher is behind, and compares what they were told: both answer a request for progress only
    /// then. A watcher whose past is forgotten would hold that up for ever, and is cancelled as clients do.
    pub(crate) async fn catch_up(&mut self) -> Result<(), String> {
        self.sides.iter_mut().for_each(|side| side.has_caught_up = false);
        let deadline = Instant::now() + PATIENCE;
        while !self.ids.is_empty() && !self.sides.iter().all(|side| side.has_caught_up) {
            if Instant::now() > deadline {
                return Err(self.difference().unwrap_or_else(|| "a watcher stays behind".to_owned()));
            }
            let [etcd, ours] = &self.sides;
            if let Some(&id) = etcd.forgotten.intersection(&ours.forgotten).next() {
                for side in &mut self.sides {
                    side.forgotten.remove(&id);
                }
                self.cancel_id(id).await?;
            }
            for side in self.sides.iter_mut().filter(|side| !side.has_caught_up) {
                side.send(RequestUnion::ProgressRequest(WatchProgressRequest {}));
            }
            self.collect_for(RETRY).await;
        }
        self.difference().map_or(Ok(()), Err)
    }

    /// Waits until both have told the same.
    pub(crate) async fn settle(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while self.difference().is_some() && Instant::now() < deadline {
            self.collect_for(RETRY).await;
        }
        self.difference().map_or(Ok(()), Err)
    }

    /// Sends a request and takes the answer of each that `is_answer`; others are kept.
    async fn ask(
        &mut self,
        request: RequestUnion,
        is_answer: impl Fn(&WatchResponse) -> bool,
    ) -> Result<[WatchResponse; 2], String> {
        let [etcd, ours] = &mut self.sides;
        etcd.send(request.clone());
        ours.send(request);
        let etcd = etcd.answer(&is_answer).await.ok_or("etcd does not answer the watch request")?;
        let ours = ours.answer(&is_answer).await.ok_or("ours does not answer the watch request")?;
        Ok([etcd, ours])
    }

    async fn collect_for(&mut self, time: Duration) {
        let deadline = Instant::now() + time;
        let [etcd, ours] = &mut self.sides;
        tokio::join!(etcd.collect_until(deadline), ours.collect_until(deadline));
    }

    /// The first watcher that was told something else, or less.
    fn difference(&self) -> Option<String> {
        let [etcd, ours] = &self.sides;
        let ids = etcd.told.keys().chain(ours.told.keys());
        ids.filter(|id| etcd.told.get(id) != ours.told.get(id)).min().map(|id| {
            let lines = |side: &Side| side.told.get(id).cloned().unwrap_or_default();
            let (etcd, ours) = (lines(etcd), lines(ours));
            let at = etcd.iter().zip(&ours).take_while(|(a, b)| a == b).count();
            let line = |lines: &[String]| lines.get(at).cloned().unwrap_or_else(|| "nothing".to_owned());
            format!("watch {id}, line {at}\n  etcd: {}\n  ours: {}", line(&etcd), line(&ours))
        })
    }
}

/// One server's stream and what it has told each watcher, a line an event.
struct Side {
    stream: Stream,
    told: BTreeMap<i64, Vec<String>>,
    last_revision: BTreeMap<i64, i64>,
    /// Watchers that were cancelled because their past was compacted.
    forgotten: BTreeSet<i64>,
    /// Whether progress of all watchers was told since it was last asked.
    has_caught_up: bool,
}

impl Side {
    async fn open(client: &Client) -> Side {
        let stream = client.open("/etcdserverpb.Watch/Watch").await.expect("the server is there");
        Side {
            stream,
            told: BTreeMap::new(),
            last_revision: BTreeMap::new(),
            forgotten: BTreeSet::new(),
            has_caught_up: false,
        }
    }

    fn send(&mut self, request: RequestUnion) {
        let bytes = WatchRequest { request_union: Some(request) }.encode_to_vec();
        self.stream.send(&bytes, false).expect("the stream is open");
    }

    async fn answer(&mut self, is_answer: &impl Fn(&WatchResponse) -> bool) -> Option<WatchResponse> {
        let receive = async {
            loop {
                let response = self.receive().await;
                if is_answer(&response) {
                    return response;
                }
                self.keep(&response);
            }
        };
        timeout(PATIENCE, receive).await.ok()
    }

    async fn collect_until(&mut self, deadline: Instant) {
        while let Ok(response) = timeout_at(deadline, self.receive()).await {
            self.keep(&response);
        }
    }

    async fn receive(&mut self) -> WatchResponse {
        let answer = self.stream.receive().await.expect("the stream goes on");
        let mut response =
            WatchResponse::decode(answer.expect("a watch does not end")).expect("it is a response");
        if let Some(header) = &mut response.header {
            (header.cluster_id, header.member_id) = (0, 0);
        }
        response
    }

    fn keep(&mut self, response: &WatchResponse) {
        if response.watch_id == ALL {
            self.has_caught_up = true;
            return;
        }
        if response.compact_revision != 0 {
            self.forgotten.insert(response.watch_id);
        }
        let told = self.told.entry(response.watch_id).or_default();
        if response.events.is_empty() {
            told.push(format!("{response:?}"));
            return;
        }
        let last = self.last_revision.entry(response.watch_id).or_default();
        let revision = |event: &proto::mvccpb::Event| event.kv.as_ref().expect("it has a key").mod_revision;
        assert!(revision(&response.events[0]) > *last, "a revision stays in one response: {response:?}");
        assert!(response.events.is_sorted_by_key(revision), "revisions ascend: {response:?}");
        *last = response.events.last().map(revision).expect("there are events");
        let header = response.header.as_ref().expect("events come with a header");
        assert!(header.revision >= *last, "the header is not older than the events: {response:?}");
        told.extend(response.events.iter().map(|event| format!("{event:?}")));
    }
}

fn equal(etcd: &WatchResponse, ours: &WatchResponse) -> Result<(), String> {
    if etcd == ours { Ok(()) } else { Err(format!("watch request\n  etcd: {etcd:?}\n  ours: {ours:?}")) }
}
