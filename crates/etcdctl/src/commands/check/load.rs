//! Puts keys by many clients at once, at a steady rate or as fast as they are taken.
//!
//! Each client has one put under way. Before the next it waits for its turn, so no more puts are under way than
//! there are clients, and nothing queues up behind a slow cluster.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::summary::Summary;

/// Turns that were missed within this time are made up for. Timers are a millisecond late or more, so without this
/// a rate of thousands a second could not be held.
const CATCH_UP: Duration = Duration::from_millis(10);

/// A client, as the load sees it.
pub(super) trait Puts: Send + 'static {
    /// Puts one key; an error is a text.
    fn put(&self) -> impl Future<Output = Result<(), String>> + Send;
}

/// Says when the next put may begin.
pub(super) trait Turns: Send + 'static {
    /// Waits until a put may begin; false when there is to be no other.
    fn next(&mut self) -> impl Future<Output = bool> + Send;
}

/// Lets all `clients` put keys until there are no more turns, and waits for the last put. `done` counts the puts
/// that have ended.
pub(super) async fn run<C: Puts>(clients: Vec<C>, turns: impl Turns, done: Arc<AtomicU64>) -> Summary {
    let start = Instant::now();
    let turns = Arc::new(Mutex::new(turns));
    let mut tasks = JoinSet::new();
    for client in clients {
        let (turns, done) = (Arc::clone(&turns), Arc::clone(&done));
        tasks.spawn(async move {
            let mut summary = Summary::default();
            while turns.lock().await.next().await {
                let start = Instant::now();
                let result = client.put().await;
                summary.count(start.elapsed(), result);
                done.fetch_add(1, Ordering::Relaxed);
            }
            summary
        });
    }
    let mut summary = Summary::default();
    while let Some(part) = tasks.join_next().await {
        summary.merge(part.expect("a client does not panic"));
    }
    summary.total = start.elapsed();
    summary
}

/// Turns at a steady rate, until a time has passed or somebody stops them.
pub(super) struct Steady {
    interval: Duration,
    due: Instant,
    end: Instant,
    stopped: watch::Receiver<bool>,
}

impl Steady {
    /// So many turns a second, for so long.
    pub(super) fn new(per_second: u32, duration: Duration, stopped: watch::Receiver<bool>) -> Self {
        let start = Instant::now();
        Steady { interval: Duration::from_secs(1) / per_second, due: start, end: start + duration, stopped }
    }
}

impl Turns for Steady {
    async fn next(&mut self) -> bool {
        let now = Instant::now();
        if let Some(earliest) = now.checked_sub(CATCH_UP) {
            self.due = self.due.max(earliest);
        }
        if self.due.max(now) >= self.end {
            return false;
        }
        tokio::select! {
            // A load that is stopped takes no turn that is due.
            biased;
            // Without a sender nobody stops the turns before their end.
            Ok(_) = self.stopped.wait_for(|is_stopped| *is_stopped) => return false,
            () = sleep_until(self.due) => {}
        }
        self.due += self.interval;
        true
    }
}

/// So many turns, at any rate.
pub(super) struct Countdown(pub(super) u64);

impl Turns for Countdown {
    async fn next(&mut self) -> bool {
        let is_left = self.0 > 0;
        self.0 = self.0.saturating_sub(1);
        is_left
    }
}

/// Random keys below a prefix. A clone shares the sequence.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    prefix: Bytes,
    /// Bytes after the prefix.
    tail_len: usize,
    random: RandomState,
    n_made: Arc<AtomicU64>,
}

impl Keys {
    pub(super) fn new(prefix: &str, tail_len: usize) -> Self {
        let prefix = Bytes::copy_from_slice(prefix.as_bytes());
        Keys { prefix, tail_len, random: RandomState::new(), n_made: Arc::default() }
    }

