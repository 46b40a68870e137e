//! Cuts the bytes of a request stream into gRPC messages.
//!
//! Each message is prefixed by a compression flag and its length ("gRPC over HTTP2",
//! Length-Prefixed-Message). A message that arrives within one DATA frame is handed out as a slice of it;
//! one that spans frames is copied once into a buffer that grows with what has arrived, never with what the
//! prefix promises. Error texts are those of grpc-go, since users search for them.

use std::rc::Rc;

use bytes::{Buf, Bytes};

use super::body::PREFIX_LEN;
use super::gzip;
use super::received_bytes::ReceivedBytes;
use super::status::{Code, Status};

/// How a peer compresses its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Identity,
    Gzip,
}

/// An incremental decoder for one direction of one call.
#[derive(Debug)]
pub(super) struct Decoder {
    /// Longest message, in bytes, before and after decompression.
    len_max: usize,
    encoding: Encoding,
    /// Received and not looked at.
    chunk: Bytes,
    /// The beginning of a message that spans chunks.
    partial: Vec<u8>,
    /// Where the bytes of `chunk` and `partial` are counted.
    received: Rc<ReceivedBytes>,
}

impl Decoder {
    pub(super) fn new(encoding: Encoding, len_max: usize, received: Rc<ReceivedBytes>) -> Decoder {
        Decoder { len_max, encoding, chunk: Bytes::new(), partial: Vec::new(), received }
    }

    /// Takes the next bytes of the stream, which have been counted as received. Call [`Decoder::next`] until
    /// it yields `None` first.
    pub(super) fn push(&mut self, chunk: Bytes) {
        debug_assert!(self.chunk.is_empty(), "next() takes all of a chunk before it yields None");
        self.chunk = chunk;
    }

