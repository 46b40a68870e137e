//! What all tasks of the peers' thread share.

use std::sync::Arc;
use std::time::Duration;

use ::peer::Identity;
use proto::raftpb::{Message, MessageType};
use tracing::warn;

use super::activity::Activity;
use super::{Local, PeerSettings};
use crate::metrics::{Metrics, PeerMetrics};

/// Who this member is, and where what peers say goes.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) identity: Identity,
    pub(super) local: Arc<dyn Local>,
    pub(super) activity: Arc<Activity>,
    pub(super) metrics: Arc<Metrics>,
    /// What comes from no peer: link heartbeats.
    pub(super) links: PeerMetrics,
    /// Time to connect to a peer.
    pub(super) dial_limit: Duration,
    /// Bytes that a message of a peer may have.
    pub(super) message_len_max: u64,
}

impl Context {
    pub(super) fn new(
        settings: PeerSettings,
        local: Arc<dyn Local>,
        activity: Arc<Activity>,
        metrics: Arc<Metrics>,
    ) -> Context {
        let PeerSettings { identity, dial_limit, message_len_max } = settings;
        let links = metrics.network.peer(identity.id, 0);
        Context { identity, local, activity, metrics, links, dial_limit, message_len_max }
    }

    pub(super) fn own_id_text(&self) -> String {
        format!("{:x}", self.identity.id)
    }

    /// A peer says that this member was removed from the cluster.
    pub(super) fn removed(&self) {
        self.local.removed_by_peer();
    }

    /// Gives messages from a stream of a peer to the node, but for those that are not for this member or must not
    /// come on a stream. Leaves `messages` empty.
    pub(super) fn receive(&self, messages: &mut Vec<Message>, metrics: &PeerMetrics) {
        messages.retain(|message| self.is_acceptable(message, metrics));
        if !messages.is_empty() {
            self.local.step(messages);
        }
    }

    fn is_acceptable(&self, message: &Message, metrics: &PeerMetrics) -> bool {
        let len = prost::Message::encoded_len(message) as u64;
        if ::peer::is_link_heartbeat(message) {
            self.links.received_bytes.inc_by(len);
            return false;
        }
        metrics.received_bytes.inc_by(len);
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
