//! Persist: files, the write-ahead log, the revision log, checkpoints. The only crate that opens files.

pub use bugs::seeded_bug;

pub mod bolt;
pub mod checkpoint;
mod data_dir;
mod directory;
mod error;
mod files;
mod mapping;
mod real;
pub mod revision_log;
mod sim;
mod unsynced;
pub mod wal;

pub use data_dir::DataDir;
pub use error::Error;
pub use files::{Dir, Disk, File};
pub use mapping::Mapping;
pub use real::RealDisk;
pub use revision_log::{Location, LogReader, RecordMeta, Revision, RevisionLog};
pub use sim::{Ops, SimDisk, SplitMix64};
pub use unsynced::UnsyncedDisk;
pub use wal::Wal;

/// File descriptors that one member's files take at most, however much data there is: the revision log's, of the
/// write-ahead log those of its directory, the file being written and those ready or being made, of a checkpoint its file
/// and directory, and the lock.
///
/// Whoever shares the limit of the process with a member must leave it so many.
pub const OPEN_FILES_MAX: usize = revision_log::OPEN_FILES_MAX + wal::OPEN_FILES_MAX + 3;
