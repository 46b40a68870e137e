//! The words that members of a cluster send each other: etcd's peer protocol, without its sockets.
//!
//! ```text
//!   request heads ─▶ handshake ─▶ Sender, or a Refusal with its status and text
//!   bytes ─▶ MessageDecoder, AppendDecoder, SnapshotHead ─▶ messages of raft
//!   messages of raft ─▶ encode_message, AppendEncoder ─▶ bytes
//! ```
//!
//! A member asks each peer for two streams, and the peer answers with a body that never ends. Appends have a
//! stream of their own, so that a large one never holds up heartbeats. What finds no stream is sent as a request
//! of its own (the *pipeline*), and so is a snapshot. `docs/peers.md` describes the bytes.
//!
//! Everything decoded here is hostile until checked: memory grows only with bytes that have arrived, up to a
//! limit that the caller names. Not here: sockets, HTTP, time, and what a message means.

mod append_stream;
mod error;
mod handshake;
mod message;
mod message_stream;
mod receive_buffer;
mod refusal;
mod reply;
mod route;
mod snapshot_head;
mod version;

pub use append_stream::{AppendDecoder, AppendEncoder};
pub use error::DecodeError;
pub use handshake::{Identity, Sender, check_sender, check_stream, header_names};
pub use message::{ENTRIES_MAX, MESSAGE_LEN_MAX, decode_message, is_link_heartbeat, link_heartbeat};
pub use message_stream::{MessageDecoder, encode_message};
pub use refusal::Refusal;
pub use reply::{PostFailure, StreamFailure, check_post_reply, check_stream_reply};
pub use route::{Route, StreamKind};
pub use snapshot_head::{SNAPSHOT_HEAD_LEN_MAX, SnapshotHead};
pub use version::MinorVersion;
