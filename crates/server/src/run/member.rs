//! Brings the member up: from settings and a data directory to a node that is ready to be driven.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use disk::{DataDir, Disk, RealDisk, UnsyncedDisk, wal};
use node::{Forced, Published, Started};
use tracing::{info, warn};

use super::reporter::refusal_of_version;
use super::{Error, directories, join};
use crate::api::Settings;
use crate::config::{Config, ETCD_VERSION};
use crate::driver::Ticket;
use crate::identity::{Identity, first_request_id, restarted_member};
use crate::listen::{BindError, Listener, Reuse};
use crate::peers::PeerSettings;

/// etcd's allowance for a request beside its election timeouts.
pub(super) const REQUEST_TIME: Duration = Duration::from_secs(5);
/// Bytes of log after which a checkpoint is made, and the least time between those that the number of entries
/// asks for.
const CHECKPOINT_BYTES: u64 = 32 << 20;
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(10);
/// Time between attempts at what failed for want of space.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
const SEGMENT_BYTES: u64 = 64 << 20;
/// Bytes of a message that a peer may send. A leader sends a mebibyte of entries in one, or a single entry.
const PEER_MESSAGE_LEN_MAX: u64 = 64 << 20;

/// Takes the data directory and brings the member up from what is in it.
pub(super) fn start(config: &Config) -> Result<(DataDir, Settings, Started<Ticket>), Error> {
    let disk: Arc<dyn Disk> = match config.unsafe_no_fsync {
        true => Arc::new(UnsyncedDisk(RealDisk)),
        false => Arc::new(RealDisk),
    };
    let root = std::path::absolute(&config.data_dir)?;
    directories::check(&root.join("member"), "data-dir").map_err(Error::Directory)?;
    directories::warn_of_permissions(&root);
    directories::warn_of_permissions(&root.join("member"));
    let data_dir = DataDir::open(&*disk, &root, std::process::id())?;
    let (wal_dir, log) = (wal_dir(config, &data_dir, &*disk)?, data_dir.log());
    let identity = identity(config, &*disk, &wal_dir)?;
    let cluster_id = identity.cluster_id;
    let settings = settings(config, cluster_id, identity.member.id);
    let member_config = member_config(config, identity);
    // The longest request must fit a file of the log beside what the member keeps for itself.
    let wal_file_bytes = wal::FILE_BYTES.max(2 * config.max_request_bytes as u64);
    let started = node::start(&disk, &wal_dir, &log, wal_file_bytes, member_config)?;
    if let Some(reason) = refusal_of_version(started.node.published().control().cluster_version()) {
        return Err(Error::Cluster(reason));
    }
    info!(
        "local-member-id" = format!("{:x}", settings.member_id),
        "cluster-id" = format!("{cluster_id:x}"),
        restart = started.is_restart,
        "starting local member"
    );
    if config.bootstrap_defrag_threshold_bytes > 0 {
        log_defragmentation(config.bootstrap_defrag_threshold_bytes, &started.node.published());
    }
    if let Some(forced) = started.forced {
        log_forced(&forced, cluster_id, settings.member_id);
    }
    if started.is_repaired {
        warn!("the log ended in a torn write, which was never acknowledged; it was cut off");
    }
    Ok((data_dir, settings, started))
}

/// Says what it means that the member has left its cluster.
fn log_forced(forced: &Forced, cluster_id: u64, member_id: u64) {
    info!(
        "cluster-id" = format!("{cluster_id:x}"),
        "local-member-id" = format!("{member_id:x}"),
        "wal-commit-index" = forced.committed_before,
        "commit-index" = forced.committed,
        "forcing restart member"
    );
    warn!(
        "dropped-entries" = forced.dropped,
        "all other members were removed by --force-new-cluster: never start them again on their data, and leave out \
         the flag from now on"
    );
}

/// Binds the URLs at which peers reach this member.
pub(super) fn bind_peer_urls(config: &Config, reuse: Reuse) -> Result<Vec<Listener>, BindError> {
    config.listen_peer_urls.iter().map(|url| Listener::bind(url, reuse)).collect()
}

