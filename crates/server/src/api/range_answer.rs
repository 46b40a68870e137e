//! The answer to a range: whole if it is short, else made piece by piece while it is sent.
//!
//! In this way a long answer takes no more memory than the client leaves unread, and each piece is still in
//! the processor's caches when it goes to the socket.

use std::time::Instant;

use bytes::Bytes;
use proto::etcdserverpb::RangeRequest;
use store::RangeReading;

use super::encode::Encoded;
use super::{Api, Error};
use crate::grpc::{SENT_LEN_MAX, TooLong};
use crate::read_budget::Reservation;

/// What a range is answered with.
pub(crate) enum RangeAnswer<'a> {
    Whole(Encoded),
    /// Too long to be made at once.
    InPieces(Box<RangePieces<'a>>),
}

/// The pieces of a long answer.
pub(crate) struct RangePieces<'a> {
    api: &'a Api,
    request: RangeRequest,
    started_at: Instant,
    reading: RangeReading,
    /// What stands before the keys in the answer, until it is given out.
    head: Vec<u8>,
    /// What stands behind the keys.
    tail: Vec<u8>,
    len: usize,
    is_done: bool,
    /// What its keys and a piece are counted for.
    _reservation: Option<Reservation>,
}

impl<'a> RangePieces<'a> {
    /// The answer to `request`, whose keys have all been found; refused if it is too long to be sent.
    pub(super) fn new(
        api: &'a Api,
        request: RangeRequest,
        started_at: Instant,
        reading: RangeReading,
        reservation: Option<Reservation>,
    ) -> Result<RangePieces<'a>, TooLong> {
        let (head, tail) = api.header(reading.outcome().revision).around_range(reading.outcome());
        let around_len = head.len() + tail.len();
        let len = usize::try_from(reading.kvs_len()).map_or(usize::MAX, |len| len.saturating_add(around_len));
        TooLong::check(len, SENT_LEN_MAX)?;
        let (is_done, _reservation) = (false, reservation);
        Ok(RangePieces { api, request, started_at, reading, head, tail, len, is_done, _reservation })
    }

    /// Bytes of all pieces together.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The next piece, some hundred KiB of whole keys or a single longer one; `None` after the last.
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
