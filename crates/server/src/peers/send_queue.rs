//! Messages that wait to be written to one stream of one peer, or to be posted to it.
//!
//! Bounded in number and in bytes: a slow or dead peer costs no more than that, and delays nobody else. A message
//! that finds the queue full is dropped; raft sends again what still matters.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::task::Waker;

use proto::raftpb::Message;

use super::outbox::data_len;

/// The bounds of a queue.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) messages_max: usize,
    /// Bytes of entries. The message that passes the limit is taken.
    pub(super) bytes_max: usize,
}

/// The queue. Its writer is the *attached* stream, if there is one; a new one takes the place of the old.
#[derive(Debug)]
pub(super) struct SendQueue {
    bounds: Bounds,
    messages: RefCell<VecDeque<Message>>,
    bytes: Cell<usize>,
    /// The number of the attached stream.
    attached: Cell<Option<u64>>,
    n_attached: Cell<u64>,
    /// Who waits for messages.
    waker: RefCell<Option<Waker>>,
}

impl SendQueue {
    pub(super) fn new(bounds: Bounds) -> SendQueue {
        SendQueue {
            bounds,
            messages: RefCell::default(),
            bytes: Cell::new(0),
            attached: Cell::new(None),
            n_attached: Cell::new(0),
            waker: RefCell::default(),
        }
    }

    /// Adds a message, unless the queue is full: then the result is false.
    pub(super) fn push(&self, message: Message) -> bool {
        let is_full = self.len() >= self.bounds.messages_max || self.bytes.get() >= self.bounds.bytes_max;
        if !is_full {
            self.bytes.update(|bytes| bytes + data_len(&message));
            self.messages.borrow_mut().push_back(message);
            self.wake();
        }
        !is_full
    }

    /// Takes the first message.
    pub(super) fn pop(&self) -> Option<Message> {
        let message = self.messages.borrow_mut().pop_front()?;
        self.bytes.update(|bytes| bytes - data_len(&message));
        Some(message)
    }

    pub(super) fn len(&self) -> usize {
        self.messages.borrow().len()
    }

    /// Wakes `waker` at the next message, or when another stream is attached.
    pub(super) fn wake_later(&self, waker: &Waker) {
        let mut current = self.waker.borrow_mut();
        match &*current {
            Some(current) if current.will_wake(waker) => {}
            _ => *current = Some(waker.clone()),
        }
    }

    /// Makes a stream the writer. Its number tells whether it still is.
    pub(super) fn attach(&self) -> u64 {
        self.n_attached.update(|n| n + 1);
        self.attached.set(Some(self.n_attached.get()));
        self.wake();
        self.n_attached.get()
    }

    pub(super) fn is_attached(&self) -> bool {
        self.attached.get().is_some()
    }

    pub(super) fn is_writer(&self, number: u64) -> bool {
        self.attached.get() == Some(number)
    }

    /// The stream of that number has ended. If it was the writer, what waits is dropped with it, and there is none
    /// now. The result is `None` if it was not the writer, or the number of messages dropped.
    pub(super) fn detach(&self, number: u64) -> Option<usize> {
        if !self.is_writer(number) {
            return None;
        }
        self.attached.set(None);
        Some(self.clear())
    }

    /// Ends the writer, and drops what waits.
    pub(super) fn close(&self) {
        self.attached.set(None);
        self.clear();
        self.wake();
    }

    /// Drops what waits; returns how many messages that were.
    fn clear(&self) -> usize {
        self.bytes.set(0);
        let mut messages = self.messages.borrow_mut();
        let n = messages.len();
        messages.clear();
        n
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use proto::raftpb::Entry;

    use super::*;

    const BOUNDS: Bounds = Bounds { messages_max: 3, bytes_max: 100 };

    fn message(bytes: usize) -> Message {
        let entry = Entry { data: vec![0; bytes].into(), ..Entry::default() };
        Message { entries: vec![entry], ..Message::default() }
    }

    #[test]
    fn a_full_queue_takes_nothing_more() {
        let queue = SendQueue::new(BOUNDS);
        assert!((0..3).all(|_| queue.push(message(1))));
        assert!(!queue.push(message(0)), "too many");
        assert!(queue.pop().is_some());
        assert!(queue.push(message(1000)));
        assert!(queue.pop().is_some());
        assert!(!queue.push(message(0)), "too long");
        while queue.pop().is_some() {}
        assert!(queue.push(message(0)));
    }

    #[test]
    fn a_new_stream_takes_the_place_of_the_old() {
        let queue = SendQueue::new(BOUNDS);
        let first = queue.attach();
        let second = queue.attach();
        assert!(!queue.is_writer(first) && queue.is_writer(second));
        queue.push(message(1));
        assert_eq!(queue.detach(first), None, "it was replaced");
        assert_eq!(queue.len(), 1);
        assert_eq!(queue.detach(second), Some(1));
        assert!(!queue.is_attached() && queue.len() == 0);
    }
}
