//! Tests of the crate through its public interface, on the simulated disk unless they say otherwise.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod log;
mod log_crash;
mod log_damage;
mod log_model;
mod log_open_files;
mod log_reclaim;
mod log_rig;
mod log_unreadable;
mod wal_crash;
mod wal_damage;
mod wal_format;
mod wal_model;
mod wal_rig;
