//! Which members hold other data than they should, judged by the hashes of their keys.
//!
//! Members that have applied the same commands hold the same, so equal revisions have equal hashes. Here is only the
//! judgement; `api/corruption.rs` asks for the hashes and raises the alarms, `run/initial_check.rs` asks before a
//! member joins in again.

use std::collections::BTreeMap;

use store::KeyValueHash;

use crate::peers::PeerHash;

/// A member and its hash, or why there is none.
pub(crate) type MemberHash = (u64, Result<PeerHash, String>);

/// What the hashes of a compaction say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All members have the same.
    Consistent,
    /// Those that have one at this compaction have the same; others have none.
    Incomplete,
    /// These members hold something else than the majority; 0 if no majority holds the same.
    Corrupt(Vec<u64>),
}

/// Compares the hash of a compaction on member `own_id` with those of the others.
pub(crate) fn compare_compactions(own_id: u64, own: KeyValueHash, others: &[MemberHash]) -> Verdict {
    let mut members_by_hash = BTreeMap::from([(own.hash, vec![own_id])]);
    let mut n_compared = 0;
    for (id, hash) in others {
        if let Ok(hash) = hash
            && hash.compact_revision == own.compact_revision
        {
            members_by_hash.entry(hash.hash).or_default().push(*id);
            n_compared += 1;
        }
    }
    if members_by_hash.len() == 1 {
        return if n_compared == others.len() { Verdict::Consistent } else { Verdict::Incomplete };
    }
    let n_members = others.len() + 1;
    let majority = members_by_hash.iter().find(|(_, ids)| ids.len() > n_members / 2).map(|(hash, _)| *hash);
    let Some(majority) = majority else { return Verdict::Corrupt(vec![0]) };
    members_by_hash.remove(&majority);
    let mut corrupt: Vec<u64> = members_by_hash.into_values().flatten().collect();
    corrupt.sort_unstable();
    Verdict::Corrupt(corrupt)
}

/// What a leader knows of itself when it compares all data: its hash before it asked the others, and after that.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OwnHashes {
    pub(crate) before: KeyValueHash,
    pub(crate) after: KeyValueHash,
}

impl OwnHashes {
    /// Whether the leader's own data have changed by themselves.
    pub(crate) fn differ(&self) -> bool {
        let OwnHashes { before, after } = self;
        before.revision == after.revision
            && before.compact_revision == after.compact_revision
            && before.hash != after.hash
    }

    /// Why a member cannot hold what the leader holds, if it cannot. `hash` is of the revision of `before`.
    pub(crate) fn contradict(&self, hash: PeerHash) -> Option<&'static str> {
        let OwnHashes { before, after } = self;
        if hash.revision > after.revision {
            Some("revision from follower must be less than or equal to leader's")
        } else if hash.compact_revision > after.compact_revision {
            Some("compact revision from follower must be less than or equal to leader's")
        } else if hash.compact_revision == before.compact_revision && hash.hash != before.hash {
            Some("same compact revision then hashes must match")
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(hash: u32, revision: i64) -> KeyValueHash {
        KeyValueHash { hash, compact_revision: 10, revision }
    }

    fn other(id: u64, hash: u32) -> MemberHash {
        (id, Ok(PeerHash { hash, revision: 25, compact_revision: 10 }))
    }

    fn silent(id: u64) -> MemberHash {
        (id, Err("no answer".to_owned()))
    }

    #[test]
    fn the_minority_is_corrupt() {
        let compare = |others: &[MemberHash]| compare_compactions(1, own(7, 20), others);
        assert_eq!(compare(&[other(2, 7), other(3, 7)]), Verdict::Consistent);
        assert_eq!(compare(&[other(2, 7), other(3, 8)]), Verdict::Corrupt(vec![3]));
        assert_eq!(compare(&[other(2, 8), other(3, 8)]), Verdict::Corrupt(vec![1]), "the leader itself");
        assert_eq!(
            compare(&[other(2, 7), other(3, 7), other(4, 9), other(5, 8)]),
            Verdict::Corrupt(vec![4, 5])
        );
    }

    #[test]
    fn without_a_majority_nobody_knows_who_is_corrupt() {
        let compare = |others: &[MemberHash]| compare_compactions(1, own(7, 20), others);
        assert_eq!(compare(&[other(2, 8)]), Verdict::Corrupt(vec![0]));
        assert_eq!(compare(&[other(2, 8), silent(3)]), Verdict::Corrupt(vec![0]));
        assert_eq!(compare(&[other(2, 8), other(3, 9)]), Verdict::Corrupt(vec![0]));
    }

    #[test]
    fn a_member_that_has_no_hash_of_the_compaction_is_not_judged() {
        let compare = |others: &[MemberHash]| compare_compactions(1, own(7, 20), others);
        assert_eq!(compare(&[other(2, 7), silent(3)]), Verdict::Incomplete);
        let earlier = (3, Ok(PeerHash { hash: 99, revision: 25, compact_revision: 9 }));
        assert_eq!(compare(&[other(2, 7), earlier]), Verdict::Incomplete);
    }

    #[test]
    fn a_follower_is_never_ahead_of_its_leader_and_holds_the_same() {
        let hashes = OwnHashes { before: own(7, 20), after: own(8, 25) };
        let hash = PeerHash { hash: 7, revision: 25, compact_revision: 10 };
        assert!(!hashes.differ());
        assert_eq!(hashes.contradict(hash), None);
        assert_eq!(hashes.contradict(PeerHash { compact_revision: 9, hash: 99, ..hash }), None);
        for wrong in [
            PeerHash { revision: 26, ..hash },
            PeerHash { compact_revision: 11, ..hash },
            PeerHash { hash: 8, ..hash },
        ] {
            assert!(hashes.contradict(wrong).is_some(), "{wrong:?}");
        }
        assert!(OwnHashes { before: own(7, 20), after: own(8, 20) }.differ());
    }
}
