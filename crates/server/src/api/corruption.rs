//! Has a leader compare the data of all members, and raises an alarm for those that hold something else.

use std::time::Duration;

use proto::etcdserverpb::AlarmType;
use store::KeyValueHash;
use tokio::time::{MissedTickBehavior, interval_at, sleep};
use tracing::{error, info, warn};

use super::{Api, Error};
use crate::corruption::{MemberHash, OwnHashes, Verdict, compare_compactions};
use crate::peers::Question;

impl Api {
    /// Compares all data each `interval`, for as long as the server runs, while this member leads.
    pub(crate) async fn compare_data(&self, interval: Duration) {
        info!(
            "local-member-id" = self.own_id_text(),
            interval = ?interval,
            "enabled corruption checking"
        );
        let mut ticks = interval_at(tokio::time::Instant::now() + interval, interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            if self.is_leader()
                && let Err(error) = self.compare_data_once().await
            {
                let error = error.text();
                warn!(%error, "failed to check hash KV");
            }
        }
    }

    /// Compares what compactions have left each `interval`, for as long as the server runs, while this member leads.
    pub(crate) async fn compare_compactions(&self, interval: Duration) {
        let mut latest_checked = 0;
        loop {
            sleep(interval).await;
            if self.is_leader() {
                self.compare_compactions_once(&mut latest_checked).await;
            }
        }
    }

    /// At most one member is told of at a time: the leader itself, or the first that contradicts it.
    async fn compare_data_once(&self) -> Result<(), Error> {
        let before = self.key_value_hash(0).await?;
        let others = self.member_hashes(before.revision).await;
        self.wait_readable().await?;
        let hashes = OwnHashes { before, after: self.key_value_hash(0).await? };
        let mut corrupt = None;
        if hashes.differ() {
            let (hash_1, hash_2) = (hashes.before.hash, hashes.after.hash);
            warn!(
                "revision-1" = before.revision,
                "hash-1" = hash_1,
                "hash-2" = hash_2,
                "found hash mismatch"
            );
            corrupt = Some(self.settings.member_id);
        }
        let answers = others.iter().filter_map(|(id, hash)| Some((*id, *hash.as_ref().ok()?)));
        let n_compared = answers.clone().count();
        for (id, hash) in answers {
            let Some(reason) = hashes.contradict(hash) else { continue };
            warn!(
                "leader-revision" = hashes.after.revision,
                "leader-compact-revision" = hashes.after.compact_revision,
                "leader-hash" = hashes.before.hash,
                "follower-revision" = hash.revision,
                "follower-compact-revision" = hash.compact_revision,
                "follower-hash" = hash.hash,
                "follower-peer-id" = format!("{id:x}"),
                "{reason}"
            );
            corrupt = corrupt.or(Some(id));
        }
        if let Some(id) = corrupt {
            self.raise(AlarmType::Corrupt, id).await?;
        }
        info!("number-of-peers-checked" = n_compared, "finished peer corruption check");
        Ok(())
    }

    /// Looks for the newest compaction that can be compared on all members. None up to `latest_checked`, which was
    /// compared before, is compared again.
    async fn compare_compactions_once(&self, latest_checked: &mut i64) {
        let (id, timeout) = (self.own_id_text(), self.settings.request_timeout);
        info!("local-member-id" = id, timeout = ?timeout, "starting compact hash check");
        let hashes = self.view.compaction_hashes();
        let mut n_checked = 0;
        for hash in hashes.into_iter().take_while(|hash| hash.revision > *latest_checked) {
            let others = self.member_hashes(hash.revision).await;
            if others.is_empty() {
                continue;
            }
            n_checked += 1;
            match compare_compactions(self.settings.member_id, hash, &others) {
                Verdict::Consistent => {
                    info!(
                        "number-of-peers-checked" = others.len(),
                        revision = hash.revision,
                        compactRevision = hash.compact_revision,
                        "successfully checked hash on whole cluster"
                    );
                    *latest_checked = hash.revision;
                    break;
                }
                Verdict::Incomplete => warn!(
                    "number-of-peers" = others.len(),
                    revision = hash.revision,
                    compactRevision = hash.compact_revision,
                    "skipped revision in compaction hash check; was not able to check all peers"
                ),
                Verdict::Corrupt(ids) => {
                    self.tell_of_corrupt(hash, &ids).await;
                    break;
                }
            }
        }
        info!("number-of-hashes-checked" = n_checked, "finished compaction hash check");
    }

    async fn tell_of_corrupt(&self, hash: KeyValueHash, ids: &[u64]) {
        for id in ids {
            error!(
                "leader-id" = self.own_id_text(),
                "leader-revision" = hash.revision,
                "leader-compact-revision" = hash.compact_revision,
                "leader-hash" = hash.hash,
                "peer-ids" = format!("{id:x}"),
                "quorum-exist" = *id != 0,
                "Detected compaction hash mismatch"
            );
            if let Err(error) = self.raise(AlarmType::Corrupt, *id).await {
                let error = error.text();
                warn!(%error, "failed to raise an alarm");
            }
        }
    }

    /// The hashes of all other members at a revision.
    async fn member_hashes(&self, revision: i64) -> Vec<MemberHash> {
        let members: Vec<u64> = self.published.control().members().map(|member| member.id).collect();
        let mut hashes = Vec::new();
        for id in members.into_iter().filter(|id| *id != self.settings.member_id) {
            let limit = self.settings.request_timeout;
            let hash = match self.peers.ask(id, Question::hash(revision), limit).await {
                Ok(reply) => reply.hash(),
                Err(error) => Err(error.to_string()),
            };
            if let Err(error) = &hash {
                let id = format!("{id:x}");
                warn!(
                    "remote-peer-id" = id,
                    "requested-revision" = revision,
                    error,
                    "failed hash kv request"
                );
            }
            hashes.push((id, hash));
        }
        hashes
    }

    fn own_id_text(&self) -> String {
        format!("{:x}", self.settings.member_id)
    }
}
