//! Random use of a log: what is reopened equals what was appended.

use std::sync::Arc;

use disk::{RealDisk, SimDisk, Wal};
use proptest::prelude::*;

use crate::wal_rig::{MEMBER, Model, SEGMENT, Step, create, open};

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..3_u64, prop::collection::vec(0..1500_usize, 1..5), any::<bool>())
            .prop_map(|(replaced, lens, commit)| Step::Append { replaced, lens, commit }),
        2 => Just(Step::Sync),
        1 => Just(Step::Checkpoint),
        1 => Just(Step::Prepare),
        1 => Just(Step::Release),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_reopened_log_equals_the_model(lives in prop::collection::vec(prop::collection::vec(step(), 0..12), 1..4)) {
        let disk = SimDisk::new(0);
        let mut model = Model::default();
        let mut wal = create(&disk).unwrap();
        for steps in lives {
            for step in steps {
                model.run(&mut wal, &step).unwrap();
            }
            drop(wal);
            let (reopened, recovered) = open(&disk, model.checkpoint).unwrap();
            prop_assert_eq!(&recovered.entries[..], model.entries_above(model.checkpoint));
            prop_assert_eq!(recovered.hard_state, model.state);
            prop_assert_eq!(recovered.repaired, None);
            prop_assert!(recovered.snapshots.iter().any(|snapshot| snapshot.index == model.checkpoint));
            wal = reopened;
        }
    }

    #[test]
    fn a_log_opens_from_any_index_it_still_holds(steps in prop::collection::vec(step(), 1..20)) {
        let disk = SimDisk::new(0);
        let mut model = Model::default();
        let mut wal = create(&disk).unwrap();
        for step in steps {
            model.run(&mut wal, &step).unwrap();
        }
        for from_index in model.checkpoint..=model.state.commit {
            let (_, recovered) = open(&disk, from_index).unwrap();
            prop_assert_eq!(&recovered.entries[..], model.entries_above(from_index));
        }
    }
}

#[test]
fn a_log_on_the_real_disk_equals_the_model() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("wal");
    let disk = Arc::new(RealDisk);
    let mut model = Model::default();
    let mut wal = Wal::create_sized(disk.clone(), &dir, MEMBER, SEGMENT).unwrap();
    for life in 0..3 {
        for size in [10, 900, 3000] {
            let lens = vec![size, size + life];
            model.run(&mut wal, &Step::Append { replaced: 0, lens, commit: true }).unwrap();
            model.run(&mut wal, &Step::Prepare).unwrap();
            model.run(&mut wal, &Step::Sync).unwrap();
        }
        model.run(&mut wal, &Step::Checkpoint).unwrap();
        model.run(&mut wal, &Step::Append { replaced: 0, lens: vec![50], commit: false }).unwrap();
        model.run(&mut wal, &Step::Release).unwrap();
        drop(wal);
        let (reopened, recovered) = Wal::open_sized(disk.clone(), &dir, model.checkpoint, SEGMENT).unwrap();
        assert_eq!(recovered.entries, model.entries_above(model.checkpoint));
        assert_eq!((recovered.hard_state, recovered.repaired), (model.state, None));
        wal = reopened;
    }
}
