//! Power lost at every effect: what was synced is there, and nothing is there by half.

use disk::{Error, SimDisk, Wal};
use proptest::prelude::*;
use proto::raftpb::{Entry, HardState};

use crate::wal_rig::{MEMBER, Model, Step, create, open};

/// A life with every kind of effect: two file changes, one prepared; replaced entries; a release.
fn life() -> Vec<Step> {
    let append =
        |replaced, lens: &[usize]| Step::Append { replaced, lens: lens.to_vec(), commit: replaced == 0 };
    let mut steps = vec![
        append(0, &[10, 700, 30]),
        Step::Sync,
        append(0, &[1200]),
        append(0, &[5, 5, 900]),
        Step::Sync,
        Step::Prepare,
        append(0, &[2500]),
        append(2, &[100, 1]),
        Step::Sync,
        Step::Checkpoint,
        Step::Release,
    ];
    // The second time files come back, the third time they are full of the second.
    let once = steps.clone();
    steps.extend_from_slice(&once);
    steps.extend(once);
    steps
}

/// Runs `life` until power is lost. Returns the states of the model that may be found: the last durable one first.
fn live(wal: &mut Wal, steps: &[Step], from: &Model) -> (Vec<Model>, bool) {
    let mut model = from.clone();
    let mut possible = vec![from.clone()];
    for step in steps {
        let done = model.run(wal, step);
        possible.push(model.clone());
        match done {
            Ok(true) => drop(possible.drain(..possible.len() - 1)),
            Ok(false) => {}
            Err(_) => return (possible, true),
        }
    }
    (possible, false)
}

/// Whether the log may hold `found`: at least `possible[0]`, and then the batches after it up to any entry.
fn is_possible(possible: &[Model], found: &Model) -> bool {
    let torn = possible.windows(2).any(|pair| {
        let [before, after] = pair else { return false };
        let unchanged = before.entries.iter().zip(&after.entries).take_while(|(a, b)| a == b).count();
        // The state stands behind the entries it came with: it is only there if all of them are.
        found.state == reached(before.state, &found.entries)
            && (unchanged + 1..=after.entries.len()).any(|end| found.entries == after.entries[..end])
    });
    torn || possible.iter().any(|model| model.entries == found.entries && model.state == found.state)
}

/// The state as opened: an entry whose state was lost still proves its term.
fn reached(state: HardState, entries: &[Entry]) -> HardState {
    match entries.last() {
        Some(last) if last.term > state.term => HardState { term: last.term, vote: 0, ..state },
        _ => state,
    }
}

/// Loses power after `n` effects of `life`, which goes on from `model`, and opens the log; returns what it then holds,
/// and whether the life was over before.
fn crash_in(life: &[Step], n: u64, disk: &SimDisk, wal: Wal, model: &Model) -> (Wal, Model, bool) {
    end_in(SimDisk::crash, life, n, disk, wal, model)
}

/// The same for a life that ends by `end`: with the power, or as a process that is killed.
fn end_in(
    end: fn(&SimDisk),
    life: &[Step],
    n: u64,
    disk: &SimDisk,
    mut wal: Wal,
    model: &Model,
) -> (Wal, Model, bool) {
    disk.crash_at_op(n);
    let (possible, crashed) = live(&mut wal, life, model);
    end(disk);

    let checkpoint = possible[0].checkpoint;
    let (wal, recovered) =
        open(disk, checkpoint).unwrap_or_else(|error| panic!("after {n} effects: {error}"));
    assert_eq!(recovered.metadata, MEMBER);
    let entries = [&possible[0].entries[..checkpoint as usize], &recovered.entries].concat();
    let found = Model { entries, state: recovered.hard_state, checkpoint };
    assert!(is_possible(&possible, &found), "after {n} effects: found {found:?}\nof {possible:?}");
    (wal, found, !crashed)
}

/// Crashes after `n` effects of `life`; returns whether the life was over before.
fn crash_after(n: u64, seed: u64) -> bool {
    let disk = SimDisk::new(seed);
    let wal = create(&disk).unwrap();
    let (mut wal, found, is_over) = crash_in(&life(), n, &disk, wal, &Model::default());
    let checkpoint = found.checkpoint;

    // The log that came back is as good as a new one.
    let (after, _) = live(&mut wal, &life()[..9], &found);
    drop(wal);
    let (_, again) = open(&disk, checkpoint).unwrap();
    assert_eq!(again.entries, after[0].entries_above(checkpoint), "crash after {n} effects, seed {seed}");
    assert_eq!(again.repaired, None, "crash after {n} effects, seed {seed}");
    is_over
}

