//! One stream: a request that is being received, answered, or both (RFC 9113, §5.1).
//!
//! A stream exists from its HEADERS until both sides have ended it or one has reset it. Either side may end
//! first; when we do, the client is told to stop sending.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;

use crate::error::Code;
use crate::flow::{ReceiveWindow, SendWindow};
use crate::limits::{STREAM_WINDOW, WAITING_PIECE_COST, WAITING_STREAM_COST};

/// What goes into DATA: a few bytes that are copied, then pieces that are shared if they are big.
#[derive(Clone, Copy, Debug)]
pub struct Payload<'a> {
    /// A prefix of the owner's protocol.
    pub head: &'a [u8],
    /// What follows it, in order.
    pub chunks: &'a [Bytes],
}

impl Payload<'_> {
    /// Bytes that it takes of the windows.
    pub(crate) fn len(&self) -> usize {
        self.head.len() + self.chunks.iter().map(Bytes::len).sum::<usize>()
    }
}

/// The state of a stream. `owner` is what the owner of the connection keeps of it.
#[derive(Debug)]
pub(crate) struct Stream<T> {
    pub(crate) owner: T,
    pub(crate) opened_at: Instant,
    /// Whether the client may still send.
    pub(crate) is_receiving: bool,
    pub(crate) receive_window: ReceiveWindow,
    /// Bytes that have not arrived of the content that `content-length` announced.
    content_left: Option<u64>,
    pub(crate) send_window: SendWindow,
    /// Whether the response has begun and goes on.
    pub(crate) is_answering: bool,
    /// DATA that waits for windows.
    queue: VecDeque<Bytes>,
    pub(crate) queued_len: usize,
    /// Memory of the pieces of the queue: one that is sent in part is still there as a whole.
    pieces_len: usize,
    /// Length of the first piece before any of it was sent.
    front_len: usize,
    /// The header block that ends the stream once the queue is sent.
    pub(crate) trailers: Option<Vec<u8>>,
    /// Whether it is in the queue of streams that can send.
    pub(crate) is_ready: bool,
}

impl<T> Stream<T> {
    pub(crate) fn new(owner: T, send_window: u32, content_len: Option<u64>, now: Instant) -> Stream<T> {
        Stream {
            owner,
            opened_at: now,
            is_receiving: true,
            receive_window: ReceiveWindow::new(STREAM_WINDOW),
            content_left: content_len,
            send_window: SendWindow::new(send_window),
            is_answering: false,
            queue: VecDeque::new(),
            queued_len: 0,
            pieces_len: 0,
            front_len: 0,
            trailers: None,
            is_ready: false,
        }
    }

    /// Notes content that has arrived; it must be what `content-length` announced.
    pub(crate) fn receive(&mut self, len: usize, is_end: bool) -> Result<(), Code> {
        if let Some(left) = &mut self.content_left {
            *left = left.checked_sub(len as u64).ok_or(Code::ProtocolError)?;
            if is_end && *left > 0 {
                return Err(Code::ProtocolError);
            }
        }
        self.is_receiving = !is_end;
        Ok(())
    }

    /// Whether the client has been sent all of the answer that there is so far. It may give the stream up
    /// then without being counted.
    pub(crate) fn is_answered(&self) -> bool {
        self.is_answering && self.queued_len == 0
    }

    pub(crate) fn enqueue(&mut self, payload: Payload<'_>) {
        let head = (!payload.head.is_empty()).then(|| Bytes::copy_from_slice(payload.head));
        let chunks = payload.chunks.iter().filter(|chunk| !chunk.is_empty()).cloned();
        let was_empty = self.queue.is_empty();
        self.queue.extend(head.into_iter().chain(chunks));
        self.queued_len += payload.len();
        self.pieces_len += payload.len();
        if was_empty {
            self.front_len = self.queue.front().map_or(0, Bytes::len);
        }
    }

    /// Memory that the queue takes, in bytes: many tiny answers are more than their content, and so is a
    /// long piece of which little is left.
    pub(crate) fn held(&self) -> usize {
        if self.queue.is_empty() {
            return 0;
        }
        WAITING_STREAM_COST + WAITING_PIECE_COST * self.queue.len() + self.pieces_len
    }

    /// The next piece of the queue, of at most `len` bytes; `None` if nothing is queued.
    pub(crate) fn dequeue(&mut self, len: usize) -> Option<Bytes> {
        let front = self.queue.front_mut()?;
        let piece = if front.len() > len {
            front.split_to(len)
        } else {
            self.pieces_len -= self.front_len;
            let piece = self.queue.pop_front()?;
            self.front_len = self.queue.front().map_or(0, Bytes::len);
            piece
        };
        self.queued_len -= piece.len();
        Some(piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(content_len: Option<u64>) -> Stream<()> {
        Stream::new((), 0, content_len, Instant::now())
    }

    #[test]
    fn content_is_as_long_as_announced() {
        let mut exact = stream(Some(5));
        assert_eq!((exact.receive(2, false), exact.receive(3, true)), (Ok(()), Ok(())));
        assert!(!exact.is_receiving);
        assert_eq!(stream(Some(5)).receive(4, true), Err(Code::ProtocolError));
        assert_eq!(stream(Some(5)).receive(6, false), Err(Code::ProtocolError));
        assert_eq!(stream(None).receive(6, true), Ok(()));
    }

    #[test]
    fn queue_yields_its_bytes_in_any_portion() {
        let mut stream = stream(None);
        let chunks = [Bytes::from_static(b"cdef"), Bytes::from_static(b"g")];
        stream.enqueue(Payload { head: b"ab", chunks: &chunks });
        assert_eq!(stream.queued_len, 7);
        let portions: Vec<Bytes> = [9, 3, 1, 1].map(|len| stream.dequeue(len).unwrap()).into();
        assert_eq!(portions, [&b"ab"[..], b"cde", b"f", b"g"]);
        assert_eq!((stream.queued_len, stream.pieces_len), (0, 0));
        assert_eq!(stream.dequeue(1), None);
    }

    #[test]
    fn piece_that_is_sent_in_part_is_held_whole() {
        let mut stream = stream(None);
        let chunks = [Bytes::from(vec![1; 1 << 20]), Bytes::from(vec![2; 10])];
        stream.enqueue(Payload { head: b"", chunks: &chunks });
        let held_at_first = stream.held();
        stream.dequeue((1 << 20) - 1).unwrap();
        assert_eq!((stream.queued_len, stream.held()), (11, held_at_first));
        stream.dequeue(1).unwrap();
        assert_eq!(stream.held(), WAITING_STREAM_COST + WAITING_PIECE_COST + 10);
    }
}
