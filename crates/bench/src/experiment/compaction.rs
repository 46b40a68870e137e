//! Puts at a fixed rate while history is compacted: the longest of them, against an idle server.
//!
//! The latency of a put counts from its intended start, so that a stall is charged to each put that should have
//! run meanwhile. The compaction is asked for with `physical`, which answers when it has been carried out, and
//! history is hashed at the same time.

use std::time::Instant;

use proto::etcdserverpb::{
    CompactionRequest, CompactionResponse, HashKvRequest, HashKvResponse, RangeRequest, RangeResponse,
};

use super::side_load::{self, SideLoad};
use crate::client::Connection;
use crate::error::Error;
use crate::report::{Measure, Report};
use crate::settings::{Settings, Workload};
use crate::workload::{keys, preload, unary};

const COMPACT: &str = "/etcdserverpb.KV/Compact";
const HASH_KV: &str = "/etcdserverpb.Maintenance/HashKV";

static SECONDS: Measure = Measure::cost("compaction and hash s");

/// Writes the revisions, measures puts, and measures them again while all revisions are compacted.
pub(super) async fn run(settings: &Settings) -> Result<Report, Error> {
    preload::revisions(settings).await?;
    let puts = SideLoad::start(Workload::Put, settings).await?;
    tokio::time::sleep(settings.duration).await;
    let before = puts.take();
    let start = Instant::now();
    let connection = Connection::open(&settings.endpoint).await?;
    let revision = newest(&connection).await?;
    let hash = connection.call::<HashKvResponse>(HASH_KV, HashKvRequest { revision });
    tokio::try_join!(compact(&connection, revision), hash)?;
    let seconds = start.elapsed();
    // Reclaiming space may go on after the answer.
    tokio::time::sleep(settings.duration).await;
    let meanwhile = puts.take();
    let mut report = Report::after(&meanwhile);
    side_load::add_puts(&mut report, &before, &meanwhile);
    report.add(&SECONDS, seconds.as_secs_f64());
    Ok(report)
}

/// The server's newest revision.
pub(super) async fn newest(connection: &Connection) -> Result<i64, Error> {
    let any = RangeRequest { key: keys::key(0), ..Default::default() };
    let newest: RangeResponse = connection.call(unary::RANGE, any).await?;
    Ok(newest.header.map_or(0, |header| header.revision))
}

/// Has history below `revision` forgotten; returns when that is done.
pub(super) async fn compact(connection: &Connection, revision: i64) -> Result<(), Error> {
    let request = CompactionRequest { revision, physical: true };
    connection.call::<CompactionResponse>(COMPACT, request).await.map(drop)
}
