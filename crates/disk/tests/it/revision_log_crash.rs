//! Loss of power at every single effect: what the last checkpoint lists is there, whole, and nothing else is needed.

use std::collections::BTreeMap;
use std::path::Path;

use disk::{Disk, Error, Location, RecordMeta, Revision, RevisionLog, SimDisk, checkpoint};
use proto::checkpointpb::Checkpoint;

use crate::revision_log_rig::*;

const ROOT: &str = "/member";
const LAST: i64 = 120;
const CHECKPOINT_EVERY: i64 = 13;

/// A tiny store: a log, the newest change of each key, and a checkpoint now and then.
struct Store {
    disk: SimDisk,
    log: RevisionLog,
    index: BTreeMap<Vec<u8>, (Revision, Location)>,
    revision: i64,
}

impl Store {
    /// Opens what a crash has left. The first revision is 1, with nothing in it.
    fn open(disk: &SimDisk) -> Result<Store, Error> {
        let body = checkpoint::load(disk, Path::new(ROOT))?;
        let body = body.unwrap_or(Checkpoint { revision: 1, ..Default::default() });
        let log = open(disk, &body.segments)?;
        let mut store = Store { disk: disk.clone(), log, index: BTreeMap::new(), revision: body.revision };
        for (key, meta, at) in load(&store.log)? {
            store.index(key, &meta, at);
        }
        Ok(store)
    }

    /// Takes a record into the index, which holds no deleted keys and nothing but the newest change of each.
    fn index(&mut self, key: Vec<u8>, meta: &RecordMeta, at: Location) {
        let old = if meta.tombstone {
            self.log.mark_dead(at);
            self.index.remove(&key)
        } else {
            self.index.insert(key, (meta.revision, at))
        };
        if let Some((_, old)) = old {
            self.log.mark_dead(old);
        }
    }

    /// Makes change number `main`, which is the same whenever it is made: this is the replay of a raft log.
    fn apply(&mut self, main: i64) -> Result<(), Error> {
        let change = change_of(main);
        let at = append(&mut self.log, &change)?;
        self.index(key_of(main).into_bytes(), &change.meta, at);
        self.revision = main;
        if main % 2 == 0 {
            self.log.flush()?;
        }
        if main % 9 == 0 && self.log.needs_next() {
            let prepared = self.log.next_segment().run()?;
            self.log.adopt(prepared);
        }
        Ok(())
    }

    fn checkpoint(&mut self) -> Result<(), Error> {
        let segments = sync(&mut self.log)?;
        let body = Checkpoint { revision: self.revision, segments, ..Default::default() };
        checkpoint::save(&self.disk, Path::new(ROOT), &body)?;
        self.log.release(&body.segments).run()
    }

    fn reclaim(&mut self) -> Result<(), Error> {
        let Some(plan) = self.log.reclaim_candidate(false) else { return Ok(()) };
        let has = |key: &[u8], revision| self.index.get(key).is_some_and(|(newest, _)| *newest == revision);
        let mut rewritten = plan.run(&has)?;
        self.log.install(&rewritten);
        for (key, revision, to) in rewritten.moved.by_ref() {
            match self.index.get_mut(&key[..]) {
                Some((newest, at)) if *newest == revision => *at = to,
                _ => self.log.mark_dead(to),
            }
        }
        self.log.retire(&rewritten);
        Ok(())
    }

    fn run_to_the_end(&mut self) -> Result<(), Error> {
        for main in self.revision + 1..=LAST {
            self.apply(main)?;
            if main % 5 == 0 {
                self.reclaim()?;
            }
            if main % CHECKPOINT_EVERY == 0 {
                self.checkpoint()?;
            }
        }
        self.checkpoint()
    }

    /// The index holds the newest change up to `revision` of each key, and each can be read.
    fn assert_whole(&self, context: &str) {
        let mut expected = BTreeMap::new();
        for main in 2..=self.revision {
            if deletes(main) {
                expected.remove(key_of(main).as_bytes());
            } else {
                expected.insert(key_of(main).into_bytes(), main);
            }
        }
        let found: BTreeMap<_, _> = self.index.iter().map(|(key, (at, _))| (key.clone(), at.main)).collect();
        assert_eq!(found, expected, "{context}");
        for (key, (revision, at)) in &self.index {
            assert_eq!(key, key_of(revision.main).as_bytes());
            assert_eq!(self.log.read(*at).unwrap(), change_of(revision.main).key_value, "{context}");
        }
    }
}

fn change_of(main: i64) -> Change {
    let key = key_of(main);
    if deletes(main) { tombstone(main, &key) } else { put(main, &key, &value_of(main)) }
}

/// The first 40 revisions write some keys that stay, and some that are deleted once much has been written since.
fn key_of(main: i64) -> String {
    match main {
        ..40 if main % 8 == 0 => format!("doomed-{main}"),
        ..40 => format!("stays-{main}"),
        48..80 if main % 8 == 0 => format!("doomed-{}", main - 40),
        _ => format!("often-{}", main % 3),
    }
}

fn deletes(main: i64) -> bool {
    (48..80).contains(&main) && main % 8 == 0
}

fn value_of(main: i64) -> String {
    let len = if main % 50 == 0 { 1500 } else { usize::try_from(main % 60).unwrap() };
    "v".repeat(len)
}

/// Runs until power is lost at effect `n`, which may come within opening; gives the effects of a run to the end.
fn run(disk: &SimDisk, n: u64) -> Option<u64> {
    disk.create_dir(Path::new(ROOT)).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    let before = disk.ops().effects();
    disk.crash_at_op(n);
    match Store::open(disk).and_then(|mut store| store.run_to_the_end()) {
        Ok(()) => Some(disk.ops().effects() - before),
        Err(error) => {
            assert!(disk.has_crashed(), "failed without a crash: {error}");
            None
        }
    }
}

#[test]
fn power_lost_at_any_effect_leaves_the_last_checkpoint_whole() {
    let effects = run(&SimDisk::new(0), u64::MAX >> 1).unwrap();
    assert!(effects > 150, "{effects} effects");
    for n in 0..effects {
        for seed in 0..4 {
            let context = format!("crash at effect {n}, seed {seed}");
            let disk = SimDisk::new(seed);
            assert!(run(&disk, n).is_none(), "{context}");
            disk.crash();
            let mut store = Store::open(&disk).unwrap();
            store.assert_whole(&context);
            assert_eq!(store.revision % CHECKPOINT_EVERY * (store.revision - 1) * (store.revision - LAST), 0);
            store.run_to_the_end().unwrap();
            assert_eq!(store.revision, LAST);
            store.assert_whole(&context);
        }
    }
}

#[test]
fn power_lost_again_while_opening_does_no_further_harm() {
    for n in (0..170).step_by(11) {
        for again in 0..12 {
            let disk = SimDisk::new(n);
            run(&disk, n);
            disk.crash();
            run(&disk, again);
            disk.crash();
            let mut store = Store::open(&disk).unwrap();
            store.assert_whole(&format!("crash at {n}, then at {again}"));
            store.run_to_the_end().unwrap();
            store.assert_whole("at the end");
        }
    }
}

#[test]
fn checkpoints_move_on_between_crashes() {
    let disk = SimDisk::new(9);
    let mut reached = 1;
    for _ in 0..200 {
        if run(&disk, 60).is_some() {
            return;
        }
        disk.crash();
        let store = Store::open(&disk).unwrap();
        assert!(store.revision >= reached, "a durable checkpoint was lost");
        reached = store.revision;
    }
    panic!("no end after 200 crashes, at revision {reached}");
}