#[test]
fn synced_entries_outlive_a_crash_at_every_effect() {
    for seed in 0..25 {
        let effects = (0..1000).find(|&n| crash_after(n, seed * 1000 + n)).unwrap();
        assert!(effects > 40, "the life has only {effects} effects");
    }
}

#[test]
fn what_is_synced_after_a_killed_process_outlives_a_loss_of_power() {
    for seed in 0..8 {
        for n in 0..1000 {
            let disk = SimDisk::new(seed * 1000 + n);
            let wal = create(&disk).unwrap();
            let (wal, found, is_over) = end_in(SimDisk::kill, &life(), n, &disk, wal, &Model::default());
            // The second process appends a little, syncs it, and loses power before it does anything else.
            let append = Step::Append { replaced: 0, lens: vec![10], commit: true };
            crash_in(&[append, Step::Sync], 1000, &disk, wal, &found);
            if is_over {
                break;
            }
        }
    }
}

/// Small batches, a few between two syncs, in files that come back all the time.
fn small_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => prop::collection::vec(0..150_usize, 1..3)
            .prop_map(|lens| Step::Append { replaced: 0, lens, commit: true }),
        2 => Just(Step::Sync),
        1 => Just(Step::Checkpoint),
        2 => Just(Step::Release),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn synced_entries_outlive_a_crash_in_files_used_again(
        lives in prop::collection::vec((prop::collection::vec(small_step(), 100), 20..120_u64), 8),
        seed in any::<u64>(),
    ) {
        let disk = SimDisk::new(seed);
        let (mut wal, mut model) = (create(&disk).unwrap(), Model::default());
        for (life, n) in lives {
            (wal, model, _) = crash_in(&life, n, &disk, wal, &model);
        }
    }
}

#[test]
fn a_crash_while_a_log_is_created_leaves_none_or_a_whole_one() {
    let (mut none, mut whole) = (0, 0);
    for n in 0..20 {
        for seed in 0..20 {
            let disk = SimDisk::new(seed);
            disk.crash_at_op(n);
            let created = create(&disk).is_ok();
            disk.crash();
            match open(&disk, 0) {
                Ok((_, recovered)) => {
                    assert_eq!((recovered.metadata, recovered.entries.len()), (MEMBER, 0));
                    whole += 1;
                }
                Err(Error::Io { op: "open", .. } | Error::Missing { .. }) if !created => {
                    create(&disk).unwrap_or_else(|error| panic!("{n} {seed}: {error}"));
                    none += 1;
                }
                Err(error) => panic!("crash after {n} effects, seed {seed}, created {created}: {error}"),
            }
        }
    }
    assert!(none > 50 && whole > 50, "none {none}, whole {whole}");
}

#[test]
fn a_crash_while_a_torn_end_is_mended_loses_nothing_more() {
    for seed in 0..200 {
        let disk = SimDisk::new(seed);
        let mut wal = create(&disk).unwrap();
        let mut model = Model::default();
        model.run(&mut wal, &life()[0]).unwrap();
        wal.sync().unwrap();
        let synced = model.clone();
        model.run(&mut wal, &Step::Append { replaced: 0, lens: vec![1500], commit: false }).unwrap();
        disk.crash();
        disk.crash_at_op(seed % 6);
        let _ = open(&disk, 0);
        disk.crash();
        let (_, recovered) = open(&disk, 0).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!(recovered.entries[..synced.entries.len()], synced.entries, "seed {seed}");
    }
}

#[test]
fn a_mended_end_is_durable_before_anything_is_appended() {
    // Unlike in each life, so that what is left of one cannot pass for a part of the next.
    let long = |life: usize| Step::Append { replaced: 0, lens: vec![100 * life + 10, 2500], commit: false };
    for seed in 0..200 {
        let disk = SimDisk::new(seed);
        let mut wal = create(&disk).unwrap();
        Model::default().run(&mut wal, &long(0)).unwrap();
        for life in 1..4 {
            disk.crash();
            let (mut wal, recovered) =
                open(&disk, 0).unwrap_or_else(|error| panic!("seed {seed}, life {life}: {error}"));
            let mut model = Model { entries: recovered.entries, state: recovered.hard_state, checkpoint: 0 };
            model.run(&mut wal, &long(life)).unwrap();
        }
    }
}
