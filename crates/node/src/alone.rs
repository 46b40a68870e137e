//! A member leaves its cluster behind and goes on alone, with its data: for when the majority is lost for good.
//!
//! Entries that are not known to be committed are dropped, as in etcd: nobody can tell any more whether the others have
//! them. Committed entries follow in their place, which nobody has voted for: one removes each other member. They are
//! applied like any others, and the removed members stay removed. If the others run on, there are two clusters.

use disk::wal::{Recovered, Wal};
use prost::Message;
use proto::etcdserverpb::Member;
use proto::raftpb::{ConfState, Entry, EntryType, HardState};
use store::{MemberChange, Store};

use crate::config::Config;
use crate::error::Fatal;
use crate::replay::Replayed;

/// What became of the raft log of a member that goes on alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forced {
    /// The index up to which entries were committed before.
    pub committed_before: u64,
    /// The index up to which they are committed now.
    pub committed: u64,
    /// Entries that were dropped.
    pub dropped: u64,
}

/// Ends the cluster of this member in its WAL and in what was recovered of it; durable when it returns. Nothing happens,
/// and the result is `None`, if the member is alone already: then none of its entries waits for others.
///
/// `replayed` must hold the state after all committed entries.
pub(crate) fn leave_others(
    wal: &mut Wal,
    recovered: &mut Recovered,
    replayed: &Replayed,
    store: &Store,
    config: &Config,
) -> Result<Option<Forced>, Fatal> {
    let own = config.member.id;
    if store.control().is_removed(own) {
        return Err(Fatal::NotAlone("the member was removed from its cluster; use the data of another one"));
    }
    if !replayed.unapplied.is_empty() {
        return Err(Fatal::NotAlone("the disk has no space for all that is committed; make room first"));
    }
    let changes = changes(&replayed.applied.conf_state, &config.member);
    if changes.is_empty() {
        return Ok(None);
    }
    let applied = replayed.applied.entry;
    let HardState { term, vote, commit } = recovered.hard_state;
    let committed_before = commit.max(applied.index);
    let last_term = recovered.entries.last().map_or(applied.term, |entry| entry.term);
    let new_term = term.max(last_term).max(1);
    let entries: Vec<Entry> =
        (committed_before + 1..).zip(&changes).map(|(i, c)| entry(new_term, i, c)).collect();
    let committed = committed_before + entries.len() as u64;
    let vote = if new_term == term { vote } else { 0 };
    let hard_state = HardState { term: new_term, vote, commit: committed };
    wal.append(&entries, Some(&hard_state))?;
    wal.sync()?;
    let dropped = recovered.entries.len() as u64;
    (recovered.entries, recovered.hard_state) = (entries, hard_state);
    Ok(Some(Forced { committed_before, committed, dropped }))
}

/// For a member whose first start was cut short before anything was committed: it cannot leave a cluster that it has
/// not seen.
pub(crate) fn check_alone(config: &Config) -> Result<Option<Forced>, Fatal> {
    match config.initial_members.len() {
        1 => Ok(None),
        _ => Err(Fatal::NotAlone("it has no data yet; use the data of another one")),
    }
}

fn entry(term: u64, index: u64, change: &MemberChange) -> Entry {
    let data = change.encode(0).encode_to_vec().into();
    Entry { term, index, r#type: EntryType::EntryConfChange as i32, data }
}

/// The changes after which `own` is the only member, and has a vote.
fn changes(conf_state: &ConfState, own: &Member) -> Vec<MemberChange> {
    let ConfState { voters, learners, voters_outgoing, learners_next, .. } = conf_state;
    let mut ids: Vec<u64> =
        [voters, learners, voters_outgoing, learners_next].into_iter().flatten().copied().collect();
    ids.sort_unstable();
    ids.dedup();
    let mut changes = Vec::new();
    if !ids.contains(&own.id) {
        // A member that has joined and has not learned of that yet.
        let unnamed = Member { client_ur_ls: Vec::new(), is_learner: false, ..own.clone() };
        changes.push(MemberChange::Add(unnamed));
    } else if !voters.contains(&own.id) {
        changes.push(MemberChange::Promote(own.id));
    }
    changes.extend(ids.into_iter().filter(|id| *id != own.id).map(MemberChange::Remove));
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Member {
        let client_ur_ls = vec!["http://c:1".to_owned()];
        Member { id: 7, peer_ur_ls: vec!["http://a:1".to_owned()], client_ur_ls, ..Member::default() }
    }

    #[test]
    fn the_others_go_whatever_they_are() {
        let conf_state = ConfState {
            voters: vec![3, 7],
            learners: vec![9],
            voters_outgoing: vec![3, 5],
            ..ConfState::default()
        };
        let removals = [3, 5, 9].map(MemberChange::Remove);
        assert_eq!(changes(&conf_state, &own()), removals);
        assert_eq!(changes(&ConfState { voters: vec![7], ..ConfState::default() }, &own()), []);
    }

    #[test]
    fn the_one_that_is_left_has_a_vote() {
        let learner = ConfState { voters: vec![3], learners: vec![7], ..ConfState::default() };
        assert_eq!(changes(&learner, &own()), [MemberChange::Promote(7), MemberChange::Remove(3)]);
        let unknown = ConfState { voters: vec![3], ..ConfState::default() };
        let added = Member { client_ur_ls: Vec::new(), ..own() };
        assert_eq!(changes(&unknown, &own()), [MemberChange::Add(added), MemberChange::Remove(3)]);
    }
}
