//! Watches over one stream that survives broken connections.
//!
//! A task owns the stream and its watches, each with the next revision it has to see. When the connection
//! breaks, the task opens another and creates the watches again from there, so a watch sees each event once and
//! in order, or the reason why it ended.
//!
//! A watch that nobody reads holds up no other and no memory: once its queue is full it is cancelled at the server,
//! and created again from its next revision when its reader has emptied the queue. If that revision has been
//! compacted meanwhile, it ends like any watch that comes too late.

use std::collections::BTreeMap;
use std::time::Duration;

use proto::etcdserverpb::watch_request::RequestUnion;
use proto::etcdserverpb::{
    WatchCancelRequest, WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse,
};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};

use crate::client::Client;
use crate::error::Error;

/// Responses that wait for the reader of a watch at most, and requests that wait to be sent.
const QUEUE_MAX: usize = 16;
/// Pause before a broken stream is opened again.
const RESUME_PAUSE: Duration = Duration::from_millis(100);
/// The number of a response that is for all watches of the stream.
const EVERY_WATCH: i64 = -1;

/// A stream of watches. Dropping it ends them.
#[derive(Debug)]
pub struct Watcher {
    orders: Sender<Order>,
    _task: JoinSet<()>,
}

/// One watch. Dropping it cancels it.
#[derive(Debug)]
pub struct Watch {
    responses: Receiver<Result<WatchResponse, Error>>,
}

#[derive(Debug)]
enum Order {
    Create(WatchCreateRequest, Sender<Result<WatchResponse, Error>>),
    Progress,
}

impl Client {
    /// Makes a stream for watches; it is opened with the first of them.
    pub fn watcher(&self) -> Watcher {
        let (sender, orders) = channel(QUEUE_MAX);
        let hub = Hub::new(self.clone(), orders);
        let mut task = JoinSet::new();
        task.spawn(hub.run());
        Watcher { orders: sender, _task: task }
    }
}

impl Watcher {
    /// Starts a watch. Its number on the stream is chosen here, the one in `request` does not count.
    pub async fn watch(&self, request: WatchCreateRequest) -> Watch {
        let (sender, responses) = channel(QUEUE_MAX);
        self.order(Order::Create(request, sender)).await;
        Watch { responses }
    }

    /// Asks for a progress notification, which comes to all watches once they have caught up, but for those whose
    /// queue is full.
    pub async fn request_progress(&self) {
        self.order(Order::Progress).await;
    }

    async fn order(&self, order: Order) {
        // A hub that has ended has dropped its watches, and their readers know why.
        let _ = self.orders.send(order).await;
    }
}

impl Watch {
    /// The next response with events, a progress notification or a cancellation; `None` after the last. An error
    /// is the last, too: the server refused the stream.
    pub async fn next(&mut self) -> Option<Result<WatchResponse, Error>> {
        self.responses.recv().await
    }
}

/// Why `response` ends its watch, as etcd's client puts it; `None` if it does not.
pub fn cancellation(response: &WatchResponse) -> Option<Error> {
    let refused = |code, message: &str| Some(Error::Refused { code, message: message.to_owned() });
    if response.compact_revision != 0 {
        return refused(Code::OutOfRange, "etcdserver: mvcc: required revision has been compacted");
    }
    match (response.canceled, response.cancel_reason.as_str()) {
        (false, _) => None,
        (true, "") => refused(Code::OutOfRange, "etcdserver: mvcc: required revision is a future revision"),
        (true, reason) => refused(Code::FailedPrecondition, reason),
    }
}

/// The task that owns the stream.
struct Hub {
    client: Client,
    orders: Receiver<Order>,
    watches: BTreeMap<i64, Subscription>,
    last_id: i64,
    /// Wait for readers, each on behalf of a watch.
    readers: JoinSet<i64>,
}

/// A watch as the hub sees it: `request` asks for what is still to come.
struct Subscription {
    request: WatchCreateRequest,
    state: State,
    /// The fragments so far of a response.
    fragments: Option<WatchResponse>,
    sender: Sender<Result<WatchResponse, Error>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The server was asked for it.
    Asked,
    /// The server has it.
    Created,
    /// It waits for its reader; the server does not have it.
    Held,
}

impl Hub {
    fn new(client: Client, orders: Receiver<Order>) -> Hub {
        Hub { client, orders, watches: BTreeMap::new(), last_id: 0, readers: JoinSet::new() }
    }

