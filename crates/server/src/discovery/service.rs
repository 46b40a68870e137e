//! A member writes itself down at a discovery service and waits for the others.
//!
//! An operator puts the size of the cluster at `/_etcd/registry/TOKEN/_config/size`. Each member puts its name and URLs at
//! `/_etcd/registry/TOKEN/members/ID`. The first members by creation, as many as the size says, are the cluster; one that
//! comes later is refused. Keys, values and error texts are etcd's, so members of both kinds find each other.

use std::fmt;
use std::time::Duration;

use tokio::time::sleep;
use tracing::{info, warn};

use super::registry::{Entry, Registry};
use crate::config::{InitialMember, parse_members};

/// The largest cluster that can be found. etcd has no such limit; seven members are many.
const SIZE_MAX: usize = 1000;
/// The longest pause between two attempts is two to the power of this, in seconds.
const BACKOFF_MAX: u32 = 8;

/// Why a member does not find its cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Error {
    /// Nobody has said how many members there are to be.
    SizeNotFound,
    /// The number of members is none.
    BadSize,
    /// A member has written down something that is no list of URLs.
    InvalidUrl,
    /// There are as many members as there are to be, and this is none of them.
    Full,
    /// The service cannot be called at all.
    Registry(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::SizeNotFound => f.write_str("discovery: size key not found"),
            Error::BadSize => f.write_str("discovery: size key is bad"),
            Error::InvalidUrl => f.write_str("discovery: invalid peer URL"),
            Error::Full => f.write_str("discovery: cluster is full"),
            Error::Registry(text) => f.write_str(text),
        }
    }
}

/// Writes the member `id` down with `own_entries`, its part of the list, and waits for the others. Calls that fail are
/// repeated, with longer and longer pauses, until they do not.
pub(super) async fn join(
    registry: &impl Registry,
    token: &str,
    id: u64,
    own_entries: &str,
) -> Result<Vec<InitialMember>, Error> {
    let keys = Keys::new(token, id);
    let mut retries = Retries::default();
    // A member that finds the cluster full leaves nothing behind.
    read(registry, &keys, &mut retries).await?;
    while let Err(error) = registry.put(&keys.own, own_entries).await {
        warn!(error, member_key = keys.own, "failed to register members itself to the discovery service");
        retries.pause("register member itself").await;
    }
    info!(member_key = keys.own, member_info = own_entries, "register member itself successfully");
    loop {
        let (mut roll, revision) = read(registry, &keys, &mut retries).await?;
        match wait(registry, &keys, &mut roll, revision).await {
            Ok(()) => return roll.list(),
            // The history may be compacted by now, so everything is read again.
            Err(error) => {
                warn!(error, "failed to watch the discovery service");
                retries.pause("wait for peers").await;
            }
        }
    }
}

/// The keys of a cluster and of a member in it.
#[derive(Debug)]
struct Keys {
    size: String,
    members: String,
    own: String,
}

impl Keys {
    fn new(token: &str, id: u64) -> Keys {
        let cluster = format!("/_etcd/registry/{token}");
        Keys {
            size: format!("{cluster}/_config/size"),
            members: format!("{cluster}/members"),
            own: format!("{cluster}/members/{id:x}"),
        }
    }
}

/// Reads who is there, until that succeeds. This member must be among the first, or there must be room for it.
async fn read(registry: &impl Registry, keys: &Keys, retries: &mut Retries) -> Result<(Roll, i64), Error> {
    let (entries, size, revision) = loop {
        match read_once(registry, keys).await {
            Ok((size, (entries, revision))) => break (entries, size_of(size)?, revision),
            Err(error) => {
                warn!(error, size_key = keys.size, "failed to read from the discovery service");
                retries.pause("cluster status check").await;
            }
        }
    };
    retries.count = 0;
    let mut roll = Roll { size, members: Vec::new() };
    entries.into_iter().for_each(|entry| roll.add(entry));
    if roll.has_room_for(&keys.own) { Ok((roll, revision)) } else { Err(Error::Full) }
}

/// The value of the size and the entries of members.
type State = (Option<String>, (Vec<Entry>, i64));

async fn read_once(registry: &impl Registry, keys: &Keys) -> Result<State, String> {
    let size = registry.value(&keys.size).await?;
    Ok((size, registry.entries(&keys.members, SIZE_MAX).await?))
}

fn size_of(value: Option<String>) -> Result<usize, Error> {
    let text = value.ok_or(Error::SizeNotFound)?;
    text.parse().ok().filter(|size| (1..=SIZE_MAX).contains(size)).ok_or(Error::BadSize)
}

/// Waits until as many members are there as there are to be.
async fn wait(
    registry: &impl Registry,
    keys: &Keys,
    roll: &mut Roll,
    mut revision: i64,
) -> Result<(), String> {
    while roll.members.len() < roll.size {
        info!(size = roll.size, found = roll.members.len(), "waiting for peers from discovery service");
        let entries;
        (entries, revision) = registry.changes(&keys.members, revision).await?;
        entries.into_iter().for_each(|entry| roll.add(entry));
    }
    info!(size = roll.size, "found all needed peers from discovery service");
    Ok(())
}

/// The members that have written themselves down.
#[derive(Debug)]
struct Roll {
    /// How many there are to be.
    size: usize,
    /// By creation; no more than there are to be.
    members: Vec<Entry>,
}

impl Roll {
    /// Adds a member, unless it is there or says nothing of itself.
    fn add(&mut self, entry: Entry) {
        let (member_key, member_info) = (&entry.key, &entry.value);
        if !entry.value.contains('=') {
            warn!(member_key, member_info, "invalid peer info returned from discovery service");
        } else if self.members.iter().any(|member| member.key == entry.key) {
            warn!(member_key, member_info, "found duplicate peer from discovery service");
        } else {
            info!(member_key, member_info, "found peer from discovery service");
            let place =
                self.members.partition_point(|member| member.create_revision <= entry.create_revision);
            self.members.insert(place, entry);
            self.members.truncate(self.size);
        }
    }

    /// Whether the member at `key` is one of the cluster or may become one.
    fn has_room_for(&self, key: &str) -> bool {
        self.members.len() < self.size || self.members.iter().any(|member| member.key == key)
    }

    /// The list of the first members.
    fn list(&self) -> Result<Vec<InitialMember>, Error> {
        let entries: Vec<&str> = self.members.iter().map(|member| member.value.as_str()).collect();
        parse_members(&entries.join(",")).map_err(|_| Error::InvalidUrl)
    }
}

/// Pauses between attempts, longer with each.
#[derive(Debug, Default)]
struct Retries {
    count: u32,
}

impl Retries {
    async fn pause(&mut self, reason: &str) {
        self.count = self.count.saturating_add(1).min(BACKOFF_MAX);
        let backoff = Duration::from_secs(1 << self.count);
        warn!(reason, ?backoff, "retry connecting to discovery service");
        sleep(backoff).await;
    }
}

#[cfg(test)]
mod tests;
