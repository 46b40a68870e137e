//! Streams of peers: whatever arrives ends in an error or in messages, the same in whatever pieces it arrives.

use ::peer::{AppendDecoder, AppendEncoder, DecodeError, MessageDecoder, SnapshotHead, encode_message};
use bytes::{Bytes, BytesMut};
use proto::raftpb::{Entry, Message, MessageType, Snapshot, SnapshotMetadata};

/// Bytes of a message that the decoders take. Low, so that the limit is reached.
const MESSAGE_LEN_MAX: u64 = 1 << 16;

/// The append stream. What is decoded must survive being encoded again.
pub fn append_stream(data: &[u8]) {
    let decoder = || AppendDecoder::new(2, 1, MESSAGE_LEN_MAX);
    let next = |decoder: &mut AppendDecoder| decoder.next_message();
    let (messages, error) = decode(data, data.len().max(1), decoder(), AppendDecoder::extend, next);
    assert_eq!(decode(data, 3, decoder(), AppendDecoder::extend, next), (messages.clone(), error));
    let (mut encoder, mut bytes) = (AppendEncoder::default(), BytesMut::new());
    messages.iter().for_each(|message| encoder.encode(message, &mut bytes));
    let unlimited = AppendDecoder::new(2, 1, u64::MAX);
    let (again, _) = decode(&bytes, bytes.len().max(1), unlimited, AppendDecoder::extend, next);
    assert_eq!(again.len(), messages.len());
}

/// The message stream. What is decoded must survive being encoded again.
pub fn message_stream(data: &[u8]) {
    let decoder = || MessageDecoder::new(MESSAGE_LEN_MAX);
    let next = |decoder: &mut MessageDecoder| decoder.next_message();
    let (messages, error) = decode(data, data.len().max(1), decoder(), MessageDecoder::extend, next);
    assert_eq!(decode(data, 3, decoder(), MessageDecoder::extend, next), (messages.clone(), error));
    let mut bytes = BytesMut::new();
    messages.iter().for_each(|message| encode_message(message, &mut bytes));
    let unlimited = MessageDecoder::new(u64::MAX);
    let again = decode(&bytes, bytes.len().max(1), unlimited, MessageDecoder::extend, next);
    assert_eq!(again, (messages, None));
}

/// The message before a state.
pub fn snapshot_head(data: &[u8]) {
    let whole = SnapshotHead::default().extend(data);
    let mut in_pieces = SnapshotHead::default();
    for (at, piece) in data.chunks(3).enumerate() {
        match in_pieces.extend(piece) {
            Ok(None) => {}
            Ok(Some((message, rest))) => {
                let rest = [&rest[..], &data[data.len().min(3 * at + 3)..]].concat();
                return assert_eq!(whole, Ok(Some((message, Bytes::from(rest)))));
            }
            Err(error) => return assert_eq!(whole, Err(error)),
        }
    }
    assert_eq!(whole, Ok(None));
}

/// Decodes what arrives in pieces, up to the first error.
fn decode<D>(
    data: &[u8],
    piece_len: usize,
    mut decoder: D,
    extend: impl Fn(&mut D, &[u8]),
    next: impl Fn(&mut D) -> Result<Option<Message>, DecodeError>,
) -> (Vec<Message>, Option<DecodeError>) {
    let mut messages = Vec::new();
    for piece in data.chunks(piece_len) {
        extend(&mut decoder, piece);
        loop {
            match next(&mut decoder) {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error) => return (messages, Some(error)),
            }
        }
    }
    (messages, None)
}

fn append(term: u64, index: u64, n_entries: u64) -> Message {
    let entry = |n| Entry { term, index: index + n, data: Bytes::from_static(b"data"), ..Entry::default() };
    let r#type = MessageType::MsgApp as i32;
    let entries = (1..=n_entries).map(entry).collect();
    Message { r#type, to: 1, from: 2, term, log_term: term, index, entries, ..Message::default() }
}

pub(crate) fn append_stream_seeds() -> Vec<Vec<u8>> {
    let (mut encoder, mut bytes) = (AppendEncoder::default(), BytesMut::new());
    for message in [append(2, 8, 2), ::peer::link_heartbeat(), append(2, 10, 3), append(3, 13, 1)] {
        encoder.encode(&message, &mut bytes);
    }
    vec![bytes.to_vec()]
}

pub(crate) fn message_stream_seeds() -> Vec<Vec<u8>> {
    let mut bytes = BytesMut::new();
    for message in [append(2, 8, 2), ::peer::link_heartbeat()] {
        encode_message(&message, &mut bytes);
    }
    vec![bytes.to_vec()]
}

pub(crate) fn snapshot_head_seeds() -> Vec<Vec<u8>> {
    let metadata = Some(SnapshotMetadata { index: 7, term: 2, ..SnapshotMetadata::default() });
    let snapshot = Some(Snapshot { metadata, ..Snapshot::default() });
    let message = Message { r#type: MessageType::MsgSnap as i32, snapshot, ..append(2, 0, 0) };
    vec![[&SnapshotHead::encode(&message)[..], b"state"].concat()]
}
