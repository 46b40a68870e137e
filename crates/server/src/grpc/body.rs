//! An answer message, ready to be sent: protobuf bytes in shared chunks, and the five-byte prefix of gRPC.
//!
//! Chunks go to the connection as they are; it copies small ones together and shares big ones, so that a value
//! read from the log is not copied. A body can be cloned for many streams at the price of a few reference counts.

use bytes::Bytes;
use http2::Payload;
use prost::Message;

/// Length of the prefix: a flag for compression and the message length as a big-endian `u32`.
pub(super) const PREFIX_LEN: usize = 5;

/// One encoded protobuf message.
#[derive(Clone, Debug)]
pub struct Body {
    prefix: [u8; PREFIX_LEN],
    chunks: Vec<Bytes>,
}

impl Body {
    /// Encodes a message. Panics if it is longer than 4 GiB.
    pub fn encode(message: &impl Message) -> Body {
        Body::from_chunks(vec![message.encode_to_vec().into()])
    }

    /// A message that is already encoded, in pieces. Panics if they are longer than 4 GiB together.
    pub fn from_chunks(chunks: impl Into<Vec<Bytes>>) -> Body {
        Body::new(false, chunks.into())
    }

    /// A message that was compressed by `grpc-encoding`.
    pub(super) fn compressed(message: Vec<u8>) -> Body {
        Body::new(true, vec![message.into()])
    }

    fn new(is_compressed: bool, chunks: Vec<Bytes>) -> Body {
        let len = chunks.iter().map(Bytes::len).sum();
        Body { prefix: prefix(is_compressed, len), chunks }
    }

    /// Bytes of the message, without the prefix.
    pub(crate) fn message_len(&self) -> usize {
        self.chunks.iter().map(Bytes::len).sum()
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

/// What stands before a message of `len` bytes. Panics if that is 4 GiB or more.
pub(super) fn prefix(is_compressed: bool, len: usize) -> [u8; PREFIX_LEN] {
    let [a, b, c, d] = u32::try_from(len).expect("no answer reaches 4 GiB").to_be_bytes();
    [u8::from(is_compressed), a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_tells_length_and_compression() {
        let message = proto::mvccpb::KeyValue { key: Bytes::from_static(b"k"), ..Default::default() };
        assert_eq!(Body::encode(&message).prefix, [0, 0, 0, 0, 3]);
        assert_eq!(Body::from_chunks([Bytes::from(vec![7; 0x0102]), Bytes::new()]).prefix, [0, 0, 0, 1, 2]);
        assert_eq!(Body::compressed(vec![1]).prefix, [1, 0, 0, 0, 1]);
        assert_eq!(Body::from_chunks([]).prefix, [0; PREFIX_LEN]);
    }
}
