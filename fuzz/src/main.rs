//! Runs fuzz targets on stable Rust: `fuzz [--seconds N] [--seed N] TARGET|all`, `fuzz --input FILE TARGET`.
//!
//! Each target runs in a thread with the stack of a server thread and in a process with little memory, so
//! that unbounded recursion and allocation fail. A panic leaves its input in `fuzz/artifacts/`. An abort
//! leaves nothing, but the same seed finds it again.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{env, fs, panic, thread};

use fuzz::mutate::Mutator;
use fuzz::{TARGETS, Target};
use rustix::process::{Resource, Rlimit, setrlimit};

/// Address space of the process, in bytes.
const MEMORY_MAX: u64 = 2 << 30;

/// Stack of the thread that runs a target, in bytes: the default of Rust's threads.
const STACK_LEN: usize = 2 << 20;

/// Inputs between two readings of the clock.
const BATCH_LEN: u64 = 64;

const USAGE: &str = "usage: fuzz [--seconds N] [--seed N] [--input FILE] TARGET|all";

fn main() -> ExitCode {
    match Options::parse(env::args().skip(1)).and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("fuzz: {message}");
            ExitCode::FAILURE
        }
    }
}

struct Options {
    targets: Vec<Target>,
    /// How long each target runs.
    duration: Duration,
    seed: u64,
    /// Run this one input instead of mutations.
    input: Option<PathBuf>,
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
        let mut options =
            Options { targets: Vec::new(), duration: Duration::from_secs(10), seed: 1, input: None };
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or(format!("{arg} needs a value\n{USAGE}"));
            match arg.as_str() {
                "--seconds" => options.duration = Duration::from_secs(number(&value()?)?),
                "--seed" => options.seed = number(&value()?)?,
                "--input" => options.input = Some(value()?.into()),
                name => options.targets.extend(find(name)?),
            }
        }
        if options.targets.is_empty() { Err(USAGE.to_owned()) } else { Ok(options) }
    }
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|e| format!("{text}: {e}\n{USAGE}"))
}

fn find(name: &str) -> Result<Vec<Target>, String> {
    let found: Vec<Target> =
        TARGETS.into_iter().filter(|target| name == "all" || name == target.name).collect();
    let known = || TARGETS.map(|target| target.name).join(", ");
    if found.is_empty() {
        Err(format!("no target {name}; there are: {}\n{USAGE}", known()))
    } else {
        Ok(found)
    }
}

fn run(options: &Options) -> Result<(), String> {
    let limit = Rlimit { current: Some(MEMORY_MAX), maximum: Some(MEMORY_MAX) };
    setrlimit(Resource::As, limit).map_err(|e| format!("limiting memory: {e}"))?;
    for &target in &options.targets {
        let inputs = thread::scope(|scope| {
            let builder = thread::Builder::new().stack_size(STACK_LEN);
            let thread = builder.spawn_scoped(scope, || run_target(target, options));
            thread
                .map_err(|e| format!("starting a thread: {e}"))?
                .join()
                .map_err(|_| "the runner panicked")?
        })?;
        println!("{}: {inputs} inputs", target.name);
    }
    Ok(())
}

/// Returns how many inputs passed.
fn run_target(target: Target, options: &Options) -> Result<u64, String> {
    if let Some(path) = &options.input {
        let input = fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
        (target.run)(&input);
        return Ok(1);
    }
    let mut mutator = Mutator::new((target.seeds)(), options.seed);
    let start = Instant::now();
    let mut inputs = 0;
    while start.elapsed() < options.duration {
        for _ in 0..BATCH_LEN {
            let input = mutator.next_input();
            if panic::catch_unwind(|| (target.run)(input)).is_err() {
                return Err(keep(target, options.seed, inputs, input));
            }
            inputs += 1;
        }
    }
    Ok(inputs)
}

/// Saves the input of a panic and prints how to run it again.
fn keep(target: Target, seed: u64, inputs: u64, input: &[u8]) -> String {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("artifacts");
    let path = dir.join(format!("{}-{seed}-{inputs}", target.name));
    let mut message = format!("{} panicked at input {inputs} of seed {seed}", target.name);
    let saved = fs::create_dir_all(&dir).and_then(|()| fs::write(&path, input));
    let added = match saved {
        Ok(()) => write!(message, "; again: cargo run -p fuzz -- --input {} {}", path.display(), target.name),
        Err(e) => write!(message, "; its input could not be saved: {}: {e}", path.display()),
    };
    added.expect("a String takes any text");
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Options, String> {
        Options::parse(args.iter().map(|&arg| arg.to_owned()))
    }

    #[test]
    fn all_means_every_target() {
        let options = parse(&["--seconds", "3", "--seed", "9", "all"]).ok().unwrap();
        assert_eq!(options.targets.len(), TARGETS.len());
        assert_eq!((options.duration, options.seed), (Duration::from_secs(3), 9));
    }

    #[test]
    fn bad_arguments_are_refused_with_the_usage() {
        for args in [&["nonsense"][..], &[], &["--seconds"], &["--seed", "x", "all"]] {
            assert!(parse(args).is_err_and(|message| message.ends_with(USAGE)), "{args:?}");
        }
    }
}
