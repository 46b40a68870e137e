//! What all tasks of the peers' thread share.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ::peer::Identity;
use proto::raftpb::{Message, MessageType};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::warn;

use super::activity::Activity;
use super::{Local, Pages, PeerSettings};
use crate::metrics::{Metrics, PeerMetrics};

/// States that are received at a time. Only one leader sends any; another may just have begun to lead.
const SNAPSHOTS_MAX: usize = 2;

/// Who this member is, and where what peers say goes.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) identity: Identity,
    pub(super) local: Arc<dyn Local>,
    pub(super) pages: Rc<dyn Pages>,
    pub(super) activity: Arc<Activity>,
    pub(super) metrics: Arc<Metrics>,
    /// Time between two heartbeats of a leader.
    pub(super) heartbeat_interval: Duration,
    /// Time to connect to a peer.
    pub(super) dial_limit: Duration,
    /// Bytes that a message of a peer may have.
    pub(super) message_len_max: u64,
    snapshot_places: Arc<Semaphore>,
}

impl Context {
    pub(super) fn new(
        settings: PeerSettings,
        local: Arc<dyn Local>,
        pages: Rc<dyn Pages>,
        activity: Arc<Activity>,
        metrics: Arc<Metrics>,
    ) -> Context {
        let PeerSettings { identity, heartbeat_interval, dial_limit, message_len_max } = settings;
        let snapshot_places = Arc::new(Semaphore::new(SNAPSHOTS_MAX));
        Context {
            identity,
            local,
            pages,
            activity,
            metrics,
            heartbeat_interval,
            dial_limit,
            message_len_max,
            snapshot_places,
        }
    }

    pub(super) fn own_id_text(&self) -> String {
        format!("{:x}", self.identity.id)
    }

    /// A place for a state that is to be received, until it is dropped; `None` if all are taken.
    pub(super) fn snapshot_place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.snapshot_places).try_acquire_owned().ok()
    }

    /// A peer says that this member was removed from the cluster.
    pub(super) fn removed(&self) {
        self.local.removed_by_peer();
    }

    /// Counts bytes that were received from a peer, or from a sender that is none.
    pub(super) fn count_received(&self, sender: Option<&PeerMetrics>, bytes: u64) {
        match sender {
            Some(metrics) => metrics.received_bytes.inc_by(bytes),
            None => self.metrics.network.count_received_from_nobody(bytes),
        }
    }

    /// Gives messages of a peer to the node, but for those that are not for this member or must not come without a
    /// state. Leaves `messages` empty. `sender` has the numbers of the peer, if it is one.
    pub(super) fn receive(&self, messages: &mut Vec<Message>, sender: Option<&PeerMetrics>) {
        messages.retain(|message| self.is_acceptable(message, sender));
        if !messages.is_empty() {
            self.local.step(messages);
        }
    }

    fn is_acceptable(&self, message: &Message, sender: Option<&PeerMetrics>) -> bool {
        let len = prost::Message::encoded_len(message) as u64;
        if ::peer::is_link_heartbeat(message) {
            self.count_received(None, len);
            return false;
        }
        self.count_received(sender, len);
        let is_removed = self.local.is_removed(message.from);
        if let Err(refusal) = self.identity.check_message(message, is_removed) {
            let (own, from) = (self.own_id_text(), format!("{:x}", message.from));
            warn!(
                "local-member-id" = own,
                "removed-member-id" = from,
                error = refusal.text(),
                "rejected Raft message"
            );
            return false;
        }
        // A snapshot without its state would destroy this member's own.
        message.r#type != MessageType::MsgSnap as i32
    }
}
