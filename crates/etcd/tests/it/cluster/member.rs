//! One member as a process: started, killed, paused, and started again on its data.
//!
//! It listens on ports that the system chooses anew at each start. Peers reach it through its front, whose address
//! stays.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitStatus;

use rustix::process::{Signal, kill_process};
use serde_json::Value;

use super::proxy::Network;
use crate::server::{Process, Refusal};

const NOWHERE: &str = "http://127.0.0.1:0";
pub(crate) const TOKEN: &str = "of-a-test";

/// How a member without data comes to a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It founds the cluster together with the others.
    New,
    /// The cluster exists and has been told of it.
    Existing,
    /// It founds the cluster with those whom it finds at a discovery service. In place of the list of members stands
    /// the service's endpoint.
    Discovered,
}

/// A member and all its lives.
pub(crate) struct Member {
    /// The value of `--name`.
    pub(crate) name: String,
    /// Its number in the cluster of the test.
    place: usize,
    /// The URL at which its peers reach it.
    pub(crate) peer_url: String,
    /// Directory of its data.
    pub(crate) data_dir: PathBuf,
    /// Flags beside those that every member needs.
    pub(crate) flags: Vec<String>,
    process: Option<Process>,
    /// Where it takes clients, once it is ready.
    address: Option<SocketAddr>,
    /// Its number in the cluster's table, once it has started.
    id: Option<u64>,
    is_paused: bool,
}

impl Member {
    /// A member that has never run.
    pub(crate) fn new(place: usize, front: SocketAddr, data_dir: PathBuf, flags: &[&str]) -> Member {
        Member {
            name: format!("m{place}"),
            place,
            peer_url: format!("http://{front}"),
            data_dir,
            flags: flags.iter().map(|&flag| flag.to_owned()).collect(),
            process: None,
            address: None,
            id: None,
            is_paused: false,
        }
    }

    /// Starts the process, which may have to wait for others before it takes clients.
    pub(crate) fn spawn(&mut self, network: &Network, origin: Origin, initial_cluster: &str) {
        self.launch(network, origin, initial_cluster);
        self.wait_until_identified(network);
    }

    /// Starts the process. It may have to wait for others before it knows who it is.
    pub(crate) fn launch(&mut self, network: &Network, origin: Origin, initial_cluster: &str) {
        let process = Process::spawn(&self.flags(origin, initial_cluster), &[]);
        network.set_process(self.place, process.child.id());
        self.process = Some(process);
        self.is_paused = false;
    }

    /// Waits until the process knows who it is and listens for peers.
    pub(crate) fn wait_until_identified(&mut self, network: &Network) {
        let process = self.process.as_ref().expect("it runs");
        let id = process.log.wait_for("starting local member");
        self.id = Some(u64::from_str_radix(id["local-member-id"].as_str().unwrap(), 16).unwrap());
        network.set_target(self.place, address(&process.log.wait_for("serving peer traffic")));
    }

    /// Starts the process, which is expected to end by itself before it takes clients.
    pub(crate) fn spawn_in_vain(&self, network: &Network, origin: Origin, initial_cluster: &str) -> Refusal {
        let process = Process::spawn(&self.flags(origin, initial_cluster), &[]);
        network.set_process(self.place, process.child.id());
        process.refusal()
    }

    /// Waits until the member takes clients; returns where.
    pub(crate) fn wait_until_ready(&mut self) -> SocketAddr {
        let process = self.process.as_ref().expect("it runs");
        let address = address(&process.log.wait_for("serving client traffic"));
        process.log.wait_for("ready to serve client requests");
        self.address = Some(address);
        address
    }

    /// Where it takes clients, if it runs and is ready.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Its number in the cluster's table.
    pub(crate) fn id(&self) -> u64 {
        self.id.expect("it has started once")
    }

    pub(crate) fn is_running(&self) -> bool {
        self.process.is_some()
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// Waits for a line of its log that contains `text`.
    pub(crate) fn wait_for_log(&self, text: &str) -> Value {
        self.process.as_ref().expect("it runs").log.wait_for(text)
    }

    /// Ends the process at once.
    pub(crate) fn kill(&mut self) {
        self.address = None;
        // It is killed when it is dropped.
        self.process = None;
    }

    /// Lets the process stand still.
    pub(crate) fn pause(&mut self) {
        self.signal(Signal::STOP);
        self.is_paused = true;
    }

    /// Lets it go on.
    pub(crate) fn resume(&mut self) {
        self.signal(Signal::CONT);
        self.is_paused = false;
    }

    /// Asks the process to stop.
    pub(crate) fn terminate(&mut self) {
        self.signal(Signal::TERM);
    }

    /// Waits until the process has ended by itself or by what it was sent; returns all that it still logged.
    pub(crate) fn wait_for_end(&mut self) -> (ExitStatus, String) {
        self.address = None;
        let mut process = self.process.take().expect("it runs");
        let log = process.log.to_the_end();
        (process.child.wait().unwrap(), log)
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.process.as_ref().expect("it runs").pid(), signal).unwrap();
    }

    fn flags(&self, origin: Origin, initial_cluster: &str) -> Vec<String> {
        let origin = match origin {
            Origin::New => ["--initial-cluster", initial_cluster, "--initial-cluster-state", "new"],
            Origin::Existing => ["--initial-cluster", initial_cluster, "--initial-cluster-state", "existing"],
            Origin::Discovered => ["--discovery-endpoints", initial_cluster, "--discovery-token", TOKEN],
        };
        let own = [
            ["--name", &self.name],
            ["--data-dir", self.data_dir.to_str().unwrap()],
            ["--listen-peer-urls", NOWHERE],
            ["--initial-advertise-peer-urls", &self.peer_url],
            ["--listen-client-urls", NOWHERE],
            ["--advertise-client-urls", NOWHERE],
            ["--initial-cluster-token", TOKEN],
        ];
        own.iter()
            .flatten()
            .chain(&origin)
            .map(|&flag| flag.to_owned())
            .chain(self.flags.iter().cloned())
            .collect()
    }
}

/// The address that a line of the log names.
fn address(line: &Value) -> SocketAddr {
    line["address"].as_str().expect("the line names the address").parse().unwrap()
}
