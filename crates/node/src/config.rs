//! What a member is told when it starts.

use std::time::Duration;

use proto::etcdserverpb::Member;

/// Parameters of one member.
#[derive(Debug, Clone)]
pub struct Config {
    /// What the cluster is to know of this member: id, name, peer and client URLs.
    pub member: Member,
    /// The cluster it belongs to.
    pub cluster_id: u64,
    /// The members a new cluster starts with, this one among them, by ascending id. Empty for a member that
    /// joins a cluster: it learns of the members from the raft log.
    pub initial_members: Vec<Member>,
    /// Whether a member with data leaves all others behind and goes on alone. What is not known to be committed is
    /// lost.
    pub force_new_cluster: bool,
    /// Whether to ask the others for their votes before an election begins a new term.
    pub pre_vote: bool,
    /// Learners that the cluster may have.
    pub max_learners: usize,
    /// Version that a cluster of this member alone decides on, such as `3.7.0`.
    pub cluster_version: String,
    /// Time between ticks.
    pub tick: Duration,
    /// Ticks without a leader before an election.
    pub election_ticks: u32,
    /// Seed of randomised election timeouts.
    pub seed: u64,
    /// The first id this member gives to a proposal; greater than any it gave before.
    pub first_request_id: u64,
    /// Applied entries after which a checkpoint is due, once `checkpoint_ticks` have passed since the last.
    pub checkpoint_entries: u64,
    /// Bytes of WAL after which a checkpoint is due, however old the last one is. They bound what a restart
    /// has to replay. After a long checkpoint, as of many leases, the next is due after eight times its
    /// bytes.
    pub checkpoint_bytes: u64,
    /// Ticks between checkpoints, unless `checkpoint_bytes` come sooner or files are to be removed.
    pub checkpoint_ticks: u32,
    /// Entries of the raft log that stay in memory after they were applied, for slow followers. Long entries
    /// do not.
    pub catchup_entries: u64,
    /// Ticks between attempts at what failed for want of space, and between checkpoints that release files.
    pub retry_ticks: u32,
    /// Bytes of data at which writes are refused; `None` means no limit.
    pub quota_bytes: Option<u64>,
    /// Bytes of a segment of the revision log.
    pub segment_bytes: u64,
}

/// Time that a request may take, in addition to that of two elections.
const REQUEST_TIME: Duration = Duration::from_secs(5);

impl Config {
    /// How long a request may wait for its answer: as in etcd.
    pub(crate) fn request_timeout(&self) -> Duration {
        REQUEST_TIME + 2 * self.election_timeout()
    }

    /// How long a member waits for a leader before it stands for election, at least.
    pub(crate) fn election_timeout(&self) -> Duration {
        self.tick * self.election_ticks
    }

    /// Seconds of the shortest lease: one must outlive an election, or nobody could renew it.
    pub(crate) fn lease_ttl_min_s(&self) -> i64 {
        let shortest = self.tick * (3 * self.election_ticks / 2);
        shortest.as_secs_f64().ceil() as i64
    }
}
