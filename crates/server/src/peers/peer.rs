//! One other member: what is sent to it, and whether it is there.
//!
//! A message goes to the queue of its stream if the peer reads that stream, and to the pipeline otherwise. A
//! member that is known only from its own requests (a *remote*) has no streams.

use std::collections::BTreeMap;
use std::rc::Rc;

use peer::StreamKind;
use proto::raftpb::{Message, MessageType};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use super::asker::QuestionConnections;
use super::context::Context;
use super::pipeline::{self, Pipeline};
use super::prober;
use super::send_queue::{Bounds, SendQueue};
use super::stream_reader;
use super::url_picker::UrlPicker;
use crate::metrics::PeerMetrics;

/// Messages that wait for a stream, as in etcd.
const STREAM_BOUNDS: Bounds = Bounds { messages_max: 4096, bytes_max: 64 << 20 };

/// One peer.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) id: u64,
    pub(super) urls: UrlPicker,
    pub(super) context: Rc<Context>,
    pub(super) metrics: PeerMetrics,
    pub(super) pipeline: Pipeline,
    pub(super) question_connections: QuestionConnections,
    append_queue: SendQueue,
    message_queue: SendQueue,
    /// The peer has shown that it is there: who waits before dialing it again need not.
    pub(super) seen: Notify,
    /// Whether a state is being sent to it.
    pub(super) is_sending_snapshot: std::cell::Cell<bool>,
}

impl Peer {
    /// `None` if no URL can be used.
    pub(super) fn new(id: u64, urls: &[String], context: Rc<Context>) -> Option<Rc<Peer>> {
        Some(Rc::new(Peer {
            id,
            urls: UrlPicker::new(urls)?,
            metrics: context.metrics.network.peer(context.identity.id, id),
            context,
            pipeline: Pipeline::default(),
            question_connections: QuestionConnections::default(),
            append_queue: SendQueue::new(STREAM_BOUNDS),
            message_queue: SendQueue::new(STREAM_BOUNDS),
            seen: Notify::new(),
            is_sending_snapshot: false.into(),
        }))
    }

    /// Queues a message other than a snapshot.
    pub(super) fn send(&self, message: Message) {
        let is_append = message.r#type == MessageType::MsgApp as i32;
        let r#type = message.r#type();
        let (is_queued, name) = if is_append && self.append_queue.is_attached() {
            (self.append_queue.push(message), "streamMsgAppV2")
        } else if self.message_queue.is_attached() {
            (self.message_queue.push(message), "streamMsg")
        } else {
            (self.pipeline.push(message), "pipeline")
        };
        if !is_queued {
            self.count_failure();
            self.context.local.report_unreachable(self.id);
            warn!(
                "message-type" = r#type.as_str_name(),
                "local-member-id" = self.context.own_id_text(),
                "remote-peer-id" = self.id_text(),
                "remote-peer-name" = name,
                "remote-peer-active" = self.context.activity.since(self.id).is_some(),
                "dropped internal Raft message since sending buffer is full"
            );
        }
    }

    pub(super) fn queue(&self, kind: StreamKind) -> &SendQueue {
        match kind {
            StreamKind::Append => &self.append_queue,
            StreamKind::Message => &self.message_queue,
        }
    }

    /// Makes a new stream the writer of its queue; the result is its number.
    pub(super) fn attach(&self, kind: StreamKind) -> u64 {
        if self.queue(kind).is_attached() {
            self.log_stream("closed TCP streaming connection with remote peer", "writer", kind);
        }
        let number = self.queue(kind).attach();
        self.log_stream("established TCP streaming connection with remote peer", "writer", kind);
        self.activate();
        self.seen.notify_waiters();
        number
    }

    /// A stream to the peer has ended.
    pub(super) fn detach(&self, kind: StreamKind, number: u64) {
        let Some(n_dropped) = self.queue(kind).detach(number) else { return };
        self.log_stream("lost TCP streaming connection with remote peer", "writer", kind);
        self.deactivate(&format!("failed to write {} on {} (closed)", self.id_text(), kind.name()));
        if n_dropped > 0 {
            self.count_failure();
            self.context.local.report_unreachable(self.id);
        }
    }

