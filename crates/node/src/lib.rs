//! One member: consensus, disk and store joined into one synchronous machine.
//!
//! ```text
//!                ┌─────────────────────────── Node::handle ───────────────────────────┐
//!   Input ──────▶│ consensus   proposals ─▶ raft ──────────▶ .wal ────────────────────┼─▶ WalWriter ─┐
//!   requests,    │                           │ └───────────▶ .messages ───────────────┼─▶ peers      │
//!   ticks,       │ ───────────── committed entries ────────────────────────────────── │              │
//!   messages,    │                           ▼                                        │              │
//!   reports      │ machine     Store::apply ─▶ waiters ────▶ .answers, .signals       │              │
//!                │             leases, maintenance ────────▶ .jobs ───────────────────┼─▶ Job::run ──┤
//!                └────────────────────────────────────────────────────────────────────┘              │
//!      ▲───────────────────────── Input::WalWritten, Input::Finished ────────────────────────────────┘
//! ```
//!
//! Inputs go in as batches, effects come out as data; whoever drives the node carries them out, on threads in
//! the server, in a seeded order in the simulator. The order of effects is decided in one place,
//! [`Node::handle`]: what is answered was applied, what is applied was durable. It has two phases, so that
//! WAL tasks and messages can leave before anything is applied: [`Node::decide`] and [`Node::apply`].
//!
//! Nothing here knows sockets, threads or the wall clock.

mod alone;
mod config;
mod consensus;
mod error;
mod handover;
mod input;
mod job;
mod machine;
mod meanwhile;
mod node;
mod output;
mod published;
mod replay;
mod spare;
mod start;
mod waiters;
mod wal_writer;

pub use alone::Forced;
pub use config::Config;
pub use error::{Fatal, Unserved};
pub use input::{Answer, Input, Proposal};
pub use job::{Finished, Job, SavedCheckpoint};
pub use machine::lease_renewer::LeaseRenewer;
pub use machine::lessor::{LeaseAnswer, LeasePlace, LeaseQuery, LeaseState};
pub use machine::snapshot_index;
pub use meanwhile::Meanwhile;
pub use node::Node;
pub use output::{Note, Output};
pub use published::Published;
pub use start::{Started, start};
pub use wal_writer::{WalReport, WalTask, WalWriter};
