//! What only the leader can do: done here if this member leads, and asked of the leader over HTTP otherwise.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::{Api, Error};
use crate::peers::{Question, Reply};

/// Pause before the leader is asked again, as in etcd.
const RETRY_INTERVAL: Duration = Duration::from_millis(50);

impl Api {
    /// Has something done by the leader, within the time that a request may take.
    ///
    /// `here` does it on this member. If that fails with [`Error::NoLeader`], another member leads: it is asked
    /// `question`, and `read` understands its reply. What is not understood, or does not come, is asked again.
    pub(super) async fn by_leader<T>(
        &self,
        here: impl AsyncFn() -> Result<T, Error>,
        question: impl Fn() -> Question,
        read: impl Fn(Reply) -> Option<Result<T, Error>>,
    ) -> Result<T, Error> {
        let deadline = Instant::now() + self.settings.request_timeout;
        loop {
            let leader = self.wait_for_leader(deadline).await?;
            let result = if leader == self.settings.member_id {
                match here().await {
                    Err(Error::NoLeader) => None,
                    result => Some(result),
                }
            } else {
                let limit = deadline.saturating_duration_since(Instant::now());
                self.peers.ask(leader, question(), limit).await.ok().and_then(&read)
            };
            if let Some(result) = result {
                return result;
            }
            if Instant::now() + RETRY_INTERVAL >= deadline {
                sleep_until(deadline).await;
                return Err(Error::TimedOut);
            }
            sleep(RETRY_INTERVAL).await;
        }
    }

    /// The leader, once one is known that is a member.
    async fn wait_for_leader(&self, deadline: Instant) -> Result<u64, Error> {
        let mut has_leader = self.node.has_leader();
        loop {
            let leader = self.published.leader();
            if leader != 0 && self.published.control().member(leader).is_some() {
                return Ok(leader);
            }
            let news = async {
                // What is known of the leader and of the members does not become known together.
                tokio::select! {
                    Ok(()) = has_leader.changed() => {}
                    () = sleep(RETRY_INTERVAL) => {}
                }
            };
            if timeout_at(deadline, news).await.is_err() {
                return Err(Error::NoLeader);
            }
        }
    }
}
