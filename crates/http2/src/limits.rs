//! What one client may make a connection hold or do.
//!
//! Everything that a client can pile up has a bound here, or in [`Config`](crate::Config) where the owner
//! has to choose it. Three kinds: sizes, which bound memory; rates, which bound work that leads to nothing;
//! and the windows of flow control, which bound what is received and not looked at.

use std::time::{Duration, Instant};

/// What a client may send on one stream before the owner has taken it, in bytes: most requests in one go.
pub const STREAM_WINDOW: u32 = 1 << 20;

/// The same for all streams of a connection together.
pub const CONNECTION_WINDOW: u32 = 4 << 20;

/// Longest frame that we accept, in bytes: the least the protocol allows.
pub const FRAME_LEN_MAX: usize = 1 << 14;

/// Longest list of header fields, in bytes, with 32 for each field. A longer one is answered with status
/// 431.
pub const HEADER_LIST_LEN_MAX: usize = 64 << 10;

/// Longest header block, compressed, in bytes; a longer one ends the connection, since it must be kept
/// whole.
pub const HEADER_BLOCK_LEN_MAX: usize = 2 * HEADER_LIST_LEN_MAX;

/// Frames that a header block may come in (CVE-2024-27316).
pub const CONTINUATIONS_MAX: u32 = 32;

/// Output gathered for a client that does not read, in bytes, beyond which no more DATA is put there and
/// nothing more is read from that client (CVE-2019-9512 and its like). What is answered already comes on
/// top.
pub const OUTPUT_LEN_MAX: usize = 256 << 10;

/// Memory of the answers that wait for the client's windows, and of the output, in bytes, beyond which its
/// new requests are to wait, and what asks for answers on streams that are open.
pub const QUEUED_LEN_MAX: usize = 16 << 20;

/// The same, beyond which no piece is added to a long answer: less, so that a client that downloads one
/// slowly has its other answers meanwhile.
pub const QUEUED_PIECES_LEN_MAX: usize = QUEUED_LEN_MAX / 2;

/// What a stream whose answer waits is counted for beside the answer, in bytes: its state and its trailers.
pub(crate) const WAITING_STREAM_COST: usize = 1024;

/// The same for each piece of an answer: a reference, and what the allocator rounds up.
pub(crate) const WAITING_PIECE_COST: usize = 128;

/// Streams that a client may give up within a second of opening them, in [`RAPID_RESETS_SPAN`]; our own
/// resets for its errors are included (CVE-2023-44487, CVE-2025-8671). A client may cancel thousands of
/// calls at once; an attack goes on without end. Streams that it has had an answer on do not count: clients
/// renew a lease once by giving the stream up when the answer has come.
pub const RAPID_RESETS_MAX: u32 = 10_000;

/// See [`RAPID_RESETS_MAX`].
pub const RAPID_RESETS_SPAN: Duration = Duration::from_secs(10);

/// SETTINGS in a second (CVE-2019-9515).
pub const SETTINGS_MAX: u32 = 100;

/// DATA without content and without end in a second (CVE-2019-9518).
pub const EMPTY_FRAMES_MAX: u32 = 1000;

/// Handling a frame takes as long as copying so many bytes: some 70 ns.
pub(crate) const FRAME_COST: usize = 64;

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// Streams that we ended first and remember, so that what the client had sent meanwhile is no error.
pub(crate) const REMEMBERED_MAX: usize = 128;

/// Counts events of the current span of time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    since: Instant,
    count: u32,
    max: u32,
    span: Duration,
}

impl Rate {
    pub(crate) fn new(max: u32, span: Duration, now: Instant) -> Rate {
        Rate { since: now, count: 0, max, span }
    }

    /// Counts one; false if that is more than allowed.
    pub(crate) fn allows(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.since) >= self.span {
            *self = Rate::new(self.max, self.span, now);
        }
        self.count += 1;
        self.count <= self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_starts_anew_with_each_span() {
        let now = Instant::now();
        let mut rate = Rate::new(2, SECOND, now);
        assert!(rate.allows(now) && rate.allows(now) && !rate.allows(now));
        assert!(!rate.allows(now + SECOND / 2));
        assert!(rate.allows(now + SECOND));
    }
}
