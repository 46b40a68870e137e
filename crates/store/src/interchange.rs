//! The whole state as etcd's database, one bbolt file: written from a store, and made a data directory again.
//!
//! The database has a bucket for each table (`docs/snapshot.md`). The one of the keys holds what our revision log holds,
//! by revision and in the same bytes, so both directions are streams.

mod export;
mod import;
mod key;
mod meta;
mod tables;

pub use self::export::Export;
pub use self::import::{ImportError, Imported, import, import_beside};
