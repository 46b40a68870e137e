//! `etcdctl check`: loads a cluster and says whether it was fast enough, or how much memory it took.
//!
//! `load` puts keys by many clients at once, `summary` holds what came of it, `progress_bar` shows how far it
//! is. Both checks write below a prefix that has to be empty, and delete it afterwards.

mod datascale;
mod load;
mod perf;
mod progress_bar;
mod resident_memory;
mod summary;

use std::time::Duration;

use bytes::Bytes;
use client::{Client, Error};
use proto::etcdserverpb::{
    CompactionRequest, DefragmentRequest, DeleteRangeRequest, PutRequest, RangeRequest,
};

use super::key_range::with_prefix;
use crate::cli::{Action, Command, Flag, Group, Values};
use crate::failure::{BAD_FEATURE, Failure};
use crate::session::Session;
use crate::text::quote;
use load::{Keys, Puts};

pub(super) const COMMAND: Command = Command::new(
    "check <subcommand>",
    "commands for checking properties of the etcd cluster. Use `etcdctl check --help` to see subcommands",
    Action::Parent(&[&perf::COMMAND, &datascale::COMMAND]),
)
.long("commands for checking properties of the etcd cluster")
.group(Group::Utility);

const AUTO_COMPACT: Flag =
    Flag::bool("auto-compact", "Compact storage with last revision after test is finished.");
const AUTO_DEFRAG: Flag = Flag::bool("auto-defrag", "Defragment storage after test is finished.");

/// The time for each call that cleans up.
const CLEANUP_TIMEOUT: Duration = Duration::from_secs(30);

/// The sizes that `--load` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Size {
    Small,
    Medium,
    Large,
    ExtraLarge,
}

impl Size {
    fn read(flags: &Values) -> Result<Size, Failure> {
        match flags.text("load") {
            "s" | "small" => Ok(Size::Small),
            "m" | "medium" => Ok(Size::Medium),
            "l" | "large" => Ok(Size::Large),
            "xl" | "xLarge" => Ok(Size::ExtraLarge),
            other => Err(Failure::new(BAD_FEATURE, format!("unknown load option {other}"))),
        }
    }

    /// How many clients put keys at the same time. Each has connections of its own.
    fn clients(self) -> usize {
        match self {
            Size::Small => 50,
            Size::Medium => 200,
            Size::Large => 500,
            Size::ExtraLarge => 1000,
        }
    }
}

/// Clients that put keys of random names below a prefix. Their calls have no time limit.
fn putters(session: &Session, size: Size, keys: &Keys, value_len: usize) -> Result<Vec<Putter>, Failure> {
    let value = Bytes::from(vec![0; value_len]);
    let putter = |_| {
        let client = session.patient_client()?;
        Ok(Putter { client, keys: keys.clone(), value: value.clone() })
    };
    (0..size.clients()).map(putter).collect()
}

struct Putter {
    client: Client,
    keys: Keys,
    value: Bytes,
}

impl Puts for Putter {
    async fn put(&self) -> Result<(), String> {
        let (key, value) = (self.keys.random(), self.value.clone());
        let result = self.client.put(PutRequest { key, value, ..PutRequest::default() }).await;
        result.map(drop).map_err(|error| error.to_string())
    }
}

/// Whether there are keys below `prefix`.
async fn has_keys(client: &Client, prefix: &str) -> Result<bool, Error> {
    let range = with_prefix(prefix.to_owned().into());
    let request = RangeRequest { key: range.key, range_end: range.end, limit: 1, ..RangeRequest::default() };
    Ok(!client.range(request).await?.kvs.is_empty())
}

/// Deletes the keys below `prefix`, and returns the revision of that.
async fn delete(client: &Client, prefix: &str) -> Result<i64, Error> {
    let range = with_prefix(prefix.to_owned().into());
    let request = DeleteRangeRequest { key: range.key, range_end: range.end, prev_kv: false };
    let response = client.delete_range(request).await?;
    Ok(response.header.map_or(0, |header| header.revision))
}

async fn compact(session: &Session, revision: i64) -> Result<(), Failure> {
    println!("Compacting with revision {revision}");
    let client = session.patient_client()?.with_timeout(CLEANUP_TIMEOUT);
    client.compact(CompactionRequest { revision, physical: true }).await?;
    println!("Compacted with revision {revision}");
    Ok(())
}

async fn defragment(session: &Session) -> Result<(), Failure> {
    for endpoint in session.endpoints() {
        let name = quote(endpoint);
        println!("Defragmenting {name}");
        let client = session.client_of(endpoint)?.with_timeout(CLEANUP_TIMEOUT);
        client.defragment(DefragmentRequest {}).await?;
        println!("Defragmented {name}");
    }
    Ok(())
}
