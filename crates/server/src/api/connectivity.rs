//! To which members this one is connected, and since when: what changes of the members and late answers depend on.

use std::time::{Duration, Instant};

use super::{Api, Error};

/// How long a member must have been connected to count as healthy when the members are changed, as in etcd.
const HEALTHY_AFTER: Duration = Duration::from_secs(5);

impl Api {
    /// Refuses to add a member unless enough voters are connected that there will be a majority even while the new
    /// member is not started. A lone voter may always add one.
    pub(super) fn check_connected_for_addition(&self) -> Result<(), Error> {
        let voters = self.voters();
        check(voters.len() == 1 || suffices_for_one_more(self.healthy(&voters), voters.len()))
    }

    /// Refuses to remove the voter `id` if it is connected and the others that are connected are too few. To remove
    /// one that is not connected makes nothing worse.
    pub(super) fn check_connected_for_removal(&self, id: u64) -> Result<(), Error> {
        let voters = self.voters();
        let is_down = id != self.settings.member_id && self.peers.active_since(id).is_none();
        check(is_down || suffices_without_one(self.healthy(&voters), voters.len()))
    }

    /// Why a request that has waited since `asked_at` is not answered: a leader without its majority, or a member
    /// without its leader, says that it lost its connection.
    pub(super) fn why_late(&self, asked_at: Instant) -> Error {
        let is_connected = match self.published.leader() {
            0 => true,
            leader if leader == self.settings.member_id => {
                let members: Vec<u64> = self.published.control().members().map(|member| member.id).collect();
                self.connected_since(&members, asked_at) > members.len() / 2
            }
            leader => self.is_connected_since(leader, asked_at),
        };
        if is_connected { Error::TimedOut } else { Error::TimedOutUnconnected }
    }

    fn voters(&self) -> Vec<u64> {
        let control = self.published.control();
        control.members().filter(|member| !member.is_learner).map(|member| member.id).collect()
    }

    /// How many of `members` have been connected for long, this one included.
    fn healthy(&self, members: &[u64]) -> usize {
        let now = Instant::now();
        // A clock that began less than 5 s ago cannot say that anything is older.
        now.checked_sub(HEALTHY_AFTER).map_or(0, |since| self.connected_since(members, since))
    }

    fn connected_since(&self, members: &[u64], since: Instant) -> usize {
        members.iter().filter(|id| self.is_connected_since(**id, since)).count()
    }

    fn is_connected_since(&self, id: u64, since: Instant) -> bool {
        id == self.settings.member_id || self.peers.active_since(id).is_some_and(|active| active < since)
    }
}

/// Whether the `connected` of so many voters are a majority when there is one voter more.
fn suffices_for_one_more(connected: usize, voters: usize) -> bool {
    connected > voters.div_ceil(2)
}

/// Whether the `connected` of so many voters suffice if one of them goes.
fn suffices_without_one(connected: usize, voters: usize) -> bool {
    connected.saturating_sub(1) > voters.saturating_sub(1) / 2
}

fn check(is_safe: bool) -> Result<(), Error> {
    if is_safe { Ok(()) } else { Err(Error::Unhealthy) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_majority_of_the_others_must_be_connected_when_a_voter_goes() {
        // Voters, and how many of them must be connected, the one that goes among them.
        for (voters, least) in [(2, 2), (3, 3), (4, 3), (5, 4), (7, 5)] {
            assert!(suffices_without_one(least, voters), "{voters}");
            assert!(!suffices_without_one(least - 1, voters), "{voters}");
        }
        assert!(!suffices_without_one(0, 1));
    }

    #[test]
    fn a_majority_must_be_connected_while_a_new_voter_is_not_started() {
        for (voters, least) in [(2, 2), (3, 3), (4, 3), (5, 4), (7, 5)] {
            assert!(suffices_for_one_more(least, voters), "{voters}");
            assert!(!suffices_for_one_more(least - 1, voters), "{voters}");
        }
    }
}
