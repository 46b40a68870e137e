//! The async shell around a member: sockets, gRPC, HTTP, logging, settings. It takes no decisions of its own.

mod api;
mod background;
mod codes;
mod compactor;
mod condition;
pub mod config;
mod counted;
mod driver;
mod flags;
pub mod grpc;
pub mod http;
mod identity;
pub mod listen;
mod logging;
mod metrics;
mod pages;
mod route;
mod run;
mod service;
mod sniff;
mod turn;
pub mod worker;

pub use run::{run, run_with};
