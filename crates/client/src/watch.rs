//! Watches over one stream that survives broken connections.
//!
//! A task owns the stream and its watches, each with the next revision it has to see. When the connection
//! breaks, the task opens another and creates the watches again from there, so a watch sees each event once and
//! in order, or the reason why it ended.
//!
//! The task never waits for one thing alone. A server may read no requests until its responses are read, so the task
//! reads responses while requests wait to be sent.
//!
//! A watch that nobody reads delays no other and takes bounded memory: once its queue is full it is cancelled at the
//! server, and created again from its next revision when its reader has emptied the queue. If that revision has been
//! compacted meanwhile, the watch ends like any other that starts too late. A watch that is dropped is cancelled at the
//! server.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use proto::etcdserverpb::watch_request::RequestUnion;
use proto::etcdserverpb::{
    WatchCancelRequest, WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse,
};
use tokio::sync::mpsc::error::{SendError, TrySendError};
use tokio::sync::mpsc::{Receiver, Sender, UnboundedReceiver, UnboundedSender, channel, unbounded_channel};
use tokio::task::{JoinError, JoinSet};
use tokio::time::sleep;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};

use crate::client::Client;
use crate::error::Error;

/// Responses that may wait for the reader of a watch, and orders that may wait for the task. The task takes no more
/// orders while as many requests wait to be sent.
const QUEUE_MAX: usize = 16;
/// Pause before a broken stream is opened again.
const RESUME_PAUSE: Duration = Duration::from_millis(100);
/// The number of a response that is for all watches of the stream.
const EVERY_WATCH: i64 = -1;

/// A stream of watches. Dropping it ends them.
#[derive(Debug)]
pub struct Watcher {
    orders: Sender<Order>,
    drops: UnboundedSender<Handle>,
    n_watches: AtomicU64,
    _task: JoinSet<()>,
}

/// One watch. Dropping it cancels it.
#[derive(Debug)]
pub struct Watch {
    responses: Receiver<Result<WatchResponse, Error>>,
    /// Dropped after `responses` is closed, since fields are dropped in order.
    _notice: DropNotice,
}

/// Names a watch of a [`Watcher`] for as long as it exists; its number on the stream may change.
type Handle = u64;

type ResponseSender = Sender<Result<WatchResponse, Error>>;

/// Tells the task that a [`Watch`] was dropped. That happens once for each, so the queue holds no more than one
/// number for each watch that was made.
#[derive(Debug)]
struct DropNotice {
    handle: Handle,
    drops: UnboundedSender<Handle>,
}

impl Drop for DropNotice {
    fn drop(&mut self) {
        // If the task has ended, so has the watch.
        let _ = self.drops.send(self.handle);
    }
}

#[derive(Debug)]
enum Order {
    Create(Handle, WatchCreateRequest, ResponseSender),
    Progress,
}

impl Client {
    /// Makes a stream for watches; it is opened with the first of them.
    pub fn watcher(&self) -> Watcher {
        let (sender, orders) = channel(QUEUE_MAX);
        let (drops, dropped) = unbounded_channel();
        let mut task = JoinSet::new();
        task.spawn(Hub::new(self.clone(), orders, dropped).run());
        Watcher { orders: sender, drops, n_watches: AtomicU64::new(0), _task: task }
    }
}

impl Watcher {
    /// Starts a watch. Its number on the stream is chosen here, the one in `request` does not count.
    ///
    /// Waits while many requests of this stream wait to be sent. If the server has refused the stream before, the
    /// watch ends with an error.
    pub async fn watch(&self, request: WatchCreateRequest) -> Watch {
        let (sender, responses) = channel(QUEUE_MAX);
        let handle = self.n_watches.fetch_add(1, Ordering::Relaxed);
        let watch = Watch { responses, _notice: DropNotice { handle, drops: self.drops.clone() } };
        let refused = self.orders.send(Order::Create(handle, request, sender)).await;
        if let Err(SendError(Order::Create(_, _, sender))) = refused {
            sender.try_send(Err(Error::stream_ended())).expect("the queue is new");
        }
        watch
    }

