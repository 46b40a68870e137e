//! What clients may rely on about the time of leases, over all leaders.
//!
//! A renewal that was acknowledged gives a lease its whole time from the moment at which the client asked, even
//! if another member leads since. No member may end the lease before. A renewal must not be acknowledged if the
//! lease had ended before it was asked for: a leader that stood still must not believe that it leads.
//!
//! One gap is known: a leader that has not applied the end of a lease yet, since its disk is slow, renews it even
//! if the others have committed that end. Such renewals are counted.
//!
//! Time is true time. The leader counts by its own clock, which may run fast; the plan bounds by how much.

use std::collections::BTreeMap;
use std::time::Duration;

use node::{LeaseAnswer, LeaseQuery};
use store::{Outcome, Request};

use super::faults::{Fault, SKEW_PPM_MAX};
use super::history::Executed;
use super::host::TRUE_RATE_PPM;
use super::plan::ClusterPlan;
use crate::member::ELECTION_TIMEOUT;
use crate::model::Model;

/// One life of a lease, from the entry that grants it to the entry that ends it.
#[derive(Debug)]
struct Life {
    granted: u64,
    ended: Option<u64>,
    ttl_s: i64,
    /// No member may end it before.
    until: Duration,
}

/// All leases there ever were, by id, in the order of their grants.
#[derive(Debug)]
pub(super) struct Leases {
    lives: BTreeMap<i64, Vec<Life>>,
    /// The fastest that any clock runs.
    rate_ppm_max: u64,
    /// Renewals by a leader that had not applied the end of the lease.
    pub(super) late: u64,
}

/// When a question about leases was asked and answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) at: Duration,
    /// Entries known to be committed then.
    pub(super) floor: u64,
    /// Entries that the member had applied before and after the step in which it answered.
    pub(super) applied: (u64, u64),
    /// Whether it leads the newest term.
    pub(super) is_leader: bool,
}

impl Leases {
    pub(super) fn new(plan: &ClusterPlan) -> Leases {
        let skew_ppm = if plan.faults.contains(Fault::ClockSkew) { SKEW_PPM_MAX } else { 0 };
        Leases { lives: BTreeMap::new(), rate_ppm_max: TRUE_RATE_PPM + skew_ppm, late: 0 }
    }

    /// Takes a committed entry. `sent_at` says when a client sent it; `None` if a member proposed it by itself.
    pub(super) fn committed(
        &mut self,
        index: u64,
        executed: &Executed,
        sent_at: Option<Duration>,
        now: Duration,
    ) -> Result<(), String> {
        match (&executed.request, &executed.expected) {
            (Request::LeaseGrant(grant), Ok(Outcome::LeaseGrant(granted))) => {
                let until = self.true_time(sent_at.unwrap_or(now), granted.ttl_s);
                let life = Life { granted: index, ended: None, ttl_s: granted.ttl_s, until };
                self.lives.entry(grant.id).or_default().push(life);
            }
            (Request::LeaseRevoke(revoke), Ok(_)) => {
                let life = self.lives.get_mut(&revoke.id).and_then(|lives| lives.last_mut());
                let life = life.ok_or_else(|| format!("lease {} ends and was never granted", revoke.id))?;
                life.ended = Some(index);
                if sent_at.is_none() && now < life.until {
                    return Err(format!("lease {} is ended at {now:?}: {life:?}", revoke.id));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Takes the answer of a member whose store is as `model` says.
    pub(super) fn answered(
        &mut self,
        query: &LeaseQuery,
        answer: &LeaseAnswer,
        asked: Asked,
        model: &Model,
    ) -> Result<(), String> {
        let is_right = match (query, answer) {
            (LeaseQuery::Renew { id }, LeaseAnswer::Renewed(0)) => self.may_be_gone(*id, asked),
            (LeaseQuery::Renew { id }, LeaseAnswer::Renewed(ttl_s)) => {
                return self.renewed(*id, *ttl_s, asked);
            }
            (LeaseQuery::State { id }, LeaseAnswer::State(state)) => {
                let longest = |ttl_s| ttl_s + ELECTION_TIMEOUT.as_secs().cast_signed();
                let is_bounded =
                    state.is_none_or(|state| state.remaining_ttl_s <= longest(state.granted_ttl_s));
                is_bounded && state.map(|state| state.granted_ttl_s) == model.lease_ttl_s(*id)
            }
            (LeaseQuery::Keys { id, .. }, LeaseAnswer::Keys(keys)) => {
                model.lease_keys(*id).into_iter().eq(keys.iter().map(|key| &key[..]))
            }
            (LeaseQuery::List { .. }, LeaseAnswer::List(places)) => {
                let mut ids: Vec<i64> = places.iter().map(|place| place.id()).collect();
                ids.sort_unstable();
                model.leases().map(|(id, _)| id).eq(ids)
            }
            _ => false,
        };
        if is_right { Ok(()) } else { Err(format!("{query:?} is answered {answer:?}, {asked:?}")) }
    }

    /// No lease is left whose time has passed long ago: all time to live and `slack` are over since `since`.
    pub(super) fn none_is_overdue(&self, since: Duration, now: Duration) -> Result<(), String> {
        for (id, lives) in &self.lives {
            let Some(life) = lives.last().filter(|life| life.ended.is_none()) else { continue };
            let has_passed =
                now.saturating_sub(since).as_secs() > life.ttl_s.unsigned_abs().saturating_add(10);
            if has_passed && now > life.until {
                return Err(format!("lease {id} is still there at {now:?}: {life:?}"));
            }
        }
        Ok(())
    }

    fn renewed(&mut self, id: i64, ttl_s: i64, asked: Asked) -> Result<(), String> {
        let until = self.true_time(asked.at, ttl_s);
        let applied = asked.applied.1;
        let lives = self.lives.entry(id).or_default();
        let life = lives.iter_mut().rev().find(|life| life.granted <= applied);
        let Some(life) = life.filter(|life| life.ttl_s == ttl_s) else {
            return Err(format!("lease {id} is renewed for {ttl_s} s, and was not granted so: {asked:?}"));
        };
        let has_ended = |by: u64| life.ended.is_some_and(|ended| ended <= by);
        if asked.is_leader && has_ended(asked.floor) && !has_ended(asked.applied.0) {
            self.late += 1;
            return Ok(());
        }
        if has_ended(asked.floor.max(asked.applied.0)) {
            return Err(format!("lease {id} is renewed after its end: {life:?}, {asked:?}"));
        }
        life.until = life.until.max(until);
        Ok(())
    }

    /// Whether the lease may be unknown to a member that answers in this step.
    fn may_be_gone(&self, id: i64, asked: Asked) -> bool {
        let (before, after) = asked.applied;
        let is_alive = |life: &Life| life.granted <= before && life.ended.is_none_or(|ended| ended > after);
        !self.lives.get(&id).is_some_and(|lives| lives.iter().any(is_alive))
    }

    /// The earliest end of a time to live that begins at `start`.
    fn true_time(&self, start: Duration, ttl_s: i64) -> Duration {
        let micros = u128::from(ttl_s.unsigned_abs()) * 1_000_000 * u128::from(TRUE_RATE_PPM);
        let micros = u64::try_from(micros / u128::from(self.rate_ppm_max)).unwrap_or(u64::MAX);
        start.saturating_add(Duration::from_micros(micros))
    }
}
