//! Tests of the crate through its public interface, on the simulated disk unless they say otherwise.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod revision_log;
mod revision_log_crash;
mod revision_log_damage;
mod revision_log_model;
mod revision_log_open_files;
mod revision_log_reclaim;
mod revision_log_rig;
mod revision_log_unreadable;
mod wal_crash;
mod wal_damage;
mod wal_format;
mod wal_model;
mod wal_rig;
