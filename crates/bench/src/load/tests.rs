//! Whole runs against a server of a few lines, and the arithmetic around them.

use std::sync::mpsc as std_mpsc;

use bytes::Bytes;
use h2::SendStream;
use h2::server::SendResponse;
use http::{HeaderMap, Response};
use prost::Message;
use proto::etcdserverpb::{PutRequest, RangeResponse, WatchResponse};
use proto::mvccpb::{Event, KeyValue};

use super::*;
use crate::client::framed;
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
                _ => finish(respond, &range_answer()),
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
    let message = body.data().await.unwrap().unwrap().slice(5..);
    let PutRequest { key, value, .. } = PutRequest::decode(message).unwrap();
    let kv = Some(KeyValue { key, value, ..Default::default() });
    let events = vec![Event { kv, ..Default::default() }];
    let told = framed(&WatchResponse { events, ..Default::default() });
    for watch in watches.lock().unwrap().iter_mut() {
        // A stream of a run that has ended takes nothing more.
        drop(watch.send_data(told.clone(), false));
    }
    finish(respond, &RangeResponse::default());
}

fn range_answer() -> RangeResponse {
    let kvs = vec![KeyValue { value: vec![7; 256].into(), ..Default::default() }];
    RangeResponse { kvs, ..Default::default() }
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
        keys: 1,
        watchers: 3,
        warmup: Duration::ZERO,
        duration: Duration::from_millis(150),
        server_pid: Some(std::process::id()),
        ..Settings::of(workload)
    }
}

#[test]
fn each_workload_runs_without_a_failure() {
    for (workload, name, _) in Workload::ALL {
        let outcome = Coordinator::new().unwrap().run(&settings(workload)).unwrap();
        assert_eq!(outcome.tally.first_error, None, "{name}");
        assert!(outcome.tally.ops > 0, "{name}");
        assert!(outcome.server.is_some() && !outcome.interrupted, "{name}");
    }
}

#[test]
fn an_open_loop_does_not_exceed_its_rate() {
    let settings = Settings { rate: Some(200.0), ..settings(Workload::Get) };
    let start = Instant::now();
    let outcome = Coordinator::new().unwrap().run(&settings).unwrap();
    // The first operation of each thread is due at once.
    let most = 200.0 * start.elapsed().as_secs_f64() + 2.0;
    assert!(outcome.tally.ops > 0 && (outcome.tally.ops as f64) <= most, "{}", outcome.tally.ops);
}

#[test]
fn an_answer_without_the_value_is_a_failure() {
    let settings = Settings { value_bytes: 10_000, ..settings(Workload::Get) };
    let outcome = Coordinator::new().unwrap().run(&settings).unwrap();
    assert_eq!(outcome.tally.ops, 0);
    assert!(outcome.tally.first_error.unwrap().starts_with("wrong answer: "));
}

#[test]
fn a_run_without_a_server_says_where_it_looked() {
    let vacant = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for workload in [Workload::Put, Workload::Get] {
        let settings = Settings { endpoint: vacant.to_string(), ..Settings::of(workload) };
        let Err(error) = Coordinator::new().unwrap().run(&settings) else { panic!("nothing listens there") };
        assert!(error.to_string().starts_with(&format!("no server at {vacant}: ")), "{error}");
    }
}

#[test]
fn usage_is_the_difference_between_the_ends() {
    let reading = |ms, rss_bytes| Reading { cpu: Duration::from_millis(ms), rss_bytes };
    let sample = |generator| Sample { at: Instant::now(), server: None, generator };
    let span = Span { start: sample(reading(100, 7)), end: sample(reading(350, 9)) };
    assert_eq!(span.usage(|sample| Some(sample.generator)), Some(reading(250, 9)));
    assert_eq!(span.usage(|sample| sample.server), None);
}

#[test]
fn progress_tells_of_failures_only_when_there_are_some() {
    let mut total = Tally::new();
    assert_eq!(progress(Duration::from_secs(3), 14_012, &total), "   3 s     14012 ops/s");
    total.fail(&Error::Answer("short".to_owned()));
    let line = progress(Duration::from_secs(3), 0, &total);
    assert_eq!(line, "   3 s         0 ops/s   1 failed: wrong answer: short");
}
