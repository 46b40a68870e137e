//! Messages of one stream that are sent together.
//!
//! Thousands of small answers may be due at once, as when all watchers of a key are told of a put. Written
//! one behind the other they cost a copy each and share a DATA frame. Big pieces are not copied: all streams
//! that wait for slow clients share them.
//!
//! The stream that makes the answers fills a batch, sends it, and fills it again. While it has nothing to
//! send it keeps none: the memory is the thread's then. Does not compress: [`Batch::compressed`] makes
//! another batch for a client that wants that.

use std::cell::Cell;

use bytes::Bytes;
use http2::Payload;

use super::body::{PREFIX_LEN, TooLong, prefix};
use super::gzip;
use super::status::Status;

/// Bytes that a batch holds, unless it is one long message: what fits into a DATA frame of usual length.
const LEN_MAX: usize = 16 << 10;

/// From this length on a piece is shared instead of copied.
const SHARE_LEN_MIN: usize = 4096;

thread_local! {
    /// Memory for the tail of the next batch.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Encoded protobuf messages, in order.
#[derive(Debug)]
pub struct Batch {
    /// Pieces before the tail.
    pieces: Vec<Bytes>,
    /// Bytes of the pieces.
    pieces_len: usize,
    tail: Vec<u8>,
    /// Where the last message ends, counted from the beginning.
    end: usize,
    last_message_len: usize,
    n_messages: usize,
}

impl Default for Batch {
    fn default() -> Batch {
        let tail = SPARE.take();
        Batch { pieces: Vec::new(), pieces_len: 0, tail, end: 0, last_message_len: 0, n_messages: 0 }
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        let mut tail = std::mem::take(&mut self.tail);
        tail.clear();
        SPARE.set(tail);
    }
}

impl Batch {
    /// Adds a message that `put` appends.
    pub fn add(&mut self, put: impl FnOnce(&mut Vec<u8>)) -> Result<(), TooLong> {
        let start = self.tail.len();
        self.begin_message(false, 0)?;
        put(&mut self.tail);
        let len = self.tail.len() - start - PREFIX_LEN;
        self.tail[start..start + PREFIX_LEN].copy_from_slice(&prefix(false, len)?);
        self.end += len;
        self.last_message_len = len;
        Ok(())
    }

    /// Begins a message of `len` bytes, which are to follow. Panics if those of the last one are not
    /// complete.
    pub fn begin(&mut self, len: usize) -> Result<(), TooLong> {
        self.begin_message(false, len)
    }

    /// Appends a piece of the message, by copy if it is small.
    pub fn push(&mut self, piece: &Bytes) {
        if piece.len() < SHARE_LEN_MIN {
            // A long message is many pieces of moderate length, which need not grow by being copied.
            if self.tail.len() + piece.len() > LEN_MAX {
                self.close_tail();
                self.tail.reserve(LEN_MAX);
            }
            return self.tail.extend_from_slice(piece);
        }
        self.close_tail();
        self.pieces_len += piece.len();
        self.pieces.push(piece.clone());
    }

    /// Where to append small pieces of the message.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.tail
    }

    /// Number of messages.
    pub fn len(&self) -> usize {
        self.n_messages
    }

    /// Whether there is no message.
    pub fn is_empty(&self) -> bool {
        self.n_messages == 0
    }

    /// Whether another message like the last one is to be added before all are sent.
    pub fn has_room(&self) -> bool {
        self.bytes() + PREFIX_LEN + self.last_message_len <= LEN_MAX
    }

    /// Bytes of the messages, without their prefixes.
    pub(crate) fn messages_len(&self) -> usize {
        self.bytes() - self.n_messages * PREFIX_LEN
    }

    /// What goes on the wire.
    pub(super) fn payload(&mut self) -> Payload<'_> {
        assert_eq!(self.bytes(), self.end, "the last message is complete");
        if !self.pieces.is_empty() || self.tail.len() >= SHARE_LEN_MIN {
            self.close_tail();
        }
        Payload { head: &self.tail, chunks: &self.pieces }
    }

    /// Takes all messages out.
    pub(super) fn clear(&mut self) {
        self.tail.clear();
        self.pieces.clear();
        (self.pieces_len, self.end, self.last_message_len, self.n_messages) = (0, 0, 0, 0);
    }

    /// The same messages, each compressed by `grpc-encoding`.
    pub(super) fn compressed(&mut self) -> Result<Batch, Status> {
        let Payload { head, chunks } = self.payload();
        let bytes = [head, &chunks.concat()].concat();
        let mut batch = Batch::default();
        let mut rest = &bytes[..];
        while let Some(([_, len @ ..], left)) = rest.split_first_chunk::<PREFIX_LEN>() {
            let (message, left) = left.split_at(u32::from_be_bytes(*len) as usize);
            let packed = gzip::compress([message].into_iter())?;
            batch.begin_message(true, packed.len())?;
            batch.push(&packed.into());
            rest = left;
        }
        Ok(batch)
    }

    fn begin_message(&mut self, is_compressed: bool, len: usize) -> Result<(), TooLong> {
        assert_eq!(self.bytes(), self.end, "the last message is complete");
        let prefix = prefix(is_compressed, len)?;
        // A batch of two messages often gets many.
        self.tail.reserve(if self.n_messages == 1 { LEN_MAX } else { PREFIX_LEN + len.min(SHARE_LEN_MIN) });
        self.tail.extend_from_slice(&prefix);
        self.end += PREFIX_LEN + len;
        self.last_message_len = len;
        self.n_messages += 1;
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.pieces_len + self.tail.len()
    }

    fn close_tail(&mut self) {
        if !self.tail.is_empty() {
            self.pieces_len += self.tail.len();
            self.pieces.push(std::mem::take(&mut self.tail).into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(batch: &mut Batch, message: &[u8]) {
        batch.begin(message.len()).unwrap();
        batch.push(&Bytes::copy_from_slice(message));
    }

    fn wire(batch: &mut Batch) -> Vec<u8> {
        let Payload { head, chunks } = batch.payload();
        [head, &chunks.concat()].concat()
    }

    #[test]
    fn messages_follow_each_other_each_with_its_prefix() {
        let mut batch = Batch::default();
        let long = vec![7; SHARE_LEN_MIN];
        [&b"ab"[..], b"", &long, b"c"].into_iter().for_each(|message| add(&mut batch, message));
        let expected = [&[0, 0, 0, 0, 2, b'a', b'b', 0, 0, 0, 0, 0, 0, 0, 0, 16, 0], &long[..]].concat();
        assert_eq!(wire(&mut batch), [&expected[..], &[0, 0, 0, 0, 1, b'c']].concat());
        assert_eq!((batch.len(), batch.messages_len()), (4, 3 + SHARE_LEN_MIN));
        batch.clear();
        assert!(batch.is_empty() && wire(&mut batch).is_empty());
    }

    #[test]
    fn long_piece_is_shared() {
        let mut batch = Batch::default();
        let long = Bytes::from(vec![7; SHARE_LEN_MIN]);
        batch.begin(long.len()).unwrap();
        batch.push(&long);
        assert_eq!(batch.payload().chunks[1].as_ptr(), long.as_ptr());
    }

    #[test]
    fn long_message_of_small_pieces_is_cut_into_moderate_ones() {
        let mut batch = Batch::default();
        let piece = Bytes::from(vec![7; 1000]);
        batch.begin(100 * piece.len()).unwrap();
        (0..100).for_each(|_| batch.push(&piece));
        assert!(batch.payload().chunks.iter().all(|chunk| chunk.len() <= LEN_MAX));
        assert_eq!(wire(&mut batch)[PREFIX_LEN..], [7; 100_000]);
    }

    #[test]
    fn message_that_is_too_long_is_refused_before_its_bytes_are_there() {
        let mut batch = Batch::default();
        add(&mut batch, b"first");
        assert_eq!(batch.begin(1 << 31), Err(TooLong { len: 1 << 31, len_max: (1 << 31) - 1 }));
        assert_eq!(wire(&mut batch), b"\0\0\0\0\x05first");
    }

    #[test]
    fn there_is_room_until_the_next_message_would_leave_the_frame() {
        let mut batch = Batch::default();
        while batch.has_room() {
            add(&mut batch, &[1; 1000]);
        }
        assert_eq!(batch.len(), LEN_MAX / (1000 + PREFIX_LEN));
    }

    #[test]
    fn each_message_is_compressed_by_itself() {
        let mut batch = Batch::default();
        add(&mut batch, b"first");
        add(&mut batch, b"second");
        let mut rest = Bytes::from(wire(&mut batch.compressed().unwrap()));
        for message in ["first", "second"] {
            let packed = gzip::compress([message.as_bytes()].into_iter()).unwrap();
            assert_eq!(rest.split_to(PREFIX_LEN), prefix(true, packed.len()).unwrap()[..]);
            assert_eq!(rest.split_to(packed.len()), packed);
        }
        assert!(rest.is_empty());
    }
}
