//! The same random conversations with a real etcd and with the built server: every answer must be equal.
//!
//! `DIFFERENTIAL_PEER` names the other etcd; against releases older than 3.7 what was changed since is left out.
//! Each conversation begins with fresh servers and a seed; a failure prints the requests that led to it.
//! `DIFFERENTIAL_SECONDS` says how long to go on, `DIFFERENTIAL_SEED` which seed to begin with, and
//! `DIFFERENTIAL_SUBJECT` names a binary to compare in place of the built one: the same etcd twice must not differ.
//!
//! Not compared are the identifiers of members and clusters, the order of a lease's keys, and what is left of its
//! time to live.

mod answers;
mod requests;
mod watches;

use std::collections::VecDeque;
use std::env;
use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, Instant};

use fastrand::Rng;
use prost::Message;
use proto::etcdserverpb::{LeaseKeepAliveRequest, StatusRequest, StatusResponse};
use serde_json::Value;

use crate::client::{Client, Stream};
use crate::messages::Messages;
use crate::server::Server;
use crate::transcripts::shorten;
use answers::comparable;
use requests::{Call, Requests};
use watches::Watches;

const SECONDS: u64 = 60;
/// Requests of a conversation.
const REQUESTS: usize = 600;
/// Requests that a failure prints.
const REMEMBERED: usize = 12;
const KEEP_ALIVE: &str = "/etcdserverpb.Lease/LeaseKeepAlive";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "wants another etcd: name its binary in DIFFERENTIAL_PEER"]
async fn answers_as_a_real_etcd() {
    let peer = env::var("DIFFERENTIAL_PEER").expect("DIFFERENTIAL_PEER names an etcd binary");
    let end = Instant::now() + Duration::from_secs(number("DIFFERENTIAL_SECONDS", SECONDS));
    let first = number("DIFFERENTIAL_SEED", 1);
    let messages = Messages::load();
    let mut n_answers = 0;
    for seed in first.. {
        n_answers += converse(&messages, Path::new(&peer), seed).await;
        if Instant::now() >= end {
            println!("{n_answers} answers equal, seeds {first} to {seed}");
            return;
        }
    }
}

fn number<T: FromStr>(variable: &str, default: T) -> T {
    env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Holds one conversation; gives the number of answers.
async fn converse(messages: &Messages, peer: &Path, seed: u64) -> usize {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let etcd = Server::start_other(peer, dirs[0].path());
    let ours = match env::var_os("DIFFERENTIAL_SUBJECT") {
        Some(subject) => Server::start_other(Path::new(&subject), dirs[1].path()),
        None => Server::start(dirs[1].path()),
    };
    let clients = [Client::connect(etcd.address).await, Client::connect(ours.address).await];
    let mut pair = Pair::new(messages, clients, seed).await;
    for _ in 0..REQUESTS {
        if let Err(difference) = pair.step().await {
            let lines: Vec<String> = pair.said.iter().map(|call| messages.line(call)).collect();
            panic!("seed {seed}: {difference}\nafter, oldest first:\n{}", lines.join("\n"));
        }
    }
    if let Err(difference) = pair.conclude().await {
        panic!("seed {seed}, at the end: {difference}");
    }
    pair.n_answers
}

/// Both servers, to which the same is said.
struct Pair<'a> {
    messages: &'a Messages,
    clients: [Client; 2],
    requests: Requests,
    watches: Watches,
    /// Watches of what is to come.
    ahead: Watches,
    renewals: [Stream; 2],
    said: VecDeque<Call>,
    n_answers: usize,
}

impl Pair<'_> {
    async fn new(messages: &Messages, clients: [Client; 2], seed: u64) -> Pair<'_> {
        let status =
            clients[0].unary("/etcdserverpb.Maintenance/Status", &StatusRequest {}.encode_to_vec()).await;
        let version = StatusResponse::decode(status.unwrap()).unwrap().version;
        let is_old = !version.starts_with("3.7");
        let (watches, ahead) = (Watches::open(&clients).await, Watches::open(&clients).await);
        let renewals =
            [clients[0].open(KEEP_ALIVE).await.unwrap(), clients[1].open(KEEP_ALIVE).await.unwrap()];
        let requests = Requests { random: Rng::with_seed(seed), is_old, revision: 1, compacted: -1 };
        Pair { messages, clients, requests, watches, ahead, renewals, said: VecDeque::new(), n_answers: 0 }
    }

    /// Says one thing to both, and tells how the answers differ.
    async fn step(&mut self) -> Result<(), String> {
        self.n_answers += 1;
        match self.requests.random.usize(..100) {
            0..3 => {
                let request = self.requests.watch_ahead();
                self.ahead.create(request).await
            }
            // Old releases answer requests for progress at any time, so it cannot be known when none is behind.
            3..7 if !self.requests.is_old => {
                let request = self.requests.watch();
                self.watches.create(request).await
            }
            7..9 if !self.requests.is_old => {
                self.watches.catch_up().await?;
                let choice = self.requests.random.usize(..100);
                self.watches.cancel(choice).await
            }
            9 => self.ahead.settle().await,
            10..13 => self.renew().await,
            _ => {
                let call = self.requests.call();
                self.call(call).await
            }
        }
    }

    async fn conclude(&mut self) -> Result<(), String> {
        self.ahead.settle().await?;
        self.watches.catch_up().await
    }

    async fn call(&mut self, call: Call) -> Result<(), String> {
        let method = call.method;
        let compacts = method.ends_with("/Compact");
        if compacts {
            // What a watcher has yet to read would be cancelled by one and told by the other.
            self.watches.catch_up().await?;
        }
        let [etcd, ours] = &self.clients;
        let (etcd, ours) = tokio::join!(
            self.messages.ask(etcd, method, &call.request),
            self.messages.ask(ours, method, &call.request)
        );
        let is_old = self.requests.is_old;
        let (etcd, ours) = (comparable(method, etcd, is_old), comparable(method, ours, is_old));
        self.said.push_back(call);
        if self.said.len() > REMEMBERED {
            self.said.pop_front();
        }
        if etcd != ours {
            return Err(format!("{method}\n  etcd: {}\n  ours: {}", shorten(&etcd), shorten(&ours)));
        }
        self.learn(&etcd, compacts);
        Ok(())
    }

    /// Renews a lease, on the stream that is open for it.
    async fn renew(&mut self) -> Result<(), String> {
        let request = LeaseKeepAliveRequest { id: self.requests.lease() }.encode_to_vec();
        let mut answers = Vec::new();
        for stream in &mut self.renewals {
            stream.send(&request, false).unwrap();
            let answer = stream.next().await.unwrap().expect("the stream goes on");
            answers.push(self.messages.answer(KEEP_ALIVE, &answer));
        }
        let equal = answers[0] == answers[1];
        if equal {
            Ok(())
        } else {
            Err(format!("{KEEP_ALIVE}\n  etcd: {}\n  ours: {}", answers[0], answers[1]))
        }
    }

    /// Takes the revisions that later requests are about from an answer.
    fn learn(&mut self, answer: &Value, compacts: bool) {
        let revision = answer["r"].pointer("/header/revision").and_then(Value::as_str);
        if let Some(revision) = revision.map(|text| text.parse().unwrap()) {
            self.requests.revision = revision;
            if compacts {
                let call = self.said.back().expect("it was said just now");
                let request = proto::etcdserverpb::CompactionRequest::decode(&call.request[..]).unwrap();
                self.requests.compacted = request.revision;
            }
        }
    }
}
