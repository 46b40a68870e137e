//! Recorded conversations with etcd 3.7.1, held again with the built server: every answer must be equal.
//!
//! Where etcd sent several responses of events to one watch, one response with all of them counts as equal: how
//! many revisions are told at once is a matter of time.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

use crate::client::{Client, Failure, Stream};
use crate::messages::Messages;
use crate::server::Server;

/// How long a stream may be silent before what it owes counts as missing. Only a wrong answer takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn recorded_answers_are_given_again() {
    let messages = Messages::load();
    let mut report = Report::default();
    for path in files("") {
        play(&messages, &path, &mut report).await;
    }
    report.conclude();
}

#[tokio::test]
async fn random_conversations_go_as_recorded() {
    let messages = Messages::load();
    let mut report = Report::default();
    for path in files("random") {
        play(&messages, &path, &mut report).await;
    }
    report.conclude();
}

fn files(folder: &str) -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/transcripts").join(folder);
    let mut paths: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    paths.sort_unstable();
    paths
}

/// What came of all lines.
#[derive(Default)]
struct Report {
    n_equal: usize,
    wrong: Vec<String>,
}

impl Report {
    fn conclude(self) {
        let Report { n_equal, wrong } = self;
        println!("{n_equal} lines equal");
        assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
        assert!(n_equal > 0, "there were conversations");
    }
}

/// Holds one conversation with a fresh server.
async fn play(messages: &Messages, path: &Path, report: &mut Report) {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let client = Client::connect(server.address).await;
    let mut player = Player { messages, client, streams: BTreeMap::new() };
    let file = path.file_stem().unwrap().to_str().unwrap();
    let conversation = fs::read_to_string(path).unwrap();
    for (index, line) in conversation.lines().enumerate() {
        let line = messages.expand(&serde_json::from_str(line).unwrap());
        match player.play(&line).await {
            Outcome::Silent => {}
            Outcome::Answered(None) => report.n_equal += 1,
            Outcome::Answered(Some(difference)) => {
                report.wrong.push(format!("{file}:{} {}\n  {difference}", index + 1, shorten(&line)));
            }
        }
    }
}

/// What a line came to.
enum Outcome {
    /// Nothing is answered to it.
    Silent,
    /// The answer is as recorded, or differs.
    Answered(Option<String>),
}

/// One side of a conversation.
struct Player<'a> {
    messages: &'a Messages,
    client: Client,
    /// By name, with the method.
    streams: BTreeMap<String, (String, Stream)>,
}

impl Player<'_> {
    async fn play(&mut self, line: &Value) -> Outcome {
        let text = |field: &str| line[field].as_str().map(str::to_owned);
        if let Some(name) = text("open") {
            let method = text("m").expect("a stream has a method");
            let stream = self.client.open(&method).await.unwrap();
            self.streams.insert(name, (method, stream));
            Outcome::Silent
        } else if let Some(name) = text("send") {
            let (method, stream) = self.streams.get_mut(&name).unwrap();
            match line.get("q") {
                Some(request) => stream.send(&self.messages.request(method, request), false).unwrap(),
                None => stream.end().unwrap(),
            }
            Outcome::Silent
        } else if let Some(name) = text("got") {
            Outcome::Answered(self.compare_stream(&name, &line["r"]).await)
        } else if let Some(name) = text("close") {
            self.streams.remove(&name);
            Outcome::Silent
        } else {
            self.compare_unary(line).await
        }
    }

    async fn compare_unary(&mut self, line: &Value) -> Outcome {
        let method = line["m"].as_str().expect("a call has a method");
        let request = self.messages.request(method, &line["q"]);
        let answer = self.client.unary(method, &request).await;
        let actual = match &answer {
            Ok(bytes) => json!({ "r": self.messages.answer(method, bytes) }),
            Err(failure) => json!({ "e": describe(failure) }),
        };
        let key = if line.get("e").is_some() { "e" } else { "r" };
        let expected = json!({ key: line[key] });
        Outcome::Answered((actual != expected).then(|| explain(&expected, &actual)))
    }

    /// Takes as much as is expected from a stream, or what comes in time.
    async fn compare_stream(&mut self, name: &str, expected: &Value) -> Option<String> {
        let (method, stream) = self.streams.get_mut(name).unwrap();
        let expected = join(expected.as_array().unwrap().clone());
        let mut answers = Vec::new();
        let actual = loop {
            let actual = join(answers.clone());
            if amount(&actual) >= amount(&expected) {
                break actual;
            }
            match timeout(PATIENCE, stream.receive()).await {
                Ok(Ok(Some(bytes))) => answers.push(self.messages.answer(method, &bytes)),
                Ok(Ok(None)) => answers.push(json!({"end": {"code": 0, "text": ""}})),
                Ok(Err(failure)) => answers.push(json!({ "end": describe(&failure) })),
                Err(_) => break actual,
            }
        };
        (actual != expected).then(|| explain(&json!(expected), &json!(actual)))
    }
}

/// Sorts answers by watch; successive answers with events of one watch become one, and so do the chunks of a range.
fn join(mut answers: Vec<Value>) -> Vec<Value> {
    let watch_id = |answer: &Value| answer["watch_id"].as_str().map_or(0, |id| id.parse::<i64>().unwrap());
    answers.sort_by_key(watch_id);
    let mut joined: Vec<Value> = Vec::new();
    for answer in answers {
        match joined.last_mut() {
            Some(last) if watch_id(last) == watch_id(&answer) && has_events(last) && has_events(&answer) => {
                let mut events = last["events"].take();
                events.as_array_mut().unwrap().extend(answer["events"].as_array().unwrap().iter().cloned());
                *last = answer;
                last["events"] = events;
            }
            Some(last) if last["range_response"].is_object() && answer["range_response"].is_object() => {
                let mut kvs = last["range_response"]["kvs"].take();
                kvs.as_array_mut()
                    .unwrap()
                    .extend(answer["range_response"]["kvs"].as_array().unwrap().clone());
                *last = answer;
                last["range_response"]["kvs"] = kvs;
            }
            _ => joined.push(answer),
        }
    }
    joined
}

fn has_events(answer: &Value) -> bool {
    answer["events"].is_array()
}

/// What a stream has told, counted in events and in answers without.
fn amount(answers: &[Value]) -> usize {
    answers.iter().map(|answer| answer["events"].as_array().map_or(1, Vec::len)).sum()
}

pub(crate) fn describe(failure: &Failure) -> Value {
    match failure {
        Failure::Refused(code, text) => json!({"code": code, "text": text}),
        Failure::Lost => json!("the connection broke"),
    }
}

fn explain(expected: &Value, actual: &Value) -> String {
    format!("etcd: {}\n  ours: {}", shorten(expected), shorten(actual))
}

pub(crate) fn shorten(value: &Value) -> String {
    let mut text = value.to_string();
    text.truncate(text.floor_char_boundary(600));
    text
}
