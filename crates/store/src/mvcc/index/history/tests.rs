//! Golden cases of generations. A history is written as its changes: `2 5 7t` is a put at main revision 2,
//! one at 5 and a tombstone at 7; `5.1` is the second change of transaction 5.

use super::*;

fn location(revision: Revision) -> Location {
    Location { segment: 1, offset: u32::try_from(revision.main).unwrap(), len: revision.sub }
}

fn change(word: &str) -> Newest {
    let number = word.trim_end_matches('t');
    let (main, sub) = number.split_once('.').unwrap_or((number, "0"));
    let revision = Revision { main: main.parse().unwrap(), sub: sub.parse().unwrap() };
    let tombstone = word.ends_with('t');
    Newest { revision, tombstone, create_revision: 0, version: 0, location: location(revision) }
}

fn history(text: &str) -> History {
    let mut changes = text.split(' ').map(change);
    let mut history = History::new(&changes.next().unwrap());
    changes.for_each(|change| history.push(&change));
    history
}

fn word(change: &Change) -> String {
    let Revision { main, sub } = change.revision();
    let sub = if sub > 0 { format!(".{sub}") } else { String::new() };
    let kind = if change.is_tombstone() { "t" } else { "" };
    format!("{main}{sub}{kind}")
}

/// What is retained after a compaction, as text; empty if nothing is.
fn compacted(text: &str, at: i64) -> String {
    let retained: Vec<String> =
        history(text).retained(at, at, Revision::default()).map(|(change, _)| word(change)).collect();
    retained.join(" ")
}

#[test]
fn compaction_keeps_the_last_put_up_to_it_and_all_later_changes() {
    for (at, left) in [
        (-1, "2 5 7t 9 12"),
        (0, "2 5 7t 9 12"),
        (2, "2 5 7t 9 12"),
        (4, "2 5 7t 9 12"),
        (5, "5 7t 9 12"),
        (6, "5 7t 9 12"),
        (7, "7t 9 12"),
        (8, "9 12"),
        (9, "9 12"),
        (11, "9 12"),
        (12, "12"),
        (99, "12"),
    ] {
        assert_eq!(compacted("2 5 7t 9 12", at), left, "compacted at {at}");
    }
}

#[test]
fn a_tombstone_is_kept_exactly_at_the_compacted_revision() {
    for (text, at, left) in [
        ("2 7t", 6, "2 7t"),
        ("2 7t", 7, "7t"),
        ("2 7t", 8, ""),
        ("7t", 7, "7t"),
        ("7t", 8, ""),
        // Put and deleted, or deleted and put, in one transaction.
        ("5 5.1t", 5, "5.1t"),
        ("2 5t 5.1", 5, "5.1"),
        ("2 5t 5.1 6", 6, "6"),
    ] {
        assert_eq!(compacted(text, at), left, "{text} compacted at {at}");
    }
}

#[test]
fn trimming_drops_exactly_what_is_not_retained() {
    for text in ["2", "2 5", "2 5 7t", "2 7t 9", "7t", "7t 8", "2 5t 5.1 6", "2 3 4 5 6 7 8 9 10 11"] {
        for at in 0..14 {
            for step in [1, 2, 3, usize::MAX] {
                assert_trims_what_is_not_retained(history(text), at, step);
            }
        }
    }
}

/// Trims `history` at `at`, up to `step` changes at a time.
fn assert_trims_what_is_not_retained(mut history: History, at: i64, step: usize) {
    let all = |history: &History| history.changes_from(Revision::default()).copied().collect::<Vec<_>>();
    let before = all(&history);
    let retained: Vec<Change> =
        history.retained(at, at, Revision::default()).map(|(change, _)| *change).collect();
    let mut dropped = Vec::new();
    let trimmed = loop {
        let n_before = dropped.len();
        let mut budget = step;
        match history.trim(at, &[], &mut budget, &mut |change| dropped.push(change.location)) {
            Trimmed::Unfinished => assert_eq!(budget, 0),
            done => break done,
        }
        assert_eq!(dropped.len() - n_before, step, "it goes as far as it may");
        let still: Vec<Change> =
            history.retained(at, at, Revision::default()).map(|(change, _)| *change).collect();
        assert_eq!(still, retained, "a step changes nothing that can be seen");
    };
    let gone = &before[..before.len() - retained.len()];
    assert_eq!(dropped, gone.iter().map(|change| change.location).collect::<Vec<_>>());
    assert_eq!(trimmed == Trimmed::Gone, retained.is_empty());
    if trimmed == Trimmed::Done {
        assert_eq!(all(&history), retained);
        let again = history.trim(at, &[], &mut { usize::MAX }, &mut |_| panic!("trimmed twice"));
        assert_eq!(again, Trimmed::Done);
    }
}

