//! Many calls of one method, as fast as the server takes them: how preloads and leases are written.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use prost::Message;
use tokio::task::JoinSet;

use crate::client::Connection;
use crate::error::Error;
use crate::progress;
use crate::settings::Settings;

/// Connections that the calls are spread over.
const CONNECTIONS: usize = 4;

/// Calls of one method.
pub(crate) struct Bulk {
    /// What the progress line counts.
    pub(crate) what: &'static str,
    /// The method.
    pub(crate) path: &'static str,
    /// How many calls there are.
    pub(crate) count: u64,
    /// Calls in flight on each connection.
    pub(crate) in_flight: usize,
}

impl Bulk {
    /// Sends `message(0)`, `message(1)` and so on, and gives each answer to `answered` with its number. Answers
    /// come in any order. The first failure ends it.
    pub(crate) async fn run<M: Message + 'static>(
        self,
        settings: &Settings,
        message: impl Fn(u64) -> M + Send + Sync + 'static,
        answered: impl Fn(u64, Bytes) -> Result<(), Error> + Send + Sync + 'static,
    ) -> Result<(), Error> {
        let (next, calls) = (Arc::new(AtomicU64::new(0)), Arc::new((message, answered)));
        let mut callers = JoinSet::new();
        for _ in 0..CONNECTIONS {
            let connection = Connection::open(&settings.endpoint).await?;
            for _ in 0..self.in_flight {
                let (connection, next, calls) = (connection.clone(), next.clone(), calls.clone());
                let head = connection.head(self.path);
                callers.spawn(async move {
                    let (message, answered) = &*calls;
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= self.count {
                            return Ok(());
                        }
                        answered(number, connection.unary(head, &message(number)).await?)?;
                    }
                });
            }
        }
        progress::while_running(self.what, self.count, &next, all(callers)).await
    }
}

/// The first failure of `tasks`, or success once all have ended.
pub(crate) async fn all(mut tasks: JoinSet<Result<(), Error>>) -> Result<(), Error> {
    while let Some(joined) = tasks.join_next().await {
        joined.expect("a caller neither panics nor is cancelled")?;
    }
    Ok(())
}