    async fn run(mut self) {
        loop {
            if self.watches.is_empty() {
                match self.orders.recv().await {
                    None => return,
                    Some(Order::Create(request, sender)) => drop(self.subscribe(request, sender)),
                    // Nobody is there to be told.
                    Some(Order::Progress) => continue,
                }
            }
            match self.serve_stream().await {
                Ok(()) => return,
                Err(error) if error.is_resumable() => sleep(RESUME_PAUSE).await,
                Err(error) => return self.fail(&error).await,
            }
        }
    }

    /// Opens a stream with all watches and serves it. `Ok` when the [`Watcher`] is gone.
    async fn serve_stream(&mut self) -> Result<(), Error> {
        let (sender, requests) = channel(self.watches.len() + QUEUE_MAX);
        for watch in self.watches.values_mut().filter(|watch| watch.state != State::Held) {
            (watch.state, watch.fragments) = (State::Asked, None);
            sender.try_send(create(&watch.request)).expect("the queue was made for them");
        }
        let mut responses: Streaming<WatchResponse> =
            self.client.stream("/etcdserverpb.Watch/Watch", ReceiverStream::new(requests)).await?;
        loop {
            let request = tokio::select! {
                order = self.orders.recv() => match order {
                    None => return Ok(()),
                    Some(Order::Create(request, reader)) => Some(self.subscribe(request, reader)),
                    Some(Order::Progress) => Some(wrap(RequestUnion::ProgressRequest(WatchProgressRequest {}))),
                },
                response = responses.message() => match response? {
                    Some(response) => self.deliver(response),
                    None => return Err(Error::stream_ended()),
                },
                Some(reader) = self.readers.join_next() => reader.ok().and_then(|id| self.resume(id)),
            };
            if let Some(request) = request {
                sender.send(request).await.map_err(|_| Error::stream_ended())?;
            }
        }
    }

    fn subscribe(
        &mut self,
        mut request: WatchCreateRequest,
        sender: Sender<Result<WatchResponse, Error>>,
    ) -> WatchRequest {
        self.last_id += 1;
        request.watch_id = self.last_id;
        let message = create(&request);
        let watch = Subscription { request, state: State::Asked, fragments: None, sender };
        self.watches.insert(self.last_id, watch);
        message
    }

    /// Hands a response to its watch, or to all; says what is to be told to the server.
    fn deliver(&mut self, response: WatchResponse) -> Option<WatchRequest> {
        let mut watches = self.watches.iter();
        let id = match response.watch_id {
            // The server creates watches in the order they were asked for.
            EVERY_WATCH if response.created => *watches.find(|(_, watch)| watch.state == State::Asked)?.0,
            EVERY_WATCH => {
                self.deliver_to_all(&response);
                return None;
            }
            id => id,
        };
        let watch = self.watches.get_mut(&id).filter(|watch| watch.state != State::Held)?;
        let response = watch.put_together(response)?;
        if response.canceled {
            let watch = self.watches.remove(&id)?;
            self.tell_last(id, watch, Ok(response));
            return None;
        }
        if response.created {
            watch.state = State::Created;
            watch.request.start_revision = watch.next_revision(&response);
            return None;
        }
        match watch.offer(response) {
            Ok(()) => return None,
            Err(TrySendError::Full(_)) => self.hold(id),
            // Its reader is gone.
            Err(TrySendError::Closed(_)) => drop(self.watches.remove(&id)),
        }
        Some(wrap(RequestUnion::CancelRequest(WatchCancelRequest { watch_id: id })))
    }

    /// Hands a notification to each watch that the server has and that has room. One whose reader is gone is taken
    /// out with the next response of its own.
    fn deliver_to_all(&mut self, notification: &WatchResponse) {
        for watch in self.watches.values_mut().filter(|watch| watch.state == State::Created) {
            let _ = watch.offer(notification.clone());
        }
    }

    /// Lets a watch wait until its reader has emptied the queue.
    fn hold(&mut self, id: i64) {
        let watch = self.watches.get_mut(&id).expect("it was just looked at");
        watch.state = State::Held;
        let sender = watch.sender.clone();
        self.readers.spawn(async move {
            // That the reader is gone shows when the watch is to go on.
            let _ = sender.reserve_many(QUEUE_MAX).await;
            id
        });
    }

    /// Asks for a watch again that had to wait. It gets another number, since the server may have sent more for
    /// the old one before it was cancelled.
    fn resume(&mut self, id: i64) -> Option<WatchRequest> {
        let watch = self.watches.remove(&id)?;
        (!watch.sender.is_closed()).then(|| self.subscribe(watch.request, watch.sender))
    }

