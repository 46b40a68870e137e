//! The connection seen from outside: the rules of the RFC one by one, floods, and another implementation.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod answering;
mod floods;
mod foreign;
mod frames;
mod goaway;
mod receiving;
mod wire;
