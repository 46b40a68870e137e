//! The workloads: what is sent, and what counts as an answer.
//!
//! A generator thread calls [`start`] once; the tasks it leaves behind wait for the warm-up, then send until
//! the run stops. A worker whose connection breaks ends, since all that it could add is the same error.

mod keys;
mod preload;
mod unary;
mod watch;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::client::Connection;
use crate::error::Error;
use crate::meter::Meter;
use crate::settings::{Settings, Workload};

pub(crate) use preload::preload;

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
        for stream in 0..settings.streams {
            let worker = idx * settings.streams + stream;
            match settings.workload {
                Workload::Watch => watch::spawn(shared, worker, &connection, meter, &mut workers).await?,
                _ => unary::spawn(shared, worker, &connection, meter, &mut workers),
            }
        }
    }
    if settings.workload == Workload::Watch && thread == 0 {
        watch::spawn_writer(shared, meter, &mut workers).await?;
    }
    Ok(workers)
}
