//! What can go wrong with a call.

use std::error::Error as StdError;
use std::fmt;

use tonic::{ConnectError, Status};

pub use tonic::Code;

/// Why a call has no response. The text of each is what etcd's own client shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The settings cannot be worked with. A retry is in vain.
    Config(String),
    /// The server refused, or the connection broke. Unless the code is `Unavailable` the request had no effect;
    /// then, for a write, nobody knows.
    Refused {
        /// gRPC's status code.
        code: Code,
        /// The server's own words.
        message: String,
    },
    /// The time for the call was up. Whether a write took effect is not known.
    DeadlineExceeded,
}

/// What etcd answers for a lease that does not exist or has expired.
pub(crate) const LEASE_NOT_FOUND: &str = "etcdserver: requested lease not found";

/// Texts of etcd's server that its client does not know: it shows them as it does any other server's.
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
    /// Whether a stream that ended so may be opened again and go on where it was.
    pub(crate) fn is_resumable(&self) -> bool {
        matches!(self, Error::Refused { code: Code::Unavailable | Code::Internal, .. })
    }

    /// Whether the call may find a member that serves it, if it is made again.
    pub(crate) fn is_unavailable(&self) -> bool {
        matches!(self, Error::Refused { code: Code::Unavailable, .. })
    }

    /// What a stream that the server ended without a status comes to.
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
            // tonic counts a long response as out of range, gRPC elsewhere as an exhausted resource.
            Code::OutOfRange if let Some((len, max)) = lengths(&message) => Error::Refused {
                code: Code::ResourceExhausted,
                message: format!("grpc: received message larger than max ({len} vs. {max})"),
            },
            // A server says so with a status; a connection that breaks comes without one.
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

/// Whether the connection is to blame, and not the server's answer.
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
