//! Measures an etcd server: throughput, latency, and CPU an operation, of one or of two side by side.
//!
//! `bench WORKLOAD` puts load on a server that runs; `bench compare` starts ours and a peer in turn.
//! The result goes to standard output, progress and errors to standard error. The method stands in
//! `docs/performance.md`.

mod args;
mod client;
mod compare;
mod error;
mod interrupt;
mod load;
mod meter;
mod pace;
mod process;
mod report;
mod server;
mod settings;
mod socket;
mod stats;
mod table;
mod workload;

use std::process::ExitCode;

use args::Command;
use error::Error;
use load::Coordinator;
use report::Summary;
use settings::Settings;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let result = args::parse(std::env::args().skip(1)).and_then(|command| match command {
        Command::Help => Ok(args::help()),
        Command::Load(settings) => load(&settings),
        Command::Compare(comparison) => compare::run(&comparison),
    });
    match result {
        Ok(text) => {
            println!("{}", text.trim_end());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// One run against a server that runs already.
fn load(settings: &Settings) -> Result<String, Error> {
    let summary = Summary::of(&Coordinator::new()?.run(settings)?);
    Ok(if settings.json { summary.json().to_string() } else { summary.text(settings) })
}
