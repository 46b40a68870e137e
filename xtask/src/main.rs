//! Tasks of the workspace, run as `cargo run -p xtask -- TASK`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[cfg(test)]
mod api_fixture;
mod gen_proto;
mod licenses;
mod metadata;
mod tidy;

fn main() -> ExitCode {
    let task = std::env::args().nth(1).unwrap_or_default();
    let result = match task.as_str() {
        "gen-proto" => gen_proto::write(),
        "licenses" => licenses::run(),
        "tidy" => tidy::run(),
        _ => Err(format!("unknown task {task:?}; there are: gen-proto, licenses, tidy")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}

/// The directory of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