    /// Asks for a progress notification, which comes to all watches once they have caught up, but for those whose
    /// queue is full.
    pub async fn request_progress(&self) {
        // A task that has ended has told the readers of its watches why.
        let _ = self.orders.send(Order::Progress).await;
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
    /// Watches that were dropped by their readers.
    dropped: UnboundedReceiver<Handle>,
    /// By their number on the stream.
    watches: BTreeMap<i64, Subscription>,
    /// The number on the stream of each watch.
    ids: BTreeMap<Handle, i64>,
    last_id: i64,
    /// Requests that wait to be sent: orders as [`QUEUE_MAX`] says, and one cancellation or creation for each watch.
    requests: VecDeque<WatchRequest>,
    /// Each waits for the reader of a watch.
    readers: JoinSet<i64>,
}

/// A watch as the task sees it: `request` asks for what is still to come.
struct Subscription {
    handle: Handle,
    request: WatchCreateRequest,
    state: State,
    /// The fragments so far of a response.
    fragments: Option<WatchResponse>,
    sender: ResponseSender,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The server was asked for it, and has not answered.
    Asked,
    /// The server has it.
    Created,
    /// It waits for its reader; the server does not have it.
    Held,
}

impl Hub {
    fn new(client: Client, orders: Receiver<Order>, dropped: UnboundedReceiver<Handle>) -> Hub {
        Hub {
            client,
            orders,
            dropped,
            watches: BTreeMap::new(),
            ids: BTreeMap::new(),
            last_id: 0,
            requests: VecDeque::new(),
            readers: JoinSet::new(),
        }
    }

    async fn run(mut self) {
        while self.wait_for_watch().await {
            match self.serve_stream().await {
                Ok(()) => return,
                Err(error) if error.is_resumable() => sleep(RESUME_PAUSE).await,
                Err(error) => return self.fail(&error).await,
            }
        }
    }

    /// Waits for a watch to ask the server for: it may not answer a stream without a request. False when the
    /// [`Watcher`] is gone.
    async fn wait_for_watch(&mut self) -> bool {
        self.forget_dropped();
        while self.watches.values().all(|watch| watch.state == State::Held) {
            tokio::select! {
                order = self.orders.recv() => match order {
                    None => return false,
                    Some(Order::Create(handle, request, sender)) => self.subscribe(handle, request, sender),
                    // There is no watch to tell the progress to.
                    Some(Order::Progress) => {}
                },
                Some(handle) = self.dropped.recv() => self.end_dropped(handle),
                Some(reader) = self.readers.join_next() => self.reader_is_ready(reader),
            }
        }
        true
    }

    /// Opens a stream with all watches and serves it. `Ok` when the [`Watcher`] is gone.
    async fn serve_stream(&mut self) -> Result<(), Error> {
        let (sender, requests) = channel(self.watches.len() + QUEUE_MAX);
        self.requests.clear();
        for watch in self.watches.values_mut().filter(|watch| watch.state != State::Held) {
            watch.state = State::Asked;
            watch.fragments = None;
            sender.try_send(create(&watch.request)).expect("the queue was made for them");
        }
        let mut responses: Streaming<WatchResponse> =
            self.client.stream("/etcdserverpb.Watch/Watch", ReceiverStream::new(requests)).await?;
        let mut can_send = true;
        loop {
            let takes_orders = self.requests.len() < QUEUE_MAX;
            tokio::select! {
                permit = sender.reserve(), if can_send && !self.requests.is_empty() => match permit {
                    Ok(permit) => permit.send(self.requests.pop_front().expect("it is not empty")),
                    // The stream has ended. Why it has is the last that `responses` tells.
                    Err(_) => can_send = false,
                },
                order = self.orders.recv(), if takes_orders => match order {
                    None => return Ok(()),
                    Some(Order::Create(handle, request, sender)) => self.subscribe(handle, request, sender),
                    Some(Order::Progress) => {
                        self.requests.push_back(wrap(RequestUnion::ProgressRequest(WatchProgressRequest {})));
                    }
                },
                response = responses.message() => match response? {
                    Some(response) => self.deliver(response),
                    None => return Err(Error::stream_ended()),
                },
                Some(handle) = self.dropped.recv() => self.end_dropped(handle),
                Some(reader) = self.readers.join_next() => self.reader_is_ready(reader),
            }
        }
    }

