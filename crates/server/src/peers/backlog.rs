//! Bytes of peers' messages that the node has not taken yet.
//!
//! Readers of streams wait while there are too many. Then TCP makes the senders wait, whose queues fill up, and
//! they send less. Appends wait at half of the bytes at which other messages do: a flood of appends never holds
//! up heartbeats.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use peer::StreamKind;
use proto::raftpb::Message;
use tokio::sync::Notify;

use super::outbox::data_len;

/// Bytes at which nothing more is read.
const BYTES_MAX: usize = 64 << 20;

/// Bytes that a message takes beside its entries, about.
const MESSAGE_BYTES: usize = 256;

/// What the backlog counts for a message.
pub(crate) fn backlog_bytes(message: &Message) -> usize {
    MESSAGE_BYTES + data_len(message)
}

/// What has been given to the node and not been taken.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    bytes: AtomicUsize,
    is_awaited: AtomicBool,
    shrunk: Notify,
}

impl Backlog {
    /// Counts messages that are given to the node.
    pub(crate) fn grow(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts messages that the node has taken.
    pub(crate) fn shrink(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::SeqCst);
        if self.is_awaited.load(Ordering::SeqCst) {
            self.shrunk.notify_waiters();
        }
    }

    /// Whether the node has taken everything.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.load(Ordering::SeqCst) == 0
    }

    /// Waits until there is room for messages of such a stream.
    pub(super) async fn room(&self, kind: StreamKind) {
        let limit = match kind {
            StreamKind::Append => BYTES_MAX / 2,
            StreamKind::Message => BYTES_MAX,
        };
        while self.bytes.load(Ordering::SeqCst) >= limit {
            let shrunk = self.shrunk.notified();
            self.is_awaited.store(true, Ordering::SeqCst);
            // The node may have taken messages before it could see that somebody waits.
            if self.bytes.load(Ordering::SeqCst) < limit {
                break;
            }
            shrunk.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn appends_wait_before_other_messages_do() {
        let backlog = Backlog::default();
        let is_ready = |kind| {
            let room = pin!(backlog.room(kind));
            room.poll(&mut Context::from_waker(Waker::noop())).is_ready()
        };
        backlog.grow(BYTES_MAX / 2);
        assert!(!is_ready(StreamKind::Append));
        assert!(is_ready(StreamKind::Message));
        backlog.grow(BYTES_MAX / 2);
        assert!(!is_ready(StreamKind::Message));
        backlog.shrink(BYTES_MAX);
        assert!(is_ready(StreamKind::Append));
    }

    #[tokio::test]
    async fn who_waits_is_woken_when_the_node_takes_messages() {
        let backlog = Backlog::default();
        backlog.grow(BYTES_MAX);
        tokio::join!(backlog.room(StreamKind::Message), async { backlog.shrink(BYTES_MAX) });
    }
}
