//! bbolt files, etcd's format for a whole store: read and written as a stream.
//!
//! A bbolt file is an array of pages that holds a B+tree for each *bucket*, and a tree of the buckets. Snapshots that
//! clients ask for, and those that members send each other, have this format, so that every etcd can read ours and
//! the other way round.
//!
//! ```text
//!   Layout (bounds of what will come) ─▶ Writer ─▶ pages, in order     sockets and pipes
//!   File ─▶ Reader ─▶ Entries of a bucket, in the order of keys         every byte is checked
//! ```
//!
//! Both take memory for a node of the tree and for the path to it, however long the file is. The reader trusts nothing:
//! a damaged or a malicious file ends in an [`Error::Corrupt`](crate::Error::Corrupt) that names the place, after
//! looking at each page at most once.
//!
//! All numbers are little-endian. The format, and how a writer that cannot go back lays out a file: `docs/snapshot.md`.

mod check;
mod entries;
mod layout;
mod meta;
mod node;
mod page;
mod page_set;
mod reader;
mod writer;

pub use self::entries::{Entries, Entry};
pub use self::layout::{BucketBound, Layout};
pub use self::reader::{Bucket, Reader};
pub use self::writer::Writer;

/// Page sizes that can be read and written, powers of two between these.
const PAGE_SIZE_MIN: u64 = 1 << 10;
const PAGE_SIZE_MAX: u64 = 64 << 10;

/// Longest key of a bucket, bytes: bbolt's limit.
pub const KEY_LEN_MAX: usize = 32 << 10;

/// Longest value that is read, bytes: etcd's limit of a message between members, so no longer value was replicated.
pub const VALUE_LEN_MAX: usize = 512 << 20;

#[cfg(test)]
mod tests;
