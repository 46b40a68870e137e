//! The log against a plain model, and its bounds.

use proptest::prelude::*;
use proto::raftpb::HardState;

use super::*;

/// Entries from index 1 on with these terms.
fn run(prev: u64, terms: &[u64]) -> Vec<Entry> {
    (prev + 1..).zip(terms).map(|(index, &term)| Entry { term, index, ..Entry::default() }).collect()
}

fn log_of(terms: &[u64]) -> Log {
    Log::new(&mut Restored { entries: run(0, terms), ..Restored::default() }).unwrap()
}

fn terms(log: &Log) -> Vec<u64> {
    (log.first()..=log.last()).map(|index| log.term(index).unwrap()).collect()
}

#[test]
fn restored_entries_must_follow_each_other() {
    let mut entries = run(0, &[1, 1, 1]);
    entries.remove(1);
    let error = Log::new(&mut Restored { entries, ..Restored::default() }).unwrap_err();
    assert!(matches!(error, Error::InvalidLog { index: 2, .. }));
    let falling = Log::new(&mut Restored { entries: run(0, &[2, 1]), ..Restored::default() });
    assert!(matches!(falling, Err(Error::InvalidLog { index: 2, .. })));
}

#[test]
fn restored_commit_must_be_within_the_log() {
    let hard_state = HardState { term: 1, vote: 0, commit: 3 };
    let restored = Restored { hard_state, entries: run(0, &[1, 1]), ..Restored::default() };
    assert!(matches!(Log::new(&mut { restored }), Err(Error::InvalidLog { index: 2, .. })));
}

#[test]
fn a_configuration_change_is_committed_if_another_follows_it() {
    let committed = |changes: &[u64]| {
        let mut entries = run(0, &[1, 1, 1, 1, 1]);
        for entry in entries.iter_mut().filter(|entry| changes.contains(&entry.index)) {
            entry.r#type = EntryType::EntryConfChangeV2 as i32;
        }
        let hard_state = HardState { term: 1, vote: 0, commit: 1 };
        Log::new(&mut Restored { hard_state, entries, ..Restored::default() }).unwrap().committed()
    };
    assert_eq!(committed(&[]), 1);
    assert_eq!(committed(&[4]), 1);
    assert_eq!(committed(&[2, 3, 5]), 3);
}

#[test]
fn applied_index_raises_a_commit_that_was_not_synced() {
    let log =
        Log::new(&mut Restored { entries: run(0, &[1, 1]), applied: 2, ..Restored::default() }).unwrap();
    assert_eq!(log.committed(), 2);
}

#[test]
fn entries_without_their_predecessor_are_refused() {
    let mut log = log_of(&[1, 1]);
    assert_eq!(log.append_after(3, 1, run(3, &[1])), None);
    assert_eq!(log.append_after(2, 2, run(2, &[2])), None);
    assert_eq!(terms(&log), [1, 1]);
}

#[test]
fn conflicting_tail_is_replaced_and_known_entries_stay() {
    let mut log = log_of(&[1, 1, 2, 2]);
    assert_eq!(log.append_after(1, 1, run(1, &[1])), Some(2));
    assert_eq!(terms(&log), [1, 1, 2, 2], "an old message must not cut what follows");
    assert_eq!(log.append_after(2, 1, run(2, &[3])), Some(3));
    assert_eq!(terms(&log), [1, 1, 3]);
}

#[test]
#[should_panic(expected = "conflicts with committed 2")]
fn committed_entries_never_change() {
    let mut log = log_of(&[1, 1]);
    log.commit_to(2);
    log.append_after(0, 0, run(0, &[2]));
}

#[test]
#[should_panic(expected = "lost entries that it acknowledged")]
fn commit_beyond_the_log_is_data_loss() {
    log_of(&[1]).commit_to(2);
}

#[test]
fn entries_are_emitted_once_committed_and_durable() {
    let mut log = log_of(&[]);
    log.push(1, EntryType::EntryNormal, Bytes::new());
    log.push(1, EntryType::EntryNormal, Bytes::new());
    assert_eq!(log.hand_out(1).len(), 2);
    log.commit_to(1);
    assert!(log.emit_committed(u64::MAX).is_empty());
    log.persisted(1);
    assert_eq!(log.emit_committed(u64::MAX).len(), 1);
    assert!(log.emit_committed(u64::MAX).is_empty());
    log.commit_to(2);
    assert_eq!(log.emit_committed(u64::MAX)[0].index, 2);
}

#[test]
fn confirmed_write_of_a_removed_tail_does_not_count() {
    let mut log = log_of(&[1]);
    log.append_after(1, 1, run(1, &[2, 2, 2]));
    log.hand_out(1);
    log.append_after(1, 1, run(1, &[3]));
    log.hand_out(2);
    log.append_after(1, 1, run(1, &[4, 4, 4]));
    log.hand_out(3);
    log.persisted(2);
    assert_eq!(log.durable(), 1);
    log.persisted(3);
    assert_eq!(log.durable(), 4);
}

#[test]
fn messages_are_paged_by_bytes_with_at_least_one_entry() {
    let mut log = log_of(&[]);
    for _ in 0..4 {
        log.push(1, EntryType::EntryNormal, Bytes::from_static(&[0; 68]));
    }
    assert_eq!(log.entries_from(1, 250).len(), 2);
    assert_eq!(log.entries_from(2, 1).len(), 1);
    assert_eq!(log.entries_from(1, 1 << 20).len(), 4);
}

