//! What can go wrong, worded so that the reader knows what to mend.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a measurement could not be taken, or a call failed.
#[derive(Debug)]
pub(crate) enum Error {
    /// The command line cannot be understood.
    Usage(String),
    /// Nothing accepts connections at the endpoint.
    Unreachable { endpoint: String, cause: io::Error },
    /// The HTTP/2 connection or stream broke; later calls on it fail as well.
    Http2(String),
    /// The server answered with a gRPC status other than OK.
    Status { code: u32, message: String },
    /// The answer is not what the request asks for, so its latency would mean nothing.
    Answer(String),
    /// A process of the comparison did not start, or did not become ready.
    Server { command: String, detail: String },
    /// The process to be observed is gone, or its accounting cannot be read.
    Process { pid: u32, detail: String },
    /// A file or directory cannot be used.
    File { path: PathBuf, cause: io::Error },
    /// Ratios that must hold do not; the text has a line for each rule.
    Check(String),
    /// The user ended the run before anything was measured.
    Interrupted,
    /// The operating system refused a thread, a port or a processor.
    System { what: &'static str, cause: io::Error },
}

impl Error {
    /// Whether the connection is of no more use to its caller.
    pub(crate) fn ends_connection(&self) -> bool {
        !matches!(self, Self::Status { .. } | Self::Answer(_))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) => write!(f, "{text} (see `bench help`)"),
            Self::Unreachable { endpoint, cause } => {
                write!(f, "no server at {endpoint}: {cause}; is it running, and is this its client port?")
            }
            Self::Http2(cause) => write!(f, "the HTTP/2 connection broke: {cause}"),
            Self::Status { code, message } => {
                write!(f, "the server refused with gRPC code {code}: {message}")
            }
            Self::Answer(text) => write!(f, "wrong answer: {text}"),
            Self::Server { command, detail } => write!(f, "server `{command}`: {detail}"),
            Self::Process { pid, detail } => write!(f, "process {pid}: {detail}"),
            Self::File { path, cause } => write!(f, "{}: {cause}", path.display()),
            Self::Check(text) => write!(f, "a rule is broken\n{}", text.trim_end()),
            Self::Interrupted => write!(f, "interrupted before anything was measured"),
            Self::System { what, cause } => write!(f, "{what}: {cause}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<prost::DecodeError> for Error {
    fn from(cause: prost::DecodeError) -> Self {
        Self::Answer(cause.to_string())
    }
}
