//! How the member is doing.

use std::time::{Duration, Instant};

use node::{Answer, Input};
use proto::etcdserverpb::{
    AlarmMember, AlarmType, DefragmentResponse, DowngradeInfo, HashKvRequest, HashKvResponse, HashResponse,
    MoveLeaderRequest, MoveLeaderResponse, ResponseHeader, StatusResponse,
};
use store::{HashRead, KeyValueHash};
use tokio::task::spawn_blocking;

use super::encode::Encoded;
use super::{Api, Error};
use crate::config::ETCD_VERSION;
use crate::read_budget::ReadShare;

/// The quota reported when there is no limit: etcd reports what was configured, a negative number.
pub(super) const UNLIMITED: i64 = -1;

/// The longest wait for a defragmentation. The node answers sooner if it is done or stuck; clients give up by their own
/// deadlines.
const DEFRAGMENT_TIME_MAX: Duration = Duration::from_secs(3600);

impl Api {
    /// The state of this member, without asking anyone.
    pub(crate) fn status(&self) -> Encoded {
        let published = &self.published;
        let control = published.control();
        let response = StatusResponse {
            header: Some(self.response_header_now()),
            version: ETCD_VERSION.to_owned(),
            // Never 0: clients divide by it.
            db_size: published.size_bytes().max(1).cast_signed(),
            leader: published.leader(),
            raft_index: published.committed(),
            raft_term: published.term(),
            raft_applied_index: published.applied(),
            errors: self.complaints(),
            db_size_in_use: published.size_in_use_bytes().cast_signed(),
            is_learner: published.is_learner(),
            storage_version: control.cluster_version().to_owned(),
            db_size_quota: published.quota_bytes().map_or(UNLIMITED, u64::cast_signed),
            downgrade_info: Some(DowngradeInfo {
                enabled: control.downgrade_target().is_some(),
                target_version: control.downgrade_target().unwrap_or_default().to_owned(),
            }),
        };
        Encoded::message(&response)
    }

    /// What is wrong: that there is no leader, and each alarm.
    fn complaints(&self) -> Vec<String> {
        let no_leader = (!self.has_leader()).then(|| Error::NoLeader.text().into_owned());
        let alarms = self.published.control().alarms().of_kind(AlarmType::None as i32);
        no_leader.into_iter().chain(alarms.iter().map(alarm_text)).collect()
    }

    /// Gives back the space of dead records, however little it is, and of those that compactions asked for before
    /// are about to leave; answers when that is done. Nothing stands still meanwhile.
    pub(crate) async fn defragment(&self) -> Result<Encoded, Error> {
        let started_at = Instant::now();
        let answer = self.ask_for(DEFRAGMENT_TIME_MAX, Input::Defragment).await?;
        self.metrics.maintenance.defragment.observe(started_at.elapsed());
        match answer {
            Answer::Defragmented => Ok(Encoded::message(&DefragmentResponse::default())),
            Answer::Unserved(unserved) => Err(unserved.into()),
            other => unreachable!("a request to defragment is not answered as {other:?}"),
        }
    }

    /// Hands leadership over to another voter, and waits until that leads.
    pub(crate) async fn move_leader(&self, request: MoveLeaderRequest) -> Result<Encoded, Error> {
        match self.transfer_leader(request.target_id).await {
            Ok(()) => Ok(Encoded::message(&MoveLeaderResponse::default())),
            Err(Error::NoLeader) => Err(Error::NotLeader),
            Err(Error::TimedOut | Error::TimedOutInElection) => Err(Error::TransferTimedOut),
            Err(error) => Err(error),
        }
    }

    /// Hands leadership over to member `to`. Only a leader can; others get [`Error::NoLeader`].
    pub(crate) async fn transfer_leader(&self, to: u64) -> Result<(), Error> {
        match self.ask(|waiter| Input::TransferLeader { to, waiter }).await? {
            Answer::Transferred => Ok(()),
            Answer::Unserved(unserved) => Err(unserved.into()),
            other => unreachable!("a request to hand over is not answered as {other:?}"),
        }
    }

