//! Checks of commands: they are written to the WAL in the order in which they were sent, applied in that
//! order, and answered as the model answers.
//!
//! A command is answered in the step that applies it, with two exceptions. A physical compaction is answered
//! once it has finished. A write over the quota is answered once the alarm about it is raised.

use std::time::Duration;

use proto::etcdserverpb::AlarmType;
use proto::etcdserverpb::alarm_request::AlarmAction;
use proto::raftpb::Entry;
use store::{Command, Kind, Outcome, Refusal, Request};

use super::{InFlight, Run};
use crate::member::{self, ID, REQUEST_TIMEOUT, Ticket};
use crate::model::takes_space;
use crate::plan::Fault;

/// A command that is applied and not answered yet.
#[derive(Debug)]
pub(super) struct Applied {
    request: Request,
    expected: Result<Outcome, Refusal>,
}

impl Run<'_> {
    /// Notes what was written to the WAL. A command that no client sent comes from the member itself, which
    /// ends leases and raises an alarm. Commands by which it makes itself known to the cluster are left out.
    pub(super) fn take_logged(&mut self, logged: &[Entry]) {
        for Command { id, request } in logged.iter().filter_map(member::command) {
            if member::introduces(Kind::from(&request)) {
                continue;
            }
            if let Some(command) = self.in_flight.iter_mut().find(|command| command.id == id) {
                command.is_logged = true;
            } else {
                self.note(format_args!("the member's own: {request:?}"));
                let last = self.in_flight.iter().rposition(|command| command.is_logged);
                let own = InFlight { ticket: None, is_late: false, id, request, len: 0, is_logged: true };
                self.in_flight.insert(last.map_or(0, |last| last + 1), own);
            }
        }
    }

    /// Applies as many commands as the member has.
    pub(super) fn apply(&mut self, n: usize) -> Result<(), String> {
        self.is_own_alarm_applied = false;
        for _ in 0..n {
            let Some(command) = self.in_flight.pop_front().filter(|command| command.is_logged) else {
                return Err(format!("{n} commands are applied, more than were logged"));
            };
            if command.ticket.is_none() {
                self.check_own(&command.request)?;
            }
            let expected = self.model.apply(&command.request);
            if let (Request::LeaseGrant(grant), Ok(Outcome::LeaseGrant(granted))) =
                (&command.request, &expected)
            {
                self.leases.granted(grant.id, granted.ttl_s, self.now);
            }
            if let Some(ticket) = command.ticket
                && !command.is_late
            {
                self.unanswered.insert(ticket, Applied { request: command.request, expected });
            }
        }
        Ok(())
    }

    /// What a member may propose by itself.
    fn check_own(&mut self, request: &Request) -> Result<(), String> {
        match request {
            Request::LeaseRevoke(revoke) => self.leases.ending(revoke.id, self.now, &self.model),
            Request::Alarm(alarm)
                if self.plan.quota_bytes.is_some()
                    && (alarm.action(), alarm.alarm(), alarm.member_id)
                        == (AlarmAction::Activate, AlarmType::Nospace, ID) =>
            {
                self.is_own_alarm_applied = true;
                Ok(())
            }
            other => Err(format!("the member proposes {other:?}")),
        }
    }

    pub(super) fn answered(
        &mut self,
        ticket: Ticket,
        result: &Result<Outcome, Refusal>,
    ) -> Result<(), String> {
        let Some(Applied { request, expected }) = self.unanswered.remove(&ticket) else {
            return self.refused(ticket, result);
        };
        self.report.answered += 1;
        self.has_had_space |= matches!(result, Ok(Outcome::Put(_)));
        let is_over_quota = self.is_own_alarm_applied && takes_space(&request) && expected.is_ok();
        self.report.alarmed += u64::from(matches!(result, Err(Refusal::NoSpace | Refusal::Corrupt)));
        let is_right = match (&request, result, &expected) {
            (_, Err(Refusal::NoSpace), _) if is_over_quota => true,
            (
                Request::Compact(compact),
                Ok(Outcome::Compact { revision: told }),
                Ok(Outcome::Compact { revision }),
            ) if compact.physical => told >= revision,
            _ => *result == expected,
        };
        if is_right {
            return Ok(());
        }
        Err(format!("{ticket} is answered {result:?}, but etcd would answer {expected:?}"))
    }

    /// Checks that a request timed out no sooner than its deadline. A command that is not in the WAL by then
    /// never will be.
    pub(super) fn timed_out(&mut self, ticket: Ticket, sent_at: Option<Duration>) -> Result<(), String> {
        let waited = sent_at.map(|sent_at| self.now - sent_at);
        if waited.is_none_or(|waited| waited < REQUEST_TIMEOUT) {
            return Err(format!("{ticket} is timed out after {waited:?}"));
        }
        self.report.timed_out += 1;
        self.leases.given_up(ticket);
        self.unanswered.remove(&ticket);
        self.in_flight.retain(|command| command.is_logged || command.ticket != Some(ticket));
        if let Some(command) = self.in_flight.iter_mut().find(|command| command.ticket == Some(ticket)) {
            command.is_late = true;
        }
        Ok(())
    }

    /// Checks that only a full disk refuses commands. When a file is late, commands wait for it.
    fn refused(&mut self, ticket: Ticket, result: &Result<Outcome, Refusal>) -> Result<(), String> {
        let at = self.in_flight.iter().position(|c| c.ticket == Some(ticket) && !c.is_logged);
        let Some(at) = at.filter(|_| *result == Err(Refusal::NoSpace)) else {
            return Err(format!("{ticket} is answered {result:?} twice, or before it was applied"));
        };
        self.report.refused += 1;
        self.in_flight.remove(at);
        if self.plan.fault != Fault::FullDisk {
            return Err(format!("{ticket} is refused for want of space, of which there is enough"));
        }
        Ok(())
    }

    /// Checks that every command that is applied and not answered has a reason to wait.
    pub(super) fn nobody_is_forgotten(&self) -> Result<(), String> {
        let is_alarm_due =
            self.in_flight.iter().any(|c| c.ticket.is_none() && matches!(c.request, Request::Alarm(_)));
        let waits = |applied: &Applied| match &applied.request {
            Request::Compact(compact) => compact.physical && applied.expected.is_ok(),
            request => is_alarm_due && takes_space(request) && applied.expected.is_ok(),
        };
        match self.unanswered.iter().find(|(_, applied)| !waits(applied)) {
            Some((ticket, applied)) => Err(format!("{ticket} is applied and not answered: {applied:?}")),
            None => Ok(()),
        }
    }
}
