//! Why settings are refused, and how the program ends then.

use std::fmt;

/// Refused settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// Not a command line at all: the text and the usage go to stderr, exit code 2.
    Usage(String),
    /// A value that the server cannot run with: logged as `failed to verify flags`, exit code 1.
    Invalid(String),
    /// A file with unreadable URLs: the text alone goes to stderr, exit code 1.
    Setup(String),
    /// An error that etcd finds only when it starts. It is logged as `discovery failed`, as etcd logs any
    /// such error; exit code 1.
    Start(String),
    /// A flag given both by argument and by environment variable: logged as fatal, exit code 1.
    Shadowed {
        /// Name of the variable.
        variable: String,
    },
}

impl Error {
    /// The exit code of the process.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Usage(_) => 2,
            Error::Invalid(_) | Error::Setup(_) | Error::Start(_) | Error::Shadowed { .. } => 1,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Usage(text) | Error::Invalid(text) | Error::Setup(text) | Error::Start(text) => {
                f.write_str(text)
            }
            // The closing parenthesis is etcd's.
            Error::Shadowed { .. } => f.write_str(
                "conflicting environment variable is shadowed by corresponding command-line flag \
                 (either unset environment variable or disable flag))",
            ),
        }
    }
}

impl std::error::Error for Error {}

/// An error of the system in Go's words: without the number that Rust adds, and with a small first letter.
pub(crate) fn go_text(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}
