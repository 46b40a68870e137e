//! The one history of the cluster: every committed entry, in the order of the raft log.
//!
//! ```text
//!   entries handed to a WAL ─▶ appended, by index and term
//!                                  │ a member says: committed up to this index
//!                                  ▼
//!                              committed ─▶ model ─▶ the answer that each command must get
//! ```
//!
//! The order of all commands is known, so nothing has to be searched for: a history of requests and answers is
//! linearizable if each answer is the one that the model gives at its place in this order, and if the order
//! respects real time.
//!
//! Checks: logs of members match (Ongaro & Ousterhout 2014, figure 3); a committed entry never changes; a term has
//! one leader, who holds everything that was committed before; no command is carried out twice, and none that was
//! refused.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use proto::raftpb::{Entry, EntryType};
use store::{Command, MemberChange, Outcome, Refusal, Request};

use super::membership::Membership;
use crate::member::{self, Member};
use crate::model::Model;

/// What is known of the raft log.
#[derive(Debug)]
pub(super) struct History {
    /// Every entry that a member ever had, by index and term.
    appended: BTreeMap<(u64, u64), Appended>,
    /// From index 1 on.
    committed: Vec<Committed>,
    /// The index of each command and change of members, by request id.
    by_request: BTreeMap<u64, u64>,
    /// Commands that were refused before they were proposed.
    refused: BTreeSet<u64>,
    /// Who leads each term.
    leaders: BTreeMap<u64, usize>,
    /// The members of the cluster, from the index of each change on.
    memberships: BTreeMap<u64, Membership>,
    /// etcd after everything that is committed.
    pub(super) model: Model,
}

#[derive(Debug)]
struct Appended {
    entry: Entry,
    /// Term of the entry before it, if known.
    prev_term: Option<u64>,
}

/// A committed entry.
#[derive(Debug)]
struct Committed {
    term: u64,
    /// The term of the member that first said so: the entry was committed in this term or before.
    committed_in: u64,
    /// The command with its answer; `None` if the entry holds none.
    command: Option<Executed>,
    change: Option<Changed>,
}

/// A command, and the answer that it must get.
#[derive(Debug)]
pub(super) struct Executed {
    pub(super) id: u64,
    pub(super) request: Request,
    pub(super) expected: Result<Outcome, Refusal>,
}

/// A change of members, and whether it must be refused.
#[derive(Debug)]
pub(super) struct Changed {
    pub(super) id: u64,
    pub(super) change: MemberChange,
    pub(super) expected: Result<(), Refusal>,
}

impl History {
    /// The history of a new cluster of so many members: each was added by an entry that counts as committed.
    pub(super) fn new(members: usize) -> History {
        let bootstrap = |_| Committed { term: 1, committed_in: 1, command: None, change: None };
        History {
            appended: BTreeMap::new(),
            committed: (0..members).map(bootstrap).collect(),
            by_request: BTreeMap::new(),
            refused: BTreeSet::new(),
            leaders: BTreeMap::new(),
            memberships: (0..=members).map(|n| (n as u64, Membership::initial(n))).collect(),
            model: Model::new(),
        }
    }

    /// The members after everything that is committed.
    pub(super) fn membership(&self) -> &Membership {
        self.membership_at(u64::MAX)
    }

    /// The members after the entry at `index`.
    pub(super) fn membership_at(&self, index: u64) -> &Membership {
        let newest = self.memberships.range(..=index).next_back();
        newest.expect("there is one for index 0").1
    }

    /// Index of the last entry that changed the members.
    pub(super) fn last_change(&self) -> u64 {
        self.memberships.last_key_value().map_or(0, |(index, _)| *index)
    }

    /// Index of the entry that removed a member.
    pub(super) fn removal_of(&self, id: u64) -> Option<u64> {
        let mut memberships = self.memberships.iter();
        memberships.find(|(_, membership)| membership.is_removed(id)).map(|(index, _)| *index)
    }

    /// The change of members in the entry at `index`.
    pub(super) fn change(&self, index: u64) -> Option<&Changed> {
        self.at(index)?.change.as_ref()
    }

    /// The index of the change of members with this request id, and the change.
    pub(super) fn changed(&self, id: u64) -> Option<(u64, &Changed)> {
        let index = *self.by_request.get(&id)?;
        Some((index, self.change(index)?))
    }

    /// Whether `place` led a term of at least `term`.
    pub(super) fn has_led(&self, place: usize, term: u64) -> bool {
        self.leaders.range(term..).any(|(_, leader)| *leader == place)
    }

    /// Number of entries that are known to be committed.
    pub(super) fn len(&self) -> u64 {
        self.committed.len() as u64
    }

    /// Elections that were won.
    pub(super) fn elections(&self) -> u64 {
        self.leaders.len() as u64
    }

