//! A store on a simulated disk, with the chores a node would do for it, that can be restarted from a
//! checkpoint.

use std::path::Path;
use std::sync::Arc;

use disk::{SimDisk, revision_log};
use proto::checkpointpb::Checkpoint;
use store::{Outcome, Refusal, Request, Signal, Store, Watch, WatchStream};

/// A small segment, so that short stories fill several.
pub(crate) const SEGMENT_BYTES: u64 = 4096;
const DIR: &str = "/store";
pub(crate) const LEASE_TTL_MIN_S: i64 = 2;

/// Tests ask streams themselves whether there is something to read.
#[derive(Debug)]
struct NoSignal;

impl Signal for NoSignal {
    fn signal(&self) {}
}

/// The store and what survives a crash of it.
pub(crate) struct Rig {
    pub(crate) disk: SimDisk,
    pub(crate) store: Store,
    checkpoint: Option<Checkpoint>,
    /// Applied since the checkpoint: what the log would bring again.
    replay: Vec<Request>,
}

impl Rig {
    pub(crate) fn new(seed: u64) -> Rig {
        let disk = SimDisk::new(seed);
        let store = open(&disk, None);
        Rig { disk, store, checkpoint: None, replay: Vec::new() }
    }

    /// Applies commands as one batch.
    pub(crate) fn apply_all(&mut self, requests: &[Request]) -> Vec<Result<Outcome, Refusal>> {
        self.replay.extend_from_slice(requests);
        self.store.apply(requests).unwrap().outcomes
    }

    pub(crate) fn apply(&mut self, request: Request) -> Result<Outcome, Refusal> {
        self.apply_all(&[request]).remove(0)
    }

    /// Carries every compaction through, and gives back what space that frees.
    pub(crate) fn trim(&mut self) {
        while self.store.compacting().is_some() {
            if let Some(job) = self.store.compaction_hash_job() {
                let hash = job.run().unwrap();
                self.store.compaction_hashed(hash);
            }
            self.store.trim_step();
        }
        while let Some(job) = self.store.reclaim_job(false) {
            self.store.reclaimed(job.run().unwrap());
            while !self.store.relocate_step() {}
        }
        // What the checkpoint lists must stay, whether or not the store still reads it.
        let durable = self.checkpoint.as_ref().map_or(&[][..], |c| &c.segments);
        self.store.log().release(durable).run().unwrap();
    }

    /// Makes a checkpoint, and removes the files it does not need.
    pub(crate) fn checkpoint(&mut self) {
        let checkpoint = self.store.snapshot(Checkpoint::default()).into_checkpoint();
        self.store.log().sync_job().run().unwrap();
        self.store.log().release(&checkpoint.segments).run().unwrap();
        self.replay.clear();
        self.checkpoint = Some(checkpoint);
    }

    /// Loses power, opens the store as the last checkpoint left it, and applies again what came after.
    pub(crate) fn crash(&mut self) {
        self.disk.crash();
        self.store = open(&self.disk, self.checkpoint.as_ref());
        self.store.apply(&self.replay).unwrap();
    }

    pub(crate) fn stream(&self) -> WatchStream {
        self.store.watch_hub().stream(self.store.view(), Arc::new(NoSignal))
    }
}

/// A watch with nothing special asked for.
pub(crate) fn watch(range: store::KeyRange) -> Watch {
    Watch { id: 0, range, start_revision: 0, no_put: false, no_delete: false, prev_kv: false }
}

fn open(disk: &SimDisk, checkpoint: Option<&Checkpoint>) -> Store {
    let options = revision_log::Options { segment_bytes: SEGMENT_BYTES };
    Store::open(Arc::new(disk.clone()), Path::new(DIR), options, checkpoint, LEASE_TTL_MIN_S).unwrap()
}
