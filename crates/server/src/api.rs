//! What a client may ask, independent of how it is carried.
//!
//! One [`Api`] a worker thread. Handlers take decoded requests and give back encoded responses; they know
//! nothing of gRPC or HTTP. Reads are served here, on the thread of the socket; everything that changes
//! something goes to the node's thread and its answer comes back through the [`NodeClient`].
//!
//! The order of checks is etcd's: quota, shape of the request, size, then whatever applying it finds.

mod alarm;
mod auth;
mod check;
mod cluster;
mod connectivity;
mod corruption;
mod downgrade;
mod encode;
mod error;
mod forward;
mod hash_queue;
mod health;
mod kv;
mod leader;
mod lease;
mod maintenance;
mod peer_pages;
mod probe;
mod range_answer;
mod range_stream;
mod snapshot;
mod txn_parts;
pub(crate) mod versions;
mod watch;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use node::{Answer, Input, Proposal, Published};
use store::{KeyValueHash, Kind, Outcome, ReadView, Request, WatchHub};

use self::hash_queue::HashQueue;

pub(crate) use self::auth::AuthRefusal;
pub(crate) use self::encode::Encoded;
pub(crate) use self::error::Error;
pub(crate) use self::range_answer::{RangeAnswer, RangePieces};
pub(crate) use self::watch::WatchSession;

use crate::driver::{Mail, NodeClient, NodeHandle, Slot, Ticket, is_brief};
use crate::metrics::Metrics;
use crate::peers::PeersHandle;
use crate::time_slice;

/// What does not change while the server runs.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) cluster_id: u64,
    pub(crate) member_id: u64,
    /// Operations in a transaction.
    pub(crate) max_txn_ops: usize,
    /// Longest request as it is proposed, in bytes.
    pub(crate) max_request_bytes: usize,
    /// Longest wait for the node's answer.
    pub(crate) request_timeout: Duration,
    /// Whether changes of the members are refused that could leave the cluster without a majority.
    pub(crate) strict_reconfig_check: bool,
    /// How long a member waits for a leader before it wants to be one.
    pub(crate) election_timeout: Duration,
    /// Time between progress notifications to watchers that asked for them.
    pub(crate) progress_interval: Duration,
    /// Reads that take longer are logged.
    pub(crate) slow_read: Duration,
}

/// The handlers of one worker thread.
#[derive(Debug)]
pub(crate) struct Api {
    settings: Rc<Settings>,
    node: NodeHandle,
    node_client: NodeClient,
    peers: PeersHandle,
    published: Arc<Published>,
    view: ReadView,
    watch_hub: Arc<WatchHub>,
    metrics: Arc<Metrics>,
    /// Memory for log entries.
    entries: RefCell<BytesMut>,
    /// Hashes by the revision asked for and the compacted revision of then.
    hash_queue: HashQueue<(i64, i64, i64), KeyValueHash>,
}

impl Api {
    pub(crate) fn new(
        settings: Settings,
        node: NodeHandle,
        node_client: NodeClient,
        peers: PeersHandle,
        metrics: Arc<Metrics>,
    ) -> Api {
        let (published, view, watch_hub) = (node.published(), node.view(), node.watch_hub());
        let (settings, entries, hash_queue) = (Rc::new(settings), RefCell::default(), HashQueue::default());
        Api { settings, node, node_client, peers, published, view, watch_hub, metrics, entries, hash_queue }
    }

    /// Puts a command into the log and waits until it is applied: it is durable then.
    async fn propose(&self, request: Request) -> Result<Outcome, Error> {
        let (kind, is_brief) = (Kind::from(&request), is_brief(&request));
        let id = self.published.next_request_id();
        let proposal = Proposal::new_in(&mut self.entries.borrow_mut(), id, request);
        if proposal.len() > self.settings.max_request_bytes {
            return Err(Error::RequestTooLarge);
        }
        let pending = self.metrics.requests.propose(kind);
        let asked_at = time_slice::now();
        let slot = self.node_client.open(self.settings.request_timeout);
        let input = Input::Propose(proposal, slot.ticket());
        if is_brief {
            self.node_client.send_brief(input);
        } else {
            self.node_client.send(input);
        }
        let outcome = match answer(&slot).await {
            Ok(Answer::Applied(outcome)) => outcome.map_err(Error::Refused),
            Ok(Answer::Unserved(unserved)) => Err(unserved.into()),
            Ok(other) => unreachable!("a proposal is not answered as {other:?}"),
            Err(error) => Err(error),
        };
        let outcome = outcome.map_err(|error| self.blame(error, asked_at));
        pending.answered(&outcome);
        outcome
    }

    /// Names the likely reason of a request that has waited since `asked_at` and was not answered in time.
    fn blame(&self, error: Error, asked_at: Instant) -> Error {
        if error == Error::TimedOut { self.why_late(asked_at) } else { error }
    }

    /// Waits until everything acknowledged before this call can be read here.
    async fn wait_readable(&self) -> Result<(), Error> {
        if self.published.is_learner() {
            return Err(Error::NotForLearner);
        }
        self.wait_read_index().await
    }

    /// The same for what is not a client's read: a learner can do it too.
    async fn wait_read_index(&self) -> Result<(), Error> {
        if self.published.reads_at_once() {
            return Ok(());
        }
        match self.ask(Input::ReadIndex).await {
            Ok(Answer::Readable) => Ok(()),
            Ok(Answer::Unserved(unserved)) => {
                self.metrics.requests.failed_read_indexes.inc();
                Err(unserved.into())
            }
            Ok(other) => unreachable!("a read is not answered as {other:?}"),
            Err(error) => {
                self.metrics.requests.slow_read_indexes.inc();
                Err(error)
            }
        }
    }

    async fn ask(&self, input: impl FnOnce(Ticket) -> Input<Ticket>) -> Result<Answer, Error> {
        self.ask_for(self.settings.request_timeout, input).await
    }

    /// Asks the node and waits for its answer, for up to `limit`.
    async fn ask_for(
        &self,
        limit: Duration,
        input: impl FnOnce(Ticket) -> Input<Ticket>,
    ) -> Result<Answer, Error> {
        let slot = self.node_client.open(limit);
        self.node_client.send(input(slot.ticket()));
        answer(&slot).await
    }
}

/// The node's answer, if it comes in time.
async fn answer(slot: &Slot) -> Result<Answer, Error> {
    match slot.mail().await {
        Mail::Answer(answer) => Ok(answer),
        Mail::TimedOut => Err(Error::TimedOut),
        Mail::Signal => unreachable!("only a watch is signalled"),
    }
}
