//! What the task of a connection and its calls share: the HTTP/2 connection, and who waits for what of it.

use std::cell::{RefCell, RefMut};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http2::{Connection, StreamId};

use super::unfinished::Unfinished;

/// The connection of which a call is a stream.
#[derive(Debug)]
pub(super) struct Link {
    connection: RefCell<Connection<Traffic>>,
    peer: SocketAddr,
    /// What messages that have begun to arrive take.
    unfinished: Rc<Unfinished>,
}

/// What has arrived for a call and what the call waits for.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    /// The first chunk that is not taken, kept apart because most calls have one.
    chunk: Bytes,
    more: VecDeque<Bytes>,
    is_ended: bool,
    /// Whether a message is not yet in the output.
    is_sending: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Link {
    pub(super) fn new(connection: Connection<Traffic>, peer: SocketAddr) -> Rc<Link> {
        Rc::new(Link { connection: RefCell::new(connection), peer, unfinished: Rc::default() })
    }

    /// The connection; never held while a call is polled.
    pub(super) fn connection(&self) -> RefMut<'_, Connection<Traffic>> {
        self.connection.borrow_mut()
    }

    /// The address of the client.
    pub(super) fn peer(&self) -> SocketAddr {
        self.peer
    }

    pub(super) fn unfinished(&self) -> Rc<Unfinished> {
        Rc::clone(&self.unfinished)
    }

    /// The next chunk of a request, `None` at its end; an error if the stream is gone. Its room in the window is
    /// given back.
    pub(super) fn poll_chunk(&self, id: StreamId, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, ()>>> {
        let mut connection = self.connection();
        let Some(traffic) = connection.owner(id) else { return Poll::Ready(Some(Err(()))) };
        match traffic.take() {
            Some(chunk) => {
                connection.release(id, chunk.len());
                Poll::Ready(Some(Ok(chunk)))
            }
            None if traffic.is_ended => Poll::Ready(None),
            None => {
                wait(&mut traffic.reader, cx);
                Poll::Pending
            }
        }
    }

    /// Ready when the stream is gone.
    pub(super) fn poll_gone(&self, id: StreamId, cx: &mut Context<'_>) -> Poll<()> {
        match self.connection().owner(id) {
            None => Poll::Ready(()),
            Some(traffic) => {
                wait(&mut traffic.writer, cx);
                Poll::Pending
            }
        }
    }

    /// Ready when all that the call has sent is in the output; an error if the stream is gone.
    pub(super) fn poll_sent(&self, id: StreamId, cx: &mut Context<'_>) -> Poll<Result<(), ()>> {
        match self.connection().owner(id) {
            None => Poll::Ready(Err(())),
            Some(traffic) if !traffic.is_sending => Poll::Ready(Ok(())),
            Some(traffic) => {
                wait(&mut traffic.writer, cx);
                Poll::Pending
            }
        }
    }
}

impl Traffic {
    /// Adds what has arrived.
    pub(super) fn push(&mut self, data: Bytes, is_end: bool) {
        if !data.is_empty() {
            if self.chunk.is_empty() {
                self.chunk = data;
            } else {
                self.more.push_back(data);
            }
        }
        self.is_ended = is_end;
        // Kept, since whoever waits for one chunk mostly waits for the next.
        if let Some(reader) = &self.reader {
            reader.wake_by_ref();
        }
    }

    pub(super) fn begin_sending(&mut self) {
        self.is_sending = true;
    }

    /// All that the call has sent is in the output.
    pub(super) fn sent(&mut self) {
        self.is_sending = false;
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
    }

    /// The stream is gone: whoever waits must look.
    pub(super) fn leave(self) {
        [self.reader, self.writer].into_iter().flatten().for_each(Waker::wake);
    }

    fn take(&mut self) -> Option<Bytes> {
        if self.chunk.is_empty() {
            return None;
        }
        let next = self.more.pop_front().unwrap_or_default();
        Some(std::mem::replace(&mut self.chunk, next))
    }
}

fn wait(place: &mut Option<Waker>, cx: &Context<'_>) {
    if !place.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
        *place = Some(cx.waker().clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_come_in_order_and_empty_ones_not_at_all() {
        let mut traffic = Traffic::default();
        for chunk in ["a", "", "b", "c"] {
            traffic.push(Bytes::from_static(chunk.as_bytes()), false);
        }
        let taken: Vec<Bytes> = std::iter::from_fn(|| traffic.take()).collect();
        assert_eq!(taken, ["a", "b", "c"]);
    }
}
