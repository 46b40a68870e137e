//! The append stream, which etcd calls msgappv2: appends, most of them without what the reader knows already.
//!
//! Writer and reader remember the term and the last index of the append before. An append that continues there,
//! in the same term, is only its entries and the commit index. Any other is a whole message.
//!
//! ```text
//!   0x00                                                          link heartbeat
//!   0x01  count  (length  entry)*  commit                         an append that continues the one before
//!   0x02  length  message                                         any append
//! ```
//!
//! All numbers have eight bytes, the most significant first.

use bytes::{BufMut, BytesMut};
use prost::Message as _;
use proto::raftpb::{Entry, Message, MessageType};

use crate::error::DecodeError;
use crate::message::{ENTRIES_MAX, decode_message, is_link_heartbeat, link_heartbeat};
use crate::receive_buffer::{ReceiveBuffer, checked_len};

const LINK_HEARTBEAT: u8 = 0;
const ENTRIES: u8 = 1;
const MESSAGE: u8 = 2;

/// Where the last append ended. Both ends of a stream keep the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Position {
    term: u64,
    index: u64,
}

impl Position {
    /// The position behind a whole message.
    fn behind(message: &Message) -> Position {
        let index = message.entries.last().map_or(message.index, |entry| entry.index);
        Position { term: message.term, index }
    }
}

/// The writing end.
#[derive(Debug, Default)]
pub struct AppendEncoder {
    position: Position,
}

impl AppendEncoder {
    /// Appends the bytes of an append, or of a link heartbeat.
    pub fn encode(&mut self, message: &Message, out: &mut BytesMut) {
        if is_link_heartbeat(message) {
            out.put_u8(LINK_HEARTBEAT);
        } else if self.continues(message) {
            encode_entries(message, out);
            self.position.index = self.position.index.saturating_add(message.entries.len() as u64);
        } else {
            let len = message.encoded_len();
            out.reserve(9 + len);
            out.put_u8(MESSAGE);
            out.put_u64(len as u64);
            message.encode_raw(out);
            self.position = Position::behind(message);
        }
    }

    fn continues(&self, message: &Message) -> bool {
        let begin = Position { term: message.log_term, index: message.index };
        self.position == begin && message.log_term == message.term
    }
}

fn encode_entries(message: &Message, out: &mut BytesMut) {
    let entries_len: usize = message.entries.iter().map(|entry| 8 + entry.encoded_len()).sum();
    out.reserve(17 + entries_len);
    out.put_u8(ENTRIES);
    out.put_u64(message.entries.len() as u64);
    for entry in &message.entries {
        out.put_u64(entry.encoded_len() as u64);
        entry.encode_raw(out);
    }
    out.put_u64(message.commit);
}

/// What the reader waits for next.
#[derive(Debug)]
enum Awaited {
    Kind,
    MessageLen,
    Message { len: usize },
    Count,
    EntryLen,
    Entry { len: usize },
    Commit,
}

/// The reading end.
#[derive(Debug)]
pub struct AppendDecoder {
    buffer: ReceiveBuffer,
    from: u64,
    to: u64,
    message_len_max: u64,
    position: Position,
    awaited: Awaited,
    /// Of the append under way: its entries so far, how many are to come, and its bytes so far.
    entries: Vec<Entry>,
    n_missing: u64,
    entries_len: u64,
}

impl AppendDecoder {
    /// A decoder at the begin of a stream of member `from` to member `to`. An append of more than
    /// `message_len_max` bytes is an error.
    pub fn new(from: u64, to: u64, message_len_max: u64) -> AppendDecoder {
        AppendDecoder {
            buffer: ReceiveBuffer::default(),
            from,
            to,
            message_len_max,
            position: Position::default(),
            awaited: Awaited::Kind,
            entries: Vec::new(),
            n_missing: 0,
            entries_len: 0,
        }
    }

    /// Takes bytes that have arrived. [`AppendDecoder::next_message`] must be asked until it has none before more
    /// are added.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.buffer.extend(bytes);
    }

    /// The next message, if all of it has arrived. After an error the stream cannot be read any more.
    pub fn next_message(&mut self) -> Result<Option<Message>, DecodeError> {
        loop {
            match self.awaited {
                Awaited::Kind => {
                    let Some(kind) = self.buffer.take_u8() else { return Ok(None) };
                    self.awaited = match kind {
                        LINK_HEARTBEAT => return Ok(Some(link_heartbeat())),
                        ENTRIES => Awaited::Count,
                        MESSAGE => Awaited::MessageLen,
                        unknown => return Err(DecodeError::UnknownKind(unknown)),
                    };
                }
                Awaited::MessageLen => {
                    let Some(len) = self.buffer.take_u64() else { return Ok(None) };
                    self.awaited = Awaited::Message { len: checked_len(len, self.message_len_max)? };
                }
                Awaited::Message { len } => {
                    let Some(bytes) = self.buffer.take(len) else { return Ok(None) };
                    let message = decode_message(bytes)?;
                    self.position = Position::behind(&message);
                    self.awaited = Awaited::Kind;
                    return Ok(Some(message));
                }
                Awaited::Count => {
                    let Some(count) = self.buffer.take_u64() else { return Ok(None) };
                    self.begin_entries(count)?;
                }
                Awaited::EntryLen => {
                    let Some(len) = self.buffer.take_u64() else { return Ok(None) };
                    self.entries_len = self.entries_len.saturating_add(len);
                    checked_len(self.entries_len, self.message_len_max)?;
                    self.awaited = Awaited::Entry { len: checked_len(len, self.message_len_max)? };
                }
                Awaited::Entry { len } => {
                    let Some(bytes) = self.buffer.take(len) else { return Ok(None) };
                    self.entries.push(Entry::decode(bytes)?);
                    self.n_missing -= 1;
                    self.await_entry();
                }
                Awaited::Commit => {
                    let Some(commit) = self.buffer.take_u64() else { return Ok(None) };
                    self.awaited = Awaited::Kind;
                    return self.finish_entries(commit).map(Some);
                }
            }
        }
    }

    fn begin_entries(&mut self, count: u64) -> Result<(), DecodeError> {
        if count > ENTRIES_MAX as u64 {
            return Err(DecodeError::TooManyEntries);
        }
        self.n_missing = count;
        self.entries_len = 0;
        self.await_entry();
        Ok(())
    }

    fn await_entry(&mut self) {
        self.awaited = if self.n_missing == 0 { Awaited::Commit } else { Awaited::EntryLen };
    }

    fn finish_entries(&mut self, commit: u64) -> Result<Message, DecodeError> {
        let entries = std::mem::take(&mut self.entries);
        let Position { term, index } = self.position;
        let last = index.checked_add(entries.len() as u64).ok_or(DecodeError::IndexOverflow)?;
        self.position.index = last;
        Ok(Message {
            r#type: MessageType::MsgApp as i32,
            from: self.from,
            to: self.to,
            term,
            log_term: term,
            index,
            entries,
            commit,
            ..Message::default()
        })
    }
}

#[cfg(test)]
mod tests;
