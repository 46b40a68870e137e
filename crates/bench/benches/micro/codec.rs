//! Messages: from the bytes of a request to those of a log entry and back.

use std::hint::black_box;

use bytes::Bytes;
use prost::Message;
use proto::etcdserverpb::{PutRequest, RangeRequest};
use store::{Command, Request};

use crate::runner::Runner;

/// A put of a key of 16 bytes and a value of 256.
pub(crate) fn put(number: u64) -> PutRequest {
    let key = format!("bench/{number:010}").into();
    PutRequest { key, value: vec![7; 256].into(), ..PutRequest::default() }
}

pub(crate) fn run(runner: &Runner) {
    let request = Bytes::from(put(1).encode_to_vec());
    runner.run("codec: decode a put of 256 B", 1, || {
        black_box(PutRequest::decode(request.clone()).unwrap());
    });
    let range = Bytes::from(RangeRequest { key: put(1).key, ..RangeRequest::default() }.encode_to_vec());
    runner.run("codec: decode a range", 1, || {
        black_box(RangeRequest::decode(range.clone()).unwrap());
    });
    let command = Command { id: 7, request: Request::Put(put(1)) };
    runner.run("codec: encode the log entry of a put", 1, || {
        black_box(command.encode());
    });
    let entry = command.encode();
    runner.run("codec: decode the log entry of a put", 1, || {
        black_box(Command::decode(entry.clone()).unwrap());
    });
}
