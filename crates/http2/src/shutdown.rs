//! The end of a connection in two steps (RFC 9113, §6.8).
//!
//! First a GOAWAY that names no stream, so that the client opens no more; a ping behind it. When the ping
//! comes back, or takes too long, all that the client had sent before it knew is here: a second GOAWAY names
//! the last stream that will be answered.

use std::time::{Duration, Instant};

use crate::StreamId;
use crate::error::Code;
use crate::frame;

/// The ping by which it shows that the client has seen the first GOAWAY.
const PING: [u8; 8] = *b"shutdown";

/// How long the client has for that.
const PING_TIME_MAX: Duration = Duration::from_secs(5);

/// The debug data of grpc-go.
const REASON: &[u8] = b"graceful_stop";

/// A number that no client reaches.
const NO_STREAM_YET: StreamId = (1 << 31) - 1;

/// How far the end has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Shutdown {
    #[default]
    Open,
    /// The first GOAWAY is sent.
    Announced { until: Instant },
    /// The second is sent: no stream beyond `last`.
    Final { last: StreamId },
}

impl Shutdown {
    pub(crate) fn announce(&mut self, now: Instant, out: &mut Vec<u8>) {
        if *self == Shutdown::Open {
            frame::put_goaway(NO_STREAM_YET, Code::NoError, REASON, out);
            frame::put_ping(0, PING, out);
            *self = Shutdown::Announced { until: now + PING_TIME_MAX };
        }
    }

    /// Takes the answer to a ping.
    pub(crate) fn pong(&mut self, data: [u8; 8], last: StreamId, out: &mut Vec<u8>) {
        if data == PING {
            self.conclude(last, out);
        }
    }

    pub(crate) fn tick(&mut self, now: Instant, last: StreamId, out: &mut Vec<u8>) {
        if self.deadline().is_some_and(|until| until <= now) {
            self.conclude(last, out);
        }
    }

    pub(crate) fn deadline(self) -> Option<Instant> {
        match self {
            Shutdown::Announced { until } => Some(until),
            _ => None,
        }
    }

    pub(crate) fn excludes(self, id: StreamId) -> bool {
        matches!(self, Shutdown::Final { last } if id > last)
    }

    fn conclude(&mut self, last: StreamId, out: &mut Vec<u8>) {
        if let Shutdown::Announced { .. } = self {
            frame::put_goaway(last, Code::NoError, REASON, out);
            *self = Shutdown::Final { last };
        }
    }
}
