//! Whole runs against a server of a few lines, and the arithmetic around them.

use std::sync::mpsc as std_mpsc;

use bytes::Bytes;
use h2::SendStream;
use h2::server::SendResponse;
use http::{HeaderMap, Response};
use prost::Message;
use proto::etcdserverpb::{
    LeaseKeepAliveRequest, LeaseKeepAliveResponse, PutRequest, RangeRequest, RangeResponse, WatchResponse,
};
use proto::mvccpb::{Event, KeyValue};

use super::*;
use crate::client::tests::framed;
use crate::settings::Workload;

/// The open watch streams of the fake server.
type Watches = Arc<Mutex<Vec<SendStream<Bytes>>>>;

/// Serves the methods that the workloads call, on a thread of its own until the test program ends.
fn fake_server() -> String {
    let (tell, told) = std_mpsc::channel();
    std::thread::spawn(move || {
        runtime().unwrap().block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell.send(listener.local_addr().unwrap().to_string()).unwrap();
            let watches = Watches::default();
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, watches.clone()));
            }
        });
    });
    told.recv().unwrap()
}

async fn serve(stream: tokio::net::TcpStream, watches: Watches) {
    let mut connection = h2::server::handshake(stream).await.unwrap();
    while let Some(Ok((request, respond))) = connection.accept().await {
        let watches = watches.clone();
        tokio::spawn(async move {
            match request.uri().path() {
                "/etcdserverpb.Watch/Watch" => open_watch(respond, &watches),
                "/etcdserverpb.KV/Put" => put(request.into_body(), respond, &watches).await,
                "/etcdserverpb.KV/Range" => range(request.into_body(), respond).await,
                "/etcdserverpb.Lease/LeaseKeepAlive" => keep_alive(request.into_body(), respond).await,
                // Transactions and grants: an answer without any field will do.
                _ => finish(respond, &RangeResponse::default()),
            }
        });
    }
}

/// Creates one watcher, which is what these tests ask of each stream.
fn open_watch(mut respond: SendResponse<Bytes>, watches: &Watches) {
    let mut answers = respond.send_response(Response::new(()), false).unwrap();
    answers.send_data(framed(&WatchResponse { created: true, ..Default::default() }), false).unwrap();
    watches.lock().unwrap().push(answers);
}

/// Answers a put after telling all watchers.
async fn put(mut body: h2::RecvStream, respond: SendResponse<Bytes>, watches: &Watches) {
    let PutRequest { key, value, .. } = receive(&mut body).await.unwrap();
    let kv = Some(KeyValue { key, value, ..Default::default() });
    let events = vec![Event { kv, ..Default::default() }];
    let told = framed(&WatchResponse { events, ..Default::default() });
    for watch in watches.lock().unwrap().iter_mut() {
        // A stream of a run that has ended takes nothing more.
        drop(watch.send_data(told.clone(), false));
    }
    finish(respond, &RangeResponse::default());
}

/// As many values of 256 bytes as the request is limited to, or one.
async fn range(mut body: h2::RecvStream, respond: SendResponse<Bytes>) {
    let limit = receive::<RangeRequest>(&mut body).await.unwrap().limit.max(1);
    let kv = KeyValue { value: vec![7; 256].into(), ..Default::default() };
    finish(respond, &RangeResponse { kvs: vec![kv; limit as usize], ..Default::default() });
}

/// Answers each renewal on the stream.
async fn keep_alive(mut body: h2::RecvStream, mut respond: SendResponse<Bytes>) {
    let mut answers = respond.send_response(Response::new(()), false).unwrap();
    while let Some(LeaseKeepAliveRequest { id }) = receive(&mut body).await {
        // A stream of a run that has ended takes nothing more.
        drop(answers.send_data(framed(&LeaseKeepAliveResponse { id, ttl: 1, ..Default::default() }), false));
    }
}

/// The next message of a body; each comes in a frame of its own.
async fn receive<M: Message + Default>(body: &mut h2::RecvStream) -> Option<M> {
    let frame = body.data().await?.ok()?;
    body.flow_control().release_capacity(frame.len()).unwrap();
    Some(M::decode(frame.slice(5..)).unwrap())
}

fn finish(mut respond: SendResponse<Bytes>, answer: &impl Message) {
    let mut body = respond.send_response(Response::new(()), false).unwrap();
    body.send_data(framed(answer), false).unwrap();
    let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())]);
    body.send_trailers(trailers).unwrap();
}

/// A short run of `workload`, two threads of it.
fn settings(workload: Workload) -> Settings {
    Settings {
        endpoint: fake_server(),
        connections: 3,
        threads: 2,
        streams: 2,
        keys: 1,
        value_bytes: 256,
        watchers: if workload == Workload::Kubernetes { 3 } else { 6 },
        warmup: Duration::ZERO,
        duration: Duration::from_millis(150),
        server_pid: Some(std::process::id()),
        ..Settings::of(workload)
    }
}