    /// Ends both streams to the peer, which is not one any more.
    pub(super) fn close(&self) {
        StreamKind::ALL.into_iter().for_each(|kind| self.queue(kind).close());
        self.pipeline.close();
        if self.context.activity.deactivate(self.id) {
            self.count_disconnection();
        }
    }

    /// The peer can be reached.
    pub(super) fn activate(&self) {
        if self.context.activity.activate(self.id) {
            info!("peer-id" = self.id_text(), "peer became active");
            self.metrics.active.set(1);
        }
    }

    /// The peer cannot be reached, for that reason.
    pub(super) fn deactivate(&self, error: &str) {
        if self.context.activity.deactivate(self.id) {
            warn!("peer-id" = self.id_text(), error, "peer became inactive (message send to peer failed)");
            self.count_disconnection();
        } else {
            debug!("peer-id" = self.id_text(), error, "peer deactivated again");
        }
    }

    pub(super) fn id_text(&self) -> String {
        format!("{:x}", self.id)
    }

    pub(super) fn count_sent(&self, bytes: usize) {
        self.metrics.sent_bytes.inc_by(bytes as u64);
    }

    pub(super) fn count_failure(&self) {
        self.metrics.sent_failures.inc();
    }

    fn count_disconnection(&self) {
        self.metrics.active.set(0);
        self.metrics.disconnected.inc();
    }

    /// Logs what has become of a stream. `end` is this member's end of it.
    pub(super) fn log_stream(&self, text: &'static str, end: &'static str, kind: StreamKind) {
        let (own, peer, kind) = (self.context.own_id_text(), self.id_text(), kind.name());
        let is_loss = text.starts_with("lost") || text.starts_with("closed");
        match (end, is_loss) {
            ("writer", true) => {
                warn!(
                    "stream-writer-type" = kind,
                    "local-member-id" = own,
                    "remote-peer-id" = peer,
                    "{text}"
                );
            }
            ("writer", false) => {
                info!(
                    "stream-writer-type" = kind,
                    "local-member-id" = own,
                    "remote-peer-id" = peer,
                    "{text}"
                );
            }
            (_, true) => {
                warn!(
                    "stream-reader-type" = kind,
                    "local-member-id" = own,
                    "remote-peer-id" = peer,
                    "{text}"
                );
            }
            (_, false) => {
                info!(
                    "stream-reader-type" = kind,
                    "local-member-id" = own,
                    "remote-peer-id" = peer,
                    "{text}"
                );
            }
        }
    }
}

/// A peer and the tasks that serve it. They end when this is dropped.
#[derive(Debug)]
pub(super) struct RunningPeer {
    pub(super) peer: Rc<Peer>,
    tasks: JoinSet<()>,
}

impl RunningPeer {
    /// A member of the cluster: dials its streams, posts what finds no stream, and probes it.
    pub(super) fn member(peer: Rc<Peer>) -> RunningPeer {
        let mut running = RunningPeer::remote(peer);
        let peer = &running.peer;
        for kind in StreamKind::ALL {
            running.tasks.spawn_local(stream_reader::run(Rc::clone(peer), kind));
        }
        running.tasks.spawn_local(prober::run(Rc::clone(peer)));
        running
    }

    /// A member that is known only from its own requests.
    pub(super) fn remote(peer: Rc<Peer>) -> RunningPeer {
        let mut tasks = JoinSet::new();
        for _ in 0..pipeline::CONNECTIONS {
            tasks.spawn_local(pipeline::run(Rc::clone(&peer)));
        }
        RunningPeer { peer, tasks }
    }
}

impl Drop for RunningPeer {
    fn drop(&mut self) {
        self.peer.close();
    }
}

/// Peers by their id.
pub(super) type PeerMap = BTreeMap<u64, RunningPeer>;