    /// A key whose tail begins with eight random bytes. The rest is zeros.
    pub(super) fn random(&self) -> Bytes {
        let number = self.random.hash_one(self.n_made.fetch_add(1, Ordering::Relaxed));
        let mut key = self.prefix.to_vec();
        key.extend_from_slice(&number.to_be_bytes());
        key.resize(self.prefix.len() + self.tail_len, 0);
        key.into()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tokio::time::sleep;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    /// A client that takes as long as the test says, and knows how many are at it.
    struct FakeClient {
        takes: Duration,
        under_way: Arc<AtomicU64>,
        most: Arc<AtomicU64>,
    }

    impl Puts for FakeClient {
        async fn put(&self) -> Result<(), String> {
            let under_way = self.under_way.fetch_add(1, Ordering::Relaxed) + 1;
            self.most.fetch_max(under_way, Ordering::Relaxed);
            sleep(self.takes).await;
            self.under_way.fetch_sub(1, Ordering::Relaxed);
            Ok(())
        }
    }

    fn clients(n: usize, takes: Duration) -> (Vec<FakeClient>, Arc<AtomicU64>) {
        let (under_way, most) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let client = |_| FakeClient { takes, under_way: Arc::clone(&under_way), most: Arc::clone(&most) };
        ((0..n).map(client).collect(), most)
    }

    /// Runs `test` in a simulated time, which goes on when all tasks wait.
    fn in_simulated_time(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread();
        { runtime }.enable_time().start_paused(true).build().unwrap().block_on(test);
    }

    #[test]
    fn a_steady_load_has_its_rate_and_its_length() {
        in_simulated_time(async {
            let (_sender, stopped) = watch::channel(false);
            let (clients, most) = clients(50, Duration::from_millis(5));
            let done = Arc::<AtomicU64>::default();
            let summary = run(clients, Steady::new(150, MINUTE, stopped), Arc::clone(&done)).await;
            // One at each end of the minute, since the time between two is rounded down.
            assert_eq!((summary.n_puts, done.load(Ordering::Relaxed)), (9001, 9001));
            assert!(summary.total >= MINUTE && summary.total <= MINUTE + Duration::from_millis(10));
            assert!(most.load(Ordering::Relaxed) < 50, "a fast cluster does not need all clients");
        });
    }

    #[test]
    fn a_high_rate_is_held_by_timers_of_a_millisecond() {
        in_simulated_time(async {
            let (_sender, stopped) = watch::channel(false);
            let (clients, _) = clients(1000, Duration::from_millis(5));
            let second = Duration::from_secs(1);
            let summary = run(clients, Steady::new(15_000, second, stopped), Arc::default()).await;
            assert!(summary.n_puts > 14_900 && summary.n_puts <= 15_001, "{}", summary.n_puts);
        });
    }

    #[test]
    fn a_slow_cluster_is_not_loaded_by_more_than_the_clients() {
        in_simulated_time(async {
            let (_sender, stopped) = watch::channel(false);
            let (clients, most) = clients(5, Duration::from_secs(1));
            let summary = run(clients, Steady::new(150, MINUTE, stopped), Arc::default()).await;
            assert_eq!((summary.n_puts, most.load(Ordering::Relaxed)), (5 * 60, 5));
        });
    }

    #[test]
    fn a_load_that_is_stopped_ends_with_the_puts_under_way() {
        in_simulated_time(async {
            let (sender, stopped) = watch::channel(false);
            let (clients, _) = clients(1, Duration::from_secs(2));
            let stop = async {
                sleep(Duration::from_secs(3)).await;
                sender.send(true).unwrap();
            };
            let load = run(clients, Steady::new(150, MINUTE, stopped), Arc::default());
            let (summary, ()) = tokio::join!(load, stop);
            assert_eq!((summary.n_puts, summary.total), (2, Duration::from_secs(4)));
        });
    }

    #[test]
    fn a_countdown_gives_each_turn_once() {
        in_simulated_time(async {
            let (clients, most) = clients(50, Duration::from_millis(1));
            let summary = run(clients, Countdown(10_000), Arc::default()).await;
            assert_eq!((summary.n_puts, most.load(Ordering::Relaxed)), (10_000, 50));
        });
    }

    #[test]
    fn keys_have_their_length_and_differ() {
        let keys = Keys::new("p/", 256);
        let made: BTreeSet<Bytes> = (0..1000).map(|_| keys.random()).collect();
        assert_eq!(made.len(), 1000);
        assert!(made.iter().all(|key| key.len() == 2 + 256 && key.starts_with(b"p/")));
    }
}
