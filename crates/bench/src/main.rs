//! Measures an etcd server: throughput, latency, and CPU an operation, of one or of two side by side.
//!
//! `bench WORKLOAD` puts load on a server that runs; `bench compare` starts ours and a peer in turn; `bench
//! check` holds a few of those numbers against thresholds. The result goes to standard output, progress and
//! errors to standard error. The method stands in `docs/performance.md`.

mod args;
mod cases;
mod chart;
mod check;
mod client;
mod cluster;
mod compare;
mod error;
mod experiment;
mod interrupt;
mod load;
mod markdown;
mod meter;
mod pace;
mod process;
mod progress;
mod report;
mod server;
mod settings;
mod stats;
mod table;
mod workload;

use std::process::ExitCode;

use args::Command;
use error::Error;
use load::Coordinator;
use settings::Settings;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let result = process::allow_many_files().and_then(|()| args::parse(std::env::args().skip(1)));
    match result.and_then(carry_out) {
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

fn carry_out(command: Command) -> Result<String, Error> {
    match command {
        Command::Help => Ok(args::help()),
        Command::Load(settings) => load(&settings),
        Command::Compare(comparison) => compare::run(&comparison),
        Command::Check(comparison) => check::run(comparison),
    }
}

/// One run against a server that runs already.
fn load(settings: &Settings) -> Result<String, Error> {
    let report = Coordinator::new()?.run(settings, None)?;
    Ok(if settings.json { report.json().to_string() } else { report.text(&settings.describe()) })
}
