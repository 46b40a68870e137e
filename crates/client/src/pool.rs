//! One connection to each endpoint, used in turn.
//!
//! For each endpoint a task connects, publishes the connection, and connects again when a call has found the connection
//! broken. Calls use the established connections in turn, and wait while there is none.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::error::is_broken;

/// Time between attempts to connect to one endpoint: doubled after each, from the minimum to the maximum.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// The connections of a client. Dropping it closes them.
#[derive(Debug)]
pub(crate) struct Pool {
    established: watch::Receiver<Vec<Option<Connection>>>,
    next: AtomicUsize,
    _tasks: JoinSet<()>,
}

/// A connection that was established; it may have broken since.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    pub(crate) channel: Channel,
    broken: Arc<Notify>,
}

impl Connection {
    /// Notes that a call on this connection has failed. If the connection is broken, it is replaced.
    pub(crate) fn note_failure(&self, status: &Status) {
        if is_broken(status) {
            self.broken.notify_one();
        }
    }
}

impl Pool {
    /// Starts to connect to all `endpoints`; needs a runtime.
    pub(crate) fn new(endpoints: Vec<Endpoint>) -> Self {
        let (established, receiver) = watch::channel(vec![None; endpoints.len()]);
        let mut tasks = JoinSet::new();
        for (index, endpoint) in endpoints.into_iter().enumerate() {
            tasks.spawn(keep_connected(index, endpoint, established.clone()));
        }
        Pool { established: receiver, next: AtomicUsize::new(0), _tasks: tasks }
    }

    /// The number of endpoints.
    pub(crate) fn len(&self) -> usize {
        self.established.borrow().len()
    }

    /// Waits until there is a connection to each endpoint.
    #[cfg(test)]
    pub(crate) async fn wait_for_all(&self) {
        let mut established = self.established.clone();
        let all = |all: &Vec<Option<Connection>>| all.iter().all(Option::is_some);
        established.wait_for(all).await.expect("the sending tasks live as long as the pool");
    }

    /// The next connection in turn; waits while there is none.
    pub(crate) async fn connection(&self) -> Connection {
        let mut established = self.established.clone();
        let any = |all: &Vec<Option<Connection>>| all.iter().any(Option::is_some);
        let all = established.wait_for(any).await.expect("the sending tasks live as long as the pool");
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let mut in_turn = (0..all.len()).filter_map(|step| all[(first + step) % all.len()].as_ref());
        in_turn.next().expect("it was waited for").clone()
    }
}

async fn keep_connected(
    index: usize,
    endpoint: Endpoint,
    established: watch::Sender<Vec<Option<Connection>>>,
) {
    let mut pause = PAUSE_MIN;
    loop {
        if let Ok(channel) = endpoint.connect().await {
            pause = PAUSE_MIN;
            let broken = Arc::new(Notify::new());
            let connection = Connection { channel, broken: Arc::clone(&broken) };
            established.send_modify(|all| all[index] = Some(connection));
            broken.notified().await;
            established.send_modify(|all| all[index] = None);
        }
        sleep(pause).await;
        pause = PAUSE_MAX.min(pause * 2);
    }
}
