//! Why bytes of a peer are no message.

use std::fmt;

/// What is wrong with the bytes. The connection they came on cannot be used any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DecodeError {
    /// A message, or the entries of an append, are longer than the reader's limit.
    TooLong {
        /// Bytes announced, or received so far.
        len: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// A message has more entries than any member sends.
    TooManyEntries,
    /// A frame of the append stream is of no known kind.
    UnknownKind(u8),
    /// A message has fields that members use only within themselves.
    LocalField,
    /// The message in front of a snapshot is of another type.
    NoSnapshot,
    /// The entries of an append would have indexes beyond the largest number.
    IndexOverflow,
    /// A message is no protobuf, or not of that kind.
    Protobuf(prost::DecodeError),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::TooLong { len, limit } => write!(f, "a message of {len} bytes exceeds {limit}"),
            DecodeError::TooManyEntries => f.write_str("a message has too many entries"),
            DecodeError::UnknownKind(kind) => write!(f, "failed to parse type {kind} in msgappv2 stream"),
            DecodeError::LocalField => f.write_str("a message has fields that never leave a member"),
            DecodeError::NoSnapshot => f.write_str("wrong raft message type"),
            DecodeError::IndexOverflow => f.write_str("the indexes of an append exceed 64 bits"),
            DecodeError::Protobuf(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for DecodeError {}

impl From<prost::DecodeError> for DecodeError {
    fn from(error: prost::DecodeError) -> Self {
        DecodeError::Protobuf(error)
    }
}
