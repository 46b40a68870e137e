//! Histories that cannot be: each check finds the one that it is there for.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::super::history::{Change, History, Kept, Lease, Outcome, Read, Revisions, Seen, Write};
use super::Verdict;

/// Builds times, so many milliseconds after the beginning of a history.
#[derive(Clone, Copy)]
struct Clock(Instant);

impl Clock {
    fn at(self, ms: u64) -> Instant {
        self.0 + Duration::from_millis(ms)
    }
}

fn key(name: &str) -> Bytes {
    name.to_owned().into()
}

fn change(name: &str, stamp: u64) -> Change {
    Change { key: key(name), stamp: Some(stamp) }
}

/// A history that is right: revision 2 puts `a`, 3 puts it again on condition, 4 and 5 are the life of a lease's key.
struct Story {
    clock: Clock,
    history: History,
    revisions: Revisions,
}

impl Story {
    fn new() -> Story {
        let clock = Clock(Instant::now());
        let mut story = Story { clock, history: History::default(), revisions: Revisions::new() };
        story.done(0, "a", 1, 2);
        story.done(100, "a", 2, 3);
        story.history.writes[1].demanded = Some(2);
        story.done(200, "/leased/l", 3, 4);
        let end = Change { key: key("/leased/l"), stamp: None };
        story.revisions.insert(5, Seen { changes: vec![end], at: clock.at(3300) });
        let lease = Lease {
            key: key("/leased/l"),
            promises: vec![(clock.at(190), Duration::from_secs(3))],
            revocation_asked: None,
        };
        story.history.leases.push(lease);
        story.read(150, 3, Some(Kept { revision: 3, stamp: 2 }));
        story
    }

    /// A put that takes 50 ms, and the watchers' word of it.
    fn done(&mut self, asked_ms: u64, name: &str, stamp: u64, revision: i64) {
        let (asked, answered) = (self.clock.at(asked_ms), self.clock.at(asked_ms + 50));
        let changes = vec![change(name, stamp)];
        self.revisions.insert(revision, Seen { changes: changes.clone(), at: answered });
        let outcome = Outcome::Done { answered, revision };
        self.history.writes.push(Write { asked, changes, demanded: None, outcome });
    }

    /// A linearizable read of `a`.
    fn read(&mut self, asked_ms: u64, revision: i64, found: Option<Kept>) {
        self.history.reads.push(Read {
            asked: self.clock.at(asked_ms),
            answered: self.clock.at(asked_ms + 10),
            is_linearizable: true,
            start: key("a"),
            end: key("b"),
            revision,
            found: found.into_iter().map(|kept| (key("a"), kept)).collect(),
        });
    }

    fn verdict(self) -> Result<(), String> {
        Verdict::new().check(self.history, vec![self.revisions.clone(), self.revisions])
    }
}

/// Tells the story with a change that makes it impossible; asserts that the check says so in these words.
fn assert_found(words: &str, falsify: impl FnOnce(&mut Story)) {
    let mut story = Story::new();
    falsify(&mut story);
    let violation = story.verdict().unwrap_err();
    assert!(violation.contains(words), "{violation}");
}

#[test]
fn a_history_that_is_right_passes() {
    Story::new().verdict().unwrap();
}

#[test]
fn an_acknowledged_write_that_is_lost_is_found() {
    assert_found("acknowledged at 4, but found at None", |story| {
        story.revisions.get_mut(&4).unwrap().changes[0].stamp = None;
    });
}

#[test]
fn a_write_at_another_revision_than_was_acknowledged_is_found() {
    assert_found("acknowledged at 3, but found at Some(2)", |story| {
        story.revisions.get_mut(&2).unwrap().changes[0].stamp = Some(2);
        story.revisions.get_mut(&3).unwrap().changes[0].stamp = Some(1);
        story.history.writes.swap(0, 1);
    });
}

#[test]
fn a_write_that_is_carried_out_twice_is_found() {
    assert_found("a write was carried out at 3 and at 6", |story| {
        let again = story.revisions[&3].clone();
        story.revisions.insert(6, again);
    });
}

#[test]
fn a_write_that_nobody_asked_for_is_found() {
    assert_found("nobody wrote stamp 9", |story| {
        let seen = Seen { changes: vec![change("a", 9)], at: story.clock.at(4000) };
        story.revisions.insert(6, seen);
    });
    assert_found("nobody deleted", |story| {
        let delete = Change { key: key("a"), stamp: None };
        story.revisions.insert(6, Seen { changes: vec![delete], at: story.clock.at(4000) });
    });
}

#[test]
fn a_write_that_changes_something_else_is_found() {
    assert_found("revision 2 is", |story| story.history.writes[0].changes.push(change("b", 8)));
}