#[test]
fn agreement_guess_skips_a_whole_term() {
    let log = log_of(&[1, 1, 3, 3, 3]);
    assert_eq!(log.guess_agreement(9, 2), (2, 1));
    assert_eq!(log.guess_agreement(4, 3), (4, 3));
    assert_eq!(log.guess_agreement(5, 0), (0, 0));
}

#[test]
fn compaction_keeps_the_term_of_the_last_forgotten_entry() {
    let mut log = log_of(&[1, 2, 2]);
    log.commit_to(3);
    log.emit_committed(u64::MAX);
    log.applied_to(3);
    log.compact(2);
    assert_eq!((log.first(), log.term(1), log.term(2), log.term(3)), (3, None, Some(2), Some(2)));
    log.compact(1);
    assert_eq!(log.first(), 3);
    assert_eq!(log.guess_agreement(2, 1), (1, 0));
}

#[test]
fn what_is_kept_of_the_applied_entries_is_bounded_in_bytes() {
    let mut log = log_of(&[1; 10]);
    for _ in 0..10 {
        log.push(1, EntryType::EntryNormal, Bytes::from_static(&[0; 1000]));
    }
    log.commit_to(20);
    let bytes = |n| n * (1000 + ENTRY_OVERHEAD_BYTES);
    assert_eq!(log.compaction_to_bytes(bytes(4)), 0, "nothing is applied yet");
    log.hand_out(1);
    log.persisted(1);
    log.emit_committed(u64::MAX);
    log.applied_to(18);
    assert_eq!(log.compaction_to_bytes(u64::MAX), 0);
    assert_eq!(log.compaction_to_bytes(bytes(4)), 16);
    assert_eq!(log.compaction_to_bytes(0), 18, "what is not applied stays");
    log.compact(16);
    assert_eq!(log.compaction_to_bytes(bytes(4)), 16);
    assert_eq!(log.compaction_to_bytes(bytes(3)), 17);
}

proptest! {
    /// A follower's log against the plain rule: keep what agrees, replace from the first conflict on.
    #[test]
    fn append_equals_the_plain_rule(
        own in prop::collection::vec(1u64..4, 0..12),
        prev in 0usize..12,
        new in prop::collection::vec(1u64..5, 0..12),
    ) {
        let sorted = |mut terms: Vec<u64>| { terms.sort_unstable(); terms };
        let (own, new) = (sorted(own), sorted(new));
        prop_assume!(prev <= own.len());
        let prev_term = prev.checked_sub(1).map_or(0, |at| own[at]);
        prop_assume!(new.first().is_none_or(|&term| term >= prev_term));

        let agreed = own[prev..].iter().zip(&new).take_while(|(a, b)| a == b).count();
        let mut expected = own.clone();
        if agreed < new.len() {
            expected.truncate(prev + agreed);
            expected.extend(&new[agreed..]);
        }
        let mut log = log_of(&own);
        log.append_after(prev as u64, prev_term, run(prev as u64, &new));
        prop_assert_eq!(terms(&log), expected);
    }

    /// Whatever is handed out and confirmed, durable covers exactly the prefix on a disk that writes in
    /// order.
    #[test]
    fn durable_prefix_is_what_a_disk_holds(steps in prop::collection::vec((0u64..8, 0usize..4, 0u64..3), 1..60)) {
        let mut log = log_of(&[]);
        let (mut disk, mut writes, mut term) = (Vec::new(), VecDeque::new(), 1);
        for (seq, (keep, count, confirm)) in (1..).zip(steps) {
            term += 1;
            let prev = keep.min(log.last());
            log.append_after(prev, log.term(prev).unwrap(), run(prev, &vec![term; count]));
            writes.push_back((seq, log.hand_out(seq)));
            for _ in 0..confirm {
                let Some((seq, entries)) = writes.pop_front() else { break };
                if let Some(first) = entries.first() {
                    disk.truncate(first.index as usize - 1);
                }
                disk.extend(entries);
                log.persisted(seq);
            }
            for index in 1..=log.durable() {
                let on_disk: &Entry = &disk[index as usize - 1];
                prop_assert_eq!(Some(on_disk.term), log.term(index));
            }
        }
    }
}

#[test]
fn a_snapshot_leaves_no_entries_and_counts_no_bytes_of_them() {
    let mut log = log_of(&[1, 1, 2]);
    assert!(log.uncommitted_bytes() > 0);
    log.restore(9, 2);
    assert_eq!((log.uncommitted_bytes(), log.first(), log.last(), log.last_term()), (0, 10, 9, 2));
    assert_eq!((log.committed(), log.applied(), log.term(9), log.term(3)), (9, 9, Some(2), None));
    log.append_after(9, 2, run(9, &[3, 3])).unwrap();
    log.commit_to(11);
    assert_eq!(log.uncommitted_bytes(), 0);
    let both = 2 * ENTRY_OVERHEAD_BYTES;
    assert_eq!((log.compaction_to_bytes(both), log.compaction_to_bytes(0)), (9, 9), "11 is not applied");
}