    /// Takes a new watch, unless its reader is gone already, and asks the server for it.
    fn subscribe(&mut self, handle: Handle, mut request: WatchCreateRequest, sender: ResponseSender) {
        if sender.is_closed() {
            return;
        }
        self.last_id += 1;
        request.watch_id = self.last_id;
        self.requests.push_back(create(&request));
        self.ids.insert(handle, self.last_id);
        let watch = Subscription { handle, request, state: State::Asked, fragments: None, sender };
        self.watches.insert(self.last_id, watch);
    }

    fn remove(&mut self, id: i64) -> Option<Subscription> {
        let watch = self.watches.remove(&id)?;
        self.ids.remove(&watch.handle);
        Some(watch)
    }

    /// Ends a watch whose reader is gone.
    ///
    /// One that the server has not answered yet stays until then: the server names no number if it refuses a watch,
    /// so the order of the unanswered ones must be known.
    fn end_dropped(&mut self, handle: Handle) {
        let Some(&id) = self.ids.get(&handle) else { return };
        match self.watches.get(&id).map(|watch| watch.state) {
            Some(State::Created) => {
                self.remove(id);
                self.cancel(id);
            }
            Some(State::Held) => drop(self.remove(id)),
            Some(State::Asked) | None => {}
        }
    }

    /// Forgets the watches whose readers are gone, while the server has none.
    fn forget_dropped(&mut self) {
        self.watches.retain(|_, watch| !watch.sender.is_closed());
        let watches = self.watches.iter();
        self.ids = watches.map(|(id, watch)| (watch.handle, *id)).collect();
    }

    /// Tells the server that watch `id` is over.
    fn cancel(&mut self, id: i64) {
        self.requests.push_back(wrap(RequestUnion::CancelRequest(WatchCancelRequest { watch_id: id })));
    }

    /// Hands a response to its watch, or to all.
    fn deliver(&mut self, response: WatchResponse) {
        match response.watch_id {
            EVERY_WATCH if response.created => {
                // The server creates watches in the order they were asked for.
                let first = self.watches.iter().find(|(_, watch)| watch.state == State::Asked);
                if let Some((&id, _)) = first {
                    self.deliver_to(id, response);
                }
            }
            EVERY_WATCH => self.deliver_to_all(&response),
            id => self.deliver_to(id, response),
        }
    }

    fn deliver_to(&mut self, id: i64, response: WatchResponse) {
        let Some(watch) = self.watches.get_mut(&id).filter(|watch| watch.state != State::Held) else {
            return;
        };
        let Some(response) = watch.put_together(response) else { return };
        if response.canceled {
            if let Some(watch) = self.remove(id) {
                self.tell_last(id, watch, Ok(response));
            }
        } else if response.created {
            watch.state = State::Created;
            watch.request.start_revision = watch.next_revision(&response);
            if watch.sender.is_closed() {
                self.remove(id);
                self.cancel(id);
            }
        } else {
            match watch.offer(response) {
                Ok(()) => {}
                Err(TrySendError::Full(_)) => {
                    self.hold(id);
                    self.cancel(id);
                }
                // Its reader is gone: `end_dropped` will cancel it.
                Err(TrySendError::Closed(_)) => {}
            }
        }
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
            // If the reader is gone, the watch is forgotten when it is to go on.
            let _ = sender.reserve_many(QUEUE_MAX).await;
            id
        });
    }

    /// Asks for a watch again that had to wait. It gets another number, since the server may have sent more for
    /// the old one before it was cancelled.
    fn reader_is_ready(&mut self, reader: Result<i64, JoinError>) {
        let id = reader.expect("waiting for a reader does not panic and is not aborted");
        if let Some(watch) = self.remove(id) {
            self.subscribe(watch.handle, watch.request, watch.sender);
        }
    }

    /// Hands a watch that has ended its last response, whenever there is room.
    fn tell_last(&mut self, id: i64, watch: Subscription, last: Result<WatchResponse, Error>) {
        self.readers.spawn(async move {
            // A reader that is gone needs no last response.
            let _ = watch.sender.send(last).await;
            id
        });
    }

    /// Ends all watches with the reason, also those that are still to be taken.
    async fn fail(mut self, error: &Error) {
        self.orders.close();
        while let Some(order) = self.orders.recv().await {
            if let Order::Create(handle, request, sender) = order {
                self.subscribe(handle, request, sender);
            }
        }
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
mod tests;
