//! The async shell around a member: sockets, gRPC, HTTP, logging, settings. It takes no decisions of its own.

mod api;
mod background;
mod codes;
mod compactor;
pub mod config;
mod corruption;
mod discovery;
mod driver;
mod flags;
pub mod grpc;
pub mod http;
mod identity;
pub mod listen;
mod local_event;
mod logging;
mod metered_call;
mod metrics;
mod pages;
mod peers;
mod read_budget;
mod route;
mod run;
mod service;
mod sniff;
mod time_slice;
mod version_monitor;
pub mod worker;

pub use run::{run, run_with};
