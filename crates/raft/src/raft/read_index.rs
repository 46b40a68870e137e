//! Linearizable reads without a log entry: ReadIndex (Ongaro 2014, §6.4).
//!
//! A read may be served from any state that includes what was committed when it was asked for. A leader
//! notes its commit index and has a majority confirm that it still leads; what it noted is then a safe
//! index.
//!
//! ```text
//!   asked --> queue --> round n (index, requests) --heartbeat(n)--> majority confirms n --> answered
//! ```
//!
//! All requests that wait share the next round; a confirmed round confirms those before it. A round number
//! travels as the heartbeat's context, 8 bytes little-endian, and periodic heartbeats repeat the last one,
//! so that a lost message costs a heartbeat interval and no answer. While no round waits, a periodic
//! heartbeat starts one without requests: it proves that this leader led when the heartbeat was made
//! ([`Raft::led_at`]). Requests wait while nothing of the leader's own term is committed: it may not know
//! yet what its predecessors committed. A leader that steps down forgets all requests.
//!
//! A follower passes its requests on and remembers their contexts. It takes an answer only from its leader,
//! only to such a request, and once.

use std::collections::VecDeque;

use bytes::Bytes;
use proto::raftpb::{Entry, Message, MessageType};

use super::ready::ReadState;
use super::{NONE, Raft, Role};

/// Requests that may wait for a round; more are dropped, as if the network had lost them. As many contexts
/// does a follower remember.
const REQUESTS_MAX: usize = 4096;
/// Bytes of a request's context. etcd's have 8.
pub(super) const CONTEXT_LEN_MAX: usize = 64;
/// Rounds that may wait for a majority; requests then wait for one of them to end.
const ROUNDS_MAX: usize = 64;

/// Reads that wait for an answer.
#[derive(Debug, Default)]
pub(super) struct ReadQueue {
    /// On a follower: contexts of the requests that it passed on and that are not answered yet, oldest
    /// first.
    forwarded: VecDeque<Bytes>,
    /// On a leader, like all that follows.
    waiting: Vec<Request>,
    rounds: VecDeque<Round>,
    /// Number of the last round started; never reused, so that no late confirmation fits a later round.
    last_round: u64,
    /// The round that is to prove that this member leads. One at a time: a leader that nobody answers
    /// collects none.
    proof: Option<Proof>,
    /// When the last proven round was started.
    led_at: Option<u64>,
}

#[derive(Debug)]
struct Proof {
    round: u64,
    started_at: u64,
}

#[derive(Debug)]
struct Request {
    /// The member that asked.
    from: u64,
    context: Bytes,
}

#[derive(Debug)]
struct Round {
    number: u64,
    index: u64,
    requests: Vec<Request>,
}

impl ReadQueue {
    pub(super) fn clear(&mut self) {
        self.forwarded.clear();
        self.waiting.clear();
        self.rounds.clear();
        self.proof = None;
        self.led_at = None;
    }

    /// Remembers a request that is passed on. The oldest of too many is forgotten: its answer is likely
    /// lost.
    fn note_forwarded(&mut self, context: Bytes) {
        if self.forwarded.len() == REQUESTS_MAX {
            self.forwarded.pop_front();
        }
        self.forwarded.push_back(context);
    }

    /// Forgets the request with this context; false if there is none.
    fn take_forwarded(&mut self, context: &Bytes) -> bool {
        let at = self.forwarded.iter().position(|forwarded| forwarded == context);
        at.and_then(|at| self.forwarded.remove(at)).is_some()
    }

    /// What heartbeats carry so that their answers confirm the last round.
    pub(super) fn heartbeat_context(&self) -> Bytes {
        Bytes::copy_from_slice(&self.last_round.to_le_bytes())
    }

    /// Starts a round, which also proves that this member leads now, unless an earlier one is still to prove
    /// that.
    fn start_round(&mut self, now: u64) {
        self.last_round += 1;
        let round = self.last_round;
        self.proof.get_or_insert(Proof { round, started_at: now });
    }

    /// Starts a round for a periodic heartbeat if none waits for an answer.
    pub(super) fn start_proof(&mut self, now: u64) {
        if self.proof.is_none() {
            self.start_round(now);
        }
    }

    /// Whether a heartbeat of this leader can have named `round`.
    pub(super) fn has_started(&self, round: u64) -> bool {
        round <= self.last_round
    }

    fn is_open(&self) -> bool {
        !self.waiting.is_empty() && self.rounds.len() < ROUNDS_MAX
    }
}

/// The round that a heartbeat's context names, if it names one.
pub(super) fn decode_round(context: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(context.try_into().ok()?))
}

