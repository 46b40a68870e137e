//! The whole state as one file, sent piece by piece.
//!
//! A background thread writes a piece when the client has taken the one before: no worker is held up, and memory is
//! taken for about a megabyte. The state is that of the moment in which the node was asked.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use node::{Answer, Input};
use proto::etcdserverpb::SnapshotResponse;
use sha2::{Digest, Sha256};
use store::Export;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::spawn_blocking;
use tracing::info;

use super::encode::Encoded;
use super::{Api, Error};
use crate::metrics::Metrics;

/// Bytes of the file in one message: etcd's.
const BLOB_LEN_MAX: usize = 32 << 10;

/// Snapshots that the member sends at the same time. Each holds about two megabytes and delays the reclaiming of space.
const SNAPSHOTS_MAX: usize = 8;

/// Steps of counting that a background thread takes before others have their turn: about 20 ms.
const MEASURE_STEPS: usize = 200;

/// The longest wait for the node to name the moment.
const ASK_TIME_MAX: Duration = Duration::from_secs(60);

static SNAPSHOTS: Semaphore = Semaphore::const_new(SNAPSHOTS_MAX);

/// A file being sent.
#[derive(Debug)]
pub(crate) struct Snapshot<'a> {
    api: &'a Api,
    metrics: Arc<Metrics>,
    /// `None` once all was written.
    file: Option<SnapshotFile>,
    started_at: Instant,
    _permit: SemaphorePermit<'static>,
}

impl Api {
    /// Begins to send the state as it is now. Refused if several others are being sent.
    pub(crate) async fn snapshot(&self) -> Result<Snapshot<'_>, Error> {
        let permit = SNAPSHOTS.try_acquire().map_err(|_| Error::TooManyRequests)?;
        let started_at = Instant::now();
        match self.ask_for(ASK_TIME_MAX, Input::Export).await? {
            Answer::Export(export) => {
                let (metrics, file) = (Arc::clone(&self.metrics), Some(SnapshotFile::new(export)));
                Ok(Snapshot { api: self, metrics, file, started_at, _permit: permit })
            }
            Answer::Unserved(unserved) => Err(unserved.into()),
            other => unreachable!("a request for an export is not answered as {other:?}"),
        }
    }
}

impl Snapshot<'_> {
    /// The next messages, none when there are none yet; `None` after the last.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<Encoded>>, Error> {
        let Some(mut file) = self.file.take() else { return Ok(None) };
        let was_measured = file.len.is_some();
        let written = spawn_blocking(move || file.write().map(|messages| (messages, file)));
        // The step did not run to its end, because the server is stopping.
        let Ok(written) = written.await else { return Err(Error::Stopped) };
        let (messages, file) = written.map_err(|e| self.api.store_error(e))?;
        if !was_measured && let Some(len) = file.len {
            info!(
                "total-bytes" = len,
                "storage-version" = file.version,
                "sending database snapshot to client"
            );
        }
        if file.is_complete {
            let took = self.started_at.elapsed();
            self.metrics.maintenance.snapshot.observe(took);
            info!("total-bytes" = file.len, ?took, "wrote the last part of a database snapshot for a client");
        } else {
            self.file = Some(file);
        }
        Ok(Some(messages))
    }
}

/// The file as messages.
#[derive(Debug)]
struct SnapshotFile {
    export: Box<Export>,
    version: String,
    /// Once it is known.
    len: Option<u64>,
    sent: u64,
    /// Bytes that do not fill a message yet.
    rest: BytesMut,
    hasher: Sha256,
    is_complete: bool,
}

impl SnapshotFile {
    fn new(export: Box<Export>) -> SnapshotFile {
        let version = export.storage_version().to_owned();
        let (rest, hasher) = (BytesMut::new(), Sha256::new());
        SnapshotFile { export, version, len: None, sent: 0, rest, hasher, is_complete: false }
    }

    /// Does a bounded piece of work; the messages that came of it.
    fn write(&mut self) -> Result<Vec<Encoded>, store::Error> {
        let Some(len) = self.len else {
            self.len = (0..MEASURE_STEPS).find_map(|_| self.export.measure_step());
            return Ok(Vec::new());
        };
        self.is_complete = self.export.write_step()?;
        self.rest.extend_from_slice(self.export.output());
        self.export.output().clear();
        let mut messages = Vec::new();
        while self.rest.len() >= BLOB_LEN_MAX || (self.is_complete && !self.rest.is_empty()) {
            let blob = self.rest.split_to(BLOB_LEN_MAX.min(self.rest.len())).freeze();
            self.hasher.update(&blob);
            self.sent += blob.len() as u64;
            messages.push(self.message(len - self.sent, blob));
        }
        if self.is_complete {
            let checksum = Bytes::copy_from_slice(&self.hasher.finalize_reset());
            messages.push(self.message(0, checksum));
        }
        Ok(messages)
    }

    fn message(&self, remaining_bytes: u64, blob: Bytes) -> Encoded {
        let version = self.version.clone();
        Encoded::message(&SnapshotResponse { header: None, remaining_bytes, blob, version })
    }
}