    /// Who leads the newest term.
    pub(super) fn newest_leader(&self) -> Option<usize> {
        self.leaders.last_key_value().map(|(_, place)| *place)
    }

    /// The index of the command with this request id, and the command.
    pub(super) fn executed(&self, id: u64) -> Option<(u64, &Executed)> {
        let index = *self.by_request.get(&id)?;
        Some((index, self.command(index)?))
    }

    /// The command of the entry at `index`.
    pub(super) fn command(&self, index: u64) -> Option<&Executed> {
        self.at(index)?.command.as_ref()
    }

    /// The commands between two indexes.
    pub(super) fn requests(&self, indexes: RangeInclusive<u64>) -> impl Iterator<Item = &Request> {
        indexes.filter_map(|index| self.command(index)).map(|executed| &executed.request)
    }

    /// A command was refused and not proposed.
    pub(super) fn note_refused(&mut self, id: u64) -> Result<(), String> {
        self.refused.insert(id);
        match self.by_request.get(&id) {
            Some(index) => Err(format!("command {id:#x} was refused, but is entry {index}")),
            None => Ok(()),
        }
    }

    /// Takes an entry that is part of a member's log, behind an entry of `prev_term` if that is known. Tells whether
    /// no member had it before.
    pub(super) fn note_appended(&mut self, entry: &Entry, prev_term: Option<u64>) -> Result<bool, String> {
        let at = (entry.index, entry.term);
        let is_new = !self.appended.contains_key(&at);
        let known = self.appended.entry(at).or_insert_with(|| Appended { entry: entry.clone(), prev_term });
        if known.entry != *entry {
            return Err(format!("two entries at {at:?}: {:?} and {entry:?}", known.entry));
        }
        match (known.prev_term, prev_term) {
            (Some(before), Some(now)) if before != now => {
                return Err(format!(
                    "the entry before {at:?} is of term {before} on one member and {now} on another"
                ));
            }
            (None, _) => known.prev_term = prev_term,
            _ => {}
        }
        Ok(is_new)
    }

    /// A leader that has applied the entries up to `applied` adds one. If that changes the members, it must have
    /// applied all such changes before it.
    pub(super) fn note_added(&self, entry: &Entry, applied: u64) -> Result<(), String> {
        let is_change = |entry: &Entry| entry.r#type() == EntryType::EntryConfChange;
        if !is_change(entry) {
            return Ok(());
        }
        let mut at = (entry.index, entry.term);
        while let Some(prev_term) = self.appended.get(&at).and_then(|appended| appended.prev_term) {
            at = (at.0 - 1, prev_term);
            if at.0 <= applied {
                break;
            }
            if self.appended.get(&at).is_some_and(|before| is_change(&before.entry)) {
                return Err(format!(
                    "entry {} changes the members before entry {} is applied",
                    entry.index, at.0
                ));
            }
        }
        Ok(())
    }

    /// A member leads `term`. It must hold all that was committed in earlier terms.
    pub(super) fn note_leader(&mut self, place: usize, term: u64, member: &Member) -> Result<(), String> {
        let leader = *self.leaders.entry(term).or_insert(place);
        if leader != place {
            return Err(format!("members {leader} and {place} both lead term {term}"));
        }
        // A leader elected late, when a later term has begun already, need not know what that has committed.
        let Some(last) = self.committed.iter().rposition(|entry| entry.committed_in < term) else {
            return Ok(());
        };
        let (index, expected) = (last as u64 + 1, self.committed[last].term);
        match member.entry_term(index) {
            Some(found) if found == expected => Ok(()),
            // It has forgotten the entry since it was applied; what it has applied is compared with the model.
            None if index < member.published().applied() => Ok(()),
            found => Err(format!(
                "member {place} leads term {term}, but its entry {index} is of term {found:?} and not {expected}"
            )),
        }
    }

    /// A member in `term` knows that the log up to (`index`, `entry_term`) is committed.
    pub(super) fn note_committed(&mut self, index: u64, entry_term: u64, term: u64) -> Result<(), String> {
        let mut news = Vec::new();
        let (mut at, mut at_term) = (index, entry_term);
        while at > self.len() {
            let Some(appended) = self.appended.get(&(at, at_term)) else {
                return Err(format!("entry {at} of term {at_term} is committed, but no member ever had it"));
            };
            let Some(prev_term) = appended.prev_term else {
                return Err(format!("nobody knows what precedes entry {at} of term {at_term}"));
            };
            news.push(appended.entry.clone());
            (at, at_term) = (at - 1, prev_term);
        }
        if let Some(known) = self.at(at)
            && known.term != at_term
        {
            return Err(format!(
                "entry {at} of term {} was committed, and now one of term {at_term} is",
                known.term
            ));
        }
        news.into_iter().rev().try_for_each(|entry| self.commit(&entry, term))
    }

