//! The message stream: messages of all types, each behind its length.

use bytes::{BufMut, BytesMut};
use prost::Message as _;
use proto::raftpb::Message;

use crate::error::DecodeError;
use crate::message::decode_message;
use crate::receive_buffer::{ReceiveBuffer, checked_len};

/// Appends a message behind its length.
pub fn encode_message(message: &Message, out: &mut BytesMut) {
    let len = message.encoded_len();
    out.reserve(8 + len);
    out.put_u64(len as u64);
    message.encode_raw(out);
}

/// Finds the messages in the bytes of a stream.
#[derive(Debug)]
pub struct MessageDecoder {
    buffer: ReceiveBuffer,
    /// Bytes of the message whose length has arrived.
    awaited_len: Option<usize>,
    message_len_max: u64,
}

impl MessageDecoder {
    /// A decoder at the begin of a stream. A message of more than `message_len_max` bytes is an error.
    pub fn new(message_len_max: u64) -> MessageDecoder {
        MessageDecoder { buffer: ReceiveBuffer::default(), awaited_len: None, message_len_max }
    }

    /// Takes bytes that have arrived. [`MessageDecoder::next_message`] must be asked until it has none before more
    /// are added.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.buffer.extend(bytes);
    }

    /// The next message, if all of it has arrived. After an error the stream cannot be read any more.
    pub fn next_message(&mut self) -> Result<Option<Message>, DecodeError> {
        if self.awaited_len.is_none() {
            let Some(len) = self.buffer.take_u64() else { return Ok(None) };
            self.awaited_len = Some(checked_len(len, self.message_len_max)?);
        }
        let Some(bytes) = self.awaited_len.and_then(|len| self.buffer.take(len)) else { return Ok(None) };
        self.awaited_len = None;
        decode_message(bytes).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use proto::raftpb::MessageType;

    use super::*;
    use crate::message::link_heartbeat;

    fn heartbeat(to: u64) -> Message {
        Message { r#type: MessageType::MsgHeartbeat as i32, to, from: 9, term: 4, ..Message::default() }
    }

    #[test]
    fn messages_arrive_whole_in_whatever_pieces_their_bytes_arrive() {
        let sent = [heartbeat(1), link_heartbeat(), heartbeat(2)];
        let mut bytes = BytesMut::new();
        sent.iter().for_each(|message| encode_message(message, &mut bytes));
        for piece_len in 1..=bytes.len() {
            let (mut decoder, mut received) = (MessageDecoder::new(100), Vec::new());
            for piece in bytes.chunks(piece_len) {
                decoder.extend(piece);
                while let Some(message) = decoder.next_message().unwrap() {
                    received.push(message);
                }
            }
            assert_eq!(received, sent, "in pieces of {piece_len}");
        }
    }

    #[test]
    fn a_link_heartbeat_has_the_bytes_of_etcd() {
        let mut bytes = BytesMut::new();
        encode_message(&link_heartbeat(), &mut bytes);
        assert_eq!(&bytes[..], [0, 0, 0, 0, 0, 0, 0, 2, 0x08, 0x08]);
    }

    #[test]
    fn a_message_over_the_limit_is_refused_by_its_length_alone() {
        let mut decoder = MessageDecoder::new(100);
        decoder.extend(&101_u64.to_be_bytes());
        assert_eq!(decoder.next_message(), Err(DecodeError::TooLong { len: 101, limit: 100 }));
        let mut decoder = MessageDecoder::new(u64::MAX);
        decoder.extend(&u64::MAX.to_be_bytes());
        assert_eq!(decoder.next_message().ok(), Some(None), "it is awaited, and takes no memory");
    }
}
