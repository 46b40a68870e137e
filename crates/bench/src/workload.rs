//! The workloads: what is sent, and what counts as an answer.
//!
//! A generator thread calls [`start`] once; the tasks it leaves behind wait for the warm-up, then send until
//! the run stops. A worker whose connection breaks ends, since all that it could add is the same error.

pub(crate) mod bulk;
pub(crate) mod keys;
mod kubernetes;
pub(crate) mod lease;
pub(crate) mod preload;
pub(crate) mod request;
pub(crate) mod unary;
pub(crate) mod watch;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::client::Connection;
use crate::error::Error;
use crate::meter::Meter;
use crate::settings::{Settings, Workload};

/// What all threads of a run share.
pub(crate) struct Shared {
    /// What the run does.
    pub(crate) settings: Settings,
    /// The next key in sequential order.
    next_key: AtomicU64,
    /// The moment that time stamps in watched values count from.
    epoch: Instant,
    /// Events delivered to watchers.
    delivered: AtomicU64,
    /// Puts that may still go ahead of the deliveries.
    puts_ahead: Semaphore,
}

impl Shared {
    /// The state of a run that is about to start.
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            next_key: AtomicU64::new(0),
            epoch: Instant::now(),
            delivered: AtomicU64::new(0),
            puts_ahead: Semaphore::new(settings.puts_ahead),
            settings,
        }
    }
}

/// Connects the share of generator thread `thread` and starts its workers on this runtime.
///
/// Returns once everything is connected and all watchers exist; the workers end after the run has stopped.
pub(crate) async fn start(shared: &Arc<Shared>, thread: usize, meter: &Meter) -> Result<JoinSet<()>, Error> {
    let settings = &shared.settings;
    let mut workers = JoinSet::new();
    for idx in (thread..settings.connections).step_by(settings.threads) {
        let connection = Connection::open(&settings.endpoint).await?;
        let streams = idx * settings.streams..(idx + 1) * settings.streams;
        if settings.workload == Workload::Kubernetes {
            watch::spawn(shared, (idx, settings.connections), &connection, meter, &mut workers).await?;
        }
        for stream in streams {
            match settings.workload {
                Workload::Watch | Workload::WatchPrefixes => {
                    let of_all = (stream, settings.connections * settings.streams);
                    watch::spawn(shared, of_all, &connection, meter, &mut workers).await?;
                }
                Workload::LeaseKeepalive | Workload::LeaseKeepaliveOnce => {
                    lease::spawn(settings.workload, &connection, meter, &mut workers).await?;
                }
                _ => unary::spawn(shared, stream, &connection, meter, &mut workers),
            }
        }
    }
    if matches!(settings.workload, Workload::Watch | Workload::WatchPrefixes) && thread == 0 {
        watch::spawn_writers(shared, meter, &mut workers).await?;
    }
    Ok(workers)
}
