//! Golden scripts: each file in `tests/scripts` is a story of one store.
//!
//! A file is a sequence of blocks, parted by empty lines: commands, a line `---`, and what they print.
//! `UPDATE=1 cargo test` writes what they do print. Lines that begin with `#` are for the reader.
//!
//! ```text
//! put k v [prev] [lease=n] [ignore_value] [ignore_lease]      del span [prev]
//! range span [rev=] [limit=] [order=] [by=] [keys_only] [count_only] [min_mod=] [max_mod=] [min_create=] [max_create=]
//! stream n span … the same as range, in chunks of n keys; compact=m after the first of them
//! alarm get|raise|clear any|nospace|corrupt [member]
//! txn [compare, …] {op; …} [else {op; …}]                     read … the same, of ranges only, without the log
//! fill k n    n puts of k             spread k n      one put each of k1 to kn        batch cmd | cmd     applied together
//! grant id seconds        revoke id       remaining id seconds        keys id         leases
//! compact n               trim    carry compactions through, reclaim space
//! hash [n]                crc record …    the hash of records written as main.sub:key=value,create,version or main.sub:key†
//! checkpoint              crash   back to the checkpoint, and the log after it again
//! watch s span [id=] [from=] [no_put] [no_delete] [prev]      cancel s id
//! events s                summary s               progress s              told s id
//! ```

use std::collections::BTreeMap;
use std::path::Path;

use proto::etcdserverpb::{
    CompactionRequest, LeaseCheckpoint, LeaseCheckpointRequest, LeaseGrantRequest, LeaseRevokeRequest,
};
use store::{RangeQuery, Request, WatchStream};

use crate::language::{self, Words};
use crate::printing;
use crate::rig::Rig;

#[test]
fn scripts_print_what_they_say() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut paths: Vec<_> = std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        let printed = Story::new().run(&text);
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, printed).unwrap();
        } else {
            assert_eq!(printed, text, "{} prints otherwise; UPDATE=1 rewrites it", path.display());
        }
    }
}

struct Story {
    rig: Rig,
    streams: BTreeMap<String, WatchStream>,
    out: Vec<String>,
}

impl Story {
    fn new() -> Story {
        Story { rig: Rig::new(1), streams: BTreeMap::new(), out: Vec::new() }
    }

    /// The script with the output it gives.
    fn run(mut self, text: &str) -> String {
        let mut blocks = Vec::new();
        for block in text.split("\n\n").map(str::trim).filter(|block| !block.is_empty()) {
            let commands = block.split("\n---").next().unwrap();
            for command in commands.lines().filter(|line| !line.starts_with('#')) {
                self.execute(command);
            }
            let printed = self.out.drain(..).map(|line| format!("\n{line}")).collect::<String>();
            let parting = if printed.is_empty() { "" } else { "\n---" };
            blocks.push(format!("{commands}{parting}{printed}\n"));
        }
        blocks.join("\n")
    }

    fn execute(&mut self, line: &str) {
        if let Some(commands) = line.strip_prefix("batch ") {
            let requests: Vec<_> = commands.split('|').map(|c| request(c).expect("a change")).collect();
            for outcome in self.rig.apply_all(&requests) {
                printing::outcome(&outcome, &mut self.out);
            }
        } else if let Some(request) = request(line) {
            let outcome = self.rig.apply(request);
            printing::outcome(&outcome, &mut self.out);
        } else {
            self.look(&mut Words::new(line));
        }
    }

    /// Carries out a command that is none of the log's.
    fn look(&mut self, words: &mut Words) {
        match words.next().unwrap().as_str() {
            "range" => self.range(words),
            "stream" => self.stream(words),
            "read" => {
                let read = self.rig.store.view().txn(&language::txn(words));
                if let Some(outcome) = printing::refusal(read, &mut self.out) {
                    printing::txn(&outcome, "", &mut self.out);
                }
            }
            "fill" => {
                let key = words.next().unwrap();
                for i in 1..=words.number() {
                    self.rig.apply(request(&format!("put {key} {i}")).unwrap()).unwrap();
                }
            }
            "spread" => {
                let prefix = words.next().unwrap();
                for i in 1..=words.number() {
                    self.rig.apply(request(&format!("put {prefix}{i} 1")).unwrap()).unwrap();
                }
            }
            "keys" => {
                let keys = self.rig.store.leases().keys(words.number(), None, usize::MAX);
                self.out.push(printing::keys(&keys));
            }
            "leases" => printing::leases(self.rig.store.leases(), &mut self.out),
            "trim" => self.rig.trim(),
            "hash" => {
                let revision = words.next().map_or(0, |word| language::number(&word));
                let hashed = self.rig.store.view().hash_now(revision);
                if let Some(hash) = printing::refusal(hashed, &mut self.out) {
                    self.out.push(printing::hash(&hash));
                }
            }
            "crc" => self.out.push(crate::model::crc(words)),
            "checkpoint" => self.rig.checkpoint(),
            "crash" => {
                self.streams.clear();
                self.rig.crash();
            }
            verb => self.watch(verb, words),
        }
    }

