//! Watches over one stream that survives broken connections.
//!
//! A task owns the stream and its watches, each with the next revision it has to see. When the connection
//! breaks, the task opens another and creates the watches again from there, so a watch sees each event once and
//! in order, or the reason why it ended. A watch that nobody reads holds up those that share its stream.

use std::collections::BTreeMap;
use std::time::Duration;

use proto::etcdserverpb::watch_request::RequestUnion;
use proto::etcdserverpb::{
    WatchCancelRequest, WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse,
};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};

use crate::client::Client;
use crate::error::Error;

/// Responses that wait for the reader of a watch, and requests that wait to be sent.
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
        let hub = Hub { client: self.clone(), orders, watches: BTreeMap::new(), last_id: 0 };
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

    /// Asks for a progress notification, which comes to all watches once they have caught up.
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
}

/// A watch as the hub sees it: `request` asks for what is still to come.
struct Subscription {
    request: WatchCreateRequest,
    is_created: bool,
    sender: Sender<Result<WatchResponse, Error>>,
}

impl Hub {
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
        for watch in self.watches.values_mut() {
            watch.is_created = false;
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
                    Some(response) => self.deliver(response).await,
                    None => return Err(Error::stream_ended()),
                },
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
        self.watches.insert(self.last_id, Subscription { request, is_created: false, sender });
        message
    }

    /// Hands a response to its watch, or to all; says what is to be told to the server.
    async fn deliver(&mut self, response: WatchResponse) -> Option<WatchRequest> {
        let id = match response.watch_id {
            // The server creates watches in the order they were asked for.
            EVERY_WATCH if response.created => *self.watches.iter().find(|(_, watch)| !watch.is_created)?.0,
            EVERY_WATCH => {
                for watch in self.watches.values_mut() {
                    watch.advance(&response);
                    // One whose reader is gone is taken out with the next response of its own.
                    let _ = watch.sender.send(Ok(response.clone())).await;
                }
                return None;
            }
            id => id,
        };
        let watch = self.watches.get_mut(&id)?;
        watch.advance(&response);
        let is_last = response.canceled;
        if response.created && !is_last {
            return None;
        }
        let is_gone = watch.sender.send(Ok(response)).await.is_err();
        if is_last || is_gone {
            self.watches.remove(&id);
        }
        (is_gone && !is_last).then(|| wrap(RequestUnion::CancelRequest(WatchCancelRequest { watch_id: id })))
    }

    /// Ends all watches with the reason.
    async fn fail(self, error: &Error) {
        for watch in self.watches.into_values() {
            let _ = watch.sender.send(Err(error.clone())).await;
        }
    }
}

impl Subscription {
    /// Moves the revision from which the watch would have to be resumed.
    fn advance(&mut self, response: &WatchResponse) {
        let revision = response.header.as_ref().map_or(0, |header| header.revision);
        let next = &mut self.request.start_revision;
        if response.created {
            self.is_created = true;
            if *next == 0 {
                *next = revision + 1;
            }
        } else if let Some(kv) = response.events.last().and_then(|event| event.kv.as_ref()) {
            *next = kv.mod_revision + 1;
        } else if !response.canceled {
            *next = (*next).max(revision + 1);
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

    fn response(revision: i64) -> WatchResponse {
        let header = ResponseHeader { revision, ..ResponseHeader::default() };
        WatchResponse { header: Some(header), ..WatchResponse::default() }
    }

    fn resumed_from(start_revision: i64, responses: &[WatchResponse]) -> i64 {
        let request = WatchCreateRequest { start_revision, ..WatchCreateRequest::default() };
        let mut watch = Subscription { request, is_created: false, sender: channel(1).0 };
        responses.iter().for_each(|response| watch.advance(response));
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
