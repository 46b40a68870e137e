//! The client library: calls to a cluster of etcd or ferretcd members.
//!
//! A [`Client`] spreads calls over its endpoints and repeats what is safe to repeat. Requests and responses are
//! the messages of `proto`. A [`Watcher`] carries watches over broken connections, a [`KeepAlive`] does so for
//! a lease. Nothing here prints, reads the environment or exits. There is no TLS and no authentication yet.

mod client;
mod config;
mod endpoint;
mod error;
#[cfg(test)]
mod fake_server;
mod keep_alive;
mod membership;
mod pool;
mod range_stream;
mod services;
mod snapshot;
mod watch;

pub use client::Client;
pub use config::Config;
pub use error::{Code, Error};
pub use keep_alive::KeepAlive;
pub use range_stream::RangeStream;
pub use snapshot::SnapshotStream;
pub use watch::{Watch, Watcher, cancellation};
