//! Compaction that nobody has to ask for: `--auto-compaction-mode` and `--auto-compaction-retention`.
//!
//! When and at which revision follows etcd's rules. Periodic: a revision is noted ten times a period (of at most
//! an hour); once the first is a period old it is compacted, and from then on once a period, or hourly if that
//! is shorter. Revision: every five minutes whatever is further back than the retention. Only the leader compacts.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use proto::etcdserverpb::CompactionRequest;
use store::Refusal;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::api::{Api, Error};
use crate::config::AutoCompaction;

const HOUR: Duration = Duration::from_secs(3600);

/// Times that a revision is noted in a period.
const NOTES: u32 = 10;

/// Time between compactions that count revisions.
const REVISION_INTERVAL: Duration = Duration::from_secs(300);

/// Compacts for as long as the server runs.
pub(crate) async fn run(mode: AutoCompaction, api: Rc<Api>) {
    let mut schedule = Schedule::new(mode, Instant::now());
    loop {
        schedule.note(api.revision());
        sleep(schedule.interval()).await;
        if !api.is_leader() {
            continue;
        }
        if let Some(revision) = schedule.due(api.revision(), Instant::now())
            && compact(&api, mode, revision, schedule.interval()).await
        {
            schedule.done(revision, Instant::now());
        }
    }
}

/// True if everything up to `revision` is compacted then.
async fn compact(api: &Api, mode: AutoCompaction, revision: i64, retry: Duration) -> bool {
    let started_at = Instant::now();
    log_start(mode, revision);
    match api.compact(CompactionRequest { revision, physical: false }).await {
        Ok(_) | Err(Error::Refused(Refusal::Compacted)) => {
            log_end(mode, revision, started_at.elapsed());
            true
        }
        Err(error) => {
            let error = error.text();
            match mode {
                AutoCompaction::Periodic(_) => {
                    warn!(revision, "retry-interval" = ?retry, %error, "failed auto periodic compaction");
                }
                AutoCompaction::Revision(_) => {
                    warn!(revision, "retry-interval" = ?retry, %error, "failed auto revision compaction");
                }
            }
            false
        }
    }
}

fn log_start(mode: AutoCompaction, revision: i64) {
    match mode {
        AutoCompaction::Periodic(period) => {
            info!(revision, "compact-period" = ?period, "starting auto periodic compaction");
        }
        AutoCompaction::Revision(retention) => {
            info!(revision, "revision-compaction-retention" = retention, "starting auto revision compaction");
        }
    }
}

fn log_end(mode: AutoCompaction, revision: i64, took: Duration) {
    match mode {
        AutoCompaction::Periodic(period) => {
            info!(revision, "compact-period" = ?period, took = ?took, "completed auto periodic compaction");
        }
        AutoCompaction::Revision(retention) => info!(
            revision,
            "revision-compaction-retention" = retention,
            took = ?took,
            "completed auto revision compaction"
        ),
    }
}

/// When to compact what.
#[derive(Debug)]
struct Schedule {
    mode: AutoCompaction,
    /// Revisions noted within the period, the oldest first.
    noted: VecDeque<i64>,
    last_revision: i64,
    last_success: Instant,
    has_succeeded: bool,
}

impl Schedule {
    fn new(mode: AutoCompaction, now: Instant) -> Schedule {
        let noted = VecDeque::new();
        Schedule { mode, noted, last_revision: 0, last_success: now, has_succeeded: false }
    }

    /// Time between two looks at whether something is due, and before a failure is repeated.
    fn interval(&self) -> Duration {
        match self.mode {
            AutoCompaction::Periodic(period) => period.min(HOUR) / NOTES,
            AutoCompaction::Revision(_) => REVISION_INTERVAL,
        }
    }

    /// Notes the revision of this moment.
    fn note(&mut self, revision: i64) {
        if let AutoCompaction::Periodic(period) = self.mode {
            let n_max = (period.as_nanos() / self.interval().as_nanos().max(1)) as usize + 1;
            self.noted.push_back(revision);
            while self.noted.len() > n_max {
                self.noted.pop_front();
            }
        }
    }

    /// The revision to compact now, if any.
    fn due(&self, revision: i64, now: Instant) -> Option<i64> {
        let due = match self.mode {
            AutoCompaction::Periodic(period) => {
                let wait = if self.has_succeeded { period.min(HOUR) } else { period };
                let is_time = now.duration_since(self.last_success) >= wait;
                self.noted.front().copied().filter(|_| is_time)
            }
            AutoCompaction::Revision(retention) => Some(revision - retention).filter(|&due| due > 0),
        };
        due.filter(|&due| due != self.last_revision)
    }

    fn done(&mut self, revision: i64, now: Instant) {
        (self.last_revision, self.last_success, self.has_succeeded) = (revision, now, true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is compacted at which second while the revision grows by one a second, from 1.
    fn compactions(mode: AutoCompaction, seconds: u64) -> Vec<(u64, i64)> {
        let start = Instant::now();
        let mut schedule = Schedule::new(mode, start);
        let interval = schedule.interval().as_secs();
        let mut compacted = Vec::new();
        for second in (0..seconds).step_by(interval as usize) {
            schedule.note(second as i64 + 1);
            let (then, now) = (second + interval, start + Duration::from_secs(second + interval));
            if let Some(revision) = schedule.due(then as i64 + 1, now) {
                schedule.done(revision, now);
                compacted.push((then, revision));
            }
        }
        compacted
    }

    #[test]
    fn a_period_is_kept_and_compacted_once_a_period() {
        let mode = AutoCompaction::Periodic(Duration::from_secs(100));
        assert_eq!(compactions(mode, 300), [(100, 1), (200, 91), (300, 191)]);
    }

    #[test]
    fn long_periods_are_compacted_hourly() {
        let mode = AutoCompaction::Periodic(Duration::from_secs(10 * 3600));
        let times: Vec<u64> = compactions(mode, 13 * 3600).into_iter().map(|(at, _)| at / 3600).collect();
        assert_eq!(times, [10, 11, 12, 13]);
    }

    #[test]
    fn revisions_behind_the_retention_go_every_five_minutes() {
        let mode = AutoCompaction::Revision(500);
        assert_eq!(compactions(mode, 1200), [(600, 101), (900, 401), (1200, 701)]);
    }

    #[test]
    fn what_is_compacted_already_is_not_due() {
        let now = Instant::now();
        let mut schedule = Schedule::new(AutoCompaction::Revision(10), now);
        assert_eq!(schedule.due(15, now), Some(5));
        schedule.done(5, now);
        assert_eq!(schedule.due(15, now), None);
        assert_eq!(schedule.due(9, now), None);
    }
}