    fn commit(&mut self, entry: &Entry, committed_in: u64) -> Result<(), String> {
        let command = member::command(entry).map(|Command { id, request }| {
            let expected = self.model.apply(&request);
            Executed { id, request, expected }
        });
        let change = self.change_members(entry);
        let id = command.as_ref().map(|command| command.id).or(change.as_ref().map(|change| change.id));
        self.committed.push(Committed { term: entry.term, committed_in, command, change });
        let Some(id) = id else { return Ok(()) };
        if self.refused.contains(&id) {
            return Err(format!("command {id:#x} was refused, but is entry {}", entry.index));
        }
        match self.by_request.insert(id, entry.index) {
            Some(before) => Err(format!("command {id:#x} is entry {before} and entry {}", entry.index)),
            None => Ok(()),
        }
    }

    fn change_members(&mut self, entry: &Entry) -> Option<Changed> {
        let (id, change) = member::member_change(entry)?;
        let mut membership = self.membership().clone();
        let expected = membership.apply(&change);
        if expected.is_ok() {
            self.memberships.insert(entry.index, membership);
        }
        Some(Changed { id, change, expected })
    }

    fn at(&self, index: u64) -> Option<&Committed> {
        self.committed.get(usize::try_from(index.checked_sub(1)?).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use proto::etcdserverpb::PutRequest;

    use super::*;

    fn entry(index: u64, term: u64, id: u64) -> Entry {
        let put = PutRequest { key: "k".into(), ..PutRequest::default() };
        let data = Command { id, request: Request::Put(put) }.encode();
        Entry { index, term, data, ..Entry::default() }
    }

    /// One member, and two commands that are committed in term 2.
    fn history() -> History {
        let mut history = History::new(1);
        history.note_appended(&entry(2, 2, 12), Some(1)).unwrap();
        history.note_appended(&entry(3, 2, 13), Some(2)).unwrap();
        history.note_committed(3, 2, 2).unwrap();
        history
    }

    #[test]
    fn commands_are_carried_out_in_the_order_of_the_log() {
        let history = history();
        let (index, executed) = history.executed(13).unwrap();
        assert_eq!(index, 3);
        assert!(matches!(&executed.expected, Ok(Outcome::Put(put)) if put.revision == 3));
        assert_eq!((history.len(), history.requests(1..=3).count()), (3, 2));
    }

    #[test]
    fn logs_that_do_not_match_are_noticed() {
        let mut history = history();
        assert!(history.note_appended(&entry(3, 2, 14), Some(2)).is_err(), "another entry");
        assert!(history.note_appended(&entry(3, 2, 13), Some(1)).is_err(), "behind another entry");
    }

    #[test]
    fn a_committed_entry_that_changes_is_noticed() {
        let mut history = history();
        history.note_appended(&entry(3, 3, 14), Some(2)).unwrap();
        assert!(history.note_committed(3, 3, 3).is_err());
        history.note_appended(&entry(4, 4, 15), Some(3)).unwrap();
        assert!(history.note_committed(4, 4, 4).is_err(), "the entry before it is another");
        assert!(history.note_committed(2, 2, 4).is_ok());
    }

    #[test]
    fn a_command_carried_out_twice_or_after_its_refusal_is_noticed() {
        let mut history = history();
        history.note_appended(&entry(4, 2, 12), Some(2)).unwrap();
        assert!(history.note_committed(4, 2, 2).is_err());
        assert!(history.note_refused(13).is_err());
        history.note_refused(16).unwrap();
        history.note_appended(&entry(5, 2, 16), Some(2)).unwrap();
        assert!(history.note_committed(5, 2, 2).is_err());
    }
    #[test]
    fn a_change_before_the_last_one_is_applied_is_noticed() {
        let mut history = history();
        let change = |index, change: MemberChange| Entry {
            r#type: EntryType::EntryConfChange as i32,
            data: change.encode(index).encode_to_vec().into(),
            ..entry(index, 2, 0)
        };
        let add = change(4, MemberChange::Add(member::identity(1)));
        let remove = change(6, MemberChange::Remove(member::identity(0).id));
        for (entry, prev_term) in [(&add, 2), (&entry(5, 2, 15), 2), (&remove, 2)] {
            assert_eq!(history.note_appended(entry, Some(prev_term)), Ok(true));
        }
        assert!(history.note_added(&remove, 3).is_err());
        assert!(history.note_added(&remove, 4).is_ok());
        history.note_committed(6, 2, 2).unwrap();
        assert_eq!(history.membership_at(3).voters().count(), 1);
        assert_eq!(history.membership_at(5).voters().count(), 2);
        assert!(history.membership().is_removed(member::identity(0).id));
        assert_eq!(history.removal_of(member::identity(0).id), Some(6));
    }
}
