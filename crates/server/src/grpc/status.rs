//! The outcome of a gRPC call: a code and a text, and how both are written into trailers.
//!
//! Clients of etcd recognise an error by its text alone, so a message passes through here byte for byte;
//! only the percent-encoding that the gRPC protocol asks for ("gRPC over HTTP2", Status-Message) is applied.
//! Which error becomes which status is decided elsewhere.

use std::borrow::Cow;
use std::fmt;

use http2::hpack;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

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

    fn digits(self) -> &'static str {
        const DIGITS: [&str; 17] =
            ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16"];
        DIGITS[self as usize]
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
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.name(), self.message)
    }
}

impl std::error::Error for Status {}

/// Bytes of a text that are sent; what follows is left out. No text of etcd is half as long, but some repeat
/// what a client has sent, and an answer should not be much longer than what was asked.
pub(super) const TEXT_LEN_MAX: usize = 512;

/// The header block of the trailers that end a call.
pub(super) fn trailers(outcome: &Result<(), Status>) -> Vec<u8> {
    let mut block = Vec::with_capacity(64);
    put(outcome, &mut block);
    block
}

/// The header block that is an answer without a message: a status of HTTP and one of gRPC.
pub(super) fn whole_answer(http: u16, outcome: &Result<(), Status>) -> Vec<u8> {
    let mut block = Vec::with_capacity(128);
    let http = http.to_string();
    hpack::encode([(":status", http.as_bytes()), ("content-type", b"application/grpc")], &mut block);
    put(outcome, &mut block);
    block
}

/// Adds `grpc-status` and `grpc-message` to a header block.
fn put(outcome: &Result<(), Status>, block: &mut Vec<u8>) {
    let code = outcome.as_ref().map_or_else(|status| status.code, |()| Code::Ok);
    hpack::encode([("grpc-status", code.digits().as_bytes())], block);
    if let Err(status) = outcome
        && !status.message.is_empty()
    {
        let text = percent_encode(shortened(&status.message));
        hpack::encode([("grpc-message", text.as_bytes())], block);
    }
}

/// As much of a text as is sent, in whole characters.
fn shortened(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_LEN_MAX)]
}

/// Bytes that are encoded in a Status-Message: all but printable ASCII, and `%`.
const ENCODED: &AsciiSet = &CONTROLS.add(b'%');

/// The same, and spaces: no field of HTTP/2 begins or ends with one.
const ENCODED_AT_ENDS: &AsciiSet = &ENCODED.add(b' ');

/// Each byte of [`ENCODED`] or beyond ASCII becomes `%` and two upper-case hex digits; so does a space at either end.
fn percent_encode(text: &str) -> Cow<'_, str> {
    let inner = text.trim_matches(' ');
    if inner.len() == text.len() {
        return utf8_percent_encode(text, ENCODED).into();
    }
    // A text of several spaces at an end has them all encoded, which means the same.
    let (before, after) = text.split_at(text.len() - text.trim_start_matches(' ').len());
    let after = &after[inner.len()..];
    let [before, after] = [before, after].map(|spaces| utf8_percent_encode(spaces, ENCODED_AT_ENDS));
    format!("{before}{}{after}", utf8_percent_encode(inner, ENCODED)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(block: &[u8]) -> Vec<(String, String)> {
        let mut fields = Vec::new();
        assert_eq!(hpack::Decoder::default().decode(block, 1000, &mut fields), Ok(true));
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        fields.iter().map(|field| (text(&field.name), text(&field.value))).collect()
    }

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn message_is_percent_encoded() {
        assert_eq!(percent_encode("etcdserver: no leader"), "etcdserver: no leader");
        assert_eq!(percent_encode("100%\n\u{e9}"), "100%25%0A%C3%A9");
        assert_eq!(percent_encode(" x "), "%20x%20");
        assert_eq!(percent_encode(""), "");
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        let failure = |text: String| Err(Status::internal(text));
        let block = trailers(&failure(format!("{}\u{e9}\u{e9}", "x".repeat(TEXT_LEN_MAX - 1))));
        assert_eq!(fields(&block)[1].1, "x".repeat(TEXT_LEN_MAX - 1));
        assert!(trailers(&failure("\u{e9}".repeat(1 << 20))).len() < 3 * TEXT_LEN_MAX + 100);
    }

    #[test]
    fn success_is_one_trailer() {
        assert_eq!(fields(&trailers(&Ok(()))), pairs(&[("grpc-status", "0")]));
    }

    #[test]
    fn failure_carries_number_and_text() {
        let failure = Err(Status::unimplemented("unknown service x"));
        let status = [("grpc-status", "12"), ("grpc-message", "unknown service x")];
        assert_eq!(fields(&trailers(&failure)), pairs(&status));
        let whole = [&[(":status", "415"), ("content-type", "application/grpc")], &status[..]].concat();
        assert_eq!(fields(&whole_answer(415, &failure)), pairs(&whole));
    }

    #[test]
    fn name_belongs_to_number() {
        assert_eq!(Code::Ok.name(), "OK");
        assert_eq!(Code::Unauthenticated.name(), "Unauthenticated");
        assert_eq!(Status::canceled().to_string(), "Canceled: context canceled");
    }
}
