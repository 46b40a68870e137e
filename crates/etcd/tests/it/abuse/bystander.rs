//! A client that wants nothing but its turn: it puts and gets, one after the other, on a thread of its own.

use std::iter;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use proto::etcdserverpb::{PutRequest, RangeRequest};
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::client::Client;
use crate::setting;

/// A put and a get of it, as often as makes a 99th percentile.
const SAMPLES: usize = 200;

/// From one put to the next, unless it has to be waited for.
const INTERVAL: Duration = Duration::from_millis(1);

/// How long a put and a get of it took together, sorted.
pub(super) struct Waits(Vec<Duration>);

/// The thread of the client. It ends with this.
pub(super) struct Bystander {
    rounds: mpsc::Sender<Round>,
}

/// A time over which the client goes on.
struct Round {
    is_over: Arc<AtomicBool>,
    waits: oneshot::Sender<Waits>,
}

impl Bystander {
    /// Connects a client, at the priority of the thread that calls.
    pub(super) fn begin(address: SocketAddr) -> Bystander {
        let (sender, rounds) = mpsc::channel();
        thread::spawn(move || run(address, &rounds));
        Bystander { rounds: sender }
    }

    /// What the client waits for until `work` is done, and until there are enough samples.
    pub(super) async fn watch<T>(&self, work: impl Future<Output = T>) -> (T, Waits) {
        let is_over = Arc::new(AtomicBool::new(false));
        let (sender, waits) = oneshot::channel();
        let round = Round { is_over: Arc::clone(&is_over), waits: sender };
        self.rounds.send(round).expect("the bystander has always been served");
        let outcome = work.await;
        is_over.store(true, Ordering::Relaxed);
        (outcome, waits.await.expect("the bystander is served"))
    }
}

impl Waits {
    pub(super) fn longest(&self) -> Duration {
        self.0.last().copied().unwrap_or_default()
    }

    pub(super) fn percentile(&self, percent: usize) -> Duration {
        self.0[self.0.len() * percent / 100]
    }
}

fn run(address: SocketAddr, rounds: &Receiver<Round>) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let client = runtime.block_on(Client::connect(address));
    for Round { is_over, waits } in rounds {
        let n = setting("ABUSE_SAMPLES", SAMPLES);
        let samples = runtime.block_on(async {
            let mut samples = Vec::new();
            while samples.len() < n || !is_over.load(Ordering::Relaxed) {
                let wait = put_and_get(&client, samples.len()).await;
                // With all that would have come meanwhile: else a long wait hides in one sample.
                samples.extend(iter::successors(Some(wait), |wait| wait.checked_sub(INTERVAL)));
                sleep(INTERVAL.saturating_sub(wait)).await;
            }
            samples.sort_unstable();
            samples
        });
        // The receiver is gone if the abuse has panicked.
        let _ = waits.send(Waits(samples));
    }
}

async fn put_and_get(client: &Client, number: usize) -> Duration {
    let started_at = Instant::now();
    let value = number.to_string();
    let put = PutRequest { key: "bystander".into(), value: value.clone().into(), ..PutRequest::default() };
    client.put(&put).await.unwrap();
    let range = RangeRequest { key: "bystander".into(), ..RangeRequest::default() };
    assert_eq!(client.range(&range).await.unwrap().kvs[0].value, value);
    started_at.elapsed()
}
