//! A server under abuse, with a client beside it that wants nothing but its turn.

use std::cell::Cell;
use std::future::Future;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use proto::etcdserverpb::{PutRequest, RangeRequest};
use tempfile::TempDir;

use super::assert_calm;
use super::memory::Memory;
use crate::client::Client;
use crate::server::Server;

/// A put and a get of it, as often as makes a 99th percentile.
const SAMPLES_MIN: usize = 200;

/// One kind of abuse from its beginning to its end.
pub(super) struct Trial {
    name: &'static str,
    server: Server,
    bystander: Client,
    /// What the bystander waits for while nobody else is there.
    idle: Duration,
    memory: Memory,
    _dir: TempDir,
}

impl Trial {
    /// A new server, and its bystander.
    pub(super) async fn begin(name: &'static str) -> Trial {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(dir.path());
        let bystander = Client::connect(server.address).await;
        let idle = wait_for_both(std::future::ready(()), &bystander).await.1;
        let memory = Memory::of(&server);
        Trial { name, server, bystander, idle, memory, _dir: dir }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// Prepares what the abuse needs: it costs what it may.
    pub(super) async fn prepare(&mut self, preparation: impl AsyncFnOnce(&Client)) {
        preparation(&self.bystander).await;
        self.memory = Memory::of(&self.server);
    }

    /// Runs the abuse while the bystander goes on, and asserts that it is served all the while.
    pub(super) async fn endure<T>(&self, abuse: impl Future<Output = T>) -> T {
        let (outcome, during) = wait_for_both(abuse, &self.bystander).await;
        println!("{}: put and get within {during:?} (99 %), idle {:?}", self.name, self.idle);
        outcome
    }

    /// What the server holds more than before the abuse, in bytes.
    pub(super) fn growth(&self) -> usize {
        self.memory.growth()
    }

    /// Asserts that the server never held more than `mib` MiB more than before, and logged nothing alarming.
    pub(super) fn end(self, mib: usize) {
        println!("{}: memory: {}", self.name, self.memory);
        assert!(self.memory.growth_mib() <= mib, "{}: no more than {mib} MiB: {}", self.name, self.memory);
        assert_calm(&self.server.kill());
    }
}

/// Waits for `work` while `client` puts and gets, and for enough samples; returns their 99th percentile.
async fn wait_for_both<T>(work: impl Future<Output = T>, client: &Client) -> (T, Duration) {
    let is_done = Cell::new(false);
    let work = async {
        let outcome = work.await;
        is_done.set(true);
        outcome
    };
    let bystander = async {
        let mut samples = Vec::new();
        while !is_done.get() || samples.len() < SAMPLES_MIN {
            samples.push(put_and_get(client, samples.len()).await);
        }
        samples
    };
    let (outcome, mut samples) = tokio::join!(work, bystander);
    samples.sort_unstable();
    (outcome, samples[samples.len() * 99 / 100])
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