#[test]
fn each_steady_workload_runs_without_a_failure() {
    for (workload, name, _) in Workload::ALL {
        if !workload.is_steady() {
            continue;
        }
        let report = run(&settings(workload)).unwrap();
        assert_eq!(report.first_error, None, "{name}");
        assert!(report.value("ops/s").unwrap() > 0.0, "{name}");
        assert!(report.value("server CPU µs/op").is_some() && !report.interrupted, "{name}");
    }
}

#[test]
fn experiments_run_to_their_end() {
    for workload in [Workload::IdleConnections, Workload::IdleWatchers, Workload::Compaction] {
        let settings = Settings { revisions: 10, rate: Some(200.0), ..settings(workload) };
        let report = run(&settings).unwrap();
        assert_eq!((report.failed, report.measures().count() > 0), (0, true), "{}", workload.name());
    }
}

#[test]
fn an_experiment_on_memory_needs_a_process() {
    let settings = Settings { server_pid: None, ..settings(Workload::IdleConnections) };
    assert!(run(&settings).unwrap_err().to_string().starts_with("idle-connections needs --server-pid"));
}

#[test]
fn a_restart_needs_a_server_that_was_started_here() {
    let error = run(&settings(Workload::Restart)).unwrap_err();
    assert!(error.to_string().starts_with("restart needs a server"), "{error}");
}

#[test]
fn an_open_loop_does_not_exceed_its_rate() {
    let settings = Settings { rate: Some(200.0), ..settings(Workload::Get) };
    let start = Instant::now();
    let ops_per_s = run(&settings).unwrap().value("ops/s").unwrap();
    // The first operation of each thread is due at once.
    let ops = ops_per_s * settings.duration.as_secs_f64();
    let most = 200.0 * start.elapsed().as_secs_f64() + 2.0;
    assert!(ops > 0.0 && ops <= most, "{ops}");
}

#[test]
fn an_answer_without_the_value_is_a_failure() {
    let report = run(&Settings { value_bytes: 10_000, ..settings(Workload::Get) }).unwrap();
    assert_eq!(report.value("ops/s"), Some(0.0));
    assert_eq!(report.value("server CPU µs/op"), None);
    assert!(report.first_error.unwrap().starts_with("wrong answer: "));
}

#[test]
fn a_run_without_a_server_says_where_it_looked() {
    let vacant = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for workload in [Workload::Put, Workload::Get, Workload::WatchCatchUp] {
        let settings = Settings { endpoint: vacant.to_string(), ..Settings::of(workload) };
        let error = run(&settings).unwrap_err();
        assert!(error.to_string().starts_with(&format!("no server at {vacant}: ")), "{error}");
    }
}

fn run(settings: &Settings) -> Result<Report, Error> {
    Coordinator::new().unwrap().run(settings, None)
}

/// A second in which the server used `server` and the generator `generator` milliseconds.
fn span(server: Option<u64>, generator: u64) -> Span {
    let reading = |ms| Reading { cpu: Duration::from_millis(ms), rss_bytes: 3 << 20 };
    let start = Sample { at: Instant::now(), server: server.map(|_| reading(100)), generator: reading(100) };
    let end = Sample {
        at: start.at + Duration::from_secs(1),
        server: server.map(|ms| reading(100 + ms)),
        generator: reading(100 + generator),
    };
    Span { start, end }
}

#[test]
fn cpu_is_set_against_the_operations() {
    let mut tally = Tally::new();
    (0..1000).for_each(|_| tally.succeed(Duration::from_millis(2)));
    let report = span(Some(80), 5).report(&tally);
    assert_eq!(report.value("server CPU µs/op"), Some(80.0));
    assert_eq!(report.value("generator CPU µs/op"), Some(5.0));
    assert_eq!(report.value("RSS MiB"), Some(3.0));
    assert_eq!(report.value("ops/s"), Some(1000.0));
    for name in ["mean ms", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms"] {
        assert!((report.value(name).unwrap() - 2.0).abs() < 0.01, "{name}");
    }
    assert_eq!(span(None, 5).report(&tally).value("server CPU µs/op"), None);
}

#[test]
fn the_generator_is_the_limit_when_it_alone_is_busy() {
    let observed = Settings { server_pid: Some(std::process::id()), ..Settings::of(Workload::Get) };
    let alone = Settings { server_pid: None, ..observed.clone() };
    let cores = process::core_count(std::process::id()).unwrap() as u64;
    assert!(span(Some(100), 950).generator_bound(&observed).unwrap());
    assert!(!span(Some(950 * cores), 950).generator_bound(&observed).unwrap());
    assert!(!span(Some(100), 500).generator_bound(&observed).unwrap());
    assert!(span(None, 950).generator_bound(&alone).unwrap());
}

#[test]
fn progress_tells_of_failures_only_when_there_are_some() {
    let mut total = Tally::new();
    assert_eq!(line(Duration::from_secs(3), 14_012, &total), "   3 s     14012 ops/s");
    total.fail(&Error::Answer("short".to_owned()));
    let text = line(Duration::from_secs(3), 0, &total);
    assert_eq!(text, "   3 s         0 ops/s   1 failed: wrong answer: short");
}