impl Raft {
    /// Asks for an index from which a linearizable read may be served. The answer comes as a
    /// [`ReadState`] with the same `context`.
    ///
    /// There may be no answer: the request is dropped if no leader is known or the queue is full, and lost
    /// with a message or a leader. Ask again after a while, with a new context, which must be unique among
    /// all members. Panics if `context` has more than 64 bytes.
    pub fn read_index(&mut self, context: Bytes) {
        assert!(context.len() <= CONTEXT_LEN_MAX, "a read's context has {} bytes", context.len());
        if self.role == Role::Leader {
            self.ask_read(Request { from: self.config.id, context });
        } else {
            self.forward_read(context);
        }
    }

    /// Tells the time, in any unit. It never falls, and is told before the inputs of its moment. Only
    /// [`Raft::led_at`] depends on it.
    pub fn set_time(&mut self, now: u64) {
        self.now = now;
    }

    /// The latest time of which is proven that this member led: no member had been elected in a later term
    /// before. `None` on other members, and on a leader that has proven nothing yet.
    ///
    /// A majority has answered a heartbeat that was made at this time. Unlike the leader's own ticks, it
    /// does not grow while the leader's thread stands still, and late answers do not move it.
    pub fn led_at(&self) -> Option<u64> {
        let decides_alone = self.role == Role::Leader && self.members.is_only_voter(self.config.id);
        if decides_alone { Some(self.now) } else { self.reads.led_at }
    }

    /// Takes a request that another member passed on.
    pub(super) fn handle_read_index(&mut self, message: Message) {
        if self.role == Role::Leader {
            for entry in message.entries {
                self.ask_read(Request { from: message.from, context: entry.data });
            }
        }
    }

    /// Takes the leader's answer to a request that this member passed on. Any other answer changes nothing.
    pub(super) fn handle_read_index_response(&mut self, message: Message) {
        if message.from != self.leader {
            return;
        }
        for entry in message.entries {
            if !self.reads.take_forwarded(&entry.data) {
                continue;
            }
            self.read_states.push(ReadState { index: message.index, context: entry.data });
        }
    }

    /// Starts a round for the requests that wait, if one may start.
    pub(super) fn start_read_round(&mut self) {
        let may_know_all = self.has_committed_in_term() || bugs::seeded_bug!("read-index-of-earlier-term");
        if !self.reads.is_open() || !may_know_all {
            return;
        }
        self.reads.start_round(self.now);
        let requests = std::mem::take(&mut self.reads.waiting);
        let round = Round { number: self.reads.last_round, index: self.log.committed(), requests };
        self.reads.rounds.push_back(round);
        self.send_heartbeats();
    }

    /// Answers the rounds that a majority has confirmed.
    pub(super) fn confirm_reads(&mut self) {
        let (own, last) = (self.config.id, self.reads.last_round);
        let confirmed = self
            .members
            .reached_by_majority(|member| if member.id == own { last } else { member.read_round });
        if let Some(proof) = self.reads.proof.take_if(|proof| proof.round <= confirmed) {
            self.reads.led_at = Some(proof.started_at);
        }
        while let Some(round) = self.reads.rounds.pop_front_if(|round| round.number <= confirmed) {
            for request in round.requests {
                self.answer_read(request, round.index);
            }
        }
    }

    /// Answers the requests that wait, if this leader needs no confirmation.
    pub(super) fn release_reads(&mut self) {
        if self.reads.waiting.is_empty() || !self.needs_no_read_round() {
            return;
        }
        for request in std::mem::take(&mut self.reads.waiting) {
            self.answer_read(request, self.log.committed());
        }
    }

    fn ask_read(&mut self, request: Request) {
        if self.needs_no_read_round() || bugs::seeded_bug!("read-index-without-round") {
            self.answer_read(request, self.log.committed());
        } else if self.reads.waiting.len() < REQUESTS_MAX {
            self.reads.waiting.push(request);
        }
    }

    fn forward_read(&mut self, context: Bytes) {
        if self.leader != NONE {
            self.reads.note_forwarded(context.clone());
            let entries = vec![Entry { data: context, ..Entry::default() }];
            let message = self.message(MessageType::MsgReadIndex, self.leader);
            self.send(Message { term: 0, entries, ..message });
        }
    }

    fn answer_read(&mut self, request: Request, index: u64) {
        if request.from == self.config.id {
            self.read_states.push(ReadState { index, context: request.context });
            return;
        }
        let answer = self.message(MessageType::MsgReadIndexResp, request.from);
        let entries = vec![Entry { data: request.context, ..Entry::default() }];
        self.send(Message { index, entries, ..answer });
    }

    /// Whether reads may be served at the commit index without asking another member: this member leads, has
    /// committed an entry of its own term, and is the only voter.
    fn needs_no_read_round(&self) -> bool {
        self.has_committed_in_term() && self.members.is_only_voter(self.config.id)
    }

    fn has_committed_in_term(&self) -> bool {
        self.role == Role::Leader && self.log.term(self.log.committed()) == Some(self.term)
    }
}
