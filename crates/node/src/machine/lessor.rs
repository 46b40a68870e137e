//! The leader's part in leases: it counts their time, renews them, and has expired ones revoked.
//!
//! The table of leases is replicated and holds no deadlines. The clock is local to this member and is empty
//! while another member leads. A new leader gives every lease its whole time again and an election timeout
//! more, since it cannot know what was promised last: a lease may live longer than granted, never shorter.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use proto::etcdserverpb::{LeaseCheckpoint, LeaseCheckpointRequest};
use store::{LeaseTable, LeaseTerm, Request};

use super::lease_clock::{LeaseClock, Place, Renewal, Timed, seconds};
use super::lease_renewer::{Leading, LeaseRenewer};

/// Revocations of expired leases under way at a time. Applying this many, with a key each, takes some 6 ms,
/// during which everything else waits. The time until a million leases are revoked hardly depends on this
/// number.
const REVOKES_MAX: usize = 1000;
/// Leases or keys in one answer: so many are listed in some 100 µs.
const PAGE_LEN_MAX: usize = 1000;

/// The deadline in the places of a member that does not lead.
const UNTIMED: Duration = Duration::ZERO;

/// What a client asks of leases without changing what is replicated.
#[derive(Debug, Clone)]
pub enum LeaseQuery {
    /// Give a lease its whole time again. Answered with [`LeaseAnswer::Renewed`].
    Renew {
        /// Its id.
        id: i64,
    },
    /// How much time a lease has left. Answered with [`LeaseAnswer::State`].
    State {
        /// Its id.
        id: i64,
    },
    /// The keys of a lease, or those after the last one listed. Answered with [`LeaseAnswer::Keys`].
    Keys {
        /// Its id.
        id: i64,
        /// The last key listed before.
        after: Option<Arc<[u8]>>,
    },
    /// All leases, or those after the last one listed. Answered with [`LeaseAnswer::List`], also by a member that does
    /// not lead.
    List {
        /// The last one listed before.
        after: Option<LeasePlace>,
    },
}

/// A lease's place in a list: its deadline and its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeasePlace(Place);

impl LeasePlace {
    /// The id of the lease.
    pub fn id(self) -> i64 {
        self.0.1
    }
}

/// The answer to a [`LeaseQuery`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseAnswer {
    /// The seconds the lease was granted for, which it has from now on; 0 if there is no such lease any more.
    Renewed(i64),
    /// What is known of the lease; `None` if there is no such lease.
    State(Option<LeaseState>),
    /// Some keys of the lease in key order; none once all have been listed.
    Keys(Vec<Arc<[u8]>>),
    /// Some leases, those first that run out first, or in any order if this member does not lead; none once all have
    /// been listed. A lease that is renewed between two pages may be in both.
    List(Vec<LeasePlace>),
}

/// The current state of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseState {
    /// Seconds it was granted for.
    pub granted_ttl_s: i64,
    /// Whole seconds it has left.
    pub remaining_ttl_s: i64,
}

/// How a query is answered.
#[derive(Debug)]
pub(crate) enum Queried {
    /// It can be answered now.
    Answered(LeaseAnswer),
    /// The answer is known once a command about the lease is applied.
    Waits {
        /// Which lease.
        id: i64,
        /// What must be proposed for that, unless it is under way already.
        proposal: Option<Request>,
    },
    /// This member does not lead.
    NotLeader,
    /// It must be proven that this member leads.
    Unproven(LeaseQuery),
}

/// The leases of a member as its leader sees them.
#[derive(Debug)]
pub(crate) struct Lessor {
    /// Its clock runs while this member leads.
    renewer: LeaseRenewer,
    /// How many revocations of a lease are under way, this member's own and its clients'.
    revokes: BTreeMap<i64, usize>,
    election_timeout: Duration,
}

impl Lessor {
    pub(crate) fn new(election_timeout: Duration) -> Lessor {
        Lessor { renewer: LeaseRenewer::default(), revokes: BTreeMap::new(), election_timeout }
    }

    /// Begins to count the time of all leases. That this member leads is yet to be proven: [`Lessor::prove`].
    pub(crate) fn lead(&mut self, now: Duration, table: &LeaseTable) {
        let start = now + self.election_timeout;
        let clock = LeaseClock::new(table.iter().map(|(id, term)| (id, timed(term, start))));
        *self.renewer.leading() = Some(Leading { clock, valid_until: Duration::ZERO });
    }

