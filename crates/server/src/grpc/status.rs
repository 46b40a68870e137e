//! The outcome of a gRPC call: a code and a text, and how both are written into trailers.
//!
//! Clients of etcd recognise an error by its text alone, so a message passes through here byte for byte; only
//! the percent-encoding that the gRPC protocol asks for ("gRPC over HTTP2", Status-Message) is applied.
//! Which error becomes which status is decided elsewhere.

use std::borrow::Cow;
use std::fmt::{self, Write};

use http::{HeaderMap, HeaderName, HeaderValue};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// The numbers of gRPC status codes, named as the protocol names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Code {
    /// Success.
    Ok = 0,
    /// The caller went away.
    Canceled = 1,
    /// An error that fits nowhere else, or came without a code.
    Unknown = 2,
    /// The request is wrong whatever the state of the system.
    InvalidArgument = 3,
    /// Time ran out; the operation may still have happened.
    DeadlineExceeded = 4,
    /// What was asked for does not exist.
    NotFound = 5,
    /// What was to be created exists.
    AlreadyExists = 6,
    /// The caller is known and may not do this.
    PermissionDenied = 7,
    /// A quota, a limit or a size is exceeded.
    ResourceExhausted = 8,
    /// The state of the system forbids the operation; a retry alone does not help.
    FailedPrecondition = 9,
    /// A conflict made the operation stop half way.
    Aborted = 10,
    /// Past the valid range, as a compacted revision is.
    OutOfRange = 11,
    /// No such method or feature.
    Unimplemented = 12,
    /// An invariant is broken.
    Internal = 13,
    /// Not now; a retry may help.
    Unavailable = 14,
    /// Data is lost or corrupt.
    DataLoss = 15,
    /// The caller is not known.
    Unauthenticated = 16,
}

impl Code {
    /// Every code, each at the index of its number.
    pub const ALL: [Code; 17] = [
        Code::Ok,
        Code::Canceled,
        Code::Unknown,
        Code::InvalidArgument,
        Code::DeadlineExceeded,
        Code::NotFound,
        Code::AlreadyExists,
        Code::PermissionDenied,
        Code::ResourceExhausted,
        Code::FailedPrecondition,
        Code::Aborted,
        Code::OutOfRange,
        Code::Unimplemented,
        Code::Internal,
        Code::Unavailable,
        Code::DataLoss,
        Code::Unauthenticated,
    ];

    /// The name used in metric labels and texts, such as `ResourceExhausted`.
    pub fn name(self) -> &'static str {
        const NAMES: [&str; 17] = [
            "OK",
            "Canceled",
            "Unknown",
            "InvalidArgument",
            "DeadlineExceeded",
            "NotFound",
            "AlreadyExists",
            "PermissionDenied",
            "ResourceExhausted",
            "FailedPrecondition",
            "Aborted",
            "OutOfRange",
            "Unimplemented",
            "Internal",
            "Unavailable",
            "DataLoss",
            "Unauthenticated",
        ];
        NAMES[self as usize]
    }

    fn header_value(self) -> HeaderValue {
        const DIGITS: [&str; 17] =
            ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16"];
        HeaderValue::from_static(DIGITS[self as usize])
    }
}

/// Why a call failed. Success is `Ok` of a `Result`, not a status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The code, never `Code::Ok`.
    pub code: Code,
    /// The text, exactly as the client is to see it.
    pub message: Cow<'static, str>,
}

impl Status {
    /// A status with this code and text.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Status {
        Status { code, message: message.into() }
    }

    /// `Unimplemented`: no such service, method or encoding.
    pub fn unimplemented(message: impl Into<Cow<'static, str>>) -> Status {
        Status::new(Code::Unimplemented, message)
    }

    /// `Internal`: the peer, or we, broke the protocol.
    pub fn internal(message: impl Into<Cow<'static, str>>) -> Status {
        Status::new(Code::Internal, message)
    }

    /// `DeadlineExceeded` with the text of a Go context.
    pub fn deadline_exceeded() -> Status {
        Status::new(Code::DeadlineExceeded, "context deadline exceeded")
    }

    /// `Canceled` with the text of a Go context.
    pub fn canceled() -> Status {
        Status::new(Code::Canceled, "context canceled")
    }

    /// Adds `grpc-status` and `grpc-message` to `headers`.
    fn write_to(self, headers: &mut HeaderMap) {
        headers.insert(GRPC_STATUS, self.code.header_value());
        if !self.message.is_empty() {
            headers.insert(GRPC_MESSAGE, percent_encode(self.message));
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.name(), self.message)
    }
}

impl std::error::Error for Status {}

/// The trailers that end a call.
pub(super) fn trailers(outcome: Result<(), Status>) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(2);
    match outcome {
        Ok(()) => drop(headers.insert(GRPC_STATUS, Code::Ok.header_value())),
        Err(status) => status.write_to(&mut headers),
    }
    headers
}

/// Printable ASCII except `%` stays; each other byte becomes `%` and two upper-case hex digits.
fn percent_encode(text: Cow<'static, str>) -> HeaderValue {
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'%';
    let is_encoded = !text.bytes().all(is_plain);
    let encoded = match text {
        Cow::Borrowed(text) if !is_encoded => return HeaderValue::from_static(text),
        Cow::Owned(text) if !is_encoded => text,
        text => text.bytes().fold(String::with_capacity(text.len() * 3), |mut encoded, byte| {
            if is_plain(byte) {
                encoded.push(char::from(byte));
            } else {
                write!(encoded, "%{byte:02X}").expect("a String takes any text");
            }
            encoded
        }),
    };
    HeaderValue::try_from(encoded).expect("printable ASCII is a header value")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_is_percent_encoded() {
        let encoded = |text: &'static str| percent_encode(text.into()).to_str().unwrap().to_owned();
        assert_eq!(encoded("etcdserver: no leader"), "etcdserver: no leader");
        assert_eq!(encoded("100%\n\u{e9}"), "100%25%0A%C3%A9");
    }

    #[test]
    fn success_is_one_trailer() {
        let headers = trailers(Ok(()));
        assert_eq!(headers.len(), 1);
        assert_eq!(headers["grpc-status"], "0");
    }

    #[test]
    fn failure_carries_number_and_text() {
        let headers = trailers(Err(Status::unimplemented("unknown service x")));
        assert_eq!(headers["grpc-status"], "12");
        assert_eq!(headers["grpc-message"], "unknown service x");
    }

    #[test]
    fn name_belongs_to_number() {
        assert_eq!(Code::Ok.name(), "OK");
        assert_eq!(Code::Unauthenticated.name(), "Unauthenticated");
        assert_eq!(Status::canceled().to_string(), "Canceled: context canceled");
    }
}
