//! The two streams from one member to another, through the encoders and decoders of the peer protocol.
//!
//! A message is encoded and decoded when it is sent. So streams stay whole, whatever the network does to messages after
//! that. A cut link ends both streams; new ones begin with the next message.

use bytes::BytesMut;
use peer::{AppendDecoder, AppendEncoder, MESSAGE_LEN_MAX, MessageDecoder, encode_message};
use proto::raftpb::{Message, MessageType};

/// A pair of streams, with the ends of both.
#[derive(Debug)]
pub(super) struct Connection {
    append_encoder: AppendEncoder,
    append_decoder: AppendDecoder,
    message_decoder: MessageDecoder,
}

impl Connection {
    /// New streams between the members with these ids.
    pub(super) fn new(from: u64, to: u64) -> Connection {
        Connection {
            append_encoder: AppendEncoder::default(),
            append_decoder: AppendDecoder::new(from, to, MESSAGE_LEN_MAX),
            message_decoder: MessageDecoder::new(MESSAGE_LEN_MAX),
        }
    }

    /// Sends a message over its stream; returns what arrives, which must be the same.
    pub(super) fn carry(&mut self, message: &Message) -> Result<Message, String> {
        let mut bytes = BytesMut::new();
        let arrived = if message.r#type() == MessageType::MsgApp {
            self.append_encoder.encode(message, &mut bytes);
            self.append_decoder.extend(&bytes);
            self.append_decoder.next_message()
        } else {
            encode_message(message, &mut bytes);
            self.message_decoder.extend(&bytes);
            self.message_decoder.next_message()
        };
        match arrived {
            Ok(Some(arrived)) if arrived == *message => Ok(arrived),
            arrived => Err(format!("{message:?} is sent, and {arrived:?} arrives")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proto::raftpb::Entry;

    use super::*;

    #[test]
    fn appends_and_other_messages_arrive_as_they_were_sent() {
        let mut connection = Connection::new(1, 2);
        let append = |index| Message {
            r#type: MessageType::MsgApp as i32,
            from: 1,
            to: 2,
            term: 3,
            log_term: 3,
            index,
            commit: index,
            entries: vec![Entry { index: index + 1, term: 3, data: "data".into(), ..Entry::default() }],
            ..Message::default()
        };
        let heartbeat = Message {
            r#type: MessageType::MsgHeartbeat as i32,
            from: 1,
            to: 2,
            term: 3,
            ..Message::default()
        };
        for message in [append(4), heartbeat, append(5), append(9)] {
            assert_eq!(connection.carry(&message).as_ref(), Ok(&message));
        }
    }
}
