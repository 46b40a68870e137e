//! Persist: files, the write-ahead log, the revision log, checkpoints. The only crate that opens files.

pub mod bugs;
pub mod checkpoint;
mod data_dir;
mod directory;
mod error;
mod files;
pub mod log;
mod real;
mod sim;
mod unsynced;
pub mod wal;

pub use data_dir::DataDir;
pub use error::Error;
pub use files::{Dir, Disk, File};
pub use log::{Location, LogReader, RecordMeta, Revision, RevisionLog};
pub use real::RealDisk;
pub use sim::{Ops, SimDisk};
pub use unsynced::UnsyncedDisk;
pub use wal::Wal;
