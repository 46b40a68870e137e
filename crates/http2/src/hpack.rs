//! Header compression (RFC 7541): a full decoder, and an encoder without state.

mod decode;
mod encode;
mod huffman;
mod table;

pub use decode::{Corrupt, Decoder};
pub use encode::{NO_TABLE, encode, encode_entry, encode_newer};
pub(crate) use table::FIELD_OVERHEAD;
pub use table::Field;

/// Size of the dynamic table, in the bytes of RFC 7541 §4.1, that a peer may use: the default of the
/// protocol.
pub const TABLE_LEN_MAX: usize = 4096;
