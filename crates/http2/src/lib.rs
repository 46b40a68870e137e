//! A server's side of an HTTP/2 connection (RFC 9113, HPACK of RFC 7541) as a state machine without sockets.
//!
//! ```text
//!              next_event                       respond, send_…, reset
//!   bytes ───────────────▶ Connection ◀──────────────────────────────── owner
//!   read                     │   │ Event: Request, Data, Gone              ▲
//!                            │   └─────────────────────────────────────────┘
//!                            └─▶ Output: bytes to write, gathered
//! ```
//!
//! The owner reads the socket, passes the bytes and the time in, takes events out, answers whenever it
//! likes, and writes what has gathered in [`Output`] with one system call. Nothing here waits, locks or
//! looks at a clock.
//!
//! A [`Connection`] enforces the protocol and bounds what a client can make it hold; the bounds are in
//! [`limits`]. It pings a silent client and turns away one that pings too often, as grpc-go does.
//! What both sides of a connection are made of is public by itself: [`frame`], [`flow`] and [`hpack`].
//!
//! Not here: requests of our own (push, client side), priorities (ignored, as RFC 9113 allows), trailers of
//! requests (checked and dropped), upgrades from HTTP/1.1.

mod connection;
mod error;
pub mod flow;
pub mod frame;
mod head;
mod heads;
pub mod hpack;
mod keepalive;
pub mod limits;
mod output;
mod settings;
mod shutdown;
mod stream;
mod streams;

pub use connection::{Config, Connection, Event};
pub use error::{Code, Error};
pub use head::Head;
pub use keepalive::Policy;
pub use output::Output;
pub use stream::Payload;

/// The number of a stream: odd, as a client chooses them.
pub type StreamId = u32;
