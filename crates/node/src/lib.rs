//! One member: consensus, disk and store joined into one synchronous machine.
//!
//! ```text
//!                     ┌──────────────────────────── Node::handle ───────────────────────────┐
//!   Input             │ propose ─▶ raft ─▶ entries to write ──────────────────▶ Output.log  │ ─▶ LogWriter ─┐
//!   (requests, ticks, │              │                                                      │               │
//!    what is durable, │              └▶ committed ─▶ Store::apply ─▶ waiters ─▶ .answers    │               │
//!    finished jobs)   │ chores: checkpoint, spare files, hash, reclaim ─────▶ Output.jobs   │ ─▶ Job::run ──┤
//!                     └─────────────────────────────────────────────────────────────────────┘               │
//!          ▲────────────────────────────────── Input::Logged, Input::Finished ───────────────────────────────┘
//! ```
//!
//! Inputs go in as batches, effects come out as data; whoever drives the node carries them out, on threads in
//! the server, in a seeded order in the simulator. The order of effects is decided in one place,
//! [`Node::handle`]: what is answered was applied, what is applied was durable.
//!
//! Nothing here knows sockets, threads or the wall clock.

mod chores;
mod config;
mod error;
mod input;
mod job;
mod lease_clock;
mod lease_renewer;
mod lessor;
mod line;
mod log_writer;
mod node;
mod published;
mod start;
mod waiters;

pub use config::Config;
pub use error::{Fatal, Unserved};
pub use input::{Answer, Input, Note, Output, Proposal};
pub use job::{Finished, Job, SavedCheckpoint};
pub use lease_renewer::LeaseRenewer;
pub use lessor::{LeaseAnswer, LeasePlace, LeaseQuery, LeaseState};
pub use log_writer::{LogReport, LogTask, LogWriter};
pub use node::Node;
pub use published::Published;
pub use start::{Started, start};
