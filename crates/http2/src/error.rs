//! What can be wrong with a connection or a stream.

use std::fmt;

/// The error codes of RFC 9113, §7.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Code {
    /// Not an error: an orderly end.
    NoError = 0,
    /// The peer broke the protocol in a way without a code of its own.
    ProtocolError = 1,
    /// We failed.
    InternalError = 2,
    /// More bytes than the window allows, or a window too large.
    FlowControlError = 3,
    /// Settings were not acknowledged in time.
    SettingsTimeout = 4,
    /// A frame for a stream that the peer had ended.
    StreamClosed = 5,
    /// A frame of a wrong length.
    FrameSizeError = 6,
    /// The stream was not processed: a retry is safe.
    RefusedStream = 7,
    /// The stream is no longer wanted.
    Cancel = 8,
    /// The header compression state is lost.
    CompressionError = 9,
    /// The tunnel of a CONNECT broke.
    ConnectError = 10,
    /// The peer makes us work for nothing.
    EnhanceYourCalm = 11,
    /// The transport is not safe enough.
    InadequateSecurity = 12,
    /// Use HTTP/1.1.
    Http11Required = 13,
}

/// The client broke the connection: it has been told by a GOAWAY, which is to be written before closing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error {
    /// The code of the GOAWAY.
    pub code: Code,
    /// What was wrong; the debug data of the GOAWAY.
    pub reason: &'static str,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HTTP/2 connection error {:?}: {}", self.code, self.reason)
    }
}

impl std::error::Error for Error {}

/// What a frame was found guilty of, by how much it takes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Connection(Error),
    Stream(crate::StreamId, Code),
}

impl Fault {
    pub(crate) fn protocol(reason: &'static str) -> Fault {
        Fault::connection(Code::ProtocolError, reason)
    }

    pub(crate) fn connection(code: Code, reason: &'static str) -> Fault {
        Fault::Connection(Error { code, reason })
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        Fault::Connection(error)
    }
}