#[test]
fn a_refused_write_that_is_carried_out_is_found() {
    assert_found("refused, but carried out at 2", |story| story.history.writes[0].outcome = Outcome::Refused);
}

#[test]
fn a_write_in_doubt_may_be_carried_out_in_this_round_or_a_later_one_or_never() {
    let mut story = Story::new();
    story.history.writes[2].outcome = Outcome::InDoubt;
    for stamp in [20, 21] {
        let write = Write { changes: vec![change("a", stamp)], ..story.history.writes[2].clone() };
        story.history.writes.push(write);
    }
    let (clock, mut verdict) = (story.clock, Verdict::new());
    verdict.check(story.history, vec![story.revisions]).unwrap();
    assert_eq!((verdict.in_doubt.len(), verdict.n_surprises), (2, 1));
    let late = Seen { changes: vec![change("a", 20)], at: clock.at(5000) };
    verdict.check(History::default(), vec![Revisions::from([(6, late)])]).unwrap();
    assert_eq!((verdict.in_doubt.len(), verdict.n_surprises), (1, 2));
}

#[test]
fn a_condition_that_was_not_met_is_found() {
    assert_found("was of revision 2 before", |story| story.history.writes[1].demanded = Some(0));
}

#[test]
fn a_condition_that_was_met_and_called_unmet_is_found() {
    let unmet = |story: &mut Story, found| {
        let outcome = Outcome::Unmet { answered: story.clock.at(260), revision: 3, found };
        let write = Write {
            changes: vec![change("a", 30)],
            demanded: Some(3),
            outcome,
            ..story.history.writes[1].clone()
        };
        story.history.writes.push(Write { asked: story.clock.at(160), ..write });
    };
    assert_found("was of revision 3 before", |story| unmet(story, Some(Kept { revision: 3, stamp: 2 })));
    assert_found("at 3, not None", |story| unmet(story, None));
}

#[test]
fn a_read_of_a_state_that_never_was_is_found() {
    assert_found("expected [", |story| story.read(160, 3, Some(Kept { revision: 2, stamp: 1 })));
    assert_found("expected [", |story| story.read(160, 3, None));
    assert_found("never had the revision", |story| story.read(160, 7, None));
}

#[test]
fn a_stale_read_is_found_and_a_serializable_one_may_be_stale() {
    let stale = |story: &mut Story| story.read(160, 2, Some(Kept { revision: 2, stamp: 1 }));
    assert_found("somebody had been told of revision 3 before", stale);
    let mut story = Story::new();
    stale(&mut story);
    story.history.reads[1].is_linearizable = false;
    story.verdict().unwrap();
}

#[test]
fn a_read_older_than_another_read_or_a_watch_is_found() {
    // Both are asked before the write is acknowledged, one after the other is answered.
    assert_found("somebody had been told of revision 3 before", |story| {
        story.read(110, 3, Some(Kept { revision: 3, stamp: 2 }));
        story.read(125, 2, Some(Kept { revision: 2, stamp: 1 }));
    });
    assert_found("somebody had been told of revision 3 before", |story| {
        story.revisions.get_mut(&3).unwrap().at = story.clock.at(120);
        story.read(125, 2, Some(Kept { revision: 2, stamp: 1 }));
    });
}

#[test]
fn a_write_that_is_ordered_before_one_that_was_acknowledged_earlier_is_found() {
    assert_found("somebody had been told of revision 3 before", |story| {
        story.history.writes[0].asked = story.clock.at(160);
        story.history.writes[0].outcome = Outcome::InDoubt;
    });
}

#[test]
fn watchers_that_are_told_different_things_are_found() {
    let story = Story::new();
    let mut other = story.revisions.clone();
    other.get_mut(&3).unwrap().changes.push(change("b", 4));
    let violation = Verdict::new().check(story.history, vec![story.revisions, other]).unwrap_err();
    assert!(violation.contains("watchers differ: 3"), "{violation}");
}

#[test]
fn a_lease_that_ends_before_its_promise_is_found_unless_it_was_revoked() {
    let early = |story: &mut Story| story.revisions.get_mut(&5).unwrap().at = story.clock.at(3100);
    assert_found("was deleted 2.91s after a promise of 3s", early);
    let mut story = Story::new();
    early(&mut story);
    story.history.leases[0].revocation_asked = Some(story.clock.at(3000));
    story.verdict().unwrap();
}

#[test]
fn a_renewal_of_a_lease_that_has_ended_is_found() {
    assert_found("after a promise", |story| {
        let renewal = (story.clock.at(3400), Duration::from_secs(3));
        story.history.leases[0].promises.push(renewal);
    });
}

#[test]
fn a_lease_that_never_ends_is_found() {
    assert_found("never ended", |story| drop(story.revisions.remove(&5)));
}
