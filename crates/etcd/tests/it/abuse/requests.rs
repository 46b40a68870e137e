//! Random requests to every method: each is answered, none breaks anything.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use prost::Message;
use prost_reflect::DynamicMessage;
use proto::etcdserverpb::{
    AlarmRequest, AlarmResponse, HashKvRequest, HashKvResponse, RangeRequest, StatusRequest,
};
use tokio::task::JoinSet;

use super::assert_calm;
use super::generator::{Call, Generator};
use super::memory::Memory;
use super::model::Model;
use crate::client::{Client, Failure, Stream};
use crate::messages::Messages;
use crate::server::Server;
use crate::setting;

const SEED: u64 = 20_210_615;
const CONNECTIONS: usize = 4;
/// Who call one after the other over the same connection.
const CALLERS: usize = 8;
/// Streams that a caller leaves open, unread.
const STREAMS_MAX: usize = 8;
/// Calls of one caller between two looks at the alarms.
const ALARM_CALLS: usize = 30;
/// The server's memory grows by no more, in MiB.
const GROWTH_MAX: usize = 1024;
/// What stands for a code when there is none.
const DISCONNECTED: u32 = 99;
/// Calls that the server need not answer at once, such as those that wait for a lock, end by themselves.
const DEADLINE: [(&str, &[u8]); 1] = [("grpc-timeout", b"20S")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_crashes_or_corrupts_the_server() {
    let n_requests = setting("ABUSE_REQUESTS", 8000);
    let seed = setting("ABUSE_SEED", SEED as usize) as u64;
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let memory = Memory::of(&server);
    let client = Client::connect(server.address).await;
    let model = Arc::new(Model::new());
    let follower = tokio::spawn({
        let (model, client) = (Arc::clone(&model), Client::connect(server.address).await);
        async move { model.follow(&client).await }
    });

    let started_at = Instant::now();
    let tally = call_all(&server, n_requests, seed, &model).await;
    println!("{n_requests} requests in {:?}, seed {seed}; by code: {tally:?}", started_at.elapsed());
    println!("memory: {memory}");
    assert!(memory.growth_mib() < GROWTH_MAX, "memory: {memory}");

    clear_alarms(&client).await;
    let head = client.range(&RangeRequest { key: "k".into(), ..RangeRequest::default() }).await.unwrap();
    model.wait_for(head.header.unwrap().revision).await;
    model.verify(&client).await;
    let revision = model.revision();
    let hash = hash(&client, revision).await;
    assert_calm(&server.kill());
    follower.await.unwrap();

    let server = Server::start(dir.path());
    let client = Client::connect(server.address).await;
    assert_eq!(self::hash(&client, revision).await, hash, "a restart finds the same store");
    assert_calm(&server.kill());
}

/// Makes the calls and counts the codes of the answers.
async fn call_all(server: &Server, n: usize, seed: u64, model: &Arc<Model>) -> BTreeMap<u32, usize> {
    let messages = Messages::load();
    let mut callers = JoinSet::new();
    for connection in 0..CONNECTIONS {
        let client = Client::connect(server.address).await;
        for caller in 0..CALLERS {
            let seed = seed + (connection * CALLERS + caller) as u64;
            let caller = Caller {
                address: server.address,
                client: client.clone(),
                stream_client: Client::connect(server.address).await,
                generator: Generator::new(&messages, seed),
                streams: VecDeque::new(),
                tally: BTreeMap::new(),
            };
            callers.spawn(caller.run(n / (CONNECTIONS * CALLERS), Arc::clone(model)));
        }
    }
    let mut sum = BTreeMap::new();
    for (code, count) in callers.join_all().await.into_iter().flatten() {
        *sum.entry(code).or_default() += count;
    }
    sum
}

struct Caller {
    address: SocketAddr,
    /// For unary calls. The server has no reason to end its connection.
    client: Client,
    /// For streams. Whoever resets as many as these is disconnected now and then.
    stream_client: Client,
    generator: Generator,
    /// Oldest first; to be dropped unread.
    streams: VecDeque<Stream>,
    /// Answers by code.
    tally: BTreeMap<u32, usize>,
}

impl Caller {
    async fn run(mut self, n: usize, model: Arc<Model>) -> BTreeMap<u32, usize> {
        for number in 0..n {
            let call = self.generator.call(model.revision());
            let code = if call.is_stream { self.stream(&call).await } else { self.unary(&call).await };
            *self.tally.entry(code).or_default() += 1;
            if number % ALARM_CALLS == 0 {
                clear_alarms(&self.client).await;
            }
        }
        self.tally
    }

    async fn unary(&self, call: &Call) -> u32 {
        let mut stream = self.client.open_with(&call.path, &DEADLINE).await.unwrap();
        // Fails if the server has refused the call by its name.
        let _ = stream.send(&call.requests[0], true);
        let answer = stream.next().await;
        if answer.is_ok() {
            assert_eq!(stream.next().await, Ok(None), "{} answers once", call.path);
        }
        code(call, answer)
    }

    /// Begins a stream, waits for its answer until another call has been answered, and keeps it for a while.
    async fn stream(&mut self, call: &Call) -> u32 {
        let Ok(mut stream) = self.stream_client.open_with(&call.path, &DEADLINE).await else {
            return self.come_again().await;
        };
        for request in &call.requests {
            // Refused already, if that fails.
            let _ = stream.send(request, false);
        }
        if call.is_half_closed {
            let _ = stream.end();
        }
        let status = StatusRequest::default().encode_to_vec();
        let answer = tokio::select! {
            answer = stream.receive() => answer,
            other = self.stream_client.unary("/etcdserverpb.Maintenance/Status", &status) => other.map(|_| None),
        };
        if answer == Err(Failure::Lost) {
            return self.come_again().await;
        }
        if self.streams.len() == STREAMS_MAX {
            self.streams.remove(self.generator.below(STREAMS_MAX));
        }
        self.streams.push_back(stream);
        code(call, answer)
    }

    async fn come_again(&mut self) -> u32 {
        self.streams.clear();
        self.stream_client = Client::connect(self.address).await;
        DISCONNECTED
    }
}

/// The code of an answer that makes sense.
fn code(call: &Call, answer: Result<Option<bytes::Bytes>, Failure>) -> u32 {
    match answer {
        Ok(None) => 0,
        Ok(Some(bytes)) => {
            let decoded = DynamicMessage::decode(call.answer.clone(), bytes);
            assert!(decoded.is_ok(), "{} answers in its own words", call.path);
            0
        }
        Err(Failure::Refused(code @ 1..=16, text)) if !text.is_empty() => code,
        Err(failure) => panic!("{} of {:02x?} came to {failure:?}", call.path, call.requests),
    }
}

/// Clears what random requests have raised, so that those after them are taken.
async fn clear_alarms(client: &Client) {
    const PATH: &str = "/etcdserverpb.Maintenance/Alarm";
    let raised: AlarmResponse = client.call(PATH, &AlarmRequest::default()).await.unwrap();
    for alarm in raised.alarms {
        let clear = AlarmRequest { action: 2, member_id: alarm.member_id, alarm: alarm.alarm };
        // An alarm of no kind that exists cannot be cleared.
        let _ = client.unary(PATH, &clear.encode_to_vec()).await;
    }
}

async fn hash(client: &Client, revision: i64) -> (u32, i64) {
    let request = HashKvRequest { revision };
    let answer: HashKvResponse = client.call("/etcdserverpb.Maintenance/HashKV", &request).await.unwrap();
    (answer.hash, answer.compact_revision)
}
