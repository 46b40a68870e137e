//! One connection to each endpoint, and whose turn it is.
//!
//! A task an endpoint connects, says so, and connects again when a call found the connection broken. Calls take
//! the connections that stand in turn, and wait while there is none: the first member that answers is enough.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::error::is_broken;

/// Time between attempts to connect to one endpoint: doubled after each, up to the longer.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// The connections of a client. Dropping it closes them.
#[derive(Debug)]
pub(crate) struct Pool {
    standing: watch::Receiver<Vec<Option<Connection>>>,
    turn: AtomicUsize,
    _tasks: JoinSet<()>,
}

/// A connection that stood when it was taken.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    pub(crate) channel: Channel,
    broken: Arc<Notify>,
}

impl Connection {
    /// Looks at how a call has failed. If the connection is to blame, nobody gets it any more until it is made anew.
    pub(crate) fn judge(&self, status: &Status) {
        if is_broken(status) {
            self.broken.notify_one();
        }
    }
}

impl Pool {
    /// Starts to connect to all `endpoints`; needs a runtime.
    pub(crate) fn new(endpoints: Vec<Endpoint>) -> Self {
        let (standing, receiver) = watch::channel(vec![None; endpoints.len()]);
        let mut tasks = JoinSet::new();
        for (index, endpoint) in endpoints.into_iter().enumerate() {
            tasks.spawn(keep_connected(index, endpoint, standing.clone()));
        }
        Pool { standing: receiver, turn: AtomicUsize::new(0), _tasks: tasks }
    }

    /// The number of endpoints.
    pub(crate) fn len(&self) -> usize {
        self.standing.borrow().len()
    }

    /// The next connection in turn, as soon as there is one.
    pub(crate) async fn connection(&self) -> Connection {
        let mut standing = self.standing.clone();
        let any = |all: &Vec<Option<Connection>>| all.iter().any(Option::is_some);
        let all = standing.wait_for(any).await.expect("the tasks that send live as long as the pool");
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let mut in_turn = (0..all.len()).filter_map(|step| all[(turn + step) % all.len()].as_ref());
        in_turn.next().expect("it was waited for").clone()
    }
}

async fn keep_connected(index: usize, endpoint: Endpoint, standing: watch::Sender<Vec<Option<Connection>>>) {
    let mut pause = PAUSE_MIN;
    loop {
        if let Ok(channel) = endpoint.connect().await {
            pause = PAUSE_MIN;
            let broken = Arc::new(Notify::new());
            let connection = Connection { channel, broken: Arc::clone(&broken) };
            standing.send_modify(|all| all[index] = Some(connection));
            broken.notified().await;
            standing.send_modify(|all| all[index] = None);
        }
        sleep(pause).await;
        pause = PAUSE_MAX.min(pause * 2);
    }
}
