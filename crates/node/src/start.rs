//! Starting a member: from nothing, or from what a crash left.
//!
//! A new member's raft log begins with one configuration change for each initial member, committed by
//! definition, so that all members of a new cluster begin alike. A restarted one loads the newest checkpoint
//! and checks the whole WAL behind it. It cuts the revision log back to the checkpoint, and applies the
//! entries that the WAL shows to be committed: see [`crate::replay`]. Other entries go to raft.
//!
//! Order: before checkpoint and WAL are known to be whole and to belong together, nothing is changed on the
//! disk except a torn tail of the WAL.

use std::io;
use std::path::Path;
use std::sync::Arc;

use disk::wal::{Metadata, Recovered, Wal};
use disk::{Disk, checkpoint};
use prost::Message;
use proto::checkpointpb::Checkpoint;
use proto::etcdserverpb;
use proto::raftpb::{ConfChange, Entry, EntryType, HardState};
use raft::{Raft, Restored};
use store::{MemberChange, Store};

use crate::alone::{self, Forced};
use crate::config::Config;
use crate::error::Fatal;
use crate::handover::EntryId;
use crate::machine::AppliedState;
use crate::machine::installation::Installation;
use crate::machine::maintenance::Maintenance;
use crate::node::Node;
use crate::replay::{Replay, Replayed};
use crate::wal_writer::WalWriter;

/// Bytes of entries in one message to a follower, and messages in flight to it: etcd's.
const MESSAGE_BYTES_MAX: u64 = 1 << 20;
const INFLIGHT_MAX: usize = 512;
/// Bytes of entries in flight to a follower: fewer than the peers' queue takes, so that a follower that catches up loses
/// no messages.
const INFLIGHT_BYTES_MAX: u64 = 32 << 20;
/// Bytes of uncommitted entries above which a leader takes no proposals.
const UNCOMMITTED_BYTES_MAX: u64 = 512 << 20;

/// A member ready to run.
#[derive(Debug)]
pub struct Started<W> {
    /// The machine.
    pub node: Node<W>,
    /// The writer of its WAL.
    pub wal_writer: WalWriter,
    /// Whether there was a WAL before.
    pub is_restart: bool,
    /// Whether the WAL ended in a torn tail, which was cut off.
    pub is_repaired: bool,
    /// What became of the raft log if the member has left all others behind now.
    pub forced: Option<Forced>,
}

/// Starts a member whose WAL is in `wal_dir` and whose checkpoint and revision log lie in `data_dir`; the
/// parents of both must exist.
pub fn start<W>(
    disk: &Arc<dyn Disk>,
    wal_dir: &Path,
    data_dir: &Path,
    wal_file_bytes: u64,
    config: Config,
) -> Result<Started<W>, Fatal> {
    let loaded = checkpoint::load(&**disk, data_dir)?;
    let from = loaded.as_ref().map_or(0, |c| c.applied_index);
    let is_restart = has_log(&**disk, wal_dir)?;
    let (mut wal, mut recovered) = if is_restart {
        Wal::open_for_replay(Arc::clone(disk), wal_dir, from, wal_file_bytes)
            .map_err(|error| mismatch(error, data_dir, from))?
    } else if loaded.is_some() {
        let (wal_dir, checkpoint) = (wal_dir.to_path_buf(), checkpoint::path(data_dir));
        return Err(Fatal::NoLog { wal_dir, checkpoint, applied_index: from });
    } else if let Some(name) = first_name(&**disk, data_dir, ".seg")? {
        return Err(Fatal::NoLogOfSegment { wal_dir: wal_dir.to_path_buf(), segment: data_dir.join(name) });
    } else {
        create_log(disk, wal_dir, wal_file_bytes, &config)?
    };
    check_identity(&recovered, &config)?;
    let is_new = from == 0 && recovered.hard_state.commit == 0;
    if is_new {
        // No entry was ever committed: a new WAL, or one whose first write was cut short.
        bootstrap(&mut wal, &mut recovered, &config)?;
    }
    let options = disk::revision_log::Options { segment_bytes: config.segment_bytes };
    let mut store =
        Store::open(Arc::clone(disk), data_dir, options, loaded.as_ref(), config.lease_ttl_min_s())?;
    let raft_config = raft_config(&config);
    let mut replay = Replay::new(
        &mut store,
        &raft_config,
        position(loaded.as_ref()),
        config.max_learners,
        config.catchup_entries,
    );
    if !is_new {
        wal.read_committed(from, &mut |entries| replay.apply(entries))?;
    }
    let replayed = replay.finish();
    let forced = match (config.force_new_cluster && is_restart, is_new) {
        (false, _) => None,
        (true, false) => alone::leave_others(&mut wal, &mut recovered, &replayed, &store, &config)?,
        (true, true) => alone::check_alone(&config)?,
    };
    prepare_segment(&mut store)?;
    let applied = replayed.applied.clone();
    let mut maintenance = Maintenance::new(Arc::clone(disk), data_dir.to_owned(), &config, from);
    maintenance.applied(replayed.bytes);
    let is_repaired = recovered.repaired.is_some();
    let raft = Raft::new(raft_config, restored(recovered, replayed))?;
    let installation =
        Installation::new(Arc::clone(disk), data_dir, config.segment_bytes, config.lease_ttl_min_s());
    let node = Node::new(config, raft, wal.room(), store, maintenance, installation, applied);
    Ok(Started { node, wal_writer: WalWriter::new(wal), is_restart, is_repaired, forced })
}

