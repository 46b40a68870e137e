//! Whether what clients were told can be true of one store that does one thing at a time.
//!
//! Watchers tell the order of all writes, so nothing has to be searched for. The history of a round is right if
//!
//! - all watchers were told the same, and each write stands there once and as it was asked for: acknowledged ones
//!   at their revision, ones in doubt once or not at all, refused ones not at all, and nothing that nobody asked for;
//! - each condition was met, or unmet, by the state before it;
//! - each read is the state at the revision that it names;
//! - real time is kept: who asks after somebody was told of a revision is not told of an older state, and a write
//!   gets a higher revision;
//! - no lease ended earlier than its last acknowledged renewal promised.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Instant;

use super::history::{Change, History, Lease, Outcome, Read, Revisions, Seen, Write};
use super::timeline::Timeline;

/// Keys below it belong to leases: they are deleted by nobody when their time has come.
pub(super) const LEASED: &[u8] = b"/leased/";

/// What all rounds so far have shown.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) timeline: Timeline,
    /// Writes of this round and earlier ones of which nothing was seen: they may still be carried out.
    in_doubt: Vec<Write>,
    pub(super) n_writes: usize,
    pub(super) n_reads: usize,
    pub(super) n_surprises: usize,
    pub(super) n_promises: usize,
}

impl Verdict {
    /// Nothing was seen of a new store.
    pub(super) fn new() -> Verdict {
        Verdict {
            timeline: Timeline::new(),
            in_doubt: Vec::new(),
            n_writes: 0,
            n_reads: 0,
            n_surprises: 0,
            n_promises: 0,
        }
    }

    /// Checks a round, which was told up to the same revision by each of `watchers`. The error says what cannot be.
    pub(super) fn check(&mut self, history: History, watchers: Vec<Revisions>) -> Result<(), String> {
        let revisions = merge(watchers)?;
        for (revision, seen) in &revisions {
            self.timeline.push(*revision, seen);
        }
        let placed = self.place_writes(history.writes, &revisions)?;
        placed.iter().try_for_each(|write| self.check_condition(write))?;
        history.reads.iter().try_for_each(|read| self.check_read(read))?;
        check_real_time(&placed, &history.reads, &revisions)?;
        history.leases.iter().try_for_each(|lease| self.check_lease(lease, &placed, &revisions))?;
        self.n_writes += placed.len();
        self.n_reads += history.reads.len();
        self.n_promises += history.leases.iter().map(|lease| lease.promises.len()).sum::<usize>();
        self.timeline.forget_past();
        Ok(())
    }

    /// Finds each write among the revisions.
    fn place_writes(&mut self, writes: Vec<Write>, revisions: &Revisions) -> Result<Vec<Placed>, String> {
        let mut owners = owners(revisions)?;
        let mut placed = Vec::new();
        for write in std::mem::take(&mut self.in_doubt).into_iter().chain(writes) {
            let place = owners.remove(&write.stamp());
            match (&write.outcome, place) {
                (Outcome::Done { revision, .. }, place) if place != Some(*revision) => {
                    return Err(format!("acknowledged at {revision}, but found at {place:?}: {write:?}"));
                }
                (Outcome::Unmet { .. } | Outcome::Refused, Some(place)) => {
                    return Err(format!("refused, but carried out at {place}: {write:?}"));
                }
                (Outcome::InDoubt, None) => self.in_doubt.push(write),
                (Outcome::InDoubt, Some(_)) => {
                    self.n_surprises += 1;
                    placed.push(Placed { write, place });
                }
                (Outcome::Done { .. } | Outcome::Unmet { .. } | Outcome::Refused, _) => {
                    placed.push(Placed { write, place });
                }
            }
        }
        if let Some((stamp, revision)) = owners.first_key_value() {
            return Err(format!(
                "nobody wrote stamp {stamp} of revision {revision}, or it was written twice"
            ));
        }
        placed.iter().try_for_each(|placed| self.check_changes(placed, revisions))?;
        Ok(placed)
    }

    /// A write that was carried out changed what it was asked to. A delete of what does not exist changes nothing.
    fn check_changes(&self, placed: &Placed, revisions: &Revisions) -> Result<(), String> {
        let Some(revision) = placed.place else { return Ok(()) };
        let exists = |key| self.timeline.at(key, revision - 1).is_some();
        let changes = placed.write.changes.iter();
        let expected: Vec<_> = changes.filter(|it| it.stamp.is_some() || exists(&it.key)).cloned().collect();
        let seen = &revisions[&revision].changes;
        match *seen == expected {
            true => Ok(()),
            false => Err(format!("revision {revision} is {seen:?} instead of {expected:?}")),
        }
    }

    fn check_condition(&self, placed: &Placed) -> Result<(), String> {
        let Some(demanded) = placed.write.demanded else { return Ok(()) };
        let key = &placed.write.changes[0].key;
        let (is_met, before) = match (&placed.write.outcome, placed.place) {
            (Outcome::Unmet { revision, found, .. }, _) => {
                let before = self.timeline.at(key, *revision);
                if before != *found {
                    return Err(format!("{key:?} was {before:?} at {revision}, not {found:?}"));
                }
                (false, before)
            }
            (_, Some(place)) => (true, self.timeline.at(key, place - 1)),
            (_, None) => return Ok(()),
        };
        let revision = before.map_or(0, |kept| kept.revision);
        match (revision == demanded) == is_met {
            true => Ok(()),
            false => Err(format!("{key:?} was of revision {revision} before {placed:?}")),
        }
    }

