//! A line a second on standard error, while something lasts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};

/// Time between two lines.
pub(crate) const PERIOD: Duration = Duration::from_secs(1);

/// Runs `work`, telling how many of `total` are `done` meanwhile.
pub(crate) async fn while_running<T>(
    what: &str,
    total: u64,
    done: &AtomicU64,
    work: impl Future<Output = T>,
) -> T {
    let mut ticks = interval_at(Instant::now() + PERIOD, PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    tokio::pin!(work);
    loop {
        tokio::select! {
            biased;
            result = &mut work => return result,
            _ = ticks.tick() => {
                let done = done.load(Ordering::Relaxed).min(total);
                eprintln!("{:4.0} %  {done} of {total} {what}", done as f64 / total as f64 * 100.0);
            }
        }
    }
}
