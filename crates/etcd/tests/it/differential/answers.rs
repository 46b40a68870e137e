//! Answers in the form of recorded lines, so that they can be compared and read.

use serde_json::{Value, json};

use super::requests::Call;
use crate::client::Client;
use crate::messages::Messages;
use crate::transcripts::describe;

impl Messages {
    /// The answer to a call, or all of them if it is a stream, in the form of a recorded line.
    pub(super) async fn ask(&self, client: &Client, method: &str, request: &[u8]) -> Value {
        let mut stream = client.open(method).await.unwrap();
        stream.send(request, true).unwrap();
        let mut answers = Vec::new();
        loop {
            match stream.next().await {
                Ok(Some(bytes)) => answers.push(self.answer(method, &bytes)),
                Ok(None) if method.ends_with("Stream") => return json!({ "r": answers }),
                Ok(None) => return json!({ "r": answers.pop() }),
                Err(failure) => return json!({ "e": describe(&failure), "before": answers }),
            }
        }
    }

    /// A call in the form of a recorded line.
    pub(super) fn line(&self, call: &Call) -> String {
        let request = self.request_json(call.method, &call.request);
        json!({ "m": call.method, "q": request }).to_string()
    }
}

/// An answer without what may differ.
pub(super) fn comparable(method: &str, mut answer: Value, is_old: bool) -> Value {
    let response = &mut answer["r"];
    match method.rsplit('/').next().expect("a method has a name") {
        "LeaseTimeToLive" => {
            if response["TTL"].as_str().is_some_and(|ttl| ttl != "-1") {
                response["TTL"] = json!("some");
            }
            sort(&mut response["keys"]);
        }
        "LeaseLeases" => sort(&mut response["leases"]),
        // Old releases check all puts before all ranges, so of several reasons they may give another.
        "Txn" if is_old && !answer["e"].is_null() => answer["e"] = json!("refused"),
        _ => {}
    }
    answer
}

fn sort(values: &mut Value) {
    if let Some(values) = values.as_array_mut() {
        values.sort_unstable_by_key(Value::to_string);
    }
}
