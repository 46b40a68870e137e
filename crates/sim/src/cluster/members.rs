//! Changes of the members, and what becomes of the machines whose member joins or leaves.
//!
//! Each member that is to join has a machine of its own with an empty disk, and an id that no other had. It is started
//! once the change that adds it is committed. A removed member stops some time after it has learned of that, from the
//! raft log or from another member that refuses its messages. Its machine may come back later, with all its data.
//!
//! An operator must not take from a cluster what it needs to elect a leader. So one voter at least stays, and the
//! second to last goes on until the last one has applied the removal.

use node::{Answer, Input, Unserved};
use proto::etcdserverpb::Member;
use store::{MemberChange, Outcome, Refusal};

use super::clients::What;
use super::history::Changed;
use super::host::{Host, Standing};
use super::life::Death;
use super::{Cluster, host};
use crate::member::{ID, identity};

/// Members that a run adds to a cluster at most, and members that a cluster has at most.
const ADDED_MAX: usize = 6;
const MEMBERS_MAX: usize = 7;
/// The longest time for which a removed member goes on.
const LEAVE_MS_MAX: u64 = 3000;
/// In how many cases of a hundred a change is sent to the leader, who alone knows whether a learner is ready.
const ASK_LEADER_PERCENT: u64 = 70;

impl Cluster<'_> {
    /// A client asks for a change of the members, or a machine whose member was removed comes back.
    pub(super) fn change_some_member(&mut self) -> Result<(), String> {
        if self.faults_random.percent(15) {
            self.bring_back();
            return Ok(());
        }
        if let Some(lost) = self.lost_member() {
            self.remove_lost(lost);
            return Ok(());
        }
        let Some(change) = self.choose_change()? else { return Ok(()) };
        let leader = self.leader().filter(|_| self.faults_random.percent(ASK_LEADER_PERCENT));
        let place = leader.unwrap_or_else(|| self.faults_random.index(self.hosts.len()));
        self.send_change(place, change);
        Ok(())
    }

    /// Some changes make no sense and are refused.
    fn choose_change(&mut self) -> Result<Option<MemberChange>, String> {
        let any = ID + self.faults_random.index(self.hosts.len()) as u64;
        Ok(match self.faults_random.below(20) {
            0..6 => self.new_member(false)?.map(MemberChange::Add),
            6..10 => self.new_member(true)?.map(MemberChange::Add),
            10..14 => {
                let learner = self.history.membership().learners().next();
                Some(MemberChange::Promote(learner.unwrap_or(any)))
            }
            14..18 => self.removable(any).then_some(MemberChange::Remove(any)),
            18 => {
                let number = self.faults_random.below(4);
                let peer_ur_ls = vec![format!("http://m{}-{number}:2380", any - ID)];
                Some(MemberChange::Update(Member { peer_ur_ls, ..identity(place_of(any)) }))
            }
            _ => Some(MemberChange::Add(identity(place_of(any)))),
        })
    }

    /// A machine for a new member.
    fn new_member(&mut self, is_learner: bool) -> Result<Option<Member>, String> {
        let place = self.hosts.len();
        let is_full = self.history.membership().ids().count() >= MEMBERS_MAX;
        if is_full || place >= self.plan.members + ADDED_MAX {
            return Ok(None);
        }
        let mut host = Host::new(place, self.plan.seed)?;
        host.standing = Standing::Expected;
        self.hosts.push(host);
        Ok(Some(Member { is_learner, ..identity(place) }))
    }

    /// Whether the removal of `id` leaves a voter, whatever becomes of the removals that were asked for before. The data
    /// of a damaged voter may be lost, so no other member is removed before it.
    fn removable(&self, id: u64) -> bool {
        let membership = self.history.membership();
        let asked = |id: u64| self.hosts[place_of(id)].is_removal_asked;
        let is_damaged = |id: u64| self.hosts[place_of(id)].is_damaged;
        if membership.voters().any(is_damaged) {
            return is_damaged(id);
        }
        let staying = membership.voters().filter(|voter| *voter != id && !asked(*voter)).count();
        !membership.is_voter(id) || asked(id) || staying >= 1
    }

    pub(super) fn send_change(&mut self, place: usize, change: MemberChange) {
        if let MemberChange::Remove(id) = change {
            self.hosts[place_of(id)].is_removal_asked = true;
        }
        let ticket = self.next_ticket;
        let host = &mut self.hosts[place];
        let Some(member) = host.member.as_mut().filter(|_| !host.disk.has_crashed()) else { return };
        let id = member.request_id();
        self.trace.note(format_args!("{place}: {ticket}: {change:x?}"));
        member.send(Input::ChangeMembers { id, change, waiter: ticket });
        self.wait(place, What::Change(id));
    }

    /// Takes a change of the members that is committed at `index`.
    pub(super) fn take_change(&mut self, index: u64) {
        let Some(Changed { change: MemberChange::Add(member), expected: Ok(()), .. }) =
            self.history.change(index)
        else {
            return;
        };
        let place = place_of(member.id);
        self.report.joined += 1;
        let starts_at = self.now + self.down_time();
        let host = &mut self.hosts[place];
        host.starts_at = starts_at;
        host.standing = Standing::Member;
    }

    /// Checks the answer to a change of the members.
    pub(super) fn check_change(
        &self,
        place: usize,
        id: u64,
        answer: &Result<Outcome, Refusal>,
    ) -> Result<(), String> {
        let Some((index, changed)) = self.history.changed(id) else {
            return match answer {
                Err(Refusal::LearnerNotReady) => Ok(()),
                answer => Err(format!("the answer is {answer:x?}, but no member has applied it")),
            };
        };
        let applied = self.hosts[place].applied.as_ref().map_or(0, |applied| applied.index);
        if index > applied {
            return Err(format!("entry {index} is answered by a member that has applied {applied}"));
        }
        match (answer, &changed.expected) {
            (Ok(Outcome::Members(list)), Ok(())) => {
                self.history.membership_at(index).compare_list(list.iter())
            }
            (Err(refusal), Err(expected)) if refusal == expected => Ok(()),
            (answer, expected) => Err(format!("the answer is {answer:x?}, but must be {expected:?}")),
        }
    }

    /// The member at `place` learns that it was removed.
    pub(super) fn note_removed(&mut self, place: usize) {
        let retires_at = self.now + self.some_time(LEAVE_MS_MAX);
        let host = &mut self.hosts[place];
        host.retires_at = host.retires_at.or(Some(retires_at));
    }

    /// Removed members stop whose time has come. They must have been removed.
    pub(super) fn retire_members(&mut self) -> Result<(), String> {
        for place in 0..self.hosts.len() {
            let is_told = self.hosts[place].retires_at.is_some();
            if is_told && !self.history.membership().is_removed(ID + place as u64) {
                return Err(format!("member {place} takes itself for removed"));
            }
            let is_due = self.hosts[place].retires_at.is_some_and(|at| at <= self.now);
            if is_due && self.hosts[place].member.is_some() && self.may_retire(place) {
                self.retire(place)?;
            }
        }
        Ok(())
    }

    /// The member at `place` stops for good.
    pub(super) fn retire(&mut self, place: usize) -> Result<(), String> {
        let host = &mut self.hosts[place];
        host.standing = Standing::Retired;
        host.retires_at = None;
        self.report.retired += 1;
        self.bury(place, Death::Retired)
    }

    /// Whether the others can go on without the removed member at `place`.
    fn may_retire(&self, place: usize) -> bool {
        let Some(removal) = self.history.removal_of(ID + place as u64) else { return false };
        let has_applied = |id: u64| {
            let applied = self.hosts[place_of(id)].applied.as_ref();
            applied.is_some_and(|applied| applied.index >= removal)
        };
        let mut voters = self.history.membership().voters();
        let last = voters.next().expect("a voter always stays");
        voters.next().is_some() || has_applied(last) && self.are_faults_over
    }

    /// A machine whose member was removed is started again, with whatever its disk holds.
    fn bring_back(&mut self) {
        let retired = self.hosts.iter_mut().filter(|host| host.standing == Standing::Retired);
        let retired: Vec<&mut host::Host> = retired.collect();
        if retired.is_empty() {
            return;
        }
        let at = self.faults_random.index(retired.len());
        let host = retired.into_iter().nth(at).expect("an index of the list");
        host.standing = Standing::Member;
        host.starts_at = self.now;
        self.report.brought_back += 1;
    }

    /// A client asks for another leader.
    pub(super) fn transfer_leader(&mut self) {
        let believes = |host: &&Host| super::clients::believes_to_lead(host) && !host.disk.has_crashed();
        let leaders: Vec<usize> = self.hosts.iter().filter(believes).map(|host| host.place).collect();
        if leaders.is_empty() {
            return;
        }
        let place = leaders[self.faults_random.index(leaders.len())];
        let to = ID + self.faults_random.index(self.hosts.len()) as u64;
        let ticket = self.next_ticket;
        let host = &mut self.hosts[place];
        let term = host.term;
        let Some(member) = &mut host.member else { return };
        self.trace.note(format_args!("{place}: {ticket}: {to:x} is to lead"));
        member.send(Input::TransferLeader { to, waiter: ticket });
        self.wait(place, What::Transfer { to, term });
    }

    /// Checks the answer to a transfer of leadership that was asked for in `term`.
    pub(super) fn check_transfer(
        &mut self,
        place: usize,
        to: u64,
        term: u64,
        answer: &Answer,
    ) -> Result<(), String> {
        let applied = self.hosts[place].applied.as_ref().map_or(0, |applied| applied.index);
        match answer {
            Answer::Transferred if self.history.has_led(place_of(to), term) => {
                self.report.transferred += 1;
                Ok(())
            }
            Answer::Unserved(Unserved::BadTransferee) if self.history.membership_at(applied).is_voter(to) => {
                Err(format!("{to:x} is a voter after entry {applied}"))
            }
            Answer::Unserved(_) => Ok(()),
            answer => Err(format!("the answer is {answer:?}")),
        }
    }
}

/// Whether a request of a client is for a member of the cluster that serves clients: one that votes as far as it knows.
pub(super) fn serves_clients(host: &Host) -> bool {
    let Some(member) = &host.member else { return false };
    let control = member.published().control();
    control.member(ID + host.place as u64).is_some_and(|member| !member.is_learner)
}

/// The place of the member with this id.
pub(super) fn place_of(id: u64) -> usize {
    usize::try_from(id - ID).expect("ids are places counted from the first id")
}
