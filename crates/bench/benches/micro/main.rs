//! Micro-benchmarks: what the parts of a put, a read and an event cost without sockets.
//!
//! `cargo bench -p bench` runs all in half a minute, `cargo bench -p bench -- store` those whose name has
//! that in it. Each line is the median of a few samples in nanoseconds an operation, with the smallest and
//! the largest.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on has nothing to say")]

mod codec;
mod log;
mod member;
mod pauses;
mod runner;
mod store;
mod wal;
mod watch;

use runner::Runner;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    // Cargo passes `--bench` as well.
    let filter = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let runner = Runner::new(filter);
    codec::run(&runner);
    wal::run(&runner);
    log::run(&runner);
    store::run(&runner);
    watch::run(&runner);
    member::run(&runner);
    pauses::run(&runner);
}
