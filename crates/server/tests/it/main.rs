//! The network shell seen from outside: real sockets, foreign clients, hostile ones.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod abuse;
mod client;
mod flags;
mod http;
mod shell;
mod slow_reader;
mod stopping;
mod testbed;
