//! The pipeline: messages that find no stream, each posted by a request of its own.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use ::peer::{PostFailure, Route, check_post_reply};
use prost::Message as _;
use proto::raftpb::Message;
use tokio::sync::Notify;
use tokio::time::timeout;
use tracing::error;

use super::body::PeerBody;
use super::client::{Connection, PeerRequest, read_answer};
use super::peer::Peer;
use super::send_queue::{Bounds, SendQueue};

/// Requests to one peer at a time, as in etcd.
pub(super) const CONNECTIONS: usize = 4;

/// Messages to one peer that may wait, as in etcd.
const BOUNDS: Bounds = Bounds { messages_max: 64, bytes_max: 64 << 20 };

/// How long a peer may take to answer a message that it has been sent.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);

/// The messages that wait to be posted.
#[derive(Debug)]
pub(super) struct Pipeline {
    queue: SendQueue,
    arrived: Notify,
}

impl Default for Pipeline {
    fn default() -> Self {
        Pipeline { queue: SendQueue::new(BOUNDS), arrived: Notify::new() }
    }
}

impl Pipeline {
    /// Adds a message, unless too many wait: then the result is false.
    pub(super) fn push(&self, message: Message) -> bool {
        let is_queued = self.queue.push(message);
        self.arrived.notify_one();
        is_queued
    }

    pub(super) fn close(&self) {
        self.queue.close();
    }

    async fn next(&self) -> Message {
        loop {
            match self.queue.pop() {
                Some(message) => return message,
                None => self.arrived.notified().await,
            }
        }
    }
}

/// Posts messages one after the other. Never ends by itself.
pub(super) async fn run(peer: Rc<Peer>) {
    let mut connection = None;
    loop {
        let message = peer.pipeline.next().await;
        let len = message.encoded_len();
        let url = peer.urls.pick();
        match post(&peer, &url, &mut connection, &message).await {
            Ok(()) => {
                peer.activate();
                peer.count_sent(len);
            }
            Err(error) => {
                connection = None;
                peer.urls.failed(&url);
                peer.deactivate(&format!("failed to write {} on pipeline ({error})", peer.id_text()));
                peer.context.local.report_unreachable(message.to);
                peer.count_failure();
            }
        }
    }
}

async fn post(
    peer: &Peer,
    url: &crate::config::Url,
    connection: &mut Option<Connection>,
    message: &Message,
) -> io::Result<()> {
    let is_open = connection.as_ref().is_some_and(Connection::is_open);
    let open = match connection {
        Some(open) if is_open => open,
        _ => connection.insert(Connection::open(url, peer.context.dial_limit).await?),
    };
    let body = PeerBody::whole(message.encode_to_vec());
    let request = PeerRequest::post(Route::PIPELINE, "application/protobuf", body);
    let answered = timeout(ANSWER_TIME_MAX, async {
        let (head, body) = open.request(&peer.context.identity, request).await?.into_parts();
        io::Result::Ok((head.status.as_u16(), read_answer(body).await?))
    });
    let (status, body) = answered.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
    check_post_reply(status, &body).map_err(|failure| {
        note_failure(peer, &failure);
        io::Error::other(failure.to_string())
    })
}

/// Tells of a refusal that does not mend itself.
pub(super) fn note_failure(peer: &Peer, failure: &PostFailure) {
    match failure {
        PostFailure::Removed => peer.context.removed(),
        PostFailure::IncompatibleVersion => {
            error!("remote-peer-id" = peer.id_text(), "request sent was ignored by peer");
        }
        PostFailure::ClusterIdMismatch => error!(
            "remote-peer-id" = peer.id_text(),
            "local-member-cluster-id" = peer.context.identity.cluster_id_text(),
            "request sent was ignored due to cluster ID mismatch"
        ),
        PostFailure::Precondition(_) | PostFailure::Status(_) => {}
    }
}
