//! Everything that members send each other: its sockets, on one thread of their own.
//!
//! ```text
//!   node ─▶ Outbox ─▶ peer ─▶ queue ─▶ stream that the peer has opened
//!                       ├───▶ pipeline ─▶ POST          (no stream)
//!                       └───▶ snapshot ─▶ POST          (a whole state)
//!   node ◀─ Local ◀─── stream that this member has opened, POSTs of peers
//! ```
//!
//! The thread is not one of those that serve clients, so that a slow client never delays a heartbeat. Each queue
//! is bounded: a slow or dead peer costs itself. `docs/peers.md` describes the protocol, the crate `peer` reads
//! and writes it. What the messages mean is raft's affair, and the member is reached through [`Local`].

mod activity;
mod ask_cluster;
mod asker;
mod backlog;
mod body;
mod client;
mod context;
mod heartbeat_times;
mod outbox;
pub(crate) mod page;
mod peer;
mod pipeline;
mod prober;
mod question;
mod send_queue;
mod server;
mod snapshot_file;
mod snapshot_receiver;
mod snapshot_sender;
mod socket;
mod stream_reader;
mod stream_writer;
mod transport;
mod url_picker;

use std::fmt::Debug;
use std::io::{self, Read};
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ::peer::{Identity, Route};
use bytes::Bytes;
use proto::etcdserverpb::Member;
use proto::raftpb::Message;
use tokio::runtime::Builder;
use tokio::sync::{oneshot, watch};
use tokio::task::LocalSet;

pub(crate) use self::ask_cluster::{MemberUrls, ask_cluster, ask_members};
pub(crate) use self::backlog::{Backlog, backlog_bytes};
pub(crate) use self::outbox::Outbox;
pub(crate) use self::page::{PeerHash, Promoted, Versions};
pub(crate) use self::question::{Question, Reply};

use self::activity::Activity;
use self::context::Context;
use self::question::QuestionQueue;
use self::transport::Transport;
use crate::http::Answer;
use crate::listen::Listener;
use crate::metrics::Metrics;

/// How long the thread waits for work that blocks when it ends.
const STOP_LIMIT: Duration = Duration::from_secs(1);

/// The member that peers talk to. Called on the peers' thread, but for [`Local::open_snapshot`] and
/// [`Local::snapshot_dir`]; must return soon.
pub(crate) trait Local: Debug + Send + Sync {
    /// Gives messages to the node, and counts them in the backlog; leaves `messages` empty.
    fn step(&self, messages: &mut Vec<Message>);

    /// Has the state in `file` installed, which `message`, of type MsgSnap, announces. The file is removed in any case.
    fn install(&self, message: Message, file: PathBuf) -> oneshot::Receiver<Installed>;

    /// What the node has been given and has not taken.
    fn backlog(&self) -> &Backlog;

    /// A message to a member was lost, or may have been.
    fn report_unreachable(&self, id: u64);

    /// Sending a state to a member has ended.
    fn report_snapshot(&self, id: u64, is_ok: bool);

    /// Whether a member was removed from the cluster.
    fn is_removed(&self, id: u64) -> bool;

    /// A peer says that this member was removed from the cluster.
    fn removed_by_peer(&self);

    /// The members of the cluster, by ascending id.
    fn members(&self) -> Vec<Member>;

    /// The version of the cluster; empty if it is not decided.
    fn cluster_version(&self) -> String;

    /// The state that `message`, of type MsgSnap, announces. May block.
    fn open_snapshot(&self, message: Message) -> io::Result<OutgoingSnapshot>;

    /// Where a state that a peer sends is put, as `<index>.snap.db`. May block.
    fn snapshot_dir(&self) -> io::Result<PathBuf>;
}

/// Answers what peers ask beside raft. Lives on the peers' thread, which must not be kept busy for long at a time.
pub(crate) trait Pages: Debug {
    /// Answers a request to a path of those that the store answers, with this body.
    fn answer(self: Rc<Self>, route: Route, body: Bytes) -> Pin<Box<dyn Future<Output = Answer>>>;
}