#[test]
fn twice_as_many_versions_take_at_most_twice_the_work() {
    crate::work::assert_linear(500, |n| {
        let before = crate::work::steps();
        let mut history = history("2");
        for main in 3..n as i64 {
            history.push(&change(&main.to_string()));
        }
        while history.trim(n as i64, &[], &mut 7, &mut |_| ()) == Trimmed::Unfinished {}
        crate::work::steps() - before
    });
}

#[test]
fn retained_changes_can_be_visited_from_any_of_them_on() {
    let history = history("2 3 4 5 6 7 8 9 10 11 12");
    let all: Vec<Change> = history.retained(5, 9, Revision::default()).map(|(change, _)| *change).collect();
    for (n, change) in all.iter().enumerate() {
        let rest: Vec<Change> =
            history.retained(5, 9, change.revision()).map(|(change, _)| *change).collect();
        assert_eq!(rest, all[n..]);
    }
}

#[test]
fn a_hash_keeps_the_last_put_in_the_generation_of_its_revision() {
    for (text, compacted, at, kept) in [
        // An open generation: the newest put up to the hashed revision.
        ("2 5 9", -1, 1, ""),
        ("2 5 9", -1, 2, "2"),
        ("2 5 9", -1, 8, "5"),
        ("2 5 9", -1, 99, "9"),
        // A closed one: its puts up to the tombstone, then nothing.
        ("2 5 7t", -1, 6, "5"),
        ("2 5 7t", -1, 7, ""),
        ("2 5 7t", -1, 8, ""),
        // Between two generations nothing is kept; from the second on, that one counts.
        ("2 7t 9 12", -1, 7, ""),
        ("2 7t 9 12", -1, 8, ""),
        ("2 7t 9 12", -1, 9, "9"),
        ("2 7t 9 12", -1, 11, "9"),
        // A generation that a transaction opens and closes at once.
        ("2 4t 5 5.1t 8", -1, 5, ""),
        // A generation ends at the hashed revision and the next one begins there: the first one counts.
        ("2 5t 5.1", -1, 5, ""),
        ("2 5t 5.1", -1, 6, "5.1"),
        // After a compaction at the hashed revision itself.
        ("2 5 9", 5, 5, "5"),
        ("2 5 7t", 7, 7, ""),
        ("2 5 7t 9", 7, 9, "9"),
    ] {
        let history = history(text);
        let kept_changes: Vec<String> = history
            .retained(compacted, at, Revision::default())
            .filter(|(_, kept)| *kept)
            .map(|(change, _)| word(change))
            .collect();
        assert_eq!(kept_changes.join(" "), kept, "{text} compacted at {compacted}, hashed at {at}");
    }
}

#[test]
fn trimming_does_not_alter_what_a_hash_keeps() {
    for text in ["2 5 7t 9 12", "2 5t 5.1 6", "2 4t 5 5.1t 8", "7t 8 9t"] {
        for compacted in 0..14 {
            for at in compacted..14 {
                let mut trimmed = history(text);
                if trimmed.trim(compacted, &[], &mut { usize::MAX }, &mut |_| ()) == Trimmed::Done {
                    let (expected, from) = (history(text), Revision::default());
                    assert!(expected.retained(compacted, at, from).eq(trimmed.retained(compacted, at, from)));
                }
            }
        }
    }
}

#[test]
fn a_read_sees_the_last_put_up_to_its_revision() {
    let history = history("2 5 5.1 7t 9");
    let seen = |at| history.at(at).map(|found| (found.revision.main, found.revision.sub));
    assert_eq!(seen(1), None);
    assert_eq!(seen(4), Some((2, 0)));
    assert_eq!(seen(5), Some((5, 1)));
    assert_eq!([7, 8].map(seen), [None, None]);
    assert_eq!(seen(9), Some((9, 0)));
}

#[test]
fn only_the_newest_change_has_its_generation_at_hand() {
    let mut history = history("2");
    history.push(&Newest { create_revision: 2, version: 2, ..change("3") });
    assert_eq!(history.at(2).unwrap().generation, None);
    assert_eq!(history.at(3).unwrap().generation, Some((2, 2)));
}

#[test]
#[should_panic(expected = "revision order")]
fn a_change_that_is_not_newer_is_refused() {
    history("2 5").push(&change("5"));
}

#[test]
fn a_history_takes_48_bytes() {
    assert_eq!(size_of::<History>(), 48);
}
