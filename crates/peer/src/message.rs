//! A message of raft as its protobuf bytes, and the heartbeat of a link.

use bytes::{Buf, Bytes};
use prost::Message as _;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use proto::raftpb::{Message, MessageType};

use crate::error::DecodeError;

/// Bytes of a message that etcd accepts on a stream. A reader may have a lower limit.
pub const MESSAGE_LEN_MAX: u64 = 512 << 20;

/// Entries that a message may have. A member sends a mebibyte of them in one message, and the shortest has four
/// bytes.
pub const ENTRIES_MAX: usize = 1 << 20;

/// The numbers of the fields that may be repeated without end.
const ENTRIES: u32 = 7;
const RESPONSES: u32 = 14;

/// The message that keeps an idle stream alive. It says nothing to raft.
pub fn link_heartbeat() -> Message {
    Message { r#type: MessageType::MsgHeartbeat as i32, ..Message::default() }
}

/// Whether a message only keeps a stream alive: a heartbeat from nobody to nobody.
pub fn is_link_heartbeat(message: &Message) -> bool {
    message.r#type == MessageType::MsgHeartbeat as i32 && message.from == 0 && message.to == 0
}

/// Decodes a message, whose memory is bounded by its bytes and [`ENTRIES_MAX`]. Its entries share the memory of
/// `bytes`.
pub fn decode_message(bytes: Bytes) -> Result<Message, DecodeError> {
    check_repeated(&bytes)?;
    Ok(Message::decode(bytes)?)
}

/// Counts what is small on the wire and large in memory, before anything is decoded.
fn check_repeated(mut bytes: &[u8]) -> Result<(), DecodeError> {
    let mut n_entries = 0;
    while bytes.has_remaining() {
        let (tag, wire_type) = decode_key(&mut bytes)?;
        match tag {
            RESPONSES => return Err(DecodeError::LocalField),
            ENTRIES => n_entries += 1,
            _ => {}
        }
        if n_entries > ENTRIES_MAX {
            return Err(DecodeError::TooManyEntries);
        }
        skip(wire_type, tag, &mut bytes)?;
    }
    Ok(())
}

fn skip(wire_type: WireType, tag: u32, bytes: &mut &[u8]) -> Result<(), DecodeError> {
    if wire_type != WireType::LengthDelimited {
        return Ok(skip_field(wire_type, tag, bytes, DecodeContext::default())?);
    }
    let len = decode_varint(bytes)?;
    match usize::try_from(len).ok().and_then(|len| bytes.get(len..)) {
        Some(rest) => *bytes = rest,
        // The decoder says what is wrong.
        None => *bytes = &[],
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proto::raftpb::Entry;

    use super::*;

    #[test]
    fn a_message_is_read_as_it_was_written() {
        let entry = Entry { index: 7, term: 3, data: Bytes::from_static(b"put"), ..Entry::default() };
        let message = Message { to: 1, from: 2, term: 3, entries: vec![entry], ..Message::default() };
        assert_eq!(decode_message(message.encode_to_vec().into()), Ok(message));
    }

    #[test]
    fn one_entry_too_many_is_refused_before_it_is_decoded() {
        let entry = [0x3a, 0];
        let most = entry.repeat(ENTRIES_MAX);
        assert_eq!(decode_message(most.into()).unwrap().entries.len(), ENTRIES_MAX);
        let too_many = entry.repeat(ENTRIES_MAX + 1);
        assert_eq!(decode_message(too_many.into()), Err(DecodeError::TooManyEntries));
    }

    #[test]
    fn messages_within_messages_are_refused() {
        let message = Message { responses: vec![Message::default()], ..Message::default() };
        assert_eq!(decode_message(message.encode_to_vec().into()), Err(DecodeError::LocalField));
    }

    #[test]
    fn a_length_beyond_the_end_is_an_error() {
        for bytes in [&[0x3a, 5, 1][..], &[0x3a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]] {
            let result = decode_message(Bytes::copy_from_slice(bytes));
            assert!(matches!(result, Err(DecodeError::Protobuf(_))), "{result:?}");
        }
    }
}