    /// Hands a watch that has ended its last response, whenever there is room.
    fn tell_last(&mut self, id: i64, watch: Subscription, last: Result<WatchResponse, Error>) {
        self.readers.spawn(async move {
            // Nobody is told if the reader is gone.
            let _ = watch.sender.send(last).await;
            id
        });
    }

    /// Ends all watches with the reason.
    async fn fail(mut self, error: &Error) {
        for (id, watch) in std::mem::take(&mut self.watches) {
            self.tell_last(id, watch, Err(error.clone()));
        }
        while self.readers.join_next().await.is_some() {}
    }
}

impl Subscription {
    /// A response whose fragments have all come. Half a revision is no place to resume from.
    fn put_together(&mut self, mut response: WatchResponse) -> Option<WatchResponse> {
        if let Some(mut earlier) = self.fragments.take() {
            earlier.events.append(&mut response.events);
            response.events = earlier.events;
        }
        if !response.fragment {
            return Some(response);
        }
        response.fragment = false;
        self.fragments = Some(response);
        None
    }

    /// Puts a response into the reader's queue, if there is room.
    fn offer(&mut self, response: WatchResponse) -> Result<(), TrySendError<Result<WatchResponse, Error>>> {
        let next = self.next_revision(&response);
        self.sender.try_send(Ok(response))?;
        self.request.start_revision = next;
        Ok(())
    }

    /// The revision from which the watch would have to be resumed once it has seen `response`.
    fn next_revision(&self, response: &WatchResponse) -> i64 {
        let revision = response.header.as_ref().map_or(0, |header| header.revision);
        let next = self.request.start_revision;
        if response.created {
            return if next == 0 { revision + 1 } else { next };
        }
        match response.events.last().and_then(|event| event.kv.as_ref()) {
            Some(kv) => kv.mod_revision + 1,
            None => next.max(revision + 1),
        }
    }
}

fn create(request: &WatchCreateRequest) -> WatchRequest {
    wrap(RequestUnion::CreateRequest(request.clone()))
}

fn wrap(request: RequestUnion) -> WatchRequest {
    WatchRequest { request_union: Some(request) }
}

#[cfg(test)]
mod tests {
    use std::slice;

    use proto::etcdserverpb::ResponseHeader;
    use proto::mvccpb::{Event, KeyValue};

    use super::*;
    use crate::config::Config;

    fn response(revision: i64) -> WatchResponse {
        let header = ResponseHeader { revision, ..ResponseHeader::default() };
        WatchResponse { header: Some(header), ..WatchResponse::default() }
    }

    fn resumed_from(start_revision: i64, responses: &[WatchResponse]) -> i64 {
        let request = WatchCreateRequest { start_revision, ..WatchCreateRequest::default() };
        let mut watch = Subscription { request, state: State::Asked, fragments: None, sender: channel(1).0 };
        for response in responses {
            watch.request.start_revision = watch.next_revision(response);
        }
        watch.request.start_revision
    }

    #[test]
    fn a_watch_from_now_is_resumed_from_where_it_was_created() {
        let created = WatchResponse { created: true, ..response(7) };
        assert_eq!(resumed_from(0, slice::from_ref(&created)), 8);
        assert_eq!(resumed_from(3, &[created]), 3);
    }

    #[test]
    fn a_watch_is_resumed_behind_its_last_event_or_notification() {
        let kv = KeyValue { mod_revision: 5, ..KeyValue::default() };
        let event = Event { kv: Some(kv), ..Event::default() };
        // The header is of the moment the event was sent, which may be much later.
        let events = WatchResponse { events: vec![event], ..response(9) };
        assert_eq!(resumed_from(3, slice::from_ref(&events)), 6);
        assert_eq!(resumed_from(3, &[events, response(12)]), 13);
    }

