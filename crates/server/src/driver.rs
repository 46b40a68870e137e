//! The threads that carry out what the node decides.
//!
//! ```text
//!   workers ──▶ inbox ──▶ node ──▶ tasks ──▶ WAL           writes, syncs
//!   peers ────────┘        ▲ │├──▶ outbox ─▶ peers         messages to other members
//!                          │ │└──▶ jobs ──▶ spare files, checkpoint, maintenance
//!   workers ◀── mailboxes ◀┼─┘               │
//!                          └──── reports ────┘
//! ```
//!
//! Five threads: one runs the node, one writes the WAL, and three run jobs, so that neither a spare file nor a
//! checkpoint ever waits behind a long rewrite. Each takes everything that has collected as one batch. If any of them
//! meets an error, the node's thread ends with it and nothing more is answered.
//!
//! Waking four threads costs more than a put itself. So a worker whose calls are brief does not hand them over when
//! nothing else is going on: it runs the node and writes the WAL itself, by the same functions as the threads do
//! ([`member`]).

mod batch_queue;
mod jobs;
mod local;
mod mailbox;
mod member;
mod node_client;
mod pause;
mod wal;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use node::{Fatal, Input, LeaseRenewer, Node, Note, Published, WalWriter};
use store::{Export, Kind, ReadView, WatchHub};
use tokio::sync::{oneshot, watch};

pub(crate) use self::local::LocalMember;
pub(crate) use self::mailbox::{Mail, Mailbox, Ticket};
pub(crate) use self::node_client::{NodeClient, Slot, is_brief};

use self::batch_queue::BatchQueue;
use self::jobs::JobThreads;
use self::member::{Effects, Member, NodeRunner};
use self::wal::SharedWal;
use crate::metrics::Metrics;
use crate::peers::{Backlog, Installed, Outbox};
use crate::time_slice;

/// What the node is told.
#[derive(Debug)]
enum Message {
    Input(Input<Ticket>),
    Fail(Fatal),
    /// A peer has sent a state, which lies in a file.
    Snapshot {
        message: Box<proto::raftpb::Message>,
        file: PathBuf,
        /// Told when it is in use, or will not be.
        done: oneshot::Sender<Installed>,
    },
    /// A state is to be sent to a peer; `None` if too many are being written.
    Export(mpsc::SyncSender<Option<Box<Export>>>),
    /// A peer says that this member was removed from the cluster.
    Removed,
    Stop,
}

/// How workers reach the node.
#[derive(Debug, Clone)]
pub(crate) struct NodeHandle {
    member: Arc<Member>,
    published: Arc<Published>,
    /// Messages of peers that the node has not taken.
    backlog: Arc<Backlog>,
    view: ReadView,
    watch_hub: Arc<WatchHub>,
    lease_renewer: LeaseRenewer,
    has_leader: watch::Receiver<bool>,
    /// The moment from which the node counts time.
    epoch: Instant,
}

impl NodeHandle {
    /// Tells the node of some things, together; leaves `inputs` empty. If they are brief ([`is_brief`]) and nothing else
    /// is going on, this thread, which is worker `worker`, carries them out itself: their answers are in its mailbox
    /// when this returns.
    pub(crate) fn send(&self, worker: usize, inputs: &mut Vec<Input<Ticket>>, are_brief: bool) {
        if !(are_brief && self.published.leads() && self.member.run_brief(worker, inputs)) {
            self.member.inbox.extend(inputs.drain(..).map(Message::Input));
        }
    }

    /// Renews a lease if the node need not be asked for that; the seconds that it has now.
    pub(crate) fn renew_lease(&self, id: i64) -> Option<i64> {
        self.lease_renewer.renew(id, time_slice::now() - self.epoch)
    }

    /// Stops the member: a reader has met damaged data.
    pub(crate) fn fail(&self, error: disk::Error) {
        self.member.inbox.push(Message::Fail(error.into()));
    }

    pub(crate) fn published(&self) -> Arc<Published> {
        Arc::clone(&self.published)
    }

    /// Whether a leader is known, and news of it.
    pub(crate) fn has_leader(&self) -> watch::Receiver<bool> {
        self.has_leader.clone()
    }

    pub(crate) fn view(&self) -> ReadView {
        self.view.clone()
    }

    pub(crate) fn watch_hub(&self) -> Arc<WatchHub> {
        Arc::clone(&self.watch_hub)
    }
}

/// Told on the thread that runs the node; must return soon.
pub(crate) trait Observer: Send + 'static {
    /// Something an operator wants to know of.
    fn note(&mut self, note: &Note);
    /// The node has applied these commands, one after the other, in so much time together.
    fn applied(&mut self, commands: &[(Kind, bool)], time: Duration);
    /// Upkeep of the store has kept everything else waiting for so long.
    fn paused(&mut self, time: Duration);
    /// The node has ended: by itself only after an error.
    fn ended(&mut self, result: &Result<(), Fatal>);
}

/// The running threads.
#[derive(Debug)]
pub(crate) struct Driver {
    handle: NodeHandle,
    node: JoinHandle<Result<(), Fatal>>,
}

impl Driver {
    /// Starts the threads. `mailboxes` are those of the workers, by their number. What the node has for other
    /// members goes to `outbox`.
    pub(crate) fn start(
        node: Node<Ticket>,
        wal_writer: WalWriter,
        mailboxes: Vec<Arc<Mailbox>>,
        outbox: Arc<Outbox>,
        tick: Duration,
        metrics: Arc<Metrics>,
        observer: impl Observer,
    ) -> io::Result<Driver> {
        let epoch = Instant::now();
        let inbox = Arc::<BatchQueue<Message>>::default();
        let (published, view, watch_hub) = (node.published(), node.view(), node.watch_hub());
        let lease_renewer = node.lease_renewer();
        let jobs = JobThreads::start(&inbox, &metrics)?;
        let wal = Arc::new(SharedWal::new(wal_writer, metrics));
        let (leader_known, has_leader) = watch::channel(false);
        let effects = Effects { wal: Arc::clone(&wal), outbox, jobs: jobs.queues(), mailboxes };
        let runner = NodeRunner::new(node, effects, leader_known, epoch, observer);
        let backlog = Arc::<Backlog>::default();
        let member = Arc::new(Member::new(inbox, wal, Arc::clone(&backlog), runner));
        let wal_thread = thread::Builder::new().name("wal".into()).spawn({
            let member = Arc::clone(&member);
            move || member.write_wal()
        })?;
        let node = thread::Builder::new().name("node".into()).spawn({
            let member = Arc::clone(&member);
            move || {
                let result = member.run_node(tick);
                member.wal.close();
                wal_thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                jobs.stop();
                member.ended(&result);
                result
            }
        })?;
        let handle =
            NodeHandle { member, published, backlog, view, watch_hub, lease_renewer, has_leader, epoch };
        Ok(Driver { handle, node })
    }

    /// How to reach the node.
    pub(crate) fn handle(&self) -> NodeHandle {
        self.handle.clone()
    }

    /// Stops the threads once what is under way is written; whoever still waits is told so.
    pub(crate) fn stop(self) -> Result<(), Fatal> {
        self.handle.member.inbox.push(Message::Stop);
        self.node.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}
