//! What can go wrong with a call.

use std::error::Error as StdError;
use std::fmt;

use tonic::{ConnectError, Status};

pub use tonic::Code;

/// Why a call has no response. The text of each is what etcd's own client shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The settings are invalid. A retry fails again.
    Config(String),
    /// The server refused the call, or the connection broke. The request had no effect, unless the code is
    /// `Unavailable`: then it is unknown whether a write took effect.
    Refused {
        /// gRPC's status code.
        code: Code,
        /// The server's text.
        message: String,
    },
    /// The deadline of the call has passed. It is unknown whether a write took effect.
    DeadlineExceeded,
}

/// What etcd answers for a lease that does not exist or has expired.
pub(crate) const LEASE_NOT_FOUND: &str = "etcdserver: requested lease not found";

/// What etcd answers while its member knows no leader.
const NO_LEADER: &str = "etcdserver: no leader";

/// Texts of etcd's server that etcd's client does not recognise: it shows them with a code, like those of other servers.
const UNKNOWN_TO_ETCDS_CLIENT: [&str; 8] = [
    "etcdserver: request canceled",
    "etcdserver: cluster ID mismatch",
    "etcdserver: context deadline exceeded",
    "etcdserver: invalid client api version",
    "etcdserver: permission not given",
    "etcdserver: watch canceled",
    "etcdserver: unknown method",
    "etcdserver: request timed out, leader transfer took too long",
];

impl Error {
    /// Whether a stream that ended with this error may be opened again and resumed.
    pub(crate) fn is_resumable(&self) -> bool {
        matches!(self, Error::Refused { code: Code::Unavailable | Code::Internal, .. })
    }

    /// Whether a retry may reach a member that serves the call.
    pub(crate) fn is_unavailable(&self) -> bool {
        matches!(self, Error::Refused { code: Code::Unavailable, .. })
    }

    /// Whether the member refused the call because it knows no leader. Then nothing was proposed.
    pub(crate) fn is_no_leader(&self) -> bool {
        matches!(self, Error::Refused { code: Code::Unavailable, message } if message == NO_LEADER)
    }

    /// The error of a stream that the server ended without one.
    pub(crate) fn stream_ended() -> Self {
        Error::Refused { code: Code::Unavailable, message: "the stream has ended".to_owned() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Config(text) => f.write_str(text),
            Error::DeadlineExceeded => f.write_str("context deadline exceeded"),
            Error::Refused { message, .. } if is_etcds(message) => f.write_str(message),
            Error::Refused { code: Code::Cancelled, message } => {
                write!(f, "rpc error: code = Canceled desc = {message}")
            }
            Error::Refused { code, message } => write!(f, "rpc error: code = {code:?} desc = {message}"),
        }
    }
}

impl StdError for Error {}

fn is_etcds(message: &str) -> bool {
    message.starts_with("etcdserver: ") && !UNKNOWN_TO_ETCDS_CLIENT.contains(&message)
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        let message = status.message().to_owned();
        match status.code() {
            Code::DeadlineExceeded => Error::DeadlineExceeded,
            // For a response that is too long, tonic uses OutOfRange; other gRPC clients use ResourceExhausted.
            Code::OutOfRange if let Some((len, max)) = lengths(&message) => Error::Refused {
                code: Code::ResourceExhausted,
                message: format!("grpc: received message larger than max ({len} vs. {max})"),
            },
            // The connection broke: a server would have sent a status.
            Code::Unknown if is_broken(&status) => Error::Refused { code: Code::Unavailable, message },
            code => Error::Refused { code, message },
        }
    }
}

/// The length and the limit that tonic names when it refuses a response.
fn lengths(message: &str) -> Option<(&str, &str)> {
    message
        .strip_prefix("Error, decoded message length too large: found ")?
        .strip_suffix(" bytes")?
        .split_once(" bytes, the limit is: ")
}

/// Whether the call failed before anything was sent, so that it is safe to repeat whatever it asks for.
pub(crate) fn is_unsent(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.is::<ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Whether the connection failed, and not the call on it.
pub(crate) fn is_broken(status: &Status) -> bool {
    status.source().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(code: Code, message: &str) -> String {
        Error::from(Status::new(code, message)).to_string()
    }

    #[test]
    fn etcds_own_texts_stand_alone() {
        assert_eq!(shown(Code::NotFound, LEASE_NOT_FOUND), LEASE_NOT_FOUND);
    }

    #[test]
    fn other_texts_carry_their_code() {
        assert_eq!(shown(Code::Unknown, "odd"), "rpc error: code = Unknown desc = odd");
        let canceled = shown(Code::Cancelled, "etcdserver: watch canceled");
        assert_eq!(canceled, "rpc error: code = Canceled desc = etcdserver: watch canceled");
    }

    #[test]
    fn a_long_response_reads_as_grpc_has_it() {
        let tonic = "Error, decoded message length too large: found 44 bytes, the limit is: 3 bytes";
        let text =
            "rpc error: code = ResourceExhausted desc = grpc: received message larger than max (44 vs. 3)";
        assert_eq!(shown(Code::OutOfRange, tonic), text);
    }
}
