//! The members of the cluster as of the last applied configuration change, with the leader's view of each.
//!
//! Owns the only membership table of this crate; the configuration state handed to the log and to snapshots
//! is derived from it. A *joint* configuration has two sets of voters, the outgoing and the incoming one;
//! whatever needs a majority needs one of each (Ongaro 2014, §4.3). `changes` holds the rules by which
//! configurations follow each other.

mod changes;

use proto::raftpb::ConfState;

pub(crate) use self::changes::{ChangeKind, kind};
use crate::Error;
use crate::progress::{Progress, Standing};
use crate::quorum::{self, Tally};

/// More members than any cluster has. The bound keeps a faulty configuration from taking memory without end.
pub(crate) const MEMBERS_MAX: usize = 1000;

#[derive(Debug, Clone)]
pub(crate) struct Members {
    /// Sorted by id.
    table: Vec<Progress>,
    /// Whether the leader ends the joint configuration by itself.
    auto_leave: bool,
    /// One number a voter; kept to spare an allocation for each commit.
    scratch: Vec<u64>,
}

/// One of the two sets of voters.
type Half = fn(Standing) -> bool;

const INCOMING: Half = |standing| standing.incoming;
const OUTGOING: Half = |standing| standing.outgoing;

impl Members {
    /// The members of `conf_state`, each to be sent to from `next` on.
    ///
    /// Fails if the configuration contradicts itself, has a member 0, or has more than [`MEMBERS_MAX`]
    /// names.
    pub(crate) fn new(conf_state: &ConfState, next: u64) -> Result<Members, Error> {
        let ConfState { voters, learners, voters_outgoing, learners_next, auto_leave } = conf_state;
        if voters.len() + learners.len() + voters_outgoing.len() + learners_next.len() > MEMBERS_MAX {
            return Err(Error::InvalidConfState("a cluster has at most 1000 members"));
        }
        let mut members = Members { table: Vec::new(), auto_leave: *auto_leave, scratch: Vec::new() };
        members.name(voters, next, |standing| &mut standing.incoming)?;
        members.name(voters_outgoing, next, |standing| &mut standing.outgoing)?;
        members.name(learners_next, next, |standing| &mut standing.next_learner)?;
        for &id in learners {
            if members.find(id).is_ok() {
                return Err(Error::InvalidConfState("a learner has no other part"));
            }
            members.entry(id, next);
        }
        members.check()?;
        Ok(members)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Progress> {
        self.table.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Progress> {
        self.table.iter_mut()
    }

    /// Those whose vote counts in at least one half.
    pub(crate) fn voters(&self) -> impl Iterator<Item = &Progress> {
        self.table.iter().filter(|member| member.standing.is_voter())
    }

    pub(crate) fn get(&self, id: u64) -> Option<&Progress> {
        Some(&self.table[self.find(id).ok()?])
    }

    pub(crate) fn get_mut(&mut self, id: u64) -> Option<&mut Progress> {
        let at = self.find(id).ok()?;
        Some(&mut self.table[at])
    }

    pub(crate) fn is_voter(&self, id: u64) -> bool {
        self.get(id).is_some_and(|member| member.standing.is_voter())
    }

    /// Whether `id` is a voter and there is no other.
    pub(crate) fn is_only_voter(&self, id: u64) -> bool {
        self.is_voter(id) && self.voters().count() == 1
    }

    pub(crate) fn is_joint(&self) -> bool {
        self.table.iter().any(|member| member.standing.outgoing)
    }

    /// Whether the leader has to end the present joint configuration.
    pub(crate) fn leaves_by_itself(&self) -> bool {
        self.auto_leave
    }

    /// The largest value of `number` that a majority of each half has reached.
    pub(crate) fn reached_by_majority(&mut self, number: impl Fn(&Progress) -> u64) -> u64 {
        let incoming = self.reached_by_half(INCOMING, &number);
        if self.is_joint() { incoming.min(self.reached_by_half(OUTGOING, &number)) } else { incoming }
    }

    fn reached_by_half(&mut self, half: Half, number: impl Fn(&Progress) -> u64) -> u64 {
        self.scratch.clear();
        self.scratch.extend(self.table.iter().filter(|member| half(member.standing)).map(number));
        quorum::reached_by_majority(&mut self.scratch)
    }

    /// The state of an election after `votes`; answers of members without a vote do not count.
    pub(crate) fn tally(&self, votes: &[(u64, bool)]) -> Tally {
        let incoming = self.tally_half(INCOMING, votes);
        if !self.is_joint() {
            return incoming;
        }
        match (incoming, self.tally_half(OUTGOING, votes)) {
            (Tally::Won, Tally::Won) => Tally::Won,
            (Tally::Lost, _) | (_, Tally::Lost) => Tally::Lost,
            (Tally::Pending, _) | (_, Tally::Pending) => Tally::Pending,
        }
    }

    fn tally_half(&self, half: Half, votes: &[(u64, bool)]) -> Tally {
        let counts = |id: u64| self.get(id).is_some_and(|member| half(member.standing));
        let answers = |wanted: bool| votes.iter().filter(|(id, vote)| *vote == wanted && counts(*id)).count();
        let voters = self.table.iter().filter(|member| half(member.standing)).count();
        quorum::tally(voters, answers(true), answers(false))
    }

    /// Whether a majority of the voters was heard from since the last call.
    pub(crate) fn take_quorum_activity(&mut self, own_id: u64) -> bool {
        let reached =
            self.reached_by_majority(|member| u64::from(member.recent_active || member.id == own_id));
        for member in &mut self.table {
            member.recent_active = false;
        }
        reached == 1
    }

    /// Starts a leader's term: nothing is known of the others but that `next` is worth trying.
    pub(crate) fn reset(&mut self, next: u64) {
        for member in &mut self.table {
            *member = Progress::new(member.id, member.standing, next);
        }
    }

    pub(crate) fn conf_state(&self) -> ConfState {
        let ids = |wanted: Half| -> Vec<u64> {
            self.table.iter().filter(|member| wanted(member.standing)).map(|member| member.id).collect()
        };
        ConfState {
            voters: ids(INCOMING),
            voters_outgoing: ids(OUTGOING),
            learners_next: ids(|standing| standing.next_learner),
            learners: ids(|standing| !standing.is_voter()),
            auto_leave: self.auto_leave,
        }
    }

    /// Gives each of `ids` the part that `part` selects.
    fn name(&mut self, ids: &[u64], next: u64, part: fn(&mut Standing) -> &mut bool) -> Result<(), Error> {
        for &id in ids {
            let part = part(&mut self.entry(id, next).standing);
            if *part {
                return Err(Error::InvalidConfState("each member is named once"));
            }
            *part = true;
        }
        Ok(())
    }

    /// Checks the rules that concern all members together.
    fn check(&self) -> Result<(), Error> {
        let holds = |rule: fn(&Progress) -> bool| self.table.iter().all(rule);
        let has_incoming = self.table.iter().any(|member| member.standing.incoming);
        let rules = [
            (holds(|member| member.id != 0), "no member has the id 0"),
            (
                holds(|Progress { standing, .. }| {
                    !standing.next_learner || (standing.outgoing && !standing.incoming)
                }),
                "only an outgoing voter that has no vote afterwards becomes a learner",
            ),
            (self.is_joint() || !self.auto_leave, "only a joint configuration ends by itself"),
            (!self.is_joint() || has_incoming, "a joint configuration has incoming voters"),
            (self.table.len() <= MEMBERS_MAX, "a cluster has at most 1000 members"),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            Some((_, rule)) => Err(Error::InvalidConfState(rule)),
            None => Ok(()),
        }
    }

    fn find(&self, id: u64) -> Result<usize, usize> {
        self.table.binary_search_by_key(&id, |member| member.id)
    }

    /// The member `id`, added as a learner if it is new.
    fn entry(&mut self, id: u64, next: u64) -> &mut Progress {
        let at = match self.find(id) {
            Ok(at) => at,
            Err(at) => {
                self.table.insert(at, Progress::new(id, Standing::LEARNER, next));
                at
            }
        };
        &mut self.table[at]
    }
}

#[cfg(test)]
mod tests;
