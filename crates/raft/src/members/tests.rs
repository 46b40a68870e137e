//! Configurations, the changes between them, and who decides in each.

use proptest::prelude::*;
use proto::raftpb::{ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2};

use super::*;

const ADD: ConfChangeType = ConfChangeType::ConfChangeAddNode;
const LEARNER: ConfChangeType = ConfChangeType::ConfChangeAddLearnerNode;
const REMOVE: ConfChangeType = ConfChangeType::ConfChangeRemoveNode;

fn members(voters: &[u64], learners: &[u64]) -> Members {
    let conf_state =
        ConfState { voters: voters.to_vec(), learners: learners.to_vec(), ..ConfState::default() };
    Members::new(&conf_state, 1).unwrap()
}

fn joint(incoming: &[u64], outgoing: &[u64]) -> Members {
    let (voters, voters_outgoing) = (incoming.to_vec(), outgoing.to_vec());
    Members::new(&ConfState { voters, voters_outgoing, ..ConfState::default() }, 1).unwrap()
}

fn change(changes: &[(ConfChangeType, u64)]) -> ConfChangeV2 {
    let single =
        |&(r#type, node_id): &(ConfChangeType, u64)| ConfChangeSingle { r#type: r#type as i32, node_id };
    ConfChangeV2 { changes: changes.iter().map(single).collect(), ..ConfChangeV2::default() }
}

fn explicit(changes: &[(ConfChangeType, u64)]) -> ConfChangeV2 {
    ConfChangeV2 { transition: ConfChangeTransition::JointExplicit as i32, ..change(changes) }
}

/// `(incoming)(outgoing)`, then learners and those that become learners.
fn text(members: &Members) -> String {
    let ConfState { voters, learners, voters_outgoing, learners_next, auto_leave } = members.conf_state();
    let auto = if auto_leave { " auto" } else { "" };
    format!("{voters:?}{voters_outgoing:?} learners {learners:?}{learners_next:?}{auto}")
}

/// Applies each change and says what the configuration is then.
fn after(mut members: Members, changes: &[ConfChangeV2]) -> Vec<String> {
    changes
        .iter()
        .map(|change| {
            members.apply(change, 1);
            text(&members)
        })
        .collect()
}

#[test]
fn learners_count_neither_for_commit_nor_for_votes() {
    let mut members = members(&[1, 2, 3], &[4, 5]);
    for id in [1, 4, 5] {
        members.get_mut(id).unwrap().matched = 7;
    }
    assert_eq!(members.reached_by_majority(|member| member.matched), 0);
    assert_eq!(members.tally(&[(1, true), (4, true), (5, true)]), Tally::Pending);
    assert_eq!(members.tally(&[(1, true), (2, true)]), Tally::Won);
}

#[test]
fn a_joint_configuration_needs_a_majority_of_each_half() {
    let mut members = joint(&[1, 2, 3], &[3, 4, 5]);
    let mut reached_by =
        |holders: &[u64]| members.reached_by_majority(|member| u64::from(holders.contains(&member.id)));
    assert_eq!(reached_by(&[1, 2, 3]), 0, "only one of the outgoing half");
    assert_eq!(reached_by(&[3, 4, 5]), 0, "only one of the incoming half");
    assert_eq!(reached_by(&[2, 3, 4]), 1);
    let tally = |votes: &[(u64, bool)]| members.tally(votes);
    assert_eq!(tally(&[(1, true), (2, true), (3, true)]), Tally::Pending);
    assert_eq!(tally(&[(1, true), (3, true), (4, true)]), Tally::Won);
    assert_eq!(tally(&[(1, true), (2, true), (4, false), (5, false)]), Tally::Lost);
    assert_eq!(tally(&[(3, true), (4, true), (1, false), (2, false)]), Tally::Lost);
}

#[test]
fn quorum_activity_needs_both_halves() {
    let mut members = joint(&[1, 2, 3], &[1, 4, 5]);
    members.get_mut(2).unwrap().recent_active = true;
    assert!(!members.take_quorum_activity(1));
    for id in [2, 5] {
        members.get_mut(id).unwrap().recent_active = true;
    }
    assert!(members.take_quorum_activity(1));
}

#[test]
fn quorum_activity_counts_oneself_and_is_forgotten_once_asked() {
    let mut members = members(&[1, 2, 3], &[]);
    assert!(!members.take_quorum_activity(1));
    members.get_mut(3).unwrap().recent_active = true;
    assert!(members.take_quorum_activity(1));
    assert!(!members.take_quorum_activity(1));
}

#[test]
fn the_only_voter_of_one_half_is_not_the_only_voter() {
    assert!(members(&[1], &[2]).is_only_voter(1));
    assert!(!joint(&[1], &[1, 2]).is_only_voter(1));
    assert!(!joint(&[1, 2], &[1]).is_only_voter(1));
    assert!(joint(&[1], &[1]).is_only_voter(1));
}

#[test]
fn adding_a_learner_as_voter_promotes_it_and_keeps_its_progress() {
    let mut members = members(&[1], &[2]);
    members.get_mut(2).unwrap().matched = 9;
    members.apply(&change(&[(ADD, 2)]), 1);
    assert_eq!(members.conf_state().voters, [1, 2]);
    assert_eq!(members.get_mut(2).unwrap().matched, 9);
}

#[test]
fn refused_and_address_changes_leave_the_members() {
    let update = (ConfChangeType::ConfChangeUpdateNode, 2);
    let changes = [change(&[(REMOVE, 0)]), change(&[update])];
    assert_eq!(after(members(&[1, 2], &[]), &changes), ["[1, 2][] learners [][]"; 2]);
}

#[test]
fn the_last_voter_is_neither_removed_nor_demoted() {
    let changes = [change(&[(REMOVE, 1)]), change(&[(LEARNER, 1)]), change(&[(REMOVE, 1), (LEARNER, 3)])];
    assert_eq!(after(members(&[1], &[2]), &changes), ["[1][] learners [2][]"; 3]);
}

#[test]
fn changes_that_no_correct_member_makes_have_no_effect() {
    let unknown = ConfChangeSingle { r#type: 9, node_id: 2 };
    let changes = [
        ConfChangeV2 { changes: vec![unknown], ..ConfChangeV2::default() },
        ConfChangeV2 { transition: 9, ..change(&[(ADD, 2)]) },
        explicit(&[]),
        change(&[(ADD, 2); MEMBERS_MAX + 1]),
    ];
    assert!(changes.iter().all(|change| kind(change).is_none()));
    assert_eq!(after(members(&[1], &[]), &changes), ["[1][] learners [][]"; 4]);
}

#[test]
fn several_changes_go_through_a_joint_configuration() {
    let swap = change(&[(ADD, 4), (REMOVE, 1), (LEARNER, 2), (LEARNER, 5), (REMOVE, 6)]);
    let configurations = after(members(&[1, 2, 3], &[6]), &[swap, change(&[])]);
    assert_eq!(
        configurations,
        ["[3, 4][1, 2, 3] learners [5][2] auto", "[3, 4][] learners [2, 5][]"],
        "2 keeps its vote in the outgoing half until the end",
    );
}

#[test]
fn what_is_staged_in_a_joint_change_may_be_taken_back_in_it() {
    let back = change(&[(LEARNER, 2), (ADD, 2), (REMOVE, 3), (LEARNER, 3), (REMOVE, 3)]);
    let configurations = after(members(&[1, 2, 3], &[]), &[back, change(&[])]);
    assert_eq!(configurations, ["[1, 2][1, 2, 3] learners [][] auto", "[1, 2][] learners [][]"]);
}

#[test]
fn an_explicit_joint_configuration_waits_to_be_left() {
    let changes =
        [explicit(&[(ADD, 2)]), change(&[(ADD, 3)]), explicit(&[(ADD, 3)]), change(&[]), change(&[])];
    let joint = "[1, 2][1] learners [][]";
    let left = "[1, 2][] learners [][]";
    assert_eq!(after(members(&[1], &[]), &changes), [joint, joint, joint, left, left]);
}

#[test]
fn an_empty_configuration_takes_its_first_voter_at_once_only() {
    let changes = [explicit(&[(ADD, 1)]), change(&[(LEARNER, 1)]), change(&[(ADD, 1)])];
    let empty = "[][] learners [][]";
    assert_eq!(after(members(&[], &[]), &changes), [empty, empty, "[1][] learners [][]"]);
}

#[test]
fn joint_configurations_are_restored_as_they_were() {
    let conf_state = ConfState {
        voters: vec![3, 4],
        voters_outgoing: vec![1, 2, 3],
        learners_next: vec![2],
        learners: vec![5],
        auto_leave: true,
    };
    assert_eq!(Members::new(&conf_state, 1).unwrap().conf_state(), conf_state);
}

#[test]
fn contradictory_configurations_are_refused() {
    let voters = |voters: &[u64]| ConfState { voters: voters.to_vec(), ..ConfState::default() };
    let many = (1..=MEMBERS_MAX as u64 + 1).collect::<Vec<_>>();
    let contradictory = [
        voters(&[1, 1]),
        voters(&[0, 1]),
        voters(&many),
        ConfState { learners: vec![1], ..voters(&[1]) },
        ConfState { learners: vec![2, 2], ..voters(&[1]) },
        ConfState { learners: vec![2], voters_outgoing: vec![2], ..voters(&[1]) },
        ConfState { voters_outgoing: vec![2, 2], ..voters(&[1]) },
        ConfState { voters_outgoing: vec![2], ..voters(&[]) },
        ConfState { learners_next: vec![2], ..voters(&[1]) },
        ConfState { learners_next: vec![1], voters_outgoing: vec![1], ..voters(&[1]) },
        ConfState { auto_leave: true, ..voters(&[1]) },
    ];
    for conf_state in contradictory {
        assert!(matches!(Members::new(&conf_state, 1), Err(Error::InvalidConfState(_))), "{conf_state:?}");
    }
}

#[test]
fn a_change_to_more_members_than_allowed_has_no_effect() {
    let mut members = members(&(1..=MEMBERS_MAX as u64).collect::<Vec<_>>(), &[]);
    members.apply(&change(&[(LEARNER, 5000)]), 1);
    assert!(members.get(5000).is_none());
}

/// All sets of the members 1 to 5 that can decide, as bits.
fn quorums(members: &mut Members) -> Vec<u32> {
    let decides = |set: &u32| members.reached_by_majority(|member| u64::from(set >> member.id & 1)) == 1;
    (0..64).step_by(2).filter(decides).collect()
}

fn any_change() -> impl Strategy<Value = ConfChangeV2> {
    let types = [ADD, LEARNER, REMOVE, ConfChangeType::ConfChangeUpdateNode].map(|r#type| r#type as i32);
    let single = (prop::sample::select(types.to_vec()), 0..6_u64)
        .prop_map(|(r#type, node_id)| ConfChangeSingle { r#type, node_id });
    (0..3_i32, prop::collection::vec(single, 0..5)).prop_map(|(transition, changes)| ConfChangeV2 {
        transition,
        changes,
        ..ConfChangeV2::default()
    })
}

proptest! {
    /// Whatever is changed: the configuration stays possible, and no two majorities, one from before the
    /// change and one from after it, are without a common member. Otherwise two leaders could be elected in
    /// one term.
    #[test]
    fn majorities_before_and_after_any_change_have_a_member_in_common(
        changes in prop::collection::vec(any_change(), 1..12),
    ) {
        let mut members = members(&[1, 2, 3], &[4]);
        for change in changes {
            let before = quorums(&mut members);
            members.apply(&change, 1);
            let after = quorums(&mut members);
            prop_assert!(!after.is_empty());
            prop_assert!(before.iter().all(|set| after.iter().all(|other| set & other != 0)), "{change:?}");
            let conf_state = members.conf_state();
            prop_assert_eq!(Members::new(&conf_state, 1).unwrap().conf_state(), conf_state);
        }
    }
    /// An election is won by exactly the sets that can commit, and lost once no such set is left.
    #[test]
    fn elections_and_commits_need_the_same_majorities(change in any_change(), set in 0..32_u32) {
        let mut members = members(&[1, 2, 3], &[4]);
        members.apply(&change, 1);
        let is_quorum = quorums(&mut members).contains(&(set << 1));
        let granted: Vec<(u64, bool)> = (1..6).map(|id| (id, set << 1 >> id & 1 == 1)).collect();
        let only_granted: Vec<(u64, bool)> = granted.iter().copied().filter(|(_, vote)| *vote).collect();
        prop_assert_eq!(members.tally(&only_granted) == Tally::Won, is_quorum);
        prop_assert_eq!(members.tally(&granted), if is_quorum { Tally::Won } else { Tally::Lost });
    }
}
