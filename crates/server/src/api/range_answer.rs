//! The answer to a range: whole if it is short, else made piece by piece while it is sent.
//!
//! A long answer so takes no more memory than the client leaves unread, and each piece is still in the processor's
//! caches when it goes to the socket.

use std::time::Instant;

use bytes::Bytes;
use proto::etcdserverpb::RangeRequest;
use store::RangeReading;

use super::encode::Encoded;
use super::{Api, Error};

/// What a range is answered with.
pub(crate) enum RangeAnswer<'a> {
    Whole(Encoded),
    InPieces(Box<RangePieces<'a>>),
}

/// The pieces of a long answer.
pub(crate) struct RangePieces<'a> {
    api: &'a Api,
    request: RangeRequest,
    started_at: Instant,
    reading: RangeReading,
    /// What stands before the keys, until it is given out.
    head: Vec<u8>,
    /// What stands behind them.
    tail: Vec<u8>,
    len: usize,
    is_done: bool,
}

impl<'a> RangePieces<'a> {
    /// The answer to `request`, whose keys have all been found.
    pub(super) fn new(
        api: &'a Api,
        request: RangeRequest,
        started_at: Instant,
        reading: RangeReading,
    ) -> RangePieces<'a> {
        let (head, tail) = api.header(reading.outcome().revision).around_range(reading.outcome());
        let len = head.len() + reading.copied_len() + tail.len();
        RangePieces { api, request, started_at, reading, head, tail, len, is_done: false }
    }

    /// Bytes of all pieces together.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The next piece, some hundred KiB of whole keys or a single longer one; nothing after the last.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, Error> {
        if self.is_done {
            return Ok(None);
        }
        let mut piece = std::mem::take(&mut self.head);
        let has_more = self.reading.copy_next(&mut piece);
        self.is_done = !matches!(has_more, Ok(true));
        if self.is_done {
            self.api.note_range(&self.request, self.started_at, has_more.is_ok());
            piece.append(&mut self.tail);
        }
        has_more.map_err(|e| self.api.store_error(e))?;
        Ok(Some(piece.into()))
    }
}
