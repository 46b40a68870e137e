//! What a member is told when it starts: its parameters, and the state read back from disk.

use proto::raftpb::{ConfState, Entry, HardState};

use crate::Error;

/// Parameters of one member. Ticks are calls of [`Raft::tick`](crate::Raft::tick).
#[derive(Debug, Clone)]
pub struct Config {
    /// This member; not 0.
    pub id: u64,
    /// Ticks without contact after which a follower may campaign. The timeout in force is drawn from
    /// `election_ticks..2 * election_ticks` at each change of role or term. More than `heartbeat_ticks`,
    /// less than 2^31.
    pub election_ticks: u32,
    /// Ticks between heartbeats of a leader; at least 1.
    pub heartbeat_ticks: u32,
    /// Bytes of entries in one MsgApp. A single larger entry still travels, alone.
    pub max_message_bytes: u64,
    /// MsgApp with entries that may be unacknowledged per follower; at least 1.
    pub max_inflight: usize,
    /// Bytes of entries that may be unacknowledged per follower; at least 1. The message that reaches the
    /// limit is sent whole. `u64::MAX` for no limit.
    pub max_inflight_bytes: u64,
    /// Bytes of committed entries in one [`Ready`](crate::Ready), which has at least one entry if there is
    /// one. What is left comes with the next. `u64::MAX` for no limit.
    pub max_committed_bytes: u64,
    /// Bytes of uncommitted entries above which a leader takes no proposals. They pile up while no majority
    /// answers. A proposal of any size is taken while nothing is uncommitted. `u64::MAX` for no limit.
    pub max_uncommitted_bytes: u64,
    /// Ask whether an election could be won before raising the term (Ongaro 2014, §9.6).
    pub pre_vote: bool,
    /// A leader that has not heard from a quorum for `election_ticks` steps down, and votes are refused
    /// within `election_ticks` of a leader's contact (Ongaro 2014, §6.2 and §4.2.3).
    pub check_quorum: bool,
    /// Seed of the election timeouts; mixed with `id`.
    pub seed: u64,
}

impl Config {
    pub(crate) fn check(&self) -> Result<(), Error> {
        let rules = [
            (self.id != 0, "id must not be 0"),
            (self.heartbeat_ticks >= 1, "heartbeat_ticks must be at least 1"),
            (self.election_ticks > self.heartbeat_ticks, "election_ticks must be more than heartbeat_ticks"),
            // The timeout in force is below twice as many, and must fit in 32 bits.
            (self.election_ticks <= u32::MAX / 2, "election_ticks must be less than 2^31"),
            (self.max_inflight >= 1, "max_inflight must be at least 1"),
            (self.max_inflight_bytes >= 1, "max_inflight_bytes must be at least 1"),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            Some((_, rule)) => Err(Error::InvalidConfig(rule)),
            None => Ok(()),
        }
    }
}

/// The state of a member as read back from disk; the default is a member that never ran.
#[derive(Debug, Clone, Default)]
pub struct Restored {
    /// The last hard state written. Its commit may lag behind `applied`, since it is not synced alone; its
    /// term may lag behind the last entry when the end of the log was torn.
    pub hard_state: HardState,
    /// The configuration as of `applied`. Empty for a member that learns it from the log.
    pub conf_state: ConfState,
    /// Index that `entries` follow; 0 for a whole log.
    pub snapshot_index: u64,
    /// Term of the entry at `snapshot_index`.
    pub snapshot_term: u64,
    /// Entries from `snapshot_index + 1` on, without gaps.
    pub entries: Vec<Entry>,
    /// Last index whose effects are durable; entries after it are handed out again once committed.
    pub applied: u64,
}
