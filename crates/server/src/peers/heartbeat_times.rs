//! Notices that a leader sends its heartbeats late, which means that it is overloaded.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Heartbeat intervals after which a heartbeat is late, as in etcd.
const LATE_INTERVALS: u32 = 2;

/// When the last heartbeat was sent to each member, in the term of now.
#[derive(Debug)]
pub(super) struct HeartbeatTimes {
    limit: Duration,
    term: u64,
    last: BTreeMap<u64, Instant>,
}

impl HeartbeatTimes {
    /// For a leader that sends a heartbeat each `interval`.
    pub(super) fn new(interval: Duration) -> HeartbeatTimes {
        HeartbeatTimes { limit: LATE_INTERVALS * interval, term: 0, last: BTreeMap::new() }
    }

    /// Notes that a heartbeat of `term` is sent to the member `to`. If it is late: by how much.
    pub(super) fn late(&mut self, to: u64, term: u64, now: Instant) -> Option<Duration> {
        if self.term != term {
            self.term = term;
            self.last.clear();
        }
        let before = self.last.insert(to, now)?;
        now.saturating_duration_since(before).checked_sub(self.limit).filter(|delay| !delay.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_is_late_after_two_intervals_of_one_term() {
        let ms = Duration::from_millis;
        let (start, mut times) = (Instant::now(), HeartbeatTimes::new(ms(100)));
        assert_eq!(times.late(2, 5, start), None);
        assert_eq!(times.late(2, 5, start + ms(200)), None);
        assert_eq!(times.late(3, 5, start + ms(900)), None, "it is the first to this member");
        assert_eq!(times.late(2, 5, start + ms(401)), Some(ms(1)));
        assert_eq!(times.late(2, 7, start + ms(9000)), None, "another member led in between");
    }
}
