//! When a majority last confirmed that this member leads.
//!
//! A leader that is cut off, or whose thread stands still, does not know that another member leads. So what only a
//! leader may do without the raft log, such as renewing a lease, needs a proof: a majority has answered a question that
//! was asked at some time, so no other member led before that time.

use std::collections::VecDeque;
use std::time::Duration;

/// Questions without an answer. The oldest of more is forgotten.
const ASKED_MAX: usize = 64;

/// Questions asked in this term, and what is known from the answers.
#[derive(Debug, Default)]
pub(super) struct Leadership {
    /// Context and time of each question, oldest first.
    asked: VecDeque<(u64, Duration)>,
    /// The time of the newest question that was answered, until it is taken.
    proof: Option<Duration>,
}

impl Leadership {
    pub(super) fn ask(&mut self, context: u64, now: Duration) {
        if self.asked.len() == ASKED_MAX {
            self.asked.pop_front();
        }
        self.asked.push_back((context, now));
    }

    /// A majority has answered the question with this context, if it was asked.
    pub(super) fn confirm(&mut self, context: u64) {
        let Some(at) = self.asked.iter().position(|(asked, _)| *asked == context) else { return };
        // The answer holds for the questions before it as well.
        for (_, asked_at) in self.asked.drain(..=at) {
            self.proof = self.proof.max(Some(asked_at));
        }
    }

    pub(super) fn take_proof(&mut self) -> Option<Duration> {
        self.proof.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn an_answer_proves_leadership_when_its_question_was_asked() {
        let mut leadership = Leadership::default();
        leadership.ask(1, S);
        leadership.ask(2, 2 * S);
        leadership.ask(3, 3 * S);
        leadership.confirm(9);
        assert_eq!(leadership.take_proof(), None);
        leadership.confirm(2);
        assert_eq!(leadership.take_proof(), Some(2 * S));
        assert_eq!(leadership.take_proof(), None);
        leadership.confirm(1);
        assert_eq!(leadership.take_proof(), None, "it was answered together with the second");
        leadership.confirm(3);
        assert_eq!(leadership.take_proof(), Some(3 * S));
    }

    #[test]
    fn questions_without_an_answer_do_not_pile_up() {
        let mut leadership = Leadership::default();
        (0..10_000).for_each(|context| leadership.ask(context, S));
        assert_eq!(leadership.asked.len(), ASKED_MAX);
    }
}
