//! Chores of the workspace, run as `cargo run -p xtask -- CHORE`.

use std::process::ExitCode;

mod gen_proto;

fn main() -> ExitCode {
    let chore = std::env::args().nth(1).unwrap_or_default();
    let result = match chore.as_str() {
        "gen-proto" => gen_proto::write(),
        _ => Err(format!("unknown chore {chore:?}; there is: gen-proto")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}
