//! The network between members: a queue for each directed link.
//!
//! A message goes through the encoder and the decoder of the peer protocol. Then it may be lost, repeated, delayed or overtaken, as far as the plan allows it. A
//! link that is cut loses what is sent over it, and what was under way.
//!
//! A forwarded proposal is never repeated: it has no effect that a member could recognise as done before, and
//! the connections between members repeat nothing that has a number of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use proto::raftpb::{Message, MessageType};

use super::connection::Connection;
use super::faults::{Fault, FaultSet};
use crate::random::Random;

/// Messages under way on one link at most. What comes beyond is lost.
const LINK_LEN_MAX: usize = 2000;
/// The time that a message usually takes, and the time it takes if it is held up.
const DELAY_US_MAX: u64 = 3000;
const LONG_DELAY_US_MAX: u64 = 2_000_000;

/// All links of a cluster.
#[derive(Debug)]
pub(super) struct Network {
    /// By sender and receiver. A link is there once something was sent over it, or it was cut.
    links: BTreeMap<(usize, usize), Link>,
    random: Random,
    faults: FaultSet,
    bad_percent: u64,
    pub(super) counts: MessageCounts,
}

/// What became of messages.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct MessageCounts {
    pub(super) delivered: u64,
    pub(super) lost: u64,
    pub(super) repeated: u64,
    pub(super) delayed: u64,
}

#[derive(Debug, Default)]
struct Link {
    is_cut: bool,
    /// `None` until something is sent since the link was cut.
    connection: Option<Connection>,
    /// In the order in which they were sent.
    messages: Vec<UnderWay>,
}

#[derive(Debug, Clone)]
struct UnderWay {
    /// When it arrives at the earliest.
    due: Duration,
    message: Message,
}

impl Network {
    pub(super) fn new(seed: u64, faults: FaultSet, bad_percent: u64) -> Network {
        let counts = MessageCounts::default();
        Network { links: BTreeMap::new(), random: Random::new(seed), faults, bad_percent, counts }
    }