    /// One number for all there is, control tables included.
    pub(crate) async fn hash(&self, share: &ReadShare) -> Result<Encoded, Error> {
        let _permit = share.begin_listing().await;
        let started_at = Instant::now();
        let compute = async || self.read_hash(self.view.hash_everything(&self.published.control())).await;
        let hash = self.hash_queue.answer_alone(compute).await?;
        self.metrics.maintenance.hash.observe(started_at.elapsed());
        let header = Some(self.response_header_now());
        Ok(Encoded::message(&HashResponse { header, hash: hash.hash }))
    }

    /// One number for all the store holds at a revision. Requests wait for each other, since each hash takes
    /// memory for every key.
    pub(crate) async fn hash_kv(&self, request: HashKvRequest, share: &ReadShare) -> Result<Encoded, Error> {
        let _permit = share.begin_listing().await;
        let started_at = Instant::now();
        let hash = self.key_value_hash(request.revision).await?;
        self.metrics.maintenance.hash_kv.observe(started_at.elapsed());
        let response = HashKvResponse {
            header: Some(self.response_header_now()),
            hash: hash.hash,
            compact_revision: hash.compact_revision,
            hash_revision: hash.revision,
        };
        Ok(Encoded::message(&response))
    }

    /// The hash of all that the store holds at a revision; 0 asks for the newest.
    pub(crate) async fn key_value_hash(&self, revision: i64) -> Result<KeyValueHash, Error> {
        // Zero asks for the newest revision as it is now; that revision by its number, for the hash of its compaction.
        let query = || (revision, self.view.revision(), self.view.compact_revision());
        let compute = async |(revision, _, _)| {
            let read = self.view.hash(revision).map_err(|e| self.store_error(e))?;
            self.read_hash(read).await
        };
        self.hash_queue.answer(query, compute).await
    }

    /// Computes a hash off the worker's thread, which its longest step, sorting a million revisions, would
    /// hold up for a tenth of a second. A call that goes away ends it at the next step.
    async fn read_hash(&self, mut read: HashRead) -> Result<KeyValueHash, Error> {
        loop {
            let step = spawn_blocking(move || read.step().map(|is_known| (is_known, read)));
            // The step did not run to its end, because the server is stopping.
            let Ok(stepped) = step.await else { return Err(Error::Stopped) };
            let (is_known, stepped_read) = stepped.map_err(|e| self.store_error(e))?;
            if is_known {
                return Ok(stepped_read.finish().1);
            }
            read = stepped_read;
        }
    }

    /// The header of a response that no revision is asked of.
    pub(super) fn response_header_now(&self) -> ResponseHeader {
        self.response_header(self.view.revision())
    }

    pub(super) fn response_header(&self, revision: i64) -> ResponseHeader {
        let header = self.header(revision);
        ResponseHeader {
            cluster_id: header.cluster_id,
            member_id: header.member_id,
            revision: header.revision,
            raft_term: header.raft_term,
        }
    }
}

/// As Go prints the message: a number that is zero is left out, a kind in no enumeration is a number.
fn alarm_text(alarm: &AlarmMember) -> String {
    let member = if alarm.member_id == 0 { String::new() } else { format!("memberID:{} ", alarm.member_id) };
    match AlarmType::try_from(alarm.alarm) {
        Ok(kind) => format!("{member}alarm:{}", kind.as_str_name()),
        Err(_) => format!("{member}alarm:{}", alarm.alarm),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_is_printed_as_go_prints_it() {
        let text = |member_id, alarm| alarm_text(&AlarmMember { member_id, alarm });
        assert_eq!(text(5, 1), "memberID:5 alarm:NOSPACE");
        assert_eq!(text(0, 2), "alarm:CORRUPT");
        assert_eq!(text(5, 7), "memberID:5 alarm:7");
    }
}
