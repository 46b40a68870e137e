//! How a command fails: its exit code and its message.

use std::process::ExitCode;

/// The call failed, or the command line was not understood.
pub(crate) const ERROR: u8 = 1;
/// The client could not be created.
const BAD_CONNECTION: u8 = 2;
/// Standard input was not understood.
pub(crate) const INVALID_INPUT: u8 = 3;
/// The flag or the output format does not have this value.
pub(crate) const BAD_FEATURE: u8 = 4;
/// The server ended a watch.
pub(crate) const INTERRUPTED: u8 = 5;
/// The arguments do not fit the command or one another.
pub(crate) const BAD_ARGS: u8 = 128;

/// An exit code, and the message on standard error.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    /// Ends with `code` and the line `Error: message`.
    pub(crate) fn new(code: u8, message: impl Into<String>) -> Self {
        Failure { code, message: format!("Error: {}\n", message.into()) }
    }

    /// Ends with [`ERROR`] and prints nothing more: the error was printed before.
    pub(crate) fn told() -> Self {
        Failure { code: ERROR, message: String::new() }
    }

    /// Ends with [`ERROR`] and the whole of `message`, which may be several lines.
    pub(crate) fn verbatim(message: String) -> Self {
        Failure { code: ERROR, message }
    }

    /// Arguments that do not fit.
    pub(crate) fn bad_args(message: impl Into<String>) -> Self {
        Failure::new(BAD_ARGS, message)
    }

    /// The client could not be created, or a command about leases failed.
    #[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` calls")]
    pub(crate) fn bad_connection(error: client::Error) -> Self {
        Failure::new(BAD_CONNECTION, error.to_string())
    }

    /// Prints the message.
    pub(crate) fn report(&self) -> ExitCode {
        eprint!("{}", self.message);
        ExitCode::from(self.code)
    }
}

impl From<client::Error> for Failure {
    fn from(error: client::Error) -> Self {
        Failure::new(ERROR, error.to_string())
    }
}
