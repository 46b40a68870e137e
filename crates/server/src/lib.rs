//! The async shell around a member: sockets, gRPC, HTTP, logging, settings. It takes no decisions of its own.

pub mod config;
mod flags;
mod gather;
pub mod grpc;
pub mod http;
pub mod listen;
pub mod logging;
mod sniff;
pub mod worker;
