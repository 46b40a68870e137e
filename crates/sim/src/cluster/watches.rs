//! Clients that watch, each on one member at a time.
//!
//! When its member dies, or when it likes, a client goes to another member and resumes from the last revision that
//! it has seen. [`crate::watchers`] checks the events.

use super::host::Host;
use crate::random::Random;
use crate::watchers::Client;

/// Clients that watch.
const CLIENTS: usize = 4;
/// In how many cases of a hundred a client leaves a member that serves it.
const LEAVE_PERCENT: u64 = 2;

/// All clients that watch.
#[derive(Debug)]
pub(super) struct WatchClients {
    clients: Vec<(Client, Option<usize>)>,
    /// Events delivered so far.
    pub(super) events: u64,
}

impl WatchClients {
    pub(super) fn new() -> WatchClients {
        WatchClients { clients: (0..CLIENTS).map(|_| (Client::default(), None)).collect(), events: 0 }
    }

    /// The member at `place` has died.
    pub(super) fn disconnect(&mut self, place: usize) {
        for (client, at) in self.clients.iter_mut().filter(|(_, at)| *at == Some(place)) {
            client.disconnect();
            *at = None;
        }
    }

    /// A client does something: it goes to a member, begins or ends a watch, or reads from its stream.
    pub(super) fn turn(
        &mut self,
        random: &mut Random,
        hosts: &[Host],
        now: std::time::Duration,
    ) -> Result<String, String> {
        let number = random.index(self.clients.len());
        let (client, at) = &mut self.clients[number];
        if random.percent(LEAVE_PERCENT) {
            client.disconnect();
            *at = None;
        }
        let host = &hosts[at.unwrap_or_else(|| random.index(hosts.len()))];
        let Some((member, applied)) = host.serving(now) else { return Ok("watch: no member".into()) };
        let result = if at.is_none() {
            *at = Some(host.place);
            client.resume(member).map(|()| (format!("watch: client {number} comes"), 0))
        } else {
            client.turn(random, member, &applied.model)
        };
        if host.disk.has_crashed() {
            return Ok("watch: power is lost".into());
        }
        let (line, events) = result.map_err(|error| format!("client {number}: {error}"))?;
        self.events += events;
        Ok(format!("{}: {line}", host.place))
    }

    /// Every client reads on a member until its stream is silent.
    pub(super) fn drain(&mut self, hosts: &[Host]) -> Result<(), String> {
        let running: Vec<&Host> = hosts.iter().filter(|host| host.known().is_some()).collect();
        for (number, (client, at)) in self.clients.iter_mut().enumerate() {
            let host = at.map_or_else(|| running[number % running.len()], |at| &hosts[at]);
            let Some((member, applied)) = host.known() else { continue };
            if at.is_none() {
                client.resume(member)?;
                *at = Some(host.place);
            }
            let events = client.drain(&applied.model);
            self.events += events.map_err(|error| format!("client {number}: {error}"))?;
        }
        Ok(())
    }
}

impl super::Cluster<'_> {
    /// A client that watches does something.
    pub(super) fn watch(&mut self) -> Result<(), String> {
        let line = self.watches.turn(&mut self.random, &self.hosts, self.now)?;
        self.trace.note(format_args!("{line}"));
        Ok(())
    }
}
