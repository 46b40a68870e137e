//! A server under abuse, with a client beside it that wants nothing but its turn.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use rustix::process::nice;
use tokio::runtime::Builder;

use super::assert_calm;
use super::bystander::{Bystander, Waits};
use super::memory::Memory;
use crate::client::Client;
use crate::server::Server;

/// The lowest priority: what the abuser computes is not to be mistaken for what its victim does.
const NICE_MAX: i32 = 19;

/// What a bystander may wait for, however busy the machine: an abuse that stops a thread of the server takes
/// longer.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// One kind of abuse from its beginning to its end.
pub(super) struct Trial {
    name: &'static str,
    server: Server,
    bystander: Bystander,
    /// What the bystander waits for while nobody else is there.
    idle: Waits,
    memory: Memory,
}

impl Trial {
    /// Starts a server and its bystander, and runs `abuse` on a thread of the lowest priority.
    pub(super) fn run(name: &'static str, abuse: impl AsyncFnOnce(Trial) + Send) {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(dir.path());
        let bystander = Bystander::begin(server.address);
        let run = move || {
            nice(NICE_MAX).unwrap();
            Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
                let idle = bystander.watch(std::future::ready(())).await.1;
                let memory = Memory::of(&server);
                abuse(Trial { name, server, bystander, idle, memory }).await;
            });
        };
        let outcome = thread::scope(|scope| scope.spawn(run).join());
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// Prepares what the abuse needs: it costs what it may.
    pub(super) async fn prepare(&mut self, preparation: impl AsyncFnOnce(&Client)) {
        preparation(&Client::connect(self.address()).await).await;
        self.memory = Memory::of(&self.server);
    }

    /// Runs the abuse while the bystander goes on, and asserts that it is served all the while. How soon is
    /// printed: it depends on what else the machine has to do.
    pub(super) async fn endure<T>(&self, abuse: impl Future<Output = T>) -> T {
        let (outcome, waits) = self.bystander.watch(abuse).await;
        let [during, idle] = [&waits, &self.idle].map(|waits| (waits.percentile(50), waits.percentile(99)));
        println!("{}: put and get within {during:?} (50 %, 99 %), idle {idle:?}", self.name);
        assert!(waits.longest() <= WAIT_MAX, "{}: {:?}", self.name, waits.longest());
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