    /// The next whole message, or `None` if more bytes are needed. An error ends the stream.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, Status> {
        if self.partial.is_empty() {
            match self.frame_len(&self.chunk)? {
                Some(len) if len <= self.chunk.len() => {
                    self.received.give_back(len);
                    let frame = self.chunk.split_to(len);
                    return self.open(frame).map(Some);
                }
                _ => {}
            }
        }
        loop {
            let known_len = self.frame_len(&self.partial)?;
            let frame_len = known_len.unwrap_or(PREFIX_LEN);
            if known_len.is_some() && self.partial.len() == frame_len {
                self.received.give_back(frame_len);
                let frame = std::mem::take(&mut self.partial).into();
                return self.open(frame).map(Some);
            }
            if self.chunk.is_empty() {
                return Ok(None);
            }
            self.extend_partial(frame_len);
        }
    }

    /// Copies what has come of a frame, doubling the memory each time, but to no more than the whole.
    fn extend_partial(&mut self, frame_len: usize) {
        let len = self.chunk.len().min(frame_len - self.partial.len());
        let needed_len = self.partial.len() + len;
        if needed_len > self.partial.capacity() {
            let capacity = (2 * self.partial.capacity()).clamp(needed_len, frame_len);
            self.partial.reserve_exact(capacity - self.partial.len());
        }
        self.partial.extend_from_slice(&self.chunk.split_to(len));
    }

    /// Whether the stream may end here.
    pub(super) fn is_between_messages(&self) -> bool {
        self.partial.is_empty() && self.chunk.is_empty()
    }

    /// Length of the frame that `bytes` begins with, prefix included, once the prefix is complete.
    fn frame_len(&self, bytes: &[u8]) -> Result<Option<usize>, Status> {
        let Some(prefix) = bytes.first_chunk::<PREFIX_LEN>() else { return Ok(None) };
        let [flag, len @ ..] = *prefix;
        let len = u32::from_be_bytes(len) as usize;
        match (flag, self.encoding) {
            (0, _) | (1, Encoding::Gzip) => {}
            (1, Encoding::Identity) => {
                return Err(Status::internal("grpc: compressed flag set with identity or empty encoding"));
            }
            _ => return Err(Status::internal(format!("grpc: received unexpected payload format {flag}"))),
        }
        if len > self.len_max {
            return Err(Status::new(
                Code::ResourceExhausted,
                format!("grpc: received message larger than max ({len} vs. {})", self.len_max),
            ));
        }
        Ok(Some(PREFIX_LEN + len))
    }

    /// Takes the prefix off and decompresses.
    fn open(&self, mut frame: Bytes) -> Result<Bytes, Status> {
        let is_compressed = frame[0] == 1;
        frame.advance(PREFIX_LEN);
        if is_compressed { gzip::decompress(&frame, self.len_max) } else { Ok(frame) }
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        self.received.give_back(self.chunk.len() + self.partial.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoder() -> Decoder {
        Decoder::new(Encoding::Identity, 100, Rc::default())
    }

    /// Pushes bytes as a call does, which have been counted when they arrived.
    fn push(decoder: &mut Decoder, chunk: Bytes) {
        assert!(decoder.received.take(chunk.len()));
        decoder.push(chunk);
    }

    fn frame(flag: u8, message: &[u8]) -> Vec<u8> {
        let mut bytes = vec![flag];
        bytes.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(message);
        bytes
    }

    #[test]
    fn message_in_one_chunk_is_shared() {
        let chunk = Bytes::from(frame(0, b"hello"));
        let mut decoder = decoder();
        push(&mut decoder, chunk.clone());
        let message = decoder.next().unwrap().unwrap();
        assert_eq!(message.as_ptr(), chunk[PREFIX_LEN..].as_ptr());
        assert_eq!(decoder.next(), Ok(None));
        assert!(decoder.is_between_messages());
    }

    #[test]
    fn any_split_yields_the_same_messages() {
        let bytes = [frame(0, b"first"), frame(0, b""), frame(0, b"third")].concat();
        for step in 1..=bytes.len() {
            let mut decoder = decoder();
            let mut messages = Vec::new();
            for chunk in bytes.chunks(step) {
                push(&mut decoder, Bytes::copy_from_slice(chunk));
                while let Some(message) = decoder.next().unwrap() {
                    messages.push(message);
                }
            }
            assert_eq!(messages, [&b"first"[..], b"", b"third"], "in steps of {step}");
            assert!(decoder.is_between_messages());
        }
    }

    #[test]
    fn memory_grows_with_what_has_come_and_not_beyond_the_message() {
        let mut decoder = Decoder::new(Encoding::Identity, 1 << 20, Rc::default());
        let bytes = frame(0, &[7; 100_000]);
        for chunk in bytes.chunks(16_384) {
            push(&mut decoder, Bytes::copy_from_slice(chunk));
            let message = decoder.next().unwrap();
            assert!(message.is_some() || decoder.partial.capacity() <= 2 * decoder.partial.len());
            assert!(decoder.partial.capacity() <= bytes.len());
        }
        assert!(decoder.is_between_messages());
    }

    #[test]
    fn oversize_message_is_refused_by_its_prefix() {
        let mut decoder = decoder();
        push(&mut decoder, Bytes::from_static(&[0, 0, 0, 0, 101]));
        let status = decoder.next().unwrap_err();
        assert_eq!(status.code, Code::ResourceExhausted);
        assert_eq!(status.message, "grpc: received message larger than max (101 vs. 100)");
    }

    #[test]
    fn half_a_message_is_not_the_end() {
        let mut decoder = decoder();
        push(&mut decoder, Bytes::from_static(&[0, 0]));
        assert_eq!(decoder.next(), Ok(None));
        assert!(!decoder.is_between_messages());
    }

    #[test]
    fn wrong_flags_are_refused() {
        let refusal = |bytes: Vec<u8>| {
            let mut decoder = decoder();
            push(&mut decoder, Bytes::from(bytes));
            decoder.next().unwrap_err()
        };
        let status = refusal(frame(1, b"x"));
        assert_eq!(status.code, Code::Internal);
        assert_eq!(status.message, "grpc: compressed flag set with identity or empty encoding");
        assert_eq!(refusal(frame(2, b"x")).message, "grpc: received unexpected payload format 2");
    }

    #[test]
    fn gzip_message_is_opened() {
        let mut decoder = Decoder::new(Encoding::Gzip, 100, Rc::default());
        let packed = gzip::compress([&b"hello"[..]].into_iter()).unwrap();
        push(&mut decoder, Bytes::from([frame(1, &packed), frame(0, b"plain")].concat()));
        assert_eq!(decoder.next().unwrap().unwrap(), b"hello"[..]);
        assert_eq!(decoder.next().unwrap().unwrap(), b"plain"[..]);
    }
}
