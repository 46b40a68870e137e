//! The built server as its users meet it: a process with a data directory, sockets, and a disk that may be
//! full.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod abuse;
mod client;
mod cluster;
mod crash;
mod differential;
mod errors;
mod full_disk;
mod ledger;
mod life;
mod logs;
mod messages;
mod metrics;
mod peer_pages;
mod quota;
mod range_stream;
mod server;
mod settings;
mod snapshot;
mod startup;
mod system;
mod transcripts;
mod watcher;
mod workload;

use std::env;

/// A number of the environment, for the long forms of tests.
fn setting(name: &str, default: usize) -> usize {
    env::var(name).map_or(default, |text| text.parse().unwrap())
}
