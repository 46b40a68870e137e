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

    /// Keeps `message` until batch `seq` is durable. An acknowledgement that follows another for the same batch
    /// and member replaces it: it says the same and more.
    pub(crate) fn withhold(&mut self, seq: u64, message: Message) {
        if let Some((last_seq, last)) = self.withheld.back_mut()
            && *last_seq == seq
            && is_superseded(last, &message)
        {
            *last = message;
            return;
        }
        self.withheld.push_back((seq, message));
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

fn is_superseded(last: &Message, next: &Message) -> bool {
    let acknowledges = |message: &Message| message.r#type() == MessageType::MsgAppResp && !message.reject;
    acknowledges(last)
        && acknowledges(next)
        && (last.to, last.term) == (next.to, next.term)
        && last.index <= next.index
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
}