/// Whether there is a WAL.
fn has_log(disk: &dyn Disk, wal_dir: &Path) -> Result<bool, Fatal> {
    first_name(disk, wal_dir, ".wal").map(|name| name.is_some())
}

/// A file with this ending. A directory that cannot be read is not one without such a file.
fn first_name(disk: &dyn Disk, dir: &Path, ending: &str) -> Result<Option<String>, Fatal> {
    match disk.list(dir) {
        Ok(names) => Ok(names.into_iter().find(|name| name.ends_with(ending))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(disk::Error::Io { path: dir.to_path_buf(), op: "list", source }.into()),
    }
}

/// Makes the error name the checkpoint too if the WAL does not belong to it.
fn mismatch(error: disk::Error, data_dir: &Path, applied_index: u64) -> Fatal {
    match error {
        disk::Error::Missing { .. } | disk::Error::EndsEarly { .. } => {
            Fatal::LogMismatch { checkpoint: checkpoint::path(data_dir), applied_index, source: error }
        }
        error => error.into(),
    }
}

fn create_log(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    segment_bytes: u64,
    config: &Config,
) -> Result<(Wal, Recovered), Fatal> {
    let metadata = Metadata { member_id: config.member.id, cluster_id: config.cluster_id };
    let wal = Wal::create_sized(Arc::clone(disk), dir, metadata, segment_bytes)?;
    let hard_state = HardState::default();
    Ok((wal, Recovered { metadata, hard_state, entries: Vec::new(), snapshots: Vec::new(), repaired: None }))
}

/// Writes the entries that every member of a new cluster begins with. A member that joins a cluster has none.
fn bootstrap(wal: &mut Wal, recovered: &mut Recovered, config: &Config) -> Result<(), Fatal> {
    let entry = |(i, member)| Entry {
        term: 1,
        index: i as u64 + 1,
        r#type: EntryType::EntryConfChange as i32,
        data: bootstrap_change(member).encode_to_vec().into(),
    };
    recovered.entries = config.initial_members.iter().enumerate().map(entry).collect();
    if recovered.entries.is_empty() {
        return Ok(());
    }
    recovered.hard_state = HardState { term: 1, vote: 0, commit: recovered.entries.len() as u64 };
    wal.append(&recovered.entries, Some(&recovered.hard_state))?;
    wal.sync()?;
    Ok(())
}

/// The configuration change that adds a member of a new cluster.
fn bootstrap_change(member: &etcdserverpb::Member) -> ConfChange {
    let named = etcdserverpb::Member { client_ur_ls: Vec::new(), ..member.clone() };
    MemberChange::Add(named).encode(0)
}

/// Makes the next segment if one is needed, so that the member does not begin by refusing writes. A full disk
/// is no reason not to start.
fn prepare_segment(store: &mut Store) -> Result<(), Fatal> {
    if store.log().needs_next() {
        match store.log().next_segment().run() {
            Ok(prepared) => store.log().adopt(prepared),
            Err(error) if error.may_be_retried() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn check_identity(recovered: &Recovered, config: &Config) -> Result<(), Fatal> {
    let found = (recovered.metadata.member_id, recovered.metadata.cluster_id);
    let expected = (config.member.id, config.cluster_id);
    if found == expected { Ok(()) } else { Err(Fatal::Foreign { found, expected }) }
}

fn position(checkpoint: Option<&Checkpoint>) -> AppliedState {
    checkpoint.map_or_else(AppliedState::default, |c| AppliedState {
        entry: EntryId { index: c.applied_index, term: c.applied_term },
        conf_state: c.conf_state.clone().unwrap_or_default(),
    })
}

fn restored(recovered: Recovered, replayed: Replayed) -> Restored {
    let Replayed { applied, kept, kept_after, unapplied, .. } = replayed;
    // A commit index is not synced by itself; what a checkpoint contains was committed.
    let commit = recovered.hard_state.commit.max(applied.entry.index);
    Restored {
        hard_state: HardState { commit, ..recovered.hard_state },
        conf_state: applied.conf_state,
        snapshot_index: kept_after.index,
        snapshot_term: kept_after.term,
        entries: kept.into_iter().chain(unapplied).chain(recovered.entries).collect(),
        applied: applied.entry.index,
    }
}

pub(crate) fn raft_config(config: &Config) -> raft::Config {
    raft::Config {
        id: config.member.id,
        election_ticks: config.election_ticks,
        heartbeat_ticks: 1,
        max_message_bytes: MESSAGE_BYTES_MAX,
        max_inflight: INFLIGHT_MAX,
        max_inflight_bytes: INFLIGHT_BYTES_MAX,
        max_committed_bytes: u64::MAX,
        max_uncommitted_bytes: UNCOMMITTED_BYTES_MAX,
        pre_vote: config.pre_vote,
        check_quorum: true,
        seed: config.seed,
    }
}
