//! Cuts the bytes of a request stream into gRPC messages.
//!
//! Each message is prefixed by a compression flag and its length ("gRPC over HTTP2", Length-Prefixed-Message).
//! A message that arrives within one DATA frame is handed out as a slice of it; one that spans frames is copied
//! once into a buffer that grows with what has arrived, never with what the prefix promises.
//! Error texts are those of grpc-go, since users search for them.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::body::PREFIX_LEN;
use super::gzip;
use super::status::{Code, Status};

/// Bytes of messages that have not come to their end, all clients together; more are refused. Only messages that
/// span DATA frames count.
const UNFINISHED_BYTES_MAX: usize = 256 << 20;

/// The bytes that all decoders hold.
static UNFINISHED: AtomicUsize = AtomicUsize::new(0);

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
    partial: BytesMut,
}

impl Decoder {
    pub(super) fn new(encoding: Encoding, len_max: usize) -> Decoder {
        Decoder { len_max, encoding, chunk: Bytes::new(), partial: BytesMut::new() }
    }

    /// Takes the next bytes of the stream. Call [`Decoder::next`] until it yields `None` first.
    pub(super) fn push(&mut self, chunk: Bytes) {
        debug_assert!(self.chunk.is_empty(), "next() takes all of a chunk before it yields None");
        self.chunk = chunk;
    }

    /// The next whole message, or `None` if more bytes are needed. An error ends the stream.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, Status> {
        if self.partial.is_empty() {
            match self.frame_len(&self.chunk)? {
                Some(len) if len <= self.chunk.len() => {
                    let frame = self.chunk.split_to(len);
                    return self.open(frame).map(Some);
                }
                _ => {}
            }
        }
        loop {
            let known_len = self.frame_len(&self.partial)?;
            let wanted_len = known_len.unwrap_or(PREFIX_LEN) - self.partial.len();
            if known_len.is_some() && wanted_len == 0 {
                let frame = std::mem::take(&mut self.partial).freeze();
                UNFINISHED.fetch_sub(frame.len(), Ordering::Relaxed);
                return self.open(frame).map(Some);
            }
            if self.chunk.is_empty() {
                return Ok(None);
            }
            let taken = self.chunk.split_to(wanted_len.min(self.chunk.len()));
            if UNFINISHED.fetch_add(taken.len(), Ordering::Relaxed) + taken.len() > UNFINISHED_BYTES_MAX {
                UNFINISHED.fetch_sub(taken.len(), Ordering::Relaxed);
                let text = "grpc: too many bytes of unfinished messages";
                return Err(Status::new(Code::ResourceExhausted, text));
            }
            self.partial.put_slice(&taken);
        }
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
        UNFINISHED.fetch_sub(self.partial.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoder() -> Decoder {
        Decoder::new(Encoding::Identity, 100)
    }

    fn frame(flag: u8, message: &[u8]) -> Vec<u8> {
        let mut bytes = vec![flag];
        bytes.put_u32(u32::try_from(message.len()).unwrap());
        bytes.extend_from_slice(message);
        bytes
    }

    #[test]
    fn message_in_one_chunk_is_shared() {
        let chunk = Bytes::from(frame(0, b"hello"));
        let mut decoder = decoder();
        decoder.push(chunk.clone());
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
                decoder.push(Bytes::copy_from_slice(chunk));
                while let Some(message) = decoder.next().unwrap() {
                    messages.push(message);
                }
            }
            assert_eq!(messages, [&b"first"[..], b"", b"third"], "in steps of {step}");
            assert!(decoder.is_between_messages());
        }
    }

    #[test]
    fn oversize_message_is_refused_by_its_prefix() {
        let mut decoder = decoder();
        decoder.push(Bytes::from_static(&[0, 0, 0, 0, 101]));
        let status = decoder.next().unwrap_err();
        assert_eq!(status.code, Code::ResourceExhausted);
        assert_eq!(status.message, "grpc: received message larger than max (101 vs. 100)");
    }

    #[test]
    fn half_a_message_is_not_the_end() {
        let mut decoder = decoder();
        decoder.push(Bytes::from_static(&[0, 0]));
        assert_eq!(decoder.next(), Ok(None));
        assert!(!decoder.is_between_messages());
    }

    #[test]
    fn wrong_flags_are_refused() {
        let refusal = |bytes: Vec<u8>| {
            let mut decoder = decoder();
            decoder.push(Bytes::from(bytes));
            decoder.next().unwrap_err()
        };
        let status = refusal(frame(1, b"x"));
        assert_eq!(status.code, Code::Internal);
        assert_eq!(status.message, "grpc: compressed flag set with identity or empty encoding");
        assert_eq!(refusal(frame(2, b"x")).message, "grpc: received unexpected payload format 2");
    }

    #[test]
    fn gzip_message_is_opened() {
        let mut decoder = Decoder::new(Encoding::Gzip, 100);
        let packed = gzip::compress([&b"hello"[..]].into_iter());
        decoder.push(Bytes::from([frame(1, &packed), frame(0, b"plain")].concat()));
        assert_eq!(decoder.next().unwrap().unwrap(), b"hello"[..]);
        assert_eq!(decoder.next().unwrap().unwrap(), b"plain"[..]);
    }
}
