//! The whole state of a member as a file that is received in blobs.

use proto::etcdserverpb::{SnapshotRequest, SnapshotResponse};
use tokio::time::Instant;
use tonic::Streaming;

use crate::client::{Client, until};
use crate::error::Error;

/// The blobs of a snapshot, in order. Dropping it ends the call.
#[derive(Debug)]
pub struct SnapshotStream {
    blobs: Streaming<SnapshotResponse>,
    deadline: Option<Instant>,
}

impl Client {
    /// Asks one member for all it holds, as of now; the time a call may take counts for all blobs together.
    pub async fn snapshot(&self) -> Result<SnapshotStream, Error> {
        let deadline = self.deadline();
        let open = self.stream("/etcdserverpb.Maintenance/Snapshot", tokio_stream::once(SnapshotRequest {}));
        let blobs = until(deadline, open).await?;
        Ok(SnapshotStream { blobs, deadline })
    }
}

impl SnapshotStream {
    /// The next blob, or `None` after the last, which is the SHA-256 of all before it.
    pub async fn next(&mut self) -> Result<Option<SnapshotResponse>, Error> {
        until(self.deadline, async { Ok(self.blobs.message().await?) }).await
    }
}