    fn range(&mut self, words: &mut Words) {
        let reading = RangeQuery::new(&language::range(words))
            .map_err(store::Error::from)
            .and_then(|query| self.rig.store.view().range(query));
        if let Some(mut reading) = printing::refusal(reading, &mut self.out) {
            while !reading.step().unwrap() {}
            printing::range(&reading.finish().unwrap(), "", &mut self.out);
        }
    }

    /// `stream KEYS RANGE`, in chunks of so many keys; with `compact=REVISION` one is made after the first
    /// chunk.
    fn stream(&mut self, words: &mut Words) {
        let max_keys = usize::try_from(words.number()).unwrap();
        let (range, compact) = language::range_and_compaction(words);
        let stream = RangeQuery::new(&range)
            .map_err(store::Error::from)
            .and_then(|query| self.rig.store.view().range_stream(query));
        let Some(mut stream) = printing::refusal(stream, &mut self.out) else { return };
        let mut compact = compact.map(|at| request(&format!("compact {at}")).unwrap());
        loop {
            let mut len = 0;
            while len < max_keys && !stream.is_done() {
                let Some(n) = printing::refusal(stream.step(max_keys - len, usize::MAX), &mut self.out)
                else {
                    return;
                };
                len += n;
            }
            printing::chunk(&stream.take_chunk(), len, &mut self.out);
            if stream.is_done() {
                break;
            }
            if let Some(request) = compact.take() {
                self.rig.apply(request).unwrap();
            }
        }
        let more = if stream.more() { " more" } else { "" };
        self.out.push(format!("rev {} count {}{more}", stream.revision(), stream.count()));
    }

    fn watch(&mut self, verb: &str, words: &mut Words) {
        let name = words.next().expect("the name of a stream");
        let stream = self.streams.entry(name).or_insert_with(|| self.rig.stream());
        match verb {
            "watch" => self.out.push(match stream.create(language::watch_of(words)) {
                Ok(created) => format!("#{} created at {}", created.id, created.revision),
                Err(refusal) => format!("refused: {}", refusal.text()),
            }),
            "cancel" => self.out.push(match stream.cancel(words.number()) {
                Some(revision) => format!("canceled at {revision}"),
                None => "no such watch".to_owned(),
            }),
            "events" => printing::deliveries(stream, true, &mut self.out),
            "summary" => printing::deliveries(stream, false, &mut self.out),
            "progress" => self.out.push(format!("{:?}", stream.progress())),
            "told" => self.out.push(format!("{:?}", stream.told(words.number()))),
            _ => panic!("unknown command {verb}"),
        }
    }
}

/// The change a line asks for, or nothing if it asks for none.
fn request(line: &str) -> Option<Request> {
    let mut words = Words::new(line);
    match words.next()?.as_str() {
        "put" => Some(Request::Put(language::put(&mut words))),
        "del" => Some(Request::DeleteRange(language::delete(&mut words))),
        "txn" => Some(Request::Txn(language::txn(&mut words))),
        "alarm" => Some(Request::Alarm(language::alarm(&mut words))),
        "grant" => Some(Request::LeaseGrant(LeaseGrantRequest { id: words.number(), ttl: words.number() })),
        "revoke" => Some(Request::LeaseRevoke(LeaseRevokeRequest { id: words.number() })),
        "remaining" => {
            let checkpoints = vec![LeaseCheckpoint { id: words.number(), remaining_ttl: words.number() }];
            Some(Request::LeaseCheckpoint(LeaseCheckpointRequest { checkpoints }))
        }
        "compact" => Some(Request::Compact(CompactionRequest { revision: words.number(), physical: false })),
        _ => None,
    }
}
