//! Clients of a cluster, and what their answers must be.
//!
//! An answer to a command must be the one that the model gives at the command's place in the history, and must not
//! come before the member has applied it. A linearizable read must see everything that any member knew to be
//! committed when it was asked for; with that the order of answers respects real time. Other reads may be of any
//! state that the member has applied. A request that gets no answer, or one that does not tell, may have been
//! carried out once or not at all.

use std::time::Duration;

use node::{Answer, Input, LeaseAnswer, LeaseQuery, Proposal, Unserved};
use proto::etcdserverpb::{CompactionRequest, LeaseRevokeRequest};
use store::{Outcome, Refusal, Request};

use super::Cluster;
use super::history::Executed;
use super::host::Host;
use super::leases::Asked;
use super::members::serves_clients;
use super::workload;
use crate::checks;
use crate::member::{self, REQUEST_TIMEOUT, Ticket};
use crate::workload::{self as common, Horizon};

/// What clients ask of a member and wait for, at most.
const WAITING_MAX: usize = 64;

/// What a client waits for.
#[derive(Debug)]
pub(super) struct Operation {
    /// The member that was asked.
    pub(super) place: usize,
    what: What,
    /// True time, and the time on the member's clock, when it was asked.
    at: Duration,
    clock: Duration,
    /// Number of entries that were known to be committed then.
    floor: u64,
}

#[derive(Debug)]
pub(super) enum What {
    /// A command under this request id.
    Command(u64),
    /// A linearizable read.
    Read,
    Lease(LeaseQuery),
    /// A change of the members under this request id.
    Change(u64),
    /// Another leader, asked for in this term.
    Transfer {
        to: u64,
        term: u64,
    },
}

