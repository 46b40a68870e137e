//! Tests of both ends of the append stream.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

const LIMIT: u64 = 1 << 20;

fn entry(term: u64, index: u64) -> Entry {
    Entry { term, index, data: Bytes::from_static(b"data"), ..Entry::default() }
}

fn append(term: u64, log_term: u64, index: u64, n_entries: u64) -> Message {
    Message {
        r#type: MessageType::MsgApp as i32,
        from: 2,
        to: 1,
        term,
        log_term,
        index,
        entries: (1..=n_entries).map(|n| entry(term, index + n)).collect(),
        commit: index,
        ..Message::default()
    }
}

fn encoded(messages: &[Message]) -> BytesMut {
    let (mut encoder, mut bytes) = (AppendEncoder::default(), BytesMut::new());
    messages.iter().for_each(|message| encoder.encode(message, &mut bytes));
    bytes
}

fn decoded(bytes: &[u8], piece_len: usize) -> Vec<Message> {
    let (mut decoder, mut messages) = (AppendDecoder::new(2, 1, LIMIT), Vec::new());
    for piece in bytes.chunks(piece_len) {
        decoder.extend(piece);
        while let Some(message) = decoder.next_message().unwrap() {
            messages.push(message);
        }
    }
    messages
}

fn error_of(bytes: &[u8]) -> DecodeError {
    let mut decoder = AppendDecoder::new(2, 1, LIMIT);
    decoder.extend(bytes);
    decoder.next_message().unwrap_err()
}

fn frame(kind: u8, numbers: &[u64]) -> Vec<u8> {
    let mut bytes = vec![kind];
    numbers.iter().for_each(|number| bytes.extend(number.to_be_bytes()));
    bytes
}

#[test]
fn an_append_that_continues_the_one_before_is_sent_without_its_head() {
    let messages = [append(5, 4, 10, 2), append(5, 5, 12, 3), append(5, 5, 15, 0), append(5, 5, 15, 1)];
    let bytes = encoded(&messages);
    let whole: usize = messages[..1].iter().map(|message| 9 + message.encoded_len()).sum();
    assert_eq!(bytes[0], MESSAGE);
    assert_eq!(bytes[whole], ENTRIES);
    let entry_len = 8 + entry(5, 13).encoded_len();
    assert_eq!(bytes.len(), whole + 3 * 17 + 4 * entry_len);
    assert_eq!(decoded(&bytes, bytes.len()), messages);
}

#[test]
fn an_append_that_does_not_continue_is_sent_whole() {
    for next in [append(5, 5, 13, 1), append(5, 4, 12, 1), append(6, 5, 12, 1)] {
        let messages = [append(5, 5, 10, 2), next];
        let bytes = encoded(&messages);
        let first = 9 + messages[0].encoded_len();
        assert_eq!(bytes[first], MESSAGE, "{:?}", messages[1]);
        assert_eq!(decoded(&bytes, 7), messages);
    }
}

#[test]
fn a_link_heartbeat_is_one_byte_and_changes_nothing() {
    let messages = [append(5, 5, 10, 2), link_heartbeat(), append(5, 5, 12, 1)];
    let bytes = encoded(&messages);
    let first = 9 + messages[0].encoded_len();
    assert_eq!(bytes[first..first + 2], [LINK_HEARTBEAT, ENTRIES]);
    assert_eq!(decoded(&bytes, 1), messages);
}

#[test]
fn what_no_member_sends_is_refused() {
    assert_eq!(error_of(&[3]), DecodeError::UnknownKind(3));
    let too_long = DecodeError::TooLong { len: LIMIT + 1, limit: LIMIT };
    assert_eq!(error_of(&frame(MESSAGE, &[LIMIT + 1])), too_long);
    assert_eq!(error_of(&frame(ENTRIES, &[1, LIMIT + 1])), too_long);
    assert_eq!(error_of(&frame(ENTRIES, &[ENTRIES_MAX as u64 + 1])), DecodeError::TooManyEntries);
    let mut garbage = frame(MESSAGE, &[1]);
    garbage.push(0xff);
    assert!(matches!(error_of(&garbage), DecodeError::Protobuf(_)));
}

#[test]
fn entries_of_one_append_together_are_bounded() {
    let long = Entry { data: vec![7; LIMIT as usize / 2].into(), ..Entry::default() };
    let message = Message { entries: vec![long.clone(), long], ..Message::default() };
    let mut bytes = BytesMut::new();
    encode_entries(&message, &mut bytes);
    assert!(matches!(error_of(&bytes), DecodeError::TooLong { .. }));
}

#[test]
fn indexes_beyond_the_largest_number_are_refused() {
    let mut decoder = AppendDecoder::new(2, 1, LIMIT);
    let first = Message { index: u64::MAX, ..append(5, 5, 0, 0) };
    decoder.extend(&encoded(&[first]));
    assert!(decoder.next_message().unwrap().is_some());
    let mut second = BytesMut::new();
    encode_entries(&append(5, 5, 0, 1), &mut second);
    decoder.extend(&second);
    assert_eq!(decoder.next_message(), Err(DecodeError::IndexOverflow));
}

proptest! {
    /// Whatever a leader sends arrives as it was, in whatever pieces.
    #[test]
    fn all_appends_arrive(
        steps in proptest::collection::vec((1_u64..4, 1_u64..4, 0_u64..6, 0_u64..3), 1..20),
        piece_len in 1_usize..200,
    ) {
        let messages: Vec<_> =
            steps.iter().map(|(term, log_term, index, n)| append(*term, *log_term, *index, *n)).collect();
        let bytes = encoded(&messages);
        prop_assert_eq!(decoded(&bytes, piece_len), messages);
    }
}
