//! The writing end of a stream: messages from a peer's queue become the body of an answer.
//!
//! Whatever has collected in the queue is encoded together and written by one system call. An idle stream sends a
//! link heartbeat, so that its reader knows that it is alive.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use peer::{AppendEncoder, StreamKind, encode_message, link_heartbeat};
use proto::raftpb::Message;
use tokio::time::{Instant, Sleep, sleep_until};

use super::peer::Peer;
use super::socket::SILENCE_MAX;

/// Bytes that are written together. The message that passes the limit is among them.
const WRITE_BYTES: usize = 256 << 10;

/// How long a stream may be idle before it sends a link heartbeat: a reader gives up after three times as long.
const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(SILENCE_MAX.as_millis() as u64 / 3);

#[derive(Debug)]
enum Encoder {
    Append(AppendEncoder),
    Message,
}

/// The writer of one stream to one peer. Dropped when the connection ends.
#[derive(Debug)]
pub(super) struct StreamWriter {
    peer: Rc<Peer>,
    kind: StreamKind,
    /// Its number among the writers of the queue.
    number: u64,
    encoder: Encoder,
    /// The switch of the time limit for reads of the connection: while the stream lasts, the peer sends nothing.
    read_timing: Rc<Cell<bool>>,
    last_written: Instant,
    heartbeat: Pin<Box<Sleep>>,
}

impl StreamWriter {
    /// Takes the place of the peer's writer before. `read_timing` is the connection's.
    pub(super) fn attach(peer: Rc<Peer>, kind: StreamKind, read_timing: Rc<Cell<bool>>) -> StreamWriter {
        read_timing.set(false);
        let encoder = match kind {
            StreamKind::Append => Encoder::Append(AppendEncoder::default()),
            StreamKind::Message => Encoder::Message,
        };
        let (number, now) = (peer.attach(kind), Instant::now());
        let heartbeat = Box::pin(sleep_until(now + HEARTBEAT_INTERVAL));
        StreamWriter { peer, kind, number, encoder, read_timing, last_written: now, heartbeat }
    }

    /// The next bytes to write; `None` once another writer has taken its place.
    pub(super) fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let peer = Rc::clone(&self.peer);
        let queue = peer.queue(self.kind);
        if !queue.is_writer(self.number) {
            return Poll::Ready(None);
        }
        let mut bytes = BytesMut::new();
        let mut message_bytes = 0;
        while bytes.len() < WRITE_BYTES
            && let Some(message) = queue.pop()
        {
            message_bytes += self.encode(&message, &mut bytes);
        }
        if bytes.is_empty() {
            queue.wake_later(cx.waker());
            ready!(self.poll_heartbeat(cx));
            message_bytes = self.encode(&link_heartbeat(), &mut bytes);
        }
        self.last_written = Instant::now();
        peer.count_sent(message_bytes);
        Poll::Ready(Some(bytes.freeze()))
    }

    /// Resolves when nothing has been written for so long that a heartbeat is due.
    fn poll_heartbeat(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.heartbeat.as_mut().poll(cx));
            let due = self.last_written + HEARTBEAT_INTERVAL;
            let is_due = due <= Instant::now();
            // The timer runs through what is written meanwhile: that is cheaper than setting it anew each time.
            self.heartbeat.as_mut().reset(if is_due { due + HEARTBEAT_INTERVAL } else { due });
            if is_due {
                return Poll::Ready(());
            }
        }
    }

    /// Encodes a message. Returns its length as a protobuf.
    fn encode(&mut self, message: &Message, out: &mut BytesMut) -> usize {
        match &mut self.encoder {
            Encoder::Append(encoder) => encoder.encode(message, out),
            Encoder::Message => encode_message(message, out),
        }
        prost::Message::encoded_len(message)
    }
}

impl Drop for StreamWriter {
    fn drop(&mut self) {
        self.read_timing.set(true);
        self.peer.detach(self.kind, self.number);
    }
}