impl Cluster<'_> {
    /// A client asks some member for something; false if that member does not run or is asked too much.
    pub(super) fn act(&mut self) -> Result<bool, String> {
        let place = self.asked_member();
        let waiting = self.operations.values().filter(|operation| operation.place == place).count();
        let host = &self.hosts[place];
        if !serves_clients(host) || host.disk.has_crashed() || waiting >= WAITING_MAX {
            return Ok(false);
        }
        match self.random.below(20) {
            0..11 => self.send_command(place),
            11..15 => self.send_read(place)?,
            15..18 => self.send_lease_query(place)?,
            _ => return self.read(place).map(|is_read| is_read.is_some()),
        }
        Ok(true)
    }

    /// Any member, or often one that believes that it leads: above all one that has been replaced and does not know.
    fn asked_member(&mut self) -> usize {
        if let Some(old) = self.old_leader()
            && self.random.percent(50)
        {
            return old;
        }
        if self.random.percent(60) {
            return self.random.index(self.hosts.len());
        }
        let leaders: Vec<usize> =
            self.hosts.iter().filter(|host| believes_to_lead(host)).map(|host| host.place).collect();
        match leaders.len() {
            0 => self.random.index(self.hosts.len()),
            n => leaders[self.random.index(n)],
        }
    }

    /// A member that believes that it leads, while another leads a later term.
    fn old_leader(&self) -> Option<usize> {
        let newest = self.history.newest_leader()?;
        let old = self.hosts.iter().find(|host| host.place != newest && believes_to_lead(host));
        old.map(|host| host.place)
    }

    /// Takes the entries that are committed since index `from`.
    pub(super) fn take_committed(&mut self, from: u64) -> Result<(), String> {
        for index in from..=self.history.len() {
            self.take_change(index);
            let Some(executed) = self.history.command(index) else { continue };
            let sent_at = self.sent_at.get(&executed.id).copied();
            if sent_at.is_none() {
                self.trace.note(format_args!("entry {index}, of a member: {:?}", executed.request));
            }
            self.leases.committed(index, executed, sent_at, self.now)?;
            if sent_at.is_none() && !is_own(&executed.request) {
                return Err(format!("a member proposes {:?}", executed.request));
            }
        }
        Ok(())
    }

    /// Takes the answer of the member at `place`, which had applied so many entries before this step.
    pub(super) fn take_answer(
        &mut self,
        place: usize,
        ticket: Ticket,
        answer: Answer,
        applied_before: u64,
    ) -> Result<(), String> {
        let operation = self.operations.remove(&ticket);
        let operation = operation.ok_or_else(|| format!("{ticket} is answered twice: {answer:?}"))?;
        let wrong = |why: &str| format!("{ticket} at member {place}, {operation:?}: {why}");
        match (&operation.what, answer) {
            (What::Transfer { to, term }, answer) => {
                self.check_transfer(place, *to, *term, &answer).map_err(|why| wrong(&why))
            }
            (_, Answer::Unserved(why)) => self.take_unserved(&operation, why).map_err(|why| wrong(&why)),
            (What::Command(id), Answer::Applied(Err(Refusal::NoSpace)))
                if self.history.executed(*id).is_none() =>
            {
                self.history.note_refused(*id)
            }
            (What::Command(id), Answer::Applied(result)) => {
                self.report.answered += 1;
                self.check_result(place, *id, &result).map_err(|why| wrong(&why))
            }
            (What::Change(id), Answer::Applied(result)) => {
                self.report.changes_answered += 1;
                self.check_change(place, *id, &result).map_err(|why| wrong(&why))
            }
            (What::Read, Answer::Readable) => {
                self.report.linearizable_reads += 1;
                self.check_read(place, operation.floor).map_err(|why| wrong(&why))
            }
            (What::Lease(query), Answer::Lease(answer)) => {
                self.check_lease(place, query, &answer, &operation, applied_before).map_err(|why| wrong(&why))
            }
            (_, answer) => Err(wrong(&format!("the answer is {answer:?}"))),
        }
    }

    /// Checks that every command that the member at `place` has applied is answered, if it waits for nothing else.
    pub(super) fn nobody_is_forgotten(&self, place: usize) -> Result<(), String> {
        let Some((_, applied)) = self.hosts[place].known() else { return Ok(()) };
        for (ticket, operation) in self.operations.iter().filter(|(_, operation)| operation.place == place) {
            let index = match operation.what {
                What::Command(id) => {
                    let executed = self.history.executed(id);
                    executed.filter(|(_, executed)| !waits_for_the_end(executed)).map(|(index, _)| index)
                }
                What::Change(id) => self.history.changed(id).map(|(index, _)| index),
                What::Read | What::Lease(_) | What::Transfer { .. } => None,
            };
            let Some(index) = index else { continue };
            // What a member has not applied itself, but taken over from another, it does not answer.
            let is_taken_over = index <= self.hosts[place].installed;
            if index <= applied.index && !is_taken_over {
                return Err(format!("{ticket}, entry {index}, is applied and not answered: {operation:?}"));
            }
        }
        Ok(())
    }

    fn send_command(&mut self, place: usize) {
        let known = self.hosts[place].known().map_or(&self.history.model, |(_, applied)| &applied.model);
        let horizon = Horizon { alarm: self.history.model.alarms().next(), ..Horizon::of(known) };
        let has_old_leader = self.old_leader().is_some();
        let request = match self.random.percent(50) {
            _ if has_old_leader && self.random.percent(20) => {
                Request::LeaseRevoke(LeaseRevokeRequest { id: common::lease(&mut self.random) })
            }
            true => workload::pattern(&mut self.random, known),
            false => common::command(&mut self.random, horizon, self.plan.value_len_max, false),
        };
        self.send(place, request);
    }

    pub(super) fn send(&mut self, place: usize, request: Request) {
        let Some(member) = &mut self.hosts[place].member else { return };
        let id = member.request_id();
        let ticket = self.next_ticket;
        self.trace.note(format_args!("{place}: {ticket}: {}", checks::describe(&request)));
        self.sent_at.insert(id, self.now);
        member.send(Input::Propose(Proposal::new(id, request), ticket));
        self.report.commands += 1;
        self.wait(place, What::Command(id));
    }

    fn send_read(&mut self, place: usize) -> Result<(), String> {
        let Some(member) = &mut self.hosts[place].member else { return Ok(()) };
        if member.serves() {
            self.report.linearizable_reads += 1;
            return self.check_read(place, self.history.len());
        }
        let ticket = self.next_ticket;
        self.trace.note(format_args!("{place}: {ticket}: read index"));
        member.send(Input::ReadIndex(ticket));
        self.wait(place, What::Read);
        Ok(())
    }

    /// Leases are mostly asked for where the client believes the leader to be.
    fn send_lease_query(&mut self, place: usize) -> Result<(), String> {
        if let Some(old) = self.old_leader() {
            // Clients that know no other leader keep all their leases alive.
            common::all_leases().try_for_each(|id| self.renew_at_once(old, id).map(|_| ()))?;
        }
        let leader = self.leader().filter(|_| self.random.percent(70));
        let place = leader.unwrap_or(place);
        let query = common::lease_query(&mut self.random);
        if let LeaseQuery::Renew { id } = query
            && self.random.percent(60)
            && self.renew_at_once(place, id)?
        {
            return Ok(());
        }
        let ticket = self.next_ticket;
        let Some(member) = &mut self.hosts[place].member else { return Ok(()) };
        self.trace.note(format_args!("{place}: {ticket}: {query:?}"));
        member.send(Input::Lease(query.clone(), ticket));
        self.wait(place, What::Lease(query));
        Ok(())
    }

    /// Renews a lease without asking the node, as any thread of the server may; false if that is not possible.
    fn renew_at_once(&mut self, place: usize, id: i64) -> Result<bool, String> {
        let Some((member, applied)) = self.hosts[place].serving(self.now) else { return Ok(false) };
        let Some(ttl_s) = member.renew_lease(id) else { return Ok(false) };
        self.trace.note(format_args!("{place}: lease {id} is renewed for {ttl_s} s"));
        self.report.reads += 1;
        let floor = self.history.len();
        let (index, is_leader) = (applied.index, self.history.newest_leader() == Some(place));
        let asked = Asked { at: self.now, floor, applied: (index, index), is_leader };
        let (query, answer) = (LeaseQuery::Renew { id }, LeaseAnswer::Renewed(ttl_s));
        self.leases.answered(&query, &answer, asked, &applied.model).map(|()| true)
    }

    pub(super) fn wait(&mut self, place: usize, what: What) {
        let ticket = self.ticket();
        let (at, clock, floor) = (self.now, self.hosts[place].clock, self.history.len());
        self.operations.insert(ticket, Operation { place, what, at, clock, floor });
    }

    /// Reads what the member at `place` holds, without asking anybody; `None` if it cannot be read.
    fn read(&mut self, place: usize) -> Result<Option<()>, String> {
        let host = &self.hosts[place];
        let Some((member, applied)) = host.serving(self.now) else { return Ok(None) };
        let horizon = Horizon::of(&applied.model);
        let read = checks::random_read(&mut self.random, horizon, &member.view, &applied.model);
        if host.disk.has_crashed() {
            return Ok(None);
        }
        let line = read.map_err(|error| format!("member {place}: {error}"))?;
        self.report.reads += 1;
        self.note(format_args!("{place}: {line}"));
        Ok(Some(()))
    }

    /// A linearizable read sees all that was known to be committed when it was asked for.
    fn check_read(&mut self, place: usize, floor: u64) -> Result<(), String> {
        let applied = self.hosts[place].applied.as_ref().map_or(0, |applied| applied.index);
        if applied < floor {
            return Err(format!("a read sees {applied} entries, but {floor} were committed before"));
        }
        self.read(place).map(|_| ())
    }

    fn check_result(&self, place: usize, id: u64, result: &Result<Outcome, Refusal>) -> Result<(), String> {
        let Some((index, executed)) = self.history.executed(id) else {
            return Err(format!("the answer is {result:?}, but no member has applied it"));
        };
        let applied = self.hosts[place].applied.as_ref().map_or(0, |applied| applied.index);
        if index > applied {
            return Err(format!("entry {index} is answered by a member that has applied {applied}"));
        }
        let is_right = match (result, &executed.expected) {
            (Ok(Outcome::Compact { revision: told }), Ok(Outcome::Compact { revision }))
                if waits_for_the_end(executed) =>
            {
                told >= revision
            }
            (result, expected) => result == expected,
        };
        if is_right {
            return Ok(());
        }
        Err(format!("the answer is {result:?}, but etcd's is {:?}", executed.expected))
    }

    fn check_lease(
        &mut self,
        place: usize,
        query: &LeaseQuery,
        answer: &LeaseAnswer,
        operation: &Operation,
        applied_before: u64,
    ) -> Result<(), String> {
        let Some((_, applied)) = self.hosts[place].known() else {
            // A list needs no leader, so it may come before it is known what the member has applied.
            return match query {
                LeaseQuery::List { .. } => Ok(()),
                _ => Err("a member that has not taken its first step answers".into()),
            };
        };
        if matches!(query, LeaseQuery::List { .. }) && applied_before != applied.index {
            // It may have been answered before the state was replaced in the same step.
            return Ok(());
        }
        self.report.reads += 1;
        let (at, floor) = (operation.at, operation.floor);
        let is_leader = self.history.newest_leader() == Some(place);
        let asked = Asked { at, floor, applied: (applied_before, applied.index), is_leader };
        self.leases.answered(query, answer, asked, &applied.model)
    }

    /// Checks that there was a reason not to serve a request.
    fn take_unserved(&mut self, operation: &Operation, why: Unserved) -> Result<(), String> {
        let waited = self.hosts[operation.place].clock.saturating_sub(operation.clock);
        let needs_leader = matches!(operation.what, What::Lease(_) | What::Change(_));
        let is_command = matches!(operation.what, What::Command(_) | What::Change(_));
        let may_be_lost = self.history.elections() > 1 || self.hosts[operation.place].installed > 0;
        match why {
            Unserved::NotLeader if needs_leader => {
                self.report.not_leader += 1;
                return Ok(());
            }
            _ => self.report.unknown += 1,
        }
        match why {
            Unserved::LeaderChanged => Ok(()),
            Unserved::TimedOut | Unserved::TimedOutInElection if waited >= REQUEST_TIMEOUT => Ok(()),
            // What was lost with a leader, or is part of a state taken over, need not wait for its deadline.
            Unserved::TimedOut | Unserved::TimedOutInElection if is_command && may_be_lost => Ok(()),
            why => Err(format!("it is not served after {waited:?}: {why:?}")),
        }
    }
}

/// Whether the member there takes itself for the leader.
pub(super) fn believes_to_lead(host: &Host) -> bool {
    let leader = host.member.as_ref().map(|member| member.published().leader());
    leader == Some(member::ID + host.place as u64)
}

/// Whether the answer to a command comes only when the compaction has ended.
fn waits_for_the_end(executed: &Executed) -> bool {
    let is_physical = matches!(executed.request, Request::Compact(CompactionRequest { physical: true, .. }));
    is_physical && executed.expected.is_ok()
}

/// Whether a member may propose this by itself.
fn is_own(request: &Request) -> bool {
    matches!(request, Request::LeaseRevoke(_)) || member::introduces(store::Kind::from(request))
}