/// What the peers' thread needs to know.
pub(super) fn peer_settings(config: &Config, settings: &Settings) -> PeerSettings {
    let peer_urls: Vec<String> = config.initial_advertise_peer_urls.iter().map(ToString::to_string).collect();
    PeerSettings {
        identity: peer::Identity {
            id: settings.member_id,
            cluster_id: settings.cluster_id,
            version: ETCD_VERSION,
            peer_urls: peer_urls.join(","),
        },
        heartbeat_interval: config.heartbeat_interval,
        dial_limit: Duration::from_secs(1) + config.election_timeout,
        // The members of a cluster need not have the same limit.
        message_len_max: PEER_MESSAGE_LEN_MAX.max(4 * config.max_request_bytes as u64),
    }
}

/// Says that nothing is defragmented at start: space is given back while the server runs.
fn log_defragmentation(threshold_bytes: u64, published: &Published) {
    info!(
        "current-db-size-bytes" = published.size_bytes(),
        "current-db-size-in-use-bytes" = published.size_in_use_bytes(),
        "bootstrap-defrag-threshold-bytes" = threshold_bytes,
        "Skipping defragmentation"
    );
}

/// Who this member is and whose cluster it belongs to: what its data says or, without data, its settings.
fn identity(config: &Config, disk: &dyn Disk, wal_dir: &Path) -> Result<Identity, Error> {
    let Some(metadata) = wal::read_metadata(disk, wal_dir)? else {
        return join::identity(config);
    };
    if config.discovery.is_some() {
        warn!(
            "wal-dir" = %wal_dir.display(),
            "discovery token is ignored since cluster already initialized; valid logs are found"
        );
    }
    Ok(restarted_member(config, metadata))
}

/// The directory of the log. Its parent exists then.
fn wal_dir(config: &Config, data_dir: &DataDir, disk: &dyn Disk) -> Result<PathBuf, Error> {
    let Some(dir) = &config.wal_dir else { return Ok(data_dir.wal()) };
    let dir = std::path::absolute(dir)?;
    directories::check(&dir, "wal-dir").map_err(Error::Directory)?;
    if let Some(parent) = dir.parent() {
        let failed =
            |error| Error::Directory(format!("cannot create {} for --wal-dir: {error}", parent.display()));
        disk.create_dir(parent).and_then(|()| disk.sync_dir(parent)).map_err(failed)?;
    }
    Ok(dir)
}

fn member_config(config: &Config, identity: Identity) -> node::Config {
    let Identity { member, cluster_id, initial_members } = identity;
    let tick = config.heartbeat_interval;
    let ticks = |time: Duration| time.div_duration_f64(tick).ceil() as u32;
    node::Config {
        first_request_id: first_request_id(member.id),
        seed: first_request_id(member.id),
        initial_members,
        member,
        cluster_id,
        force_new_cluster: config.force_new_cluster,
        pre_vote: config.pre_vote,
        max_learners: config.max_learners,
        cluster_version: cluster_version(),
        tick,
        election_ticks: config.election_ticks(),
        checkpoint_entries: config.snapshot_count,
        checkpoint_bytes: CHECKPOINT_BYTES,
        checkpoint_ticks: ticks(CHECKPOINT_INTERVAL),
        catchup_entries: config.snapshot_catchup_entries,
        retry_ticks: ticks(RETRY_INTERVAL),
        quota_bytes: config.quota_backend_bytes,
        segment_bytes: SEGMENT_BYTES,
    }
}

/// The version of etcd whose cluster this is, without its patch level.
fn cluster_version() -> String {
    let (minor, _patch) = ETCD_VERSION.rsplit_once('.').expect("a version has three parts");
    format!("{minor}.0")
}

fn settings(config: &Config, cluster_id: u64, member_id: u64) -> Settings {
    Settings {
        cluster_id,
        member_id,
        max_txn_ops: config.max_txn_ops,
        max_request_bytes: config.max_request_bytes,
        request_timeout: REQUEST_TIME + 2 * config.election_timeout,
        strict_reconfig_check: config.strict_reconfig_check,
        election_timeout: config.election_timeout,
        progress_interval: config.watch_progress_notify_interval,
        slow_read: config.warning_apply_duration,
    }
}
