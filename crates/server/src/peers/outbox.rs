//! Messages on their way from the thread that runs the node to the peers' thread.
//!
//! The node's thread adds all messages of a batch together and wakes the peers' thread once. That thread takes
//! everything that has collected. It holds the lock only to swap two lists, so the node never waits for it.

use std::sync::{Mutex, PoisonError};

use proto::raftpb::Message;
use tokio::sync::Notify;

/// Messages that may wait. Further ones are dropped, as a network may drop them: the peers' thread is stuck.
const MESSAGES_MAX: usize = 64 << 10;

/// Bytes of entries that may wait. The message that passes the limit is taken.
const BYTES_MAX: usize = 256 << 20;

/// The queue.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    state: Mutex<State>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct State {
    messages: Vec<Message>,
    bytes: usize,
}

impl Outbox {
    /// Adds messages; leaves `messages` empty.
    pub(crate) fn send(&self, messages: &mut Vec<Message>) {
        if messages.is_empty() {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let was_empty = state.messages.is_empty();
        for message in messages.drain(..) {
            if state.messages.len() < MESSAGES_MAX && state.bytes < BYTES_MAX {
                state.bytes += data_len(&message);
                state.messages.push(message);
            }
        }
        drop(state);
        if was_empty {
            self.arrived.notify_one();
        }
    }

    /// Takes what is there.
    #[cfg(test)]
    pub(crate) fn taken(&self) -> Vec<Message> {
        std::mem::take(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner).messages)
    }

    /// Waits for messages, and moves all of them into `messages`, which must be empty.
    pub(super) async fn take(&self, messages: &mut Vec<Message>) {
        loop {
            {
                let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                std::mem::swap(&mut state.messages, messages);
                state.bytes = 0;
            }
            if !messages.is_empty() {
                return;
            }
            self.arrived.notified().await;
        }
    }
}

/// Bytes of a message that are not bounded otherwise.
pub(super) fn data_len(message: &Message) -> usize {
    let entries: usize = message.entries.iter().map(|entry| entry.data.len()).sum();
    let snapshot = message.snapshot.as_ref().map_or(0, |snapshot| snapshot.data.len());
    entries + snapshot + message.context.len()
}

#[cfg(test)]
mod tests {
    use proto::raftpb::Entry;

    use super::*;

    #[tokio::test]
    async fn everything_that_collected_is_taken_together() {
        let outbox = Outbox::default();
        let message = |to| Message { to, ..Message::default() };
        outbox.send(&mut vec![message(1), message(2)]);
        outbox.send(&mut vec![message(3)]);
        let mut taken = Vec::new();
        outbox.take(&mut taken).await;
        assert_eq!(taken, [message(1), message(2), message(3)]);
    }

    #[tokio::test]
    async fn what_nobody_takes_is_bounded_in_number_and_bytes() {
        let (outbox, mut taken) = (Outbox::default(), Vec::new());
        outbox.send(&mut vec![Message::default(); MESSAGES_MAX + 1]);
        outbox.take(&mut taken).await;
        assert_eq!(taken.len(), MESSAGES_MAX);
        taken.clear();
        let entry = Entry { data: vec![0; BYTES_MAX / 2].into(), ..Entry::default() };
        let long = Message { entries: vec![entry], ..Message::default() };
        outbox.send(&mut vec![long; 4]);
        outbox.take(&mut taken).await;
        assert_eq!(taken.len(), 2);
    }
}