    /// At `led_at` this member certainly led.
    pub(crate) fn prove(&mut self, led_at: Duration) {
        if let Some(leading) = self.renewer.leading().as_mut() {
            leading.valid_until = leading.valid_until.max(led_at + self.election_timeout);
        }
    }

    /// Renews leases from other threads.
    pub(crate) fn renewer(&self) -> LeaseRenewer {
        self.renewer.clone()
    }

    /// Another member may lead from now on.
    pub(crate) fn step_down(&mut self) {
        if disk::seeded_bug!("leases-kept-by-old-leader") {
            return;
        }
        *self.renewer.leading() = None;
        self.revokes.clear();
    }

    /// Answers a query if it can be answered now.
    pub(crate) fn query(&mut self, query: LeaseQuery, now: Duration, table: &LeaseTable) -> Queried {
        let mut leading = self.renewer.leading();
        let Some(Leading { clock, valid_until }) = leading.as_mut() else {
            return match query {
                LeaseQuery::List { after } => {
                    Queried::Answered(LeaseAnswer::List(untimed_page(table, after)))
                }
                _ => Queried::NotLeader,
            };
        };
        if now >= *valid_until && !disk::seeded_bug!("renewed-without-proof") {
            return Queried::Unproven(query);
        }
        Queried::Answered(match query {
            LeaseQuery::Renew { id } => match clock.renew(id, now) {
                Renewal::Renewed(ttl_s) => LeaseAnswer::Renewed(ttl_s),
                Renewal::Unknown => LeaseAnswer::Renewed(0),
                // It is about to be revoked: the answer waits for that.
                Renewal::RunOut => return Queried::Waits { id, proposal: None },
                // What was written down must be undone first, or the next leader would end it early.
                Renewal::Bound => {
                    let checkpoints = vec![LeaseCheckpoint { id, remaining_ttl: 0 }];
                    let request = Request::LeaseCheckpoint(LeaseCheckpointRequest { checkpoints });
                    return Queried::Waits { id, proposal: Some(request) };
                }
            },
            LeaseQuery::State { id } => LeaseAnswer::State(state(clock, table, id, now)),
            LeaseQuery::Keys { id, after } => {
                LeaseAnswer::Keys(table.keys(id, after.as_deref(), PAGE_LEN_MAX))
            }
            LeaseQuery::List { after } => {
                let page = clock.page(after.map(|place| place.0), PAGE_LEN_MAX);
                LeaseAnswer::List(page.into_iter().map(LeasePlace).collect())
            }
        })
    }

    /// A lease was granted.
    pub(crate) fn granted(&mut self, id: i64, ttl_s: i64, now: Duration) {
        if let Some(leading) = self.renewer.leading().as_mut() {
            leading.clock.grant(id, ttl_s, now);
        }
    }

    /// A lease was removed. True if it had expired.
    pub(crate) fn revoked(&mut self, id: i64) -> bool {
        self.renewer.leading().as_mut().is_some_and(|leading| leading.clock.remove(id))
    }

    /// The revocation of a lease is proposed, on this member's account or on a client's.
    pub(crate) fn revoking(&mut self, id: i64) {
        *self.revokes.entry(id).or_default() += 1;
    }

    /// The revocation of a lease is under way no more: it was applied, whether the lease is gone or an alarm forbade
    /// it, or it was lost.
    pub(crate) fn revoke_ended(&mut self, id: i64) {
        if let Entry::Occupied(mut revokes) = self.revokes.entry(id) {
            *revokes.get_mut() -= 1;
            if *revokes.get() == 0 {
                revokes.remove();
            }
        }
    }

    /// The remaining time of a lease was written down.
    pub(crate) fn checkpointed(&mut self, id: i64, table: &LeaseTable) {
        if let Some(leading) = self.renewer.leading().as_mut() {
            leading.clock.set_renewable(id, table.term(id).and_then(renewable_s));
        }
    }

