//! One member on a simulated disk, driven by hand: what it writes, answers, refuses and does for itself.

#![expect(clippy::unwrap_used, reason = "all of it is test code, also what is outside of test functions")]

mod alone;
mod cluster;
mod exporting;
mod fatal;
mod leases;
mod maintenance;
mod member;
mod quota;
mod requests;
mod space;
mod starting;
mod waiting;
