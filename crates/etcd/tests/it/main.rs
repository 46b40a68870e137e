//! The built server as its users meet it: a process with a data directory, sockets, and a disk that may be
//! full.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod client;
mod crash;
mod errors;
mod full_disk;
mod ledger;
mod life;
mod range_stream;
mod server;
mod startup;
mod transcripts;
mod watcher;
mod workload;
