//! What the task of a connection and its calls share: the HTTP/2 connection, content that has arrived, and
//! the wakers of calls that wait.

use std::cell::{RefCell, RefMut};
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http2::{Connection, StreamId};

use super::received_bytes::ReceivedBytes;
use crate::local_event::LocalEvent;
use crate::read_budget::ReadShare;

/// The connection of which a call is a stream.
#[derive(Debug)]
pub(super) struct Link {
    connection: RefCell<Connection<Traffic>>,
    peer: SocketAddr,
    /// What has arrived and is no message of a call yet.
    received: Rc<ReceivedBytes>,
    /// Set when the connection holds fewer answers than it may.
    room: LocalEvent,
    /// Set when the next piece of a long answer may be made.
    piece_room: LocalEvent,
    /// What long answers may hold.
    read_share: Rc<ReadShare>,
}

/// Why a call gets no more of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// The stream is gone.
    Stream,
    /// The connection held too much that no call had taken, and the rest was not kept.
    Content,
}

/// What has arrived for a call and what the call waits for.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    /// The first chunk that is not taken, kept apart because most calls have one.
    chunk: Bytes,
    /// What has come behind it.
    more: Vec<u8>,
    is_ended: bool,
    /// Whether something that has come was not kept.
    is_cut: bool,
    /// Where chunks are counted until a call has made messages of them; the calls give them back.
    received: Option<Rc<ReceivedBytes>>,
    /// Whether a message is not yet in the output.
    is_sending: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Link {
    pub(super) fn new(connection: Connection<Traffic>, peer: SocketAddr) -> Rc<Link> {
        let (connection, received) = (RefCell::new(connection), Rc::default());
        let (room, piece_room) = (LocalEvent::default(), LocalEvent::default());
        Rc::new(Link { connection, peer, received, room, piece_room, read_share: Rc::default() })
    }

    /// The connection; never held while a call is polled.
    pub(super) fn connection(&self) -> RefMut<'_, Connection<Traffic>> {
        self.connection.borrow_mut()
    }

    /// The address of the client.
    pub(super) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// What long answers of the connection may hold.
    pub(super) fn read_share(&self) -> &Rc<ReadShare> {
        &self.read_share
    }

    /// Wakes the calls that wait for the connection to hold fewer answers, if it does.
    pub(super) fn wake_if_room(&self) {
        let (has_room, has_piece_room) = {
            let connection = self.connection();
            (!connection.is_congested(), connection.has_room_for_piece())
        };
        self.room.set(has_room);
        self.piece_room.set(has_piece_room);
    }

    /// `None` if an answer may be made: the connection holds fewer than it may. Else what is set when that
    /// changes.
    pub(super) fn full(&self) -> Option<&LocalEvent> {
        let is_full = self.connection().is_congested();
        // Not set if there is room: that would wake all that wait, once for each of them.
        is_full.then(|| self.room.set(false)).map(|()| &self.room)
    }

    /// The same for a piece of a long answer. Those leave room for other answers, which would wait for the
    /// end of a long one else.
    pub(super) fn full_for_piece(&self) -> Option<&LocalEvent> {
        let is_full = !self.connection().has_room_for_piece();
        is_full.then(|| self.piece_room.set(false)).map(|()| &self.piece_room)
    }

    pub(super) fn received(&self) -> &Rc<ReceivedBytes> {
        &self.received
    }

    /// Takes in content that has arrived for a stream.
    pub(super) fn push(&self, id: StreamId, data: &[u8], is_end: bool) {
        let mut connection = self.connection();
        let Some(traffic) = connection.owner(id) else { return };
        let is_kept = traffic.push(data, is_end, &self.received);
        if !is_kept {
            connection.release(id, data.len());
        }
    }

    /// The next chunk of a request, `None` at its end. Its room in the window is given back, its bytes still
    /// count as [`Link::received`].
    pub(super) fn poll_chunk(&self, id: StreamId, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Lost>> {
        let mut connection = self.connection();
        let Some(traffic) = connection.owner(id) else { return Poll::Ready(Err(Lost::Stream)) };
        match traffic.take() {
            Some(chunk) => {
                connection.release(id, chunk.len());
                Poll::Ready(Ok(Some(chunk)))
            }
            None if traffic.is_cut => Poll::Ready(Err(Lost::Content)),
            None if traffic.is_ended => Poll::Ready(Ok(None)),
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
    /// Adds what has arrived, in memory of its own: a slice of what was read would keep all of that, however
    /// small it is. False if it is not kept, because the connection holds too much.
    fn push(&mut self, data: &[u8], is_end: bool, received: &Rc<ReceivedBytes>) -> bool {
        let is_kept = !self.is_cut && received.take(data.len());
        self.is_cut = !is_kept;
        if is_kept && !data.is_empty() {
            self.received.get_or_insert_with(|| Rc::clone(received));
            if self.chunk.is_empty() {
                self.chunk = Bytes::copy_from_slice(data);
            } else {
                self.more.extend_from_slice(data);
            }
        }
        self.is_ended = is_end;
        // Kept, since a call that waits for one chunk mostly waits for the next.
        if let Some(reader) = &self.reader {
            reader.wake_by_ref();
        }
        is_kept
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

    /// The stream is gone: wakes the call, if it waits.
    pub(super) fn leave(mut self) {
        [self.reader.take(), self.writer.take()].into_iter().flatten().for_each(Waker::wake);
    }

    fn take(&mut self) -> Option<Bytes> {
        if self.chunk.is_empty() {
            return None;
        }
        let next = Bytes::from(std::mem::take(&mut self.more));
        Some(std::mem::replace(&mut self.chunk, next))
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        if let Some(received) = &self.received {
            received.give_back(self.chunk.len() + self.more.len());
        }
    }
}

fn wait(place: &mut Option<Waker>, cx: &Context<'_>) {
    if !place.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
        *place = Some(cx.waker().clone());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn content_comes_in_order_and_what_is_empty_not_at_all() {
        let (mut traffic, received) = (Traffic::default(), Rc::default());
        for data in ["a", "", "b", "c"] {
            assert!(traffic.push(data.as_bytes(), false, &received));
        }
        let taken: Vec<Bytes> = std::iter::from_fn(|| traffic.take()).collect();
        assert_eq!(taken, ["a", "bc"]);
        received.give_back(3);
    }

    #[test]
    fn many_small_pieces_take_no_more_memory_than_twice_their_bytes() {
        let (mut traffic, received) = (Traffic::default(), Rc::default());
        // What was read is one piece of memory, of which each frame is a slice.
        let read = Bytes::from(vec![7; 64 << 10]);
        for at in 0..20_000 {
            assert!(traffic.push(&read.slice(at..at + 1), false, &received));
        }
        assert!(read.is_unique(), "no frame keeps what was read");
        assert!(traffic.chunk.len() + traffic.more.capacity() <= 2 * 20_000);
    }

    #[test]
    fn content_beyond_the_share_of_a_connection_is_not_kept() {
        static TOTAL: AtomicUsize = AtomicUsize::new(0);
        let mut traffic = Traffic::default();
        let received = Rc::new(ReceivedBytes::counted_in(&TOTAL));
        let megabyte = vec![7; 1 << 20];
        let mut n_kept = 0;
        while traffic.push(&megabyte, false, &received) {
            n_kept += 1;
        }
        assert!((1..400).contains(&n_kept), "{n_kept}");
        assert!(!traffic.push(b"x", true, &received), "what comes behind a gap is of no use");
        drop(traffic);
        let mut next = Traffic::default();
        assert!(next.push(&megabyte, false, &received), "the room is given back");
    }
}
