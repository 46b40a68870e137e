//! Quorum arithmetic: what a majority of voters has agreed to.

/// Whether an election is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tally {
    /// A majority granted.
    Won,
    /// A majority can no longer grant.
    Lost,
    /// Votes that decide are missing.
    Pending,
}

/// How many of `voters` are a majority.
pub(crate) fn majority(voters: usize) -> usize {
    if bugs::seeded_bug!("half-is-a-majority") {
        return voters.div_ceil(2);
    }
    voters / 2 + 1
}

/// The largest number that a majority of `acknowledged` (one number a voter) has reached; 0 without voters.
/// Reorders the slice.
pub(crate) fn reached_by_majority(acknowledged: &mut [u64]) -> u64 {
    if acknowledged.is_empty() {
        return 0;
    }
    let at = acknowledged.len() - majority(acknowledged.len());
    *acknowledged.select_nth_unstable(at).1
}

/// The state of an election among `voters` after so many answers.
pub(crate) fn tally(voters: usize, granted: usize, refused: usize) -> Tally {
    if granted >= majority(voters) {
        Tally::Won
    } else if voters - refused < majority(voters) {
        Tally::Lost
    } else {
        Tally::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn majority_of_even_clusters_is_more_than_half() {
        let sizes: Vec<usize> = (1..=7).map(majority).collect();
        assert_eq!(sizes, [1, 2, 2, 3, 3, 4, 4]);
    }

    #[test]
    fn no_voters_reach_nothing() {
        assert_eq!(reached_by_majority(&mut []), 0);
    }

    proptest! {
        #[test]
        fn reached_number_is_the_largest_that_a_majority_holds(mut acks in prop::collection::vec(0u64..20, 1..9)) {
            let holders = |n: u64, acks: &[u64]| acks.iter().filter(|&&a| a >= n).count();
            let need = majority(acks.len());
            let expected = (0..20).rev().find(|&n| holders(n, &acks) >= need).unwrap();
            prop_assert_eq!(reached_by_majority(&mut acks), expected);
        }

        #[test]
        fn an_election_is_pending_exactly_while_both_outcomes_are_possible(
            voters in 1usize..9, granted in 0usize..9, refused in 0usize..9,
        ) {
            prop_assume!(granted + refused <= voters);
            let open = voters - granted - refused;
            let can_win = granted + open >= majority(voters);
            let expected = match (granted >= majority(voters), can_win) {
                (true, _) => Tally::Won,
                (false, true) => Tally::Pending,
                (false, false) => Tally::Lost,
            };
            prop_assert_eq!(tally(voters, granted, refused), expected);
        }
    }
}
