//! Messages on their way out: those that may go at once, and those that wait for a write to be durable.

use std::collections::VecDeque;

use proto::raftpb::{Message, MessageType};

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    ready: Vec<Message>,
    /// In order of the batch that each waits for.
    withheld: VecDeque<(u64, Message)>,
}

impl Outbox {
    pub(crate) fn push(&mut self, message: Message) {
        self.ready.push(message);
    }

    /// Keeps `message` until batch `seq` is durable; `seq` is not below that of an earlier call.
    ///
    /// Of the messages to one member that wait for the same batch, an acknowledgement replaces an earlier
    /// one that says no more, and a vote or a request for one replaces its repetition. So a peer that
    /// repeats itself while the disk is slow takes no memory.
    pub(crate) fn withhold(&mut self, seq: u64, message: Message) {
        let same_batch = self.withheld.iter_mut().rev().take_while(|(needed, _)| *needed == seq);
        match same_batch.map(|(_, earlier)| earlier).find(|earlier| is_superseded(earlier, &message)) {
            Some(earlier) => *earlier = message,
            None => self.withheld.push_back((seq, message)),
        }
    }

    /// Forgets what waits and is of a term below `term`: its receivers would drop it.
    pub(crate) fn drop_withheld_before(&mut self, term: u64) {
        self.withheld.retain(|(_, message)| message.term >= term);
    }

    /// The next message that waited for batch `seq` or an earlier one.
    pub(crate) fn pop_released(&mut self, seq: u64) -> Option<Message> {
        self.withheld.pop_front_if(|(needed, _)| *needed <= seq).map(|(_, message)| message)
    }

    /// Everything that may go now, in the order it was pushed.
    pub(crate) fn take(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.ready)
    }
}

fn is_superseded(earlier: &Message, next: &Message) -> bool {
    let acknowledges = |message: &Message| message.r#type() == MessageType::MsgAppResp && !message.reject;
    let is_newer_acknowledgement = acknowledges(earlier)
        && acknowledges(next)
        && (earlier.to, earlier.term) == (next.to, next.term)
        && earlier.index <= next.index;
    is_newer_acknowledgement || earlier == next
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acknowledgement(to: u64, index: u64) -> Message {
        Message { r#type: MessageType::MsgAppResp as i32, to, index, ..Message::default() }
    }

    #[test]
    fn withheld_messages_leave_when_their_batch_is_durable() {
        let mut outbox = Outbox::default();
        outbox.withhold(1, acknowledgement(2, 5));
        outbox.withhold(2, acknowledgement(2, 6));
        assert!(outbox.pop_released(0).is_none());
        assert_eq!(outbox.pop_released(1).unwrap().index, 5);
        assert!(outbox.pop_released(1).is_none());
        assert_eq!(outbox.pop_released(2).unwrap().index, 6);
    }

    #[test]
    fn only_the_last_acknowledgement_of_a_batch_is_kept() {
        let mut outbox = Outbox::default();
        outbox.withhold(1, acknowledgement(2, 5));
        outbox.withhold(1, acknowledgement(2, 6));
        outbox.withhold(1, acknowledgement(3, 7));
        let released: Vec<u64> = std::iter::from_fn(|| outbox.pop_released(1)).map(|m| m.index).collect();
        assert_eq!(released, [6, 7]);
    }

    #[test]
    fn repeated_messages_of_a_batch_are_kept_once() {
        let mut outbox = Outbox::default();
        let grant =
            |to| Message { r#type: MessageType::MsgVoteResp as i32, to, term: 1, ..Message::default() };
        for _ in 0..100 {
            outbox.withhold(1, grant(2));
            outbox.withhold(1, acknowledgement(3, 7));
        }
        assert_eq!(outbox.withheld.len(), 2);
    }

    #[test]
    fn messages_of_an_earlier_term_are_forgotten() {
        let mut outbox = Outbox::default();
        outbox.withhold(1, Message { term: 1, ..acknowledgement(2, 5) });
        outbox.withhold(1, Message { term: 2, ..acknowledgement(2, 5) });
        outbox.drop_withheld_before(2);
        assert_eq!(outbox.pop_released(1).unwrap().term, 2);
        assert!(outbox.pop_released(1).is_none());
    }
}
