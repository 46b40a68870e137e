//! What an etcd 3.7.1 has written to the streams of a follower.

#![expect(clippy::unwrap_used, reason = "all of it is test code, also what is outside of test functions")]

use bytes::BytesMut;
use peer::{AppendDecoder, AppendEncoder, MessageDecoder, is_link_heartbeat};
use proto::raftpb::{Message, MessageType};

/// The leader that wrote, and the member that it wrote to.
const LEADER: u64 = 0x33e7_50cb_52e8_45f4;
const FOLLOWER: u64 = 0x45ec_1477_819d_4d54;

/// Four entries in a whole message, and then two puts; after each the commit index alone.
const APPEND_STREAM: &[u8] = include_bytes!("recorded/append_stream.bin");
const MESSAGE_STREAM: &[u8] = include_bytes!("recorded/message_stream.bin");

fn appends() -> Vec<Message> {
    let (mut decoder, mut messages) = (AppendDecoder::new(LEADER, FOLLOWER, 1 << 20), Vec::new());
    decoder.extend(APPEND_STREAM);
    while let Some(message) = decoder.next_message().unwrap() {
        messages.push(message);
    }
    messages
}

#[test]
fn appends_of_etcd_are_read() {
    let appends: Vec<_> = appends().into_iter().filter(|message| !is_link_heartbeat(message)).collect();
    let heads: Vec<_> =
        appends.iter().map(|append| (append.index, append.entries.len(), append.commit)).collect();
    assert_eq!(heads, [(3, 4, 7), (7, 1, 7), (8, 0, 8), (8, 1, 8), (9, 0, 9)]);
    for append in &appends {
        assert_eq!(append.r#type, MessageType::MsgApp as i32);
        assert_eq!((append.from, append.to), (LEADER, FOLLOWER));
        assert_eq!(append.term, 2);
    }
    assert!(appends[1].entries[0].data.windows(3).any(|word| word == b"foo"));
}

#[test]
fn appends_are_written_as_etcd_writes_them() {
    let (mut encoder, mut bytes) = (AppendEncoder::default(), BytesMut::new());
    appends().iter().for_each(|message| encoder.encode(message, &mut bytes));
    assert_eq!(bytes, APPEND_STREAM);
}

#[test]
fn heartbeats_of_etcd_are_read() {
    let (mut decoder, mut messages) = (MessageDecoder::new(1 << 20), Vec::new());
    decoder.extend(MESSAGE_STREAM);
    while let Some(message) = decoder.next_message().unwrap() {
        messages.push(message);
    }
    assert!(is_link_heartbeat(&messages[0]));
    let heartbeat = Message {
        r#type: MessageType::MsgHeartbeat as i32,
        from: LEADER,
        to: FOLLOWER,
        term: 2,
        ..Message::default()
    };
    assert_eq!(messages[1..], [heartbeat.clone(), heartbeat]);
}
