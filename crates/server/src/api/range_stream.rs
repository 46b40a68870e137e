//! A range in chunks, each made when the client has taken the one before.

use proto::etcdserverpb::RangeRequest;
use store::{RangeQuery, RangeStream};

use super::encode::{Encoded, RangeTail};
use super::{Api, Error};
use crate::time_slice;

/// Keys in the first chunk, as in etcd; from then on their bytes decide.
const FIRST_CHUNK_KEYS: usize = 10;

/// The chunks of one range, all of one revision.
#[derive(Debug)]
pub(crate) struct RangeChunks<'a> {
    api: &'a Api,
    stream: RangeStream,
    chunk_keys: usize,
    is_done: bool,
}

impl Api {
    /// Begins to hand out a range: linearizable, unless the request says `serializable`. Keys come in their
    /// order, or in ascending order of the sort target. As in etcd, an order that is asked for is refused,
    /// and so are bounds on revisions.
    pub(crate) async fn range_stream(&self, request: &RangeRequest) -> Result<RangeChunks<'_>, Error> {
        let query = RangeQuery::new(request)?;
        if query.is_sorted() {
            return Err(Error::SortedStream);
        }
        if query.is_filtered() {
            return Err(Error::FilteredStream);
        }
        if !request.serializable {
            self.wait_readable().await?;
        }
        let stream = self.view.range_stream(query).map_err(|e| self.store_error(e))?;
        Ok(RangeChunks { api: self, stream, chunk_keys: FIRST_CHUNK_KEYS, is_done: false })
    }
}

impl RangeChunks<'_> {
    /// The next chunk; `None` after the last, which alone has header, `more` and `count`. Refused when a
    /// compaction has passed the revision. A chunk is no longer than twice the longest request, but for its
    /// last key.
    pub(crate) async fn next(&mut self) -> Result<Option<Encoded>, Error> {
        if self.is_done {
            return Ok(None);
        }
        let len_max = self.api.settings.max_request_bytes.saturating_mul(2);
        let mut keys_left = self.chunk_keys;
        while keys_left > 0 && !self.stream.is_done() && self.stream.chunk_len() < len_max {
            let bytes_left = len_max - self.stream.chunk_len();
            let added = self.stream.step(keys_left, bytes_left);
            keys_left -= added.map_err(|e| self.api.store_error(e))?;
            time_slice::wait_for_next().await;
        }
        self.adapt(len_max);
        self.is_done = self.stream.is_done();
        let tail = self.is_done.then(|| RangeTail { more: self.stream.more(), count: self.stream.count() });
        let header = self.api.header(self.stream.revision());
        Ok(Some(header.range_chunk(self.stream.take_chunk(), tail)))
    }

    /// Small chunks lead to more keys in the next, long ones to fewer.
    fn adapt(&mut self, len_max: usize) {
        let len = self.stream.chunk_len();
        if len < len_max / 4 {
            self.chunk_keys = self.chunk_keys.saturating_mul(2);
        } else if len > len_max {
            self.chunk_keys = (self.chunk_keys / 2).max(1);
        }
    }
}