    /// Takes a message of the member at `from` for the one at `to`.
    pub(super) fn send(
        &mut self,
        from: usize,
        to: usize,
        message: &Message,
        now: Duration,
    ) -> Result<(), String> {
        let connection = &mut self.link(from, to).connection;
        let connection = connection.get_or_insert_with(|| Connection::new(message.from, message.to));
        let message = connection.carry(message)?;
        let link = self.link(from, to);
        let is_full = link.messages.len() >= LINK_LEN_MAX;
        if link.is_cut || is_full || self.goes_wrong(Fault::LostMessages) {
            self.counts.lost += 1;
            return Ok(());
        }
        let mut copies = 1;
        if message.r#type() != MessageType::MsgProp && self.goes_wrong(Fault::RepeatedMessages) {
            self.counts.repeated += 1;
            copies = 2;
        }
        for _ in 0..copies {
            let due = now + self.delay();
            self.link(from, to).messages.push(UnderWay { due, message: message.clone() });
        }
        Ok(())
    }

    /// A message that has arrived by `now`: its receiver and the message.
    pub(super) fn receive(&mut self, now: Duration) -> Option<(usize, Message)> {
        let is_ordered = !self.faults.contains(Fault::ReorderedMessages);
        let arrived: Vec<((usize, usize), usize)> = self
            .links
            .iter()
            .filter_map(|(ends, link)| {
                let mut due = link.messages.iter().map(|message| message.due <= now);
                let first = if is_ordered { due.next()?.then_some(0) } else { due.position(|is_due| is_due) };
                Some((*ends, first?))
            })
            .collect();
        if arrived.is_empty() {
            return None;
        }
        let ((from, to), message) = arrived[self.random.index(arrived.len())];
        self.counts.delivered += 1;
        Some((to, self.link(from, to).messages.remove(message).message))
    }

    /// When the next message arrives.
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.links.values().flat_map(|link| link.messages.first()).map(|message| message.due).min()
    }

    /// Cuts the link from one member to another; what is under way on it is lost.
    pub(super) fn cut(&mut self, from: usize, to: usize) {
        let link = self.link(from, to);
        link.is_cut = true;
        link.connection = None;
        let lost = std::mem::take(&mut link.messages).len();
        self.counts.lost += lost as u64;
    }

    /// Whether nothing passes from one member to another.
    pub(super) fn is_cut(&self, from: usize, to: usize) -> bool {
        self.links.get(&(from, to)).is_some_and(|link| link.is_cut)
    }

    pub(super) fn mend(&mut self, from: usize, to: usize) {
        self.link(from, to).is_cut = false;
    }

    /// All links work from now on, and no message goes astray.
    pub(super) fn heal(&mut self) {
        self.links.values_mut().for_each(|link| link.is_cut = false);
        self.faults = FaultSet::default();
    }

    fn goes_wrong(&mut self, fault: Fault) -> bool {
        self.faults.contains(fault) && self.random.percent(self.bad_percent)
    }

    fn delay(&mut self) -> Duration {
        let is_long = self.goes_wrong(Fault::DelayedMessages);
        self.counts.delayed += u64::from(is_long);
        let max = if is_long { LONG_DELAY_US_MAX } else { DELAY_US_MAX };
        Duration::from_micros(self.random.below(max))
    }

    fn link(&mut self, from: usize, to: usize) -> &mut Link {
        self.links.entry((from, to)).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATER: Duration = Duration::from_secs(9);

    fn message(index: u64, r#type: MessageType) -> Message {
        Message { index, from: 1, to: 3, r#type: r#type as i32, ..Message::default() }
    }

    fn network(faults: &[Fault]) -> Network {
        let mut set = FaultSet::default();
        faults.iter().for_each(|fault| set.insert(*fault));
        Network::new(1, set, 50)
    }

    fn received(network: &mut Network) -> Vec<u64> {
        let mut indexes = Vec::new();
        while let Some((to, message)) = network.receive(LATER) {
            assert_eq!(to, 2);
            indexes.push(message.index);
        }
        indexes
    }

    #[test]
    fn a_sound_link_delivers_in_order_after_some_time() {
        let mut network = network(&[]);
        for index in 0..50 {
            network.send(0, 2, &message(index, MessageType::MsgApp), Duration::ZERO).unwrap();
        }
        assert!(network.receive(Duration::ZERO).is_none() || network.next_due().is_some());
        let rest = received(&mut network);
        assert!(rest.len() >= 49 && rest.is_sorted());
    }

    #[test]
    fn messages_are_lost_repeated_and_reordered_only_if_the_plan_says_so() {
        let mut network = network(&[Fault::LostMessages, Fault::RepeatedMessages, Fault::ReorderedMessages]);
        for index in 0..200 {
            network.send(0, 2, &message(index, MessageType::MsgApp), Duration::ZERO).unwrap();
        }
        let received = received(&mut network);
        assert!(network.counts.lost > 50 && network.counts.repeated > 20, "{:?}", network.counts);
        assert_eq!(received.len() as u64, 200 - network.counts.lost + network.counts.repeated);
    }

    #[test]
    fn a_forwarded_proposal_is_not_repeated() {
        let mut network = network(&[Fault::RepeatedMessages]);
        for index in 0..100 {
            network.send(0, 2, &message(index, MessageType::MsgProp), Duration::ZERO).unwrap();
        }
        assert_eq!(received(&mut network).len(), 100);
    }

    #[test]
    fn a_cut_link_loses_what_is_under_way_in_its_direction_only() {
        let mut network = network(&[]);
        network.send(0, 2, &message(1, MessageType::MsgApp), Duration::ZERO).unwrap();
        network.send(1, 2, &message(2, MessageType::MsgApp), Duration::ZERO).unwrap();
        network.cut(0, 2);
        network.send(0, 2, &message(3, MessageType::MsgApp), Duration::ZERO).unwrap();
        assert_eq!(received(&mut network), [2]);
        network.mend(0, 2);
        network.send(0, 2, &message(4, MessageType::MsgApp), Duration::ZERO).unwrap();
        assert_eq!(received(&mut network), [4]);
    }
}
