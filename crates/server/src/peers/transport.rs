//! The peers that this member knows, and the way of each message to one of them.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use proto::raftpb::{Message, MessageType};
use tokio::sync::watch;
use tokio::task::{spawn_blocking, spawn_local};
use tracing::{debug, error, info, warn};

use super::PeerUrls;
use super::asker;
use super::context::Context;
use super::heartbeat_times::HeartbeatTimes;
use super::outbox::Outbox;
use super::peer::{Peer, PeerMap, RunningPeer};
use super::question::{Asked, QuestionQueue};
use super::server;
use super::snapshot_file::SnapshotFile;
use super::snapshot_sender;
use crate::listen::Listener;

/// Members known only from their own requests, at most.
const REMOTES_MAX: usize = 16;

/// The state of the peers' thread.
#[derive(Debug)]
pub(super) struct Transport {
    pub(super) context: Rc<Context>,
    /// Members of the cluster.
    peers: RefCell<PeerMap>,
    /// Members that this one does not know yet, since it lags behind. It must be able to answer them to catch up.
    remotes: RefCell<PeerMap>,
    heartbeats: RefCell<HeartbeatTimes>,
}

impl Transport {
    pub(super) fn new(context: Rc<Context>) -> Transport {
        let heartbeats = RefCell::new(HeartbeatTimes::new(context.heartbeat_interval));
        Transport { context, peers: RefCell::default(), remotes: RefCell::default(), heartbeats }
    }

    /// Serves peers, and sends what the node has for them, until told to stop.
    pub(super) async fn run(
        self: Rc<Self>,
        listeners: Vec<Listener>,
        outbox: &Outbox,
        questions: &QuestionQueue,
        mut members: watch::Receiver<Vec<PeerUrls>>,
        mut stopping: watch::Receiver<bool>,
    ) {
        for listener in listeners {
            let address = listener.address();
            match listener.into_incoming() {
                Ok(incoming) => drop(spawn_local(server::accept(Rc::clone(&self), incoming, address))),
                Err(error) => error!(address, %error, "failed to serve peer traffic"),
            }
        }
        spawn_blocking(remove_unfinished(&self.context));
        let mut messages = Vec::new();
        loop {
            tokio::select! {
                // In this order: who the members are was told before what is sent to them.
                biased;
                // If the sender is gone the thread's owner was dropped, which is a stop too.
                _ = stopping.wait_for(|is_stopping| *is_stopping) => break,
                Ok(()) = members.changed() => self.set_members(&members.borrow_and_update()),
                () = outbox.take(&mut messages) => messages.drain(..).for_each(|message| self.send(message)),
                asked = questions.take() => asked.into_iter().for_each(|asked| self.ask(asked)),
            }
        }
        self.peers.take();
        self.remotes.take();
    }

    /// The peer with that id; not one that is known only from its own requests.
    pub(super) fn peer(&self, id: u64) -> Option<Rc<Peer>> {
        self.peers.borrow().get(&id).map(|running| Rc::clone(&running.peer))
    }

    /// Notes where a member that is not known yet can be reached.
    pub(super) fn add_remote(&self, id: u64, urls: &[String]) {
        let mut remotes = self.remotes.borrow_mut();
        let is_known = id == self.context.identity.id
            || self.peers.borrow().contains_key(&id)
            || remotes.contains_key(&id)
            || self.context.local.is_removed(id);
        if is_known || remotes.len() >= REMOTES_MAX {
            return;
        }
        if let Some(peer) = Peer::new(id, urls, Rc::clone(&self.context)) {
            info!(
                "local-member-id" = self.context.own_id_text(),
                "remote-peer-id" = peer.id_text(),
                "remote-peer-urls" = ?urls,
                "added new remote peer"
            );
            remotes.insert(id, RunningPeer::remote(peer));
        }
    }

    fn send(&self, message: Message) {
        if message.r#type == MessageType::MsgHeartbeat as i32 {
            self.time_heartbeat(&message);
        }
        let Some(peer) = self.peer(message.to).or_else(|| self.remote(message.to)) else {
            return debug!(
                "unknown-target-peer-id" = format!("{:x}", message.to),
                "ignored message send request; unknown remote peer target"
            );
        };
        if message.r#type != MessageType::MsgSnap as i32 {
            peer.send(message);
        } else if !peer.is_sending_snapshot.replace(true) {
            // One that is under way tells raft how it ends.
            spawn_local(snapshot_sender::run(peer, message));
        }
    }

    fn time_heartbeat(&self, message: &Message) {
        let Some(delay) = self.heartbeats.borrow_mut().late(message.to, message.term, Instant::now()) else {
            return;
        };
        warn!(
            to = format!("{:x}", message.to),
            "heartbeat-interval" = ?self.context.heartbeat_interval,
            "exceeded-duration" = ?delay,
            "leader failed to send out heartbeat on time; took too long, leader is overloaded likely from slow disk"
        );
        self.context.metrics.late_heartbeats.inc();
    }

    /// Passes a question on to a member. If there is none, whoever asks finds out as the question is dropped.
    fn ask(&self, asked: Asked) {
        if let Some(peer) = self.peer(asked.to) {
            spawn_local(asker::run(peer, asked));
        }
    }

    fn remote(&self, id: u64) -> Option<Rc<Peer>> {
        self.remotes.borrow().get(&id).map(|running| Rc::clone(&running.peer))
    }

    fn set_members(&self, members: &[PeerUrls]) {
        let mut peers = self.peers.borrow_mut();
        peers.retain(|id, _| {
            let is_member = members.iter().any(|(member, _)| member == id);
            if !is_member {
                let (own, removed) = (self.context.own_id_text(), format!("{id:x}"));
                info!("local-member-id" = own, "removed-remote-peer-id" = removed, "removed remote peer");
            }
            is_member
        });
        for (id, urls) in members.iter().filter(|(id, _)| *id != self.context.identity.id) {
            self.remotes.borrow_mut().remove(id);
            match peers.get(id) {
                Some(running) => self.update(&running.peer, urls),
                None => self.add(&mut peers, *id, urls),
            }
        }
    }

    fn update(&self, peer: &Peer, urls: &[String]) {
        if peer.urls.update(urls) {
            info!(
                "local-member-id" = self.context.own_id_text(),
                "updated-remote-peer-id" = peer.id_text(),
                "updated-remote-peer-urls" = ?urls,
                "updated remote peer"
            );
        }
    }

    fn add(&self, peers: &mut PeerMap, id: u64, urls: &[String]) {
        let (own, remote) = (self.context.own_id_text(), format!("{id:x}"));
        let Some(peer) = Peer::new(id, urls, Rc::clone(&self.context)) else {
            return warn!("remote-peer-id" = remote, "remote-peer-urls" = ?urls, "no URL of the peer can be used");
        };
        peers.insert(id, RunningPeer::member(peer));
        info!(
            "local-member-id" = own,
            "remote-peer-id" = remote,
            "remote-peer-urls" = ?urls,
            "added remote peer"
        );
    }
}

/// Removes the states that an earlier process did not receive to their end.
fn remove_unfinished(context: &Context) -> impl FnOnce() + Send + 'static {
    let local = Arc::clone(&context.local);
    move || {
        let removed = local.snapshot_dir().and_then(|dir| SnapshotFile::remove_unfinished(&dir));
        if let Err(error) = removed {
            debug!(%error, "no unfinished snapshots were removed");
        }
    }
}
