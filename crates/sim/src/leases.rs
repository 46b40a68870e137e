//! What clients may rely on about the time of leases, and what they ask of it.
//!
//! The model knows which leases exist; this module knows their deadlines. Within one life of the member a
//! deadline is exact, since everything happens at one moment of the simulated clock. A lease must exist until
//! its deadline, and its revocation must be under way from then on. A restart gives each lease its whole time
//! again and an election timeout more.

use std::collections::BTreeMap;
use std::time::Duration;

use node::{LeaseAnswer, LeaseQuery};

use crate::member::{ELECTION_TIMEOUT, Ticket};
use crate::model::Model;
use crate::random::Random;
use crate::workload;

/// The leases of one life of the member.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    deadlines: BTreeMap<i64, Duration>,
    /// What was asked and is not answered.
    asked: BTreeMap<Ticket, LeaseQuery>,
}

impl Leases {
    /// The member begins to lead now, with the leases of the model.
    pub(crate) fn restart(now: Duration, model: &Model) -> Leases {
        let deadline = |(id, ttl_s)| (id, now + ELECTION_TIMEOUT + seconds(ttl_s));
        Leases { deadlines: model.leases().map(deadline).collect(), asked: BTreeMap::new() }
    }

    /// A grant was applied.
    pub(crate) fn granted(&mut self, id: i64, ttl_s: i64, now: Duration) {
        self.deadlines.insert(id, now + seconds(ttl_s));
    }

    /// The member ends a lease by itself.
    pub(crate) fn ending(&self, id: i64, now: Duration, model: &Model) -> Result<(), String> {
        if self.lives(id, now, model) {
            let deadline = self.deadlines.get(&id);
            return Err(format!("lease {id} is ended at {now:?}, but runs until {deadline:?}"));
        }
        Ok(())
    }

    /// No lease is left whose time has passed.
    pub(crate) fn none_is_overdue(&self, now: Duration, model: &Model) -> Result<(), String> {
        match model.leases().find(|(id, _)| self.has_passed(*id, now)) {
            Some((id, _)) => {
                Err(format!("lease {id} is still there at {now:?}: {:?}", self.deadlines.get(&id)))
            }
            None => Ok(()),
        }
    }

    /// Something to ask.
    pub(crate) fn ask(&mut self, random: &mut Random, ticket: Ticket) -> LeaseQuery {
        let query = workload::lease_query(random);
        self.asked.insert(ticket, query.clone());
        query
    }

    /// Forgets a question to which no answer will come.
    pub(crate) fn given_up(&mut self, ticket: Ticket) {
        self.asked.remove(&ticket);
    }

    /// An answer, with the model as the member saw its store.
    pub(crate) fn answered(
        &mut self,
        ticket: Ticket,
        answer: &LeaseAnswer,
        now: Duration,
        model: &Model,
    ) -> Result<(), String> {
        let query = self.asked.remove(&ticket).ok_or_else(|| format!("{ticket} is no question"))?;
        let is_right = match (&query, answer) {
            (LeaseQuery::Renew { id }, LeaseAnswer::Renewed(0)) => !self.lives(*id, now, model),
            (LeaseQuery::Renew { id }, LeaseAnswer::Renewed(ttl_s)) => {
                let lives = self.lives(*id, now, model);
                self.granted(*id, *ttl_s, now);
                lives && model.lease_ttl_s(*id) == Some(*ttl_s)
            }
            (LeaseQuery::State { id }, LeaseAnswer::State(state)) => {
                let left =
                    self.deadlines.get(id).map_or(0, |d| d.saturating_sub(now).as_secs().cast_signed());
                let expected = model.lease_ttl_s(*id).map(|granted| (granted, left));
                state.map(|state| (state.granted_ttl_s, state.remaining_ttl_s)) == expected
            }
            (LeaseQuery::Keys { id, .. }, LeaseAnswer::Keys(keys)) => {
                model.lease_keys(*id).into_iter().eq(keys.iter().map(|key| &key[..]))
            }
            (LeaseQuery::List { .. }, LeaseAnswer::List(places)) => {
                let mut ids: Vec<i64> = model.leases().map(|(id, _)| id).collect();
                ids.sort_by_key(|id| (self.deadlines.get(id), *id));
                ids.into_iter().eq(places.iter().map(|place| place.id()))
            }
            _ => false,
        };
        if is_right { Ok(()) } else { Err(format!("{query:?} is answered {answer:?} at {now:?}: {self:?}")) }
    }

    fn lives(&self, id: i64, now: Duration, model: &Model) -> bool {
        model.lease_ttl_s(id).is_some() && !self.has_passed(id, now)
    }

    fn has_passed(&self, id: i64, now: Duration) -> bool {
        self.deadlines.get(&id).is_some_and(|deadline| *deadline <= now)
    }
}

fn seconds(ttl_s: i64) -> Duration {
    Duration::from_secs(ttl_s.unsigned_abs())
}
