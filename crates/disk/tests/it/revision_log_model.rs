//! The revision log against a vector: any order of appends, syncs, reopenings, deaths and rewrites.

use disk::revision_log::Size;
use disk::{Location, Revision, RevisionLog, SimDisk};
use proptest::prelude::*;
use proto::checkpointpb::Segment;

use crate::revision_log_rig::*;

#[derive(Debug, Clone)]
enum Op {
    Append {
        value_len: usize,
        deletes: bool,
    },
    Flush,
    Sync,
    Reopen,
    /// The record at this share (of 256) of all dies.
    Kill(u8),
    Reclaim,
    Scan(u8),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => (prop_oneof![8 => 0..200_usize, 1 => 900..3000_usize], any::<bool>())
            .prop_map(|(value_len, deletes)| Op::Append { value_len, deletes }),
        4 => Just(Op::Flush),
        2 => Just(Op::Sync),
        1 => Just(Op::Reopen),
        8 => any::<u8>().prop_map(Op::Kill),
        2 => Just(Op::Reclaim),
        2 => any::<u8>().prop_map(Op::Scan),
    ]
}

/// A record the model knows.
#[derive(Clone)]
struct Known {
    main: i64,
    value_len: usize,
    deletes: bool,
    at: Location,
    live: bool,
}

impl Known {
    fn change(&self) -> Change {
        let key = format!("key-{}", self.main);
        if self.deletes {
            tombstone(self.main, &key)
        } else {
            put(self.main, &key, &"v".repeat(self.value_len))
        }
    }
}

/// The log beside what it should hold.
struct Pair {
    disk: SimDisk,
    log: RevisionLog,
    known: Vec<Known>,
    /// The last list that was made durable, and what was known then.
    durable: (Vec<Segment>, Vec<Known>),
    next_main: i64,
}

impl Pair {
    fn new() -> Pair {
        let disk = SimDisk::new(1);
        let log = open(&disk, &[]).unwrap();
        Pair { disk, log, known: Vec::new(), durable: (Vec::new(), Vec::new()), next_main: 2 }
    }

    fn carry_out(&mut self, op: &Op) {
        match op {
            Op::Append { value_len, deletes } => self.append(*value_len, *deletes),
            Op::Flush => self.log.flush().unwrap(),
            Op::Sync => {
                let listed = sync(&mut self.log).unwrap();
                self.log.release(&listed).run().unwrap();
                self.durable = (listed, self.known.clone());
            }
            Op::Reopen => self.reopen(),
            Op::Kill(share) => {
                let i = self.known.len() * usize::from(*share) / 256;
                if let Some(known) = self.known.get_mut(i).filter(|known| known.live) {
                    known.live = false;
                    self.log.mark_dead(known.at);
                }
            }
            Op::Reclaim => self.reclaim(),
            Op::Scan(share) => self.scan_from(i64::from(*share) * self.next_main / 256),
        }
    }

    fn append(&mut self, value_len: usize, deletes: bool) {
        let at = Location { segment: 0, offset: 0, len: 0 };
        let mut known = Known { main: self.next_main, value_len, deletes, at, live: true };
        known.at = append(&mut self.log, &known.change()).unwrap();
        self.known.push(known);
        self.next_main += 1;
    }

    fn reopen(&mut self) {
        let (listed, known) = self.durable.clone();
        self.known = known;
        self.next_main = self.known.last().map_or(2, |known| known.main + 1);
        self.log = open(&self.disk, &listed).unwrap();
        let loaded = load(&self.log).unwrap();
        assert!(loaded.is_sorted_by(|a, b| a.1.revision < b.1.revision));
        for known in &self.known {
            let found = loaded.iter().find(|(_, meta, _)| *meta == known.change().meta);
            match found {
                Some((key, _, at)) => {
                    assert_eq!(key, format!("key-{}", known.main).as_bytes());
                    assert_eq!(*at, known.at);
                    if !known.live {
                        self.log.mark_dead(*at);
                    }
                }
                None => assert!(!known.live, "revision {} is lost", known.main),
            }
        }
        assert!(loaded.iter().all(|(_, meta, _)| meta.revision.main < self.next_main));
    }

    fn reclaim(&mut self) {
        let Some(plan) = self.log.reclaim_candidate(false) else { return };
        let live: Vec<i64> = self.known.iter().filter(|known| known.live).map(|known| known.main).collect();
        let keep = |_: &[u8], revision: Revision| live.binary_search(&revision.main).is_ok();
        let mut rewritten = plan.run(&keep).unwrap();
        self.log.install(&rewritten);
        for (_, revision, to) in rewritten.moved.by_ref() {
            let i = self.known.binary_search_by_key(&revision.main, |known| known.main).unwrap();
            self.known[i].at = to;
        }
        self.log.retire(&rewritten);
    }

    /// A scan finds all live records that are flushed, in order, and none that never was.
    fn scan_from(&mut self, main: i64) {
        self.log.flush().unwrap();
        let mut found = scan(&self.log, main);
        assert!(found.is_sorted_by(|a, b| a < b));
        assert!(found.iter().all(|found| self.known.iter().any(|known| known.main == *found)));
        found.retain(|found| self.known.iter().any(|known| known.main == *found && known.live));
        let live = self.known.iter().filter(|known| known.live && known.main >= main);
        assert_eq!(found, live.map(|known| known.main).collect::<Vec<_>>());
    }

    /// The size that is counted on the way is the one that adding up gives.
    fn assert_size(&self) {
        let live = self.known.iter().filter(|known| known.live);
        let bytes: u64 = self.log.segments().iter().map(|segment| segment.length).sum();
        let expected = Size { bytes, live_bytes: live.map(|known| known.at.record_len()).sum() };
        assert_eq!(self.log.size(), expected);
    }

    fn assert_live_records_can_be_read(&self) {
        for known in self.known.iter().filter(|known| known.live) {
            assert_eq!(self.log.read(known.at).unwrap(), known.change().key_value);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_log_holds_what_a_vector_would(ops in prop::collection::vec(op(), 1..150)) {
        let mut pair = Pair::new();
        for op in &ops {
            pair.carry_out(op);
            pair.assert_size();
        }
        pair.assert_live_records_can_be_read();
        pair.scan_from(0);
        pair.reopen();
        pair.assert_size();
        pair.assert_live_records_can_be_read();
    }
}
