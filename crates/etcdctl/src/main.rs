//! `etcdctl`: the command line of a cluster.
//!
//! Output, error texts and exit codes are those of etcd's own `etcdctl`, to the byte where scripts look:
//! standard output, the last line of standard error, the exit code. `cli` reads the command line, `commands`
//! has a file for each command, `print` a file for each output format, `text` the formats in which Go writes
//! values.

mod cli;
mod commands;
mod failure;
mod print;
mod session;
mod text;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;

use bytes::Bytes;
use failure::Failure;
use tokio::runtime::Builder;

fn main() -> ExitCode {
    let args: Vec<Bytes> = std::env::args_os().skip(1).map(|arg| Bytes::from(arg.into_vec())).collect();
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::new(failure::ERROR, error.to_string()).report(),
    };
    let result = runtime.block_on(cli::run(&commands::ROOT, args));
    // A thread that waits for standard input would keep the process alive.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// The value of an environment variable, with bytes that are not UTF-8 replaced.
fn env(name: &str) -> String {
    std::env::var_os(name).map(OsString::into_vec).map(text::lossy).unwrap_or_default()
}
