//! What stands in front of a state that one member sends another: the message that announces it.
//!
//! ```text
//!   length (8 bytes)  message of type MsgSnap  the state, to the end of the body
//! ```

use bytes::{Bytes, BytesMut};
use proto::raftpb::{Message, MessageType};

use crate::error::DecodeError;
use crate::message::decode_message;
use crate::message_stream::encode_message;
use crate::receive_buffer::{ReceiveBuffer, checked_len};

/// Bytes that the message in front of a state may have, as in etcd.
pub const SNAPSHOT_HEAD_LEN_MAX: u64 = 64 << 20;

/// Reads the message in front of a state.
#[derive(Debug, Default)]
pub struct SnapshotHead {
    buffer: ReceiveBuffer,
    len: Option<usize>,
}

impl SnapshotHead {
    /// Takes bytes of the body. Once the message is complete, the result is it and the first bytes of the state.
    /// Not to be called again then, nor after an error.
    pub fn extend(&mut self, bytes: &[u8]) -> Result<Option<(Message, Bytes)>, DecodeError> {
        self.buffer.extend(bytes);
        if self.len.is_none() {
            let Some(len) = self.buffer.take_u64() else { return Ok(None) };
            self.len = Some(checked_len(len, SNAPSHOT_HEAD_LEN_MAX)?);
        }
        let Some(bytes) = self.len.and_then(|len| self.buffer.take(len)) else { return Ok(None) };
        let message = decode_message(bytes)?;
        let has_metadata = message.snapshot.as_ref().is_some_and(|snapshot| snapshot.metadata.is_some());
        if message.r#type != MessageType::MsgSnap as i32 || !has_metadata {
            return Err(DecodeError::NoSnapshot);
        }
        Ok(Some((message, self.buffer.take_rest())))
    }

    /// The bytes in front of a state.
    pub fn encode(message: &Message) -> Bytes {
        let mut bytes = BytesMut::new();
        encode_message(message, &mut bytes);
        bytes.freeze()
    }
}

#[cfg(test)]
mod tests {
    use proto::raftpb::{Snapshot, SnapshotMetadata};

    use super::*;

    fn announcement() -> Message {
        let metadata = Some(SnapshotMetadata { index: 7, term: 2, ..SnapshotMetadata::default() });
        let snapshot = Some(Snapshot { metadata, ..Snapshot::default() });
        Message { r#type: MessageType::MsgSnap as i32, to: 1, from: 2, snapshot, ..Message::default() }
    }

    #[test]
    fn the_state_begins_right_behind_the_message() {
        let head = SnapshotHead::encode(&announcement());
        let body = [&head[..], b"state"].concat();
        for at in 0..body.len() {
            let mut reader = SnapshotHead::default();
            let (message, state) = match reader.extend(&body[..at]).unwrap() {
                Some((message, mut state)) => {
                    let rest = [&state[..], &body[at..]].concat();
                    state = rest.into();
                    (message, state)
                }
                None => reader.extend(&body[at..]).unwrap().unwrap(),
            };
            assert_eq!(message, announcement());
            assert_eq!(&state[..], b"state");
        }
    }

    #[test]
    fn a_head_that_is_too_long_or_of_another_type_is_refused() {
        let len = (SNAPSHOT_HEAD_LEN_MAX + 1).to_be_bytes();
        assert!(matches!(SnapshotHead::default().extend(&len), Err(DecodeError::TooLong { .. })));
        let other = Message { r#type: MessageType::MsgApp as i32, ..announcement() };
        let result = SnapshotHead::default().extend(&SnapshotHead::encode(&other));
        assert_eq!(result, Err(DecodeError::NoSnapshot));
        let bare = Message { snapshot: None, ..announcement() };
        let result = SnapshotHead::default().extend(&SnapshotHead::encode(&bare));
        assert_eq!(result, Err(DecodeError::NoSnapshot));
    }
}
