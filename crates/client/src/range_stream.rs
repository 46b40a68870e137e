//! A range that is received in chunks, so that neither side has to hold all of it at once.

use proto::etcdserverpb::{RangeRequest, RangeResponse, RangeStreamResponse};
use tokio::time::Instant;
use tonic::Streaming;

use crate::client::{Client, until};
use crate::error::Error;

/// The chunks of a range, in key order and all of one revision. Dropping it ends the call.
#[derive(Debug)]
pub struct RangeStream {
    chunks: Streaming<RangeStreamResponse>,
    deadline: Option<Instant>,
}

impl Client {
    /// Reads a range of keys in chunks; the time a call may take counts for all of them together. Sort orders and
    /// revision filters are refused by the server, and so is the whole call by members before etcd 3.7.
    pub async fn range_stream(&self, request: RangeRequest) -> Result<RangeStream, Error> {
        let deadline = self.deadline();
        let open = self.stream("/etcdserverpb.KV/RangeStream", tokio_stream::once(request));
        let chunks = until(deadline, open).await?;
        Ok(RangeStream { chunks, deadline })
    }
}

impl RangeStream {
    /// The next chunk, or `None` after the last, which alone has header, `more` and `count`. After an error there
    /// is nothing more: if history was compacted meanwhile, the keys so far are all there will be.
    pub async fn next(&mut self) -> Result<Option<RangeResponse>, Error> {
        let chunk = until(self.deadline, async { Ok(self.chunks.message().await?) }).await?;
        Ok(chunk.map(|chunk| chunk.range_response.unwrap_or_default()))
    }

    /// All chunks as the one response that a range would have had.
    pub async fn collect(mut self) -> Result<RangeResponse, Error> {
        let mut kvs = Vec::new();
        let mut response = RangeResponse::default();
        while let Some(mut chunk) = self.next().await? {
            kvs.append(&mut chunk.kvs);
            response = chunk;
        }
        Ok(RangeResponse { kvs, ..response })
    }
}
