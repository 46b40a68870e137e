//! The built `etcdctl` against a server of this project.
//!
//! What it has to say is written down in `tests/scripts`, as etcd's own `etcdctl` 3.7.1 said it to etcd 3.7.1.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod check;
mod cluster;
mod connection;
mod fake_member;
mod golden;
mod member;
mod script;
