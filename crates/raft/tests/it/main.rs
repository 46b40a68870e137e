//! A cluster in one thread, under scripts and under random faults, with the invariants of Raft asserted
//! after each step.

#![expect(clippy::unwrap_used, reason = "all of it is test code, also what is outside of test functions")]

mod changes;
mod checker;
mod cluster;
mod disk;
mod faults;
mod faulty_peer;
mod script;
mod trace;