/// Whether a state is in use, or why not.
pub(crate) type Installed = Result<(), String>;

/// A state on its way to a peer.
pub(crate) struct OutgoingSnapshot {
    /// The message that announces it: with the index, term and configuration of just this state.
    pub(crate) message: Message,
    /// Its length in bytes.
    pub(crate) len: u64,
    /// Reads it.
    pub(crate) reader: Box<dyn Read + Send>,
}

/// What the peers' thread needs to know when it starts.
#[derive(Debug)]
pub(crate) struct PeerSettings {
    /// Who this member is.
    pub(crate) identity: Identity,
    /// Time between two heartbeats of a leader.
    pub(crate) heartbeat_interval: Duration,
    /// Time to connect to a peer.
    pub(crate) dial_limit: Duration,
    /// Bytes that a message of a peer may have.
    pub(crate) message_len_max: u64,
}

/// A member and its peer URLs.
type PeerUrls = (u64, Vec<String>);

/// The running thread.
#[derive(Debug)]
pub(crate) struct Peers {
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

/// How other threads reach the peers.
#[derive(Debug, Clone, Default)]
pub(crate) struct PeersHandle {
    activity: Arc<Activity>,
    members: watch::Sender<Vec<PeerUrls>>,
    questions: Arc<QuestionQueue>,
}

impl Peers {
    /// Starts the thread, which accepts peers at `listeners` from now on. It sends what is in `outbox` to the
    /// peers, once [`PeersHandle::set_members`] of `handle` has told who they are. `make_pages` is called on the
    /// thread, in a `LocalSet`.
    pub(crate) fn start(
        settings: PeerSettings,
        handle: &PeersHandle,
        listeners: Vec<Listener>,
        outbox: Arc<Outbox>,
        local: Arc<dyn Local>,
        make_pages: impl FnOnce() -> Rc<dyn Pages> + Send + 'static,
        metrics: Arc<Metrics>,
    ) -> io::Result<Peers> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (stop, stopping) = watch::channel(false);
        let (activity, mut members) = (Arc::clone(&handle.activity), handle.members.subscribe());
        let questions = Arc::clone(&handle.questions);
        // Those that were set before are news to the thread.
        members.mark_changed();
        let thread = thread::Builder::new().name("peers".into()).spawn(move || {
            LocalSet::new().block_on(&runtime, async {
                let context = Context::new(settings, local, make_pages(), activity, metrics);
                let transport = Rc::new(Transport::new(Rc::new(context)));
                transport.run(listeners, &outbox, &questions, members, stopping).await;
            });
            runtime.shutdown_timeout(STOP_LIMIT);
        })?;
        Ok(Peers { stop, thread })
    }

    /// Closes all connections and ends the thread.
    pub(crate) fn stop(self) {
        self.stop.send_replace(true);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    }
}

impl PeersHandle {
    /// Says who the members of the cluster are, and where: this member may be among them. Connections to others
    /// are closed, new ones are dialed.
    pub(crate) fn set_members<'a>(&self, members: impl IntoIterator<Item = &'a Member>) {
        let urls = |member: &Member| (member.id, member.peer_ur_ls.clone());
        let members: Vec<PeerUrls> = members.into_iter().map(urls).collect();
        self.members.send_if_modified(|known| {
            let is_changed = *known != members;
            *known = members;
            is_changed
        });
    }

    /// Asks the member `to` something, and waits for its answer for up to `limit`. An answer of any status is one.
    /// After an error the member may have been asked or not.
    pub(crate) async fn ask(&self, to: u64, question: Question, limit: Duration) -> io::Result<Reply> {
        self.questions.ask(to, question, limit).await
    }

    /// Since when a peer is connected; `None` if it is not.
    pub(crate) fn active_since(&self, id: u64) -> Option<Instant> {
        self.activity.since(id)
    }

    /// How many peers are connected.
    pub(crate) fn n_active(&self) -> usize {
        self.activity.len()
    }
}

#[cfg(test)]
mod tests;
