//! An answer message, ready to be sent: the five-byte gRPC prefix and the protobuf bytes, in shared chunks.
//!
//! Small pieces are copied together with the prefix, so that a usual answer is one buffer and one DATA frame;
//! big ones are shared, so that a value read from the log is not copied. A body can be cloned for many streams
//! at the price of a few reference counts.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;

/// Length of the prefix: a flag for compression and the message length as a big-endian `u32`.
pub(super) const PREFIX_LEN: usize = 5;

/// Chunks below this many bytes are copied into one buffer: cheaper than a frame of their own.
const COPY_LEN_MAX: usize = 4096;

/// One encoded protobuf message with its gRPC prefix.
#[derive(Clone, Debug)]
pub struct Body {
    /// The prefix and the first bytes of the message.
    head: Bytes,
    /// What follows, in order.
    tail: Vec<Bytes>,
}

impl Body {
    /// Encodes a message: one allocation. Panics if it is longer than 4 GiB.
    pub fn encode(message: &impl Message) -> Body {
        let len = message.encoded_len();
        let mut buffer = BytesMut::with_capacity(PREFIX_LEN + len);
        put_prefix(&mut buffer, false, len);
        message.encode(&mut buffer).expect("the buffer has the encoded length");
        Body { head: buffer.freeze(), tail: Vec::new() }
    }

    /// A message that is already encoded, in pieces. Panics if they are longer than 4 GiB together.
    pub fn from_chunks(chunks: &[Bytes]) -> Body {
        let len = chunks.iter().map(Bytes::len).sum();
        let small_len: usize = chunks.iter().map(Bytes::len).filter(|len| *len < COPY_LEN_MAX).sum();
        let mut buffer = BytesMut::with_capacity(PREFIX_LEN + small_len);
        put_prefix(&mut buffer, false, len);
        let mut parts = Vec::new();
        for chunk in chunks {
            if chunk.len() < COPY_LEN_MAX {
                buffer.put_slice(chunk);
                continue;
            }
            if !buffer.is_empty() {
                parts.push(buffer.split().freeze());
            }
            parts.push(chunk.clone());
        }
        if !buffer.is_empty() {
            parts.push(buffer.freeze());
        }
        let tail = parts.split_off(1);
        Body { head: parts.pop().expect("the prefix is the first part"), tail }
    }

    /// A message that was compressed by `grpc-encoding`.
    pub(super) fn compressed(message: &[u8]) -> Body {
        let mut buffer = BytesMut::with_capacity(PREFIX_LEN + message.len());
        put_prefix(&mut buffer, true, message.len());
        buffer.put_slice(message);
        Body { head: buffer.freeze(), tail: Vec::new() }
    }

    /// Length of the message in bytes, without the prefix.
    pub fn message_len(&self) -> usize {
        self.wire_len() - PREFIX_LEN
    }

    /// Bytes that this body takes of the client's flow-control window.
    pub(super) fn wire_len(&self) -> usize {
        self.head.len() + self.tail.iter().map(Bytes::len).sum::<usize>()
    }

    /// The pieces of the message, without the prefix.
    pub(super) fn message_chunks(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::once(&self.head[PREFIX_LEN..]).chain(self.tail.iter().map(|chunk| &chunk[..]))
    }

    /// The pieces in the order they go on the wire.
    pub(super) fn into_chunks(self) -> impl Iterator<Item = Bytes> {
        std::iter::once(self.head).chain(self.tail)
    }
}

fn put_prefix(buffer: &mut BytesMut, is_compressed: bool, len: usize) {
    buffer.put_u8(u8::from(is_compressed));
    buffer.put_u32(u32::try_from(len).expect("no answer reaches 4 GiB"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(body: Body) -> Vec<Vec<u8>> {
        body.into_chunks().map(|chunk| chunk.to_vec()).collect()
    }

    #[test]
    fn encoded_message_is_one_chunk() {
        let message = proto::mvccpb::KeyValue { key: Bytes::from_static(b"k"), ..Default::default() };
        let body = Body::encode(&message);
        assert_eq!(body.message_len(), 3);
        assert_eq!(wire(body), [vec![0, 0, 0, 0, 3, 0x0a, 1, b'k']]);
    }

    #[test]
    fn small_chunks_join_the_prefix() {
        let body = Body::from_chunks(&[Bytes::from_static(b"ab"), Bytes::from_static(b"c")]);
        assert_eq!(wire(body), [vec![0, 0, 0, 0, 3, b'a', b'b', b'c']]);
    }

    #[test]
    fn empty_message_is_the_prefix() {
        assert_eq!(wire(Body::from_chunks(&[])), [vec![0; PREFIX_LEN]]);
    }

    #[test]
    fn big_chunk_is_shared_and_keeps_its_place() {
        let big = Bytes::from(vec![7; COPY_LEN_MAX]);
        let body = Body::from_chunks(&[Bytes::from_static(b"a"), big.clone(), Bytes::from_static(b"b")]);
        assert_eq!(body.message_len(), COPY_LEN_MAX + 2);
        let chunks: Vec<Bytes> = body.into_chunks().collect();
        assert_eq!(chunks[0], [0, 0, 0, 0x10, 2, b'a'][..]);
        assert_eq!(chunks[1].as_ptr(), big.as_ptr());
        assert_eq!(chunks[2], b"b"[..]);
    }
}
