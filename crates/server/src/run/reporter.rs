//! Tells the log and the main thread what happens to the member.

use std::sync::Arc;
use std::time::{Duration, Instant};

use node::{Fatal, Note, Published};
use peer::MinorVersion;
use store::Kind;
use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::api::versions::own_version;
use crate::config::ETCD_VERSION;
use crate::driver::Observer;
use crate::logging::FATAL;
use crate::metrics::Metrics;
use crate::peers::PeersHandle;

/// Where the member stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    Starting,
    Ready,
    /// The member was removed from the cluster.
    Removed,
    Failed,
}

/// Called on the node's thread.
#[derive(Debug)]
pub(super) struct Reporter {
    pub(super) life: watch::Sender<Life>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) member_id: u64,
    pub(super) published: Arc<Published>,
    pub(super) peers: PeersHandle,
    /// Batches of commands that take longer to apply are logged.
    pub(super) slow_apply: Duration,
    pub(super) seen: Seen,
}

/// What earlier notes have told.
#[derive(Debug, Default)]
pub(super) struct Seen {
    compacting_since: Option<Instant>,
    cluster_version: Option<String>,
}

/// Why a server cannot be in a cluster of this version, if it cannot: it may not be able to read what the cluster
/// writes.
pub(super) fn refusal_of_version(cluster_version: &str) -> Option<String> {
    let is_newer = MinorVersion::parse(cluster_version).is_some_and(|version| version > own_version());
    is_newer.then(|| {
        format!(
            "invalid downgrade; server version is lower than determined cluster version (server {ETCD_VERSION}, \
             cluster {cluster_version}): start a server of version {cluster_version} or later on this data"
        )
    })
}

impl Reporter {
    fn version_is_set(&mut self, version: &str) {
        match self.seen.cluster_version.replace(version.to_owned()) {
            None => info!("cluster-version" = version, "set initial cluster version"),
            Some(before) => info!(from = before, to = version, "updated cluster version"),
        }
        let control = self.published.control();
        if control.downgrade_target() == Some(version) {
            info!(
                "target-version" = version,
                "server-version" = ETCD_VERSION,
                "The server is ready to downgrade"
            );
        }
        self.check_version(version);
    }

    fn check_version(&self, version: &str) {
        if let Some(reason) = refusal_of_version(version) {
            error!(target: FATAL, "{reason}");
            self.life.send_replace(Life::Failed);
        }
    }
}

impl Observer for Reporter {
    fn note(&mut self, note: &Note) {
        match note {
            Note::Leader { id: 0, term } => warn!(term, "lost the leader"),
            Note::Leader { id, term } => {
                self.metrics.leader_changes.inc();
                let is_self = *id == self.member_id;
                info!(leader = format!("{id:x}"), term, "is-self" = is_self, "elected leader");
            }
            Note::DiskStalled { stalled, to } => warn!(
                stalled = ?stalled,
                "transferee-member-id" = format!("{to:x}"),
                "the disk has not finished a write for longer than an election timeout: leadership is handed over"
            ),
            Note::Snapshot { index, refusal: None } => {
                info!("incoming-leader-snapshot-index" = index, "applied snapshot");
                self.check_version(self.published.control().cluster_version());
            }
            Note::Snapshot { index, refusal: Some(error) } => {
                warn!("incoming-leader-snapshot-index" = index, error, "ignored a snapshot");
            }
            Note::Members => self.peers.set_members(self.published.control().members()),
            Note::Removed => {
                self.life.send_replace(Life::Removed);
            }
            Note::Published => {
                info!("published local member to cluster through raft");
                self.life.send_replace(Life::Ready);
            }
            Note::ClusterVersion(version) => {
                self.version_is_set(version);
            }
            Note::Checkpoint { index } => info!(index, "saved checkpoint"),
            Note::Compacting => self.seen.compacting_since = Some(Instant::now()),
            Note::Compacted { revision } => {
                let since = self.seen.compacting_since.take();
                self.metrics.maintenance.compacted(since.map(|since| since.elapsed()).unwrap_or_default());
                info!("compact-revision" = revision, "finished scheduled compaction");
            }
            Note::Defragmented { bytes_before, bytes_after } => info!(
                "current-db-size-bytes-diff" = bytes_after.cast_signed() - bytes_before.cast_signed(),
                "previous-db-size-bytes" = bytes_before,
                "current-db-size-bytes" = bytes_after,
                "finished defragmenting"
            ),
            Note::LeaseGranted { .. } | Note::LeaseRevoked { .. } => {
                self.metrics.leases.count(note);
            }
            Note::Space { is_left: false } => {
                warn!(
                    "the disk is nearly full: writes are refused until there is room; reads and deletes go on"
                );
            }
            Note::Space { is_left: true } => info!("there is room on the disk again: writes are accepted"),
        }
    }

    fn applied(&mut self, commands: &[(Kind, bool)], time: Duration) {
        self.metrics.requests.applied(commands, time);
        if time > self.slow_apply {
            self.metrics.requests.slow_applies.inc();
            let request = match commands {
                [(kind, _)] => kind.name().to_owned(),
                _ => format!("{} commands", commands.len()),
            };
            warn!(
                took = ?time, "expected-duration" = ?self.slow_apply, prefix = "", request, response = "",
                "apply request took too long"
            );
        }
    }

    fn paused(&mut self, time: Duration) {
        self.metrics.maintenance.paused(time);
    }

    fn ended(&mut self, result: &Result<(), Fatal>) {
        if let Err(reason) = result {
            error!(%reason, "the member stops: going on could lose or falsify data");
            self.life.send_replace(Life::Failed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_refuses_a_cluster_that_is_newer_than_itself() {
        let refusal = refusal_of_version("3.8.0").unwrap();
        assert!(
            refusal.starts_with("invalid downgrade; server version is lower than determined cluster version")
        );
        assert!(refusal_of_version("4.0.0").is_some());
        for version in ["3.7.0", "3.0.0", ""] {
            assert_eq!(refusal_of_version(version), None, "{version}");
        }
    }
}