    /// Leases to be revoked, as far as more revocations may be under way. A lease that is being revoked
    /// already is left out: after that revocation the raft log may hold a grant of the same id, which must
    /// not be revoked at once.
    pub(crate) fn expired(&mut self, now: Duration) -> Vec<i64> {
        let mut leading = self.renewer.leading();
        let Some(Leading { clock, .. }) = leading.as_mut() else { return Vec::new() };
        let now = now + seconds(i64::from(disk::seeded_bug!("lease-expires-early")));
        let mut expired = clock.hand_out(now, REVOKES_MAX.saturating_sub(clock.n_handed()));
        expired.retain(|id| !self.revokes.contains_key(id));
        expired
    }

    /// Expired leases that are not being revoked are to be revoked again.
    pub(crate) fn take_back(&mut self) {
        if let Some(leading) = self.renewer.leading().as_mut() {
            leading.clock.take_back();
        }
    }

    /// Revocations of these leases are lost. Those that were proposed before are still under way.
    pub(crate) fn revokes_lost(&mut self, ids: &[i64]) {
        ids.iter().for_each(|id| self.revoke_ended(*id));
        self.take_back();
    }
}

fn state(clock: &LeaseClock, table: &LeaseTable, id: i64, now: Duration) -> Option<LeaseState> {
    let (deadline, term) = (clock.deadline(id)?, table.term(id)?);
    let remaining_ttl_s = deadline.saturating_sub(now).as_secs().cast_signed();
    Some(LeaseState { granted_ttl_s: term.granted_ttl_s, remaining_ttl_s })
}

/// A page of the leases of a member that does not know when they run out. A list that was begun while it led begins
/// again.
fn untimed_page(table: &LeaseTable, after: Option<LeasePlace>) -> Vec<LeasePlace> {
    let after = after.filter(|place| place.0.0 == UNTIMED).map(LeasePlace::id);
    table.page(after, PAGE_LEN_MAX).into_iter().map(|id| LeasePlace((UNTIMED, id))).collect()
}

/// A lease whose time begins at `start`.
fn timed(term: LeaseTerm, start: Duration) -> Timed {
    let ttl_s = if term.remaining_ttl_s == 0 { term.granted_ttl_s } else { term.remaining_ttl_s };
    let ttl_s = if disk::seeded_bug!("lease-not-extended-by-new-leader") { 0 } else { ttl_s };
    Timed { deadline: start + seconds(ttl_s), renewable_s: renewable_s(term) }
}

/// What a renewal gives to a lease for which no shorter time is written down.
fn renewable_s(term: LeaseTerm) -> Option<i64> {
    (term.remaining_ttl_s == 0).then_some(term.granted_ttl_s)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HAS_RUN_OUT: Timed = Timed { deadline: Duration::ZERO, renewable_s: None };

    fn leading(clock: LeaseClock) -> Leading {
        Leading { clock, valid_until: Duration::MAX }
    }

    #[test]
    fn no_more_revocations_are_under_way_than_allowed() {
        let mut lessor = Lessor::new(Duration::ZERO);
        let leases = (1..=REVOKES_MAX as i64 + 1).map(|id| (id, HAS_RUN_OUT));
        *lessor.renewer.leading() = Some(leading(LeaseClock::new(leases)));
        let under_way = lessor.expired(Duration::ZERO);
        under_way.iter().for_each(|id| lessor.revoking(*id));
        assert_eq!(under_way.len(), REVOKES_MAX);
        assert!(lessor.expired(Duration::ZERO).is_empty());
        assert!(lessor.revoked(under_way[5]), "it had run out");
        assert_eq!(lessor.expired(Duration::ZERO), [REVOKES_MAX as i64 + 1]);
    }

    #[test]
    fn revocations_that_were_lost_are_made_again() {
        let mut lessor = Lessor::new(Duration::ZERO);
        let leases = [(1, HAS_RUN_OUT), (2, HAS_RUN_OUT)];
        *lessor.renewer.leading() = Some(leading(LeaseClock::new(leases)));
        [1, 2, 2].iter().for_each(|id| lessor.revoking(*id));
        assert!(lessor.expired(Duration::ZERO).is_empty());
        lessor.revokes_lost(&[1, 2]);
        assert_eq!(lessor.expired(Duration::ZERO), [1], "one revocation of the other is under way");
        lessor.revokes_lost(&[2]);
        assert_eq!(lessor.expired(Duration::ZERO), [1, 2]);
    }
}