    fn check_read(&self, read: &Read) -> Result<(), String> {
        if read.revision > self.timeline.last {
            return Err(format!("the store never had the revision of {read:?}"));
        }
        if read.revision < self.timeline.first {
            // A member that is far behind; its states were checked in the round that made them.
            return match read.is_linearizable {
                true => Err(format!("older than the round: {read:?}")),
                false => Ok(()),
            };
        }
        let expected = self.timeline.range(&read.start, &read.end, read.revision);
        match read.found == expected {
            true => Ok(()),
            false => Err(format!("expected {expected:?} of {read:?}")),
        }
    }

    /// The lease's key was not deleted before each promise had ended, unless somebody asked for that.
    fn check_lease(&self, lease: &Lease, placed: &[Placed], revisions: &Revisions) -> Result<(), String> {
        let is_its_put = |placed: &&Placed| placed.write.changes[0].key == lease.key;
        let Some(put) = placed.iter().find(is_its_put).and_then(|placed| placed.place) else { return Ok(()) };
        let Some(end) = self.timeline.deleted_after(&lease.key, put) else {
            return Err(format!("never ended: {lease:?}"));
        };
        let seen = revisions[&end].at;
        if lease.revocation_asked.is_some_and(|asked| asked < seen) {
            return Ok(());
        }
        match lease.promises.iter().find(|(asked, ttl)| seen < *asked + *ttl) {
            Some((asked, ttl)) => Err(format!(
                "{:?} was deleted {:?} after a promise of {ttl:?}: {lease:?}",
                lease.key,
                seen.saturating_duration_since(*asked)
            )),
            None => Ok(()),
        }
    }
}

impl Write {
    /// The stamp by which the write is known.
    fn stamp(&self) -> u64 {
        self.changes.iter().find_map(|change| change.stamp).expect("a write puts something")
    }
}

/// A write whose fate is known.
#[derive(Debug)]
struct Placed {
    write: Write,
    /// Its revision if it was carried out.
    place: Option<i64>,
}

/// One history of what all watchers were told, which must be the same; each revision with the first time that one
/// was told of it.
fn merge(watchers: Vec<Revisions>) -> Result<Revisions, String> {
    let mut watchers = watchers.into_iter();
    let mut merged = watchers.next().expect("there is a watcher");
    for told in watchers {
        if told.len() != merged.len() {
            return Err(format!("one watcher was told of {} revisions, one of {}", merged.len(), told.len()));
        }
        for ((revision, first), (other, second)) in merged.iter_mut().zip(told) {
            if (*revision, &first.changes) != (other, &second.changes) {
                return Err(format!("watchers differ: {revision} {first:?}, {other} {second:?}"));
            }
            first.at = first.at.min(second.at);
        }
    }
    Ok(merged)
}

/// The revision of each write, by its first stamp. What has none is the end of leases.
fn owners(revisions: &Revisions) -> Result<BTreeMap<u64, i64>, String> {
    let mut owners = BTreeMap::new();
    for (revision, Seen { changes, .. }) in revisions {
        let is_end = |change: &Change| change.stamp.is_none() && change.key.starts_with(LEASED);
        match changes.iter().find_map(|change| change.stamp) {
            Some(stamp) => {
                if let Some(other) = owners.insert(stamp, *revision) {
                    return Err(format!("a write was carried out at {other} and at {revision}: {changes:?}"));
                }
            }
            None if changes.iter().all(is_end) => {}
            None => return Err(format!("nobody deleted what revision {revision} deletes: {changes:?}")),
        }
    }
    Ok(owners)
}

/// Who asks after somebody was told of a revision is told of that or a later one; a write gets a later one.
fn check_real_time(placed: &[Placed], reads: &[Read], revisions: &Revisions) -> Result<(), String> {
    let mut told: Vec<(Instant, i64)> =
        revisions.iter().map(|(revision, seen)| (seen.at, *revision)).collect();
    let mut asked: Vec<(Instant, i64, String)> = Vec::new();
    for read in reads {
        told.push((read.answered, read.revision));
        if read.is_linearizable {
            asked.push((read.asked, read.revision, format!("{read:?}")));
        }
    }
    for Placed { write, place } in placed {
        match write.outcome {
            Outcome::Done { answered, revision } => told.push((answered, revision)),
            Outcome::Unmet { answered, revision, .. } => {
                told.push((answered, revision));
                asked.push((write.asked, revision, format!("{write:?}")));
            }
            Outcome::Refused | Outcome::InDoubt => {}
        }
        if let Some(place) = place {
            // It needs the revision before its own to be one that it may be told of.
            asked.push((write.asked, place - 1, format!("{write:?} at {place}")));
        }
    }
    told.sort_unstable();
    asked.sort_unstable_by_key(|(at, ..)| *at);
    let mut told = told.into_iter().peekable();
    let mut floor = 0;
    for (at, revision, what) in asked {
        while let Some((_, known)) = told.next_if(|(answered, _)| *answered < at) {
            floor = floor.max(known);
        }
        if revision < floor {
            return Err(format!("somebody had been told of revision {floor} before: {what}"));
        }
    }
    Ok(())
}
