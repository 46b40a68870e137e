//! An answer message, ready to be sent: protobuf bytes in shared chunks, and the five-byte prefix of gRPC.
//!
//! Chunks go to the connection as they are; it copies small ones together and shares big ones, so that a
//! value read from the log is not copied. A body can be cloned for many streams at the price of a few
//! reference counts.

use std::fmt;

use bytes::Bytes;
use http2::Payload;
use prost::Message;

use super::status::{Code, Status};

/// Length of the prefix: a flag for compression and the message length as a big-endian `u32`.
pub(super) const PREFIX_LEN: usize = 5;

/// Longest message that is sent, in bytes, without its prefix: as etcd has it, whose server names no other
/// limit.
pub(crate) const SENT_LEN_MAX: usize = i32::MAX as usize;

/// A message is longer than one may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong {
    /// Bytes of the message.
    pub len: usize,
    /// Bytes that it may have.
    pub len_max: usize,
}

impl TooLong {
    /// Checks the length of a message before any work is done for it.
    pub(crate) fn check(len: usize, len_max: usize) -> Result<(), TooLong> {
        if len > len_max { Err(TooLong { len, len_max }) } else { Ok(()) }
    }
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TooLong { len, len_max } = self;
        write!(f, "grpc: trying to send message larger than max ({len} vs. {len_max})")
    }
}

impl std::error::Error for TooLong {}

impl From<TooLong> for Status {
    fn from(error: TooLong) -> Status {
        Status::new(Code::ResourceExhausted, error.to_string())
    }
}

/// One encoded protobuf message.
#[derive(Clone, Debug)]
pub struct Body {
    prefix: [u8; PREFIX_LEN],
    chunks: Vec<Bytes>,
}

impl Body {
    /// Encodes a message.
    pub fn encode(message: &impl Message) -> Result<Body, TooLong> {
        Body::from_chunks(vec![message.encode_to_vec().into()])
    }

    /// A message that is already encoded, in pieces.
    pub fn from_chunks(chunks: impl Into<Vec<Bytes>>) -> Result<Body, TooLong> {
        Body::new(false, chunks.into())
    }

    /// A message that was compressed by `grpc-encoding`.
    pub(super) fn compressed(message: Vec<u8>) -> Result<Body, TooLong> {
        Body::new(true, vec![message.into()])
    }

    fn new(is_compressed: bool, chunks: Vec<Bytes>) -> Result<Body, TooLong> {
        let len = chunks.iter().map(Bytes::len).sum();
        Ok(Body { prefix: prefix(is_compressed, len)?, chunks })
    }

    /// Bytes of the message, without the prefix.
    pub(crate) fn message_len(&self) -> usize {
        self.chunks.iter().map(Bytes::len).sum()
    }

    /// The message, without the prefix, in pieces of at most `len_max` bytes.
    pub(crate) fn into_pieces(self, len_max: usize) -> impl Iterator<Item = Bytes> {
        let mut chunks = self.chunks.into_iter();
        let mut chunk = Bytes::new();
        std::iter::from_fn(move || {
            while chunk.is_empty() {
                chunk = chunks.next()?;
            }
            Some(chunk.split_to(chunk.len().min(len_max)))
        })
    }

    /// The pieces of the message, without the prefix.
    pub(super) fn message_chunks(&self) -> impl Iterator<Item = &[u8]> {
        self.chunks.iter().map(|chunk| &chunk[..])
    }

    /// What goes on the wire.
    pub(super) fn payload(&self) -> Payload<'_> {
        Payload { head: &self.prefix, chunks: &self.chunks }
    }
}

/// The prefix of a message of `len` bytes.
pub(super) fn prefix(is_compressed: bool, len: usize) -> Result<[u8; PREFIX_LEN], TooLong> {
    TooLong::check(len, SENT_LEN_MAX)?;
    let [a, b, c, d] = (len as u32).to_be_bytes();
    Ok([u8::from(is_compressed), a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_tells_length_and_compression() {
        let message = proto::mvccpb::KeyValue { key: Bytes::from_static(b"k"), ..Default::default() };
        assert_eq!(Body::encode(&message).unwrap().prefix, [0, 0, 0, 0, 3]);
        let chunks = [Bytes::from(vec![7; 0x0102]), Bytes::new()];
        assert_eq!(Body::from_chunks(chunks).unwrap().prefix, [0, 0, 0, 1, 2]);
        assert_eq!(Body::compressed(vec![1]).unwrap().prefix, [1, 0, 0, 0, 1]);
        assert_eq!(Body::from_chunks([]).unwrap().prefix, [0; PREFIX_LEN]);
    }

    #[test]
    fn pieces_are_the_whole_message() {
        let chunks = ["abc", "", "defgh"].map(|chunk| Bytes::from_static(chunk.as_bytes()));
        let pieces: Vec<_> = Body::from_chunks(chunks).unwrap().into_pieces(2).collect();
        assert_eq!(pieces, ["ab", "c", "de", "fg", "h"]);
    }

    #[test]
    fn message_longer_than_two_gigabytes_is_refused_with_the_text_of_grpc_go() {
        // One piece of memory, many times.
        let megabyte = Bytes::from(vec![7; 1 << 20]);
        let longest = [vec![megabyte.clone(); 2047], vec![megabyte.slice(1..)]].concat();
        assert_eq!(Body::from_chunks(longest).unwrap().prefix, [0, 0x7f, 0xff, 0xff, 0xff]);
        let status = Status::from(Body::from_chunks(vec![megabyte; 4097]).unwrap_err());
        assert_eq!(status.code, Code::ResourceExhausted);
        let text = "grpc: trying to send message larger than max (4296015872 vs. 2147483647)";
        assert_eq!(status.message, text);
    }
}