    /// Runs a test of a hub without a server, with two watches that were created at revision 7.
    fn with_hub(test: impl AsyncFnOnce(Hub, [Watch; 2])) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let endpoints = vec!["127.0.0.1:1".to_owned()];
            let client = Client::new(&Config { endpoints, ..Config::default() }).unwrap();
            let mut hub = Hub::new(client, channel(1).1);
            let watches = [(); 2].map(|()| {
                let (sender, responses) = channel(QUEUE_MAX);
                hub.subscribe(WatchCreateRequest::default(), sender);
                Watch { responses }
            });
            for watch_id in [1, 2] {
                hub.deliver(WatchResponse { watch_id, created: true, ..response(7) });
            }
            test(hub, watches).await;
        });
    }

    fn event(watch_id: i64, mod_revision: i64) -> WatchResponse {
        let kv = KeyValue { mod_revision, ..KeyValue::default() };
        let event = Event { kv: Some(kv), ..Event::default() };
        WatchResponse { watch_id, events: vec![event], ..response(mod_revision) }
    }

    async fn next_revisions(watch: &mut Watch) -> Vec<i64> {
        let response = watch.next().await.unwrap().unwrap();
        response.events.iter().map(|event| event.kv.as_ref().unwrap().mod_revision).collect()
    }

    #[test]
    fn a_watch_that_nobody_reads_waits_alone_and_misses_nothing() {
        with_hub(async |mut hub, [mut unread, mut read]| {
            let first = 8;
            let full = first + QUEUE_MAX as i64;
            for revision in first..full {
                assert_eq!(hub.deliver(event(1, revision)), None);
            }
            let cancel = wrap(RequestUnion::CancelRequest(WatchCancelRequest { watch_id: 1 }));
            assert_eq!(hub.deliver(event(1, full)), Some(cancel), "one more than it holds");
            assert_eq!(hub.deliver(event(1, full + 1)), None, "sent before the server heard of it");
            let canceled = WatchResponse { watch_id: 1, canceled: true, ..response(full) };
            assert_eq!(hub.deliver(canceled), None);
            assert_eq!(hub.deliver(event(2, full)), None);
            assert_eq!(next_revisions(&mut read).await, [full], "the other one goes on");

            for revision in first..full {
                assert_eq!(next_revisions(&mut unread).await, [revision]);
            }
            let id = hub.readers.join_next().await.unwrap().unwrap();
            let again =
                WatchCreateRequest { watch_id: 3, start_revision: full, ..WatchCreateRequest::default() };
            assert_eq!(hub.resume(id), Some(create(&again)));
            hub.deliver(WatchResponse { watch_id: 3, created: true, ..response(full + 1) });
            hub.deliver(event(3, full));
            assert_eq!(next_revisions(&mut unread).await, [full]);
        });
    }

    #[test]
    fn a_watch_is_told_its_end_however_late_it_is_read() {
        with_hub(async |mut hub, [mut unread, read]| {
            for revision in 8..8 + QUEUE_MAX as i64 {
                hub.deliver(event(1, revision));
            }
            hub.deliver(WatchResponse { watch_id: 1, canceled: true, ..response(90) });
            drop(read);
            let reader = async move {
                let mut last = None;
                while let Some(response) = unread.next().await {
                    last = Some(response.unwrap());
                }
                last.unwrap()
            };
            let reason = Error::stream_ended();
            let (last, ()) = tokio::join!(reader, hub.fail(&reason));
            assert!(last.canceled);
        });
    }

    #[test]
    fn fragments_are_put_together() {
        with_hub(async |mut hub, [mut watch, _]| {
            let revision = 8;
            hub.deliver(WatchResponse { fragment: true, ..event(1, revision) });
            hub.deliver(WatchResponse { fragment: true, ..event(1, revision) });
            assert_eq!(hub.watches[&1].request.start_revision, revision, "it is not seen yet");
            hub.deliver(event(1, revision));
            assert_eq!(next_revisions(&mut watch).await, [revision; 3]);
            assert_eq!(hub.watches[&1].request.start_revision, revision + 1);
        });
    }

    #[test]
    fn a_notification_moves_only_watches_that_the_server_has() {
        with_hub(async |mut hub, [mut watch, _]| {
            let request = WatchCreateRequest { start_revision: 3, ..WatchCreateRequest::default() };
            hub.subscribe(request, channel(1).0);
            hub.deliver(WatchResponse { watch_id: EVERY_WATCH, ..response(20) });
            assert!(next_revisions(&mut watch).await.is_empty());
            let next = hub.watches.values().map(|watch| watch.request.start_revision);
            assert_eq!(next.collect::<Vec<_>>(), [21, 21, 3]);
        });
    }

    #[test]
    fn the_reason_of_a_cancellation_is_etcds() {
        let shown = |response| cancellation(&response).map(|error| error.to_string());
        let canceled = WatchResponse { canceled: true, ..response(1) };
        assert_eq!(shown(response(1)), None);
        let future = "etcdserver: mvcc: required revision is a future revision";
        assert_eq!(shown(canceled.clone()).as_deref(), Some(future));
        let compacted = WatchResponse { compact_revision: 3, ..canceled.clone() };
        let text = "etcdserver: mvcc: required revision has been compacted";
        assert_eq!(shown(compacted).as_deref(), Some(text));
        let denied = WatchResponse { cancel_reason: "etcdserver: permission denied".into(), ..canceled };
        assert_eq!(shown(denied).as_deref(), Some("etcdserver: permission denied"));
    }
}
