//! Persist: files, the write-ahead log, the revision log, checkpoints. The only crate that opens files.

mod error;
mod files;
mod real;
mod sim;

pub use error::Error;
pub use files::{Disk, File};
pub use real::RealDisk;
pub use sim::{Ops, SimDisk};
