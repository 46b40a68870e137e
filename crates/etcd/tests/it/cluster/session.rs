//! One client's connection to one member after another.

use std::net::SocketAddr;
use std::time::Duration;

use fastrand::Rng;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::client::{Client, Failure};

/// How long a client waits for an answer before it asks somebody else. What it asked stays in doubt.
const CALL_LIMIT: Duration = Duration::from_millis(1500);
/// How many calls, in the mean, a client makes at one member.
const CALLS_AT_A_MEMBER: usize = 20;

/// A client that goes from member to member.
pub(super) struct Session {
    endpoints: watch::Receiver<Vec<SocketAddr>>,
    pub(super) random: Rng,
    connection: Option<Client>,
}

impl Session {
    /// A client of the members at `endpoints`, as they change.
    pub(super) fn new(endpoints: watch::Receiver<Vec<SocketAddr>>, seed: u64) -> Session {
        Session { endpoints, random: Rng::with_seed(seed), connection: None }
    }

    /// Calls a member. A failure sends the client to another one.
    pub(super) async fn call<T>(
        &mut self,
        call: impl AsyncFnOnce(&Client) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let called = async {
            let client = self.connection().await?;
            call(&client).await
        };
        let result = timeout(CALL_LIMIT, called).await.unwrap_or(Err(Failure::Lost));
        if result.is_err() || self.random.usize(..CALLS_AT_A_MEMBER) == 0 {
            self.leave();
        }
        result
    }

    /// Goes to another member at the next call.
    pub(super) fn leave(&mut self) {
        self.connection = None;
    }

    /// The connection to the present member.
    pub(super) async fn connection(&mut self) -> Result<Client, Failure> {
        if let Some(client) = &self.connection {
            return Ok(client.clone());
        }
        let endpoints = self.endpoints.wait_for(|endpoints| !endpoints.is_empty()).await;
        let address = self.random.choice(endpoints.map_err(|_| Failure::Lost)?.iter().copied());
        let client = Client::connect_if_up(address.expect("there is one")).await?;
        Ok(self.connection.insert(client).clone())
    }
}
