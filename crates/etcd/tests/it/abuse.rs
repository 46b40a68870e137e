//! Clients that are broken, hostile or absurd: the server answers, stays small, and serves everybody else.
//!
//! The tests of `http2` and of the decoders have each bad frame and each bad byte; here the whole process stands
//! for itself, with other clients to be served and a store to be kept right. The long form:
//! `ABUSE_REQUESTS=1000000 ABUSE_CONNECTIONS=10000 cargo test --release -p etcd --test it abuse -- --nocapture
//! --test-threads=1`.

mod amplification;
mod bystander;
mod connections;
mod generator;
mod memory;
mod model;
mod readers;
mod requests;
mod streams;
mod trial;
mod wire;

/// What the log may not contain: it would alarm an operator.
const ALARMING: [&str; 5] =
    ["panicked", "\"level\":\"error\"", "\"level\":\"dpanic\"", "\"level\":\"panic\"", "\"level\":\"fatal\""];

/// Asserts that `log` contains nothing alarming.
fn assert_calm(log: &str) {
    let alarming: Vec<_> =
        log.lines().filter(|line| ALARMING.iter().any(|word| line.contains(word))).collect();
    assert!(alarming.is_empty(), "the log is calm:\n{}", alarming.join("\n"));
}
