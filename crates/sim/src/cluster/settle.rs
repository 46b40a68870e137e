//! The end of a run: everything is mended, and the cluster must come to rest.

use std::time::Duration;

use proto::etcdserverpb::AlarmMember;

use super::Cluster;
use super::host::{Host, Standing};
use super::members::place_of;
use crate::checks;
use crate::member::{ID, TICK};
use crate::workload;

/// Longer than most leases live.
const LEASES_END: Duration = Duration::from_secs(60);
/// Time within which a cluster without faults elects a leader and answers everything.
const REST_TIME_MAX: Duration = Duration::from_secs(30);
/// Requests within which a lost member is removed from such a cluster.
const REMOVALS_MAX: usize = 5;
/// Steps within which it does.
const REST_STEPS_MAX: u32 = 200_000;

impl Cluster<'_> {
    /// Mends everything, lets the cluster come to rest, and compares what each member holds.
    pub(super) fn end(&mut self) -> Result<(), String> {
        self.heal()?;
        self.come_to_rest()?;
        self.remove_all_lost()?;
        while let Some(alarm) = self.alarm() {
            let place = self.leader().ok_or("a cluster at rest has no leader")?;
            self.send(place, workload::clear(alarm));
            self.come_to_rest()?;
        }
        self.retire_removed()?;
        self.watches.drain(&self.hosts)?;
        let since = self.now;
        self.pass(LEASES_END);
        self.come_to_rest()?;
        // Whatever follows from it has begun with the next tick at the latest.
        self.pass(2 * TICK);
        self.come_to_rest()?;
        self.leases.none_is_overdue(since, self.now)?;
        self.compare_members()
    }

    /// Has the members removed whose data is lost.
    fn remove_all_lost(&mut self) -> Result<(), String> {
        for _ in 0..REMOVALS_MAX {
            let Some(lost) = self.lost_member() else { return Ok(()) };
            self.remove_lost(lost);
            self.come_to_rest()?;
        }
        Err(format!("a lost member is still there after {REMOVALS_MAX} removals"))
    }

    /// The machines of the members of the cluster.
    fn members(&self) -> impl Iterator<Item = &Host> {
        self.history.membership().ids().map(|id| &self.hosts[place_of(id)])
    }

    /// Ends removed members that have not learned of it.
    fn retire_removed(&mut self) -> Result<(), String> {
        for place in 0..self.hosts.len() {
            let is_removed = self.history.membership().is_removed(ID + place as u64);
            if is_removed && self.hosts[place].member.is_some() {
                self.retire(place)?;
            }
        }
        Ok(())
    }

    fn alarm(&self) -> Option<AlarmMember> {
        self.history.model.alarms().next()
    }

    /// All members hold the same, which is what etcd would hold.
    fn compare_members(&mut self) -> Result<(), String> {
        self.watches.drain(&self.hosts)?;
        let expected = self.history.len();
        for host in self.members() {
            let (member, applied) = host.known().ok_or_else(|| format!("member {} is away", host.place))?;
            if applied.index != expected {
                return Err(format!(
                    "member {} has applied {} of {expected} entries",
                    host.place, applied.index
                ));
            }
            let result = checks::everything(member, &applied.model);
            result
                .and_then(|()| checks::bytes_in_use(member, &applied.model))
                .map_err(|error| format!("member {}: {error}", host.place))?;
        }
        Ok(())
    }

    /// Lets the cluster run until nobody waits, nothing is under way, and all members are equal.
    fn come_to_rest(&mut self) -> Result<(), String> {
        let end = self.now + REST_TIME_MAX;
        for _ in 0..REST_STEPS_MAX {
            self.retire_members()?;
            self.start_members()?;
            if self.step_any()? || self.deliver() || self.end_transfer() {
                continue;
            }
            if self.is_at_rest() {
                return Ok(());
            }
            if self.now > end {
                return Err(format!("the cluster is not at rest after {REST_TIME_MAX:?}: {}", self.unrest()));
            }
            self.pass_to_next_event();
        }
        Err(format!("the cluster is not at rest after {REST_STEPS_MAX} steps: {}", self.unrest()))
    }

    fn pass_to_next_event(&mut self) {
        let arrivals = self.network.next_due().into_iter().chain(self.next_transfer());
        let arrival = arrivals.map(|due| due.saturating_sub(self.now)).min();
        let running = self.hosts.iter().filter(|host| host.member.is_some());
        let tick = running.map(Host::until_tick).min();
        let time = arrival.into_iter().chain(tick).min().unwrap_or(TICK);
        // A clock that is behind by less than it can show must go on too.
        self.pass(time + Duration::from_micros(1));
    }

    fn is_at_rest(&self) -> bool {
        let leader = self.leader().map(|place| place as u64);
        let agrees = |host: &Host| {
            host.known().is_some_and(|(member, applied)| {
                let published = member.published();
                let knows_leader = leader == published.leader().checked_sub(ID);
                knows_leader && applied.index == self.history.len() && published.committed() == applied.index
            })
        };
        let is_silent = self.operations.is_empty() && self.network.next_due().is_none();
        let is_silent = is_silent && self.transfers.is_empty();
        let is_led = leader.is_some_and(|place| self.history.membership().contains(ID + place));
        is_led && is_silent && self.members().filter(|host| host.standing != Standing::Lost).all(agrees)
    }

    fn unrest(&self) -> String {
        let of_host = |host: &Host| match host.known() {
            None => format!("{} is away", host.place),
            Some((member, applied)) => {
                let published = member.published();
                let (term, leader) = (published.term(), published.leader());
                format!("{}: term {term}, leader {leader:x}, {} applied", host.place, applied.index)
            }
        };
        let hosts: Vec<String> = self.hosts.iter().map(of_host).collect();
        format!("{} entries, {}, {:?}", self.history.len(), hosts.join("; "), self.operations)
    }
}
