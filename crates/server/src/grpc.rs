//! gRPC over HTTP/2, server side: from a connection to [`Call`]s, and from answers back to frames.
//!
//! Owns the socket of a connection, its calls, message framing, compression, deadlines and status trailers;
//! frames and flow control are the `http2` crate's. A [`Service`] reads the headers of each call and decides
//! everything else, unknown methods included. Follows "gRPC over HTTP2" and, where that leaves room, what
//! grpc-go does, since clients of etcd know nothing else.
//!
//! A connection and all its calls are one task on one thread: nothing here is `Send`. The task reads what
//! has come, polls the calls that have something to do, and writes all that they answered with one system
//! call.

mod batch;
mod body;
mod call;
mod connection;
mod deadline;
mod frame;
mod gzip;
mod input;
mod link;
mod preamble;
mod quote;
mod received_bytes;
mod routes;
mod status;
mod stream;
mod tasks;

use std::future::Future;
use std::rc::Rc;

pub use batch::Batch;
pub(crate) use body::SENT_LEN_MAX;
pub use body::{Body, TooLong};
pub use call::Call;
pub use connection::serve;
pub use http2::{Head, Policy as Keepalive};
pub use status::{Code, Status};
pub use stream::{Gone, Requests, Responses};

/// What a client may ask of one connection.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Longest request message in bytes; a longer one ends its call with `ResourceExhausted`.
    pub message_len_max: usize,
    /// Calls open at the same time; more are refused by HTTP/2 and may be retried.
    pub concurrent_streams_max: u32,
    /// How often a client may ping, and when it is pinged.
    pub keepalive: Keepalive,
}

/// The receiver of calls, one instance for each worker thread.
pub trait Service: 'static {
    /// What the headers of a call ask for.
    type Route: 'static;

    /// Reads the headers of a call. Calls of a connection whose headers are the same mostly share the
    /// outcome.
    fn route(&self, head: &Head) -> Self::Route;

    /// Handles a call to its end. Polled with the other calls of its connection; dropping the call resets
    /// it.
    fn call(self: &Rc<Self>, route: Rc<Self::Route>, call: Call) -> impl Future<Output = ()>;
}
