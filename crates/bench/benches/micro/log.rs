//! The revision log on the real disk: appending records, and reading them back by location.

use std::hint::black_box;
use std::sync::Arc;

use disk::revision_log::Options;
use disk::{Location, RealDisk, RecordMeta, Revision, RevisionLog};
use prost::Message;
use proto::mvccpb::KeyValue;

use crate::codec;
use crate::runner::Runner;

/// Records read, in an order unlike their own.
const RECORDS: usize = 100_000;
/// A prime, so that each is met.
const STEP: usize = 60_013;

pub(crate) fn run(runner: &Runner) {
    let dir = tempfile::tempdir().unwrap();
    let mut log =
        RevisionLog::open(Arc::new(RealDisk), &dir.path().join("log"), Options::default(), &[]).unwrap();
    let put = codec::put(1);
    let record = KeyValue { key: put.key, value: put.value, ..KeyValue::default() }.encode_to_vec();
    let mut revision = 1;
    let mut append = |log: &mut RevisionLog| {
        revision += 1;
        let revision = Revision { main: revision, sub: 0 };
        log.append(&RecordMeta { revision, ..RecordMeta::default() }, &record).unwrap()
    };
    let places: Vec<Location> = (0..RECORDS).map(|_| append(&mut log)).collect();
    log.flush().unwrap();

    let mut at = 0;
    runner.run("log: read a record of 256 B, checksum verified", 1, || {
        at = (at + STEP) % RECORDS;
        black_box(log.read(places[at]).unwrap());
    });
    runner.run("log: append a record of 256 B, flushed by 100", 100, || {
        for _ in 0..100 {
            black_box(append(&mut log));
        }
        log.flush().unwrap();
    });
}
