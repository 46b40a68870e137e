//! Persist: files, the write-ahead log, the revision log, checkpoints. The only crate that opens files.

mod files;

pub use files::{Disk, File};
