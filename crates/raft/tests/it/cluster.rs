//! Members, their disks and the network between them, moved one event at a time.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use fastrand::Rng;
use proto::raftpb::{ConfState, Entry, EntryType, HardState, Message, MessageType, SnapshotMetadata};
use raft::{Config, Proposed, Raft, Ready, Status};

use crate::changes;
use crate::checker::Checker;
use crate::disk::Disk;
use crate::trace;

/// One member: a running machine, or only its disk.
pub(crate) struct Node {
    config: Config,
    pub(crate) raft: Option<Raft>,
    pub(crate) disk: Disk,
    /// The log as the machine holds it: what is on disk or on its way there.
    log: Vec<Entry>,
    applied: u64,
    /// Entries that were handed out to be applied and are not yet.
    to_apply: VecDeque<Entry>,
    /// The configuration as of `applied`: that of a snapshot counts once it is installed.
    conf_state: ConfState,
    last_status: Option<Status>,
}

impl Node {
    pub(crate) fn applied(&self) -> u64 {
        self.applied
    }

    /// Takes the state on disk for the current one.
    fn use_state_of_disk(&mut self) {
        self.applied = self.disk.applied();
        self.conf_state = self.disk.conf_state().clone();
    }
}

/// How often something happened that a run of random events should contain.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    /// Members received a snapshot.
    pub(crate) snapshots: usize,
    /// Members entered a joint configuration.
    pub(crate) joint: usize,
    /// A leader told another member to take over.
    pub(crate) handovers: usize,
}

pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Node>,
    /// In the order they were sent.
    pub(crate) network: Vec<Message>,
    /// Links that lose everything, as (from, to).
    pub(crate) cut: BTreeSet<(u64, u64)>,
    pub(crate) checker: Checker,
    /// How many configuration changes members have applied. While there is none, a majority of the disks can
    /// be counted.
    conf_changes: usize,
    pub(crate) counts: Counts,
    /// What happened since the last look, if anyone looks.
    trace: Option<Vec<String>>,
    /// Decides after which inputs a member takes no `Ready`, so that the next one comes before it, and how
    /// many of the committed entries are applied at once. `None`: no delays.
    delays: Option<Rng>,
    /// Counts inputs, if members are told the time.
    clock: Option<u64>,
    /// Whether the leader is told at once what became of a snapshot.
    reports_snapshots: bool,
}

impl Cluster {
    /// Members `1..=count`, the last `learners` of them without a vote; `config` with each one's id.
    pub(crate) fn new(count: u64, learners: u64, config: &Config) -> Cluster {
        let voters = (1..=count - learners).collect();
        let conf_state =
            ConfState { voters, learners: (count - learners + 1..=count).collect(), ..ConfState::default() };
        let mut cluster = Cluster {
            nodes: Vec::new(),
            network: Vec::new(),
            cut: BTreeSet::new(),
            checker: Checker::default(),
            conf_changes: 0,
            counts: Counts::default(),
            trace: None,
            delays: None,
            clock: None,
            reports_snapshots: false,
        };
        cluster.checker.configured(0, &conf_state);
        for id in 1..=count {
            cluster.add(Config { id, ..config.clone() }, conf_state.clone());
        }
        cluster
    }

    /// Voters whose disks hold entries of these terms. They have all seen the last of these terms.
    pub(crate) fn with_logs(logs: &[Vec<u64>], config: &Config) -> Cluster {
        let mut cluster = Cluster::new(logs.len() as u64, 0, config);
        let term = logs.iter().flatten().copied().max().unwrap();
        for (id, terms) in (1..).zip(logs) {
            let entries: Vec<Entry> =
                (1..).zip(terms).map(|(index, &term)| Entry { term, index, ..Entry::default() }).collect();
            let prev_terms = std::iter::once(&0).chain(terms);
            entries.iter().zip(prev_terms).for_each(|(entry, prev)| cluster.checker.appended(entry, *prev));
            cluster.node(id).disk.fill(HardState { term, ..HardState::default() }, entries);
            cluster.start(id);
        }
        cluster
    }

    /// Starts another member that knows `conf_state`.
    pub(crate) fn add(&mut self, config: Config, conf_state: ConfState) {
        let id = config.id;
        let disk = Disk::new(conf_state.clone());
        self.nodes.push(Node {
            config,
            raft: None,
            disk,
            log: Vec::new(),
            applied: 0,
            to_apply: VecDeque::new(),
            conf_state,
            last_status: None,
        });
        self.start(id);
    }

    /// From now on several inputs may come between two `Ready` of a member, as `delays` decides.
    pub(crate) fn set_delays(&mut self, delays: Option<Rng>) {
        self.delays = delays;
    }

    /// From now on members are told the time: each input takes one unit.
    pub(crate) fn set_clock(&mut self) {
        self.clock = Some(0);
    }

    /// From now on the sender of a snapshot is told what became of it.
    pub(crate) fn report_snapshots(&mut self) {
        self.reports_snapshots = true;
    }

    pub(crate) fn set_trace(&mut self) {
        self.trace = Some(Vec::new());
    }

    pub(crate) fn take_trace(&mut self) -> Vec<String> {
        self.trace.as_mut().map(std::mem::take).unwrap_or_default()
    }

    pub(crate) fn conf_changes(&self) -> usize {
        self.conf_changes
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = u64> + use<> {
        1..=self.nodes.len() as u64
    }

    pub(crate) fn node(&mut self, id: u64) -> &mut Node {
        &mut self.nodes[usize::try_from(id - 1).unwrap()]
    }

    pub(crate) fn is_up(&self, id: u64) -> bool {
        self.nodes[usize::try_from(id - 1).unwrap()].raft.is_some()
    }

    pub(crate) fn status(&mut self, id: u64) -> Option<Status> {
        self.node(id).raft.as_ref().map(Raft::status)
    }

    /// Starts `id` from its disk.
    pub(crate) fn start(&mut self, id: u64) {
        let node = self.node(id);
        let raft = Raft::new(node.config.clone(), node.disk.restored()).unwrap();
        node.log = node.disk.entries().to_vec();
        node.use_state_of_disk();
        node.last_status = Some(raft.status());
        node.raft = Some(raft);
        self.settle_node(id);
    }

    /// Stops `id`; of its queued writes the first `written` reach the disk all the same, and of the next one
    /// the first `torn` entries.
    pub(crate) fn crash(&mut self, id: u64, written: usize, torn: usize) {
        let node = self.node(id);
        node.raft = None;
        node.to_apply.clear();
        for _ in 0..written {
            node.disk.write_one();
        }
        node.disk.crash(torn);
    }

    /// Runs `input` on member `id` if it is up, and then everything that follows from it on this member,
    /// unless that is delayed until a later input.
    pub(crate) fn input<T>(&mut self, id: u64, input: impl FnOnce(&mut Raft) -> T) -> Option<T> {
        let now = self.clock.as_mut().map(|clock| {
            *clock += 1;
            *clock
        });
        let raft = self.node(id).raft.as_mut()?;
        now.into_iter().for_each(|now| raft.set_time(now));
        let result = input(raft);
        let (status, led_at) = (raft.status(), raft.led_at());
        self.checker.leadership(now.unwrap_or(0), &status, led_at);
        let is_delayed = self.delays.as_mut().is_some_and(|random| random.u32(..4) != 0);
        if !is_delayed {
            self.settle_node(id);
        }
        Some(result)
    }

    /// Delivers message `at` of the network, unless its link is cut or its target down.
    pub(crate) fn deliver(&mut self, at: usize) {
        let message = &self.network[at];
        if self.cut.contains(&(message.from, message.to)) || message.to > self.nodes.len() as u64 {
            self.lose(at);
            return;
        }
        let mut message = self.network.remove(at);
        let (from, to, r#type) = (message.from, message.to, message.r#type());
        if self.reports_snapshots {
            self.send_newer_state(&mut message);
        }
        // A proposal that arrives where no leader is known is dropped; no other message may be refused.
        let result = self.input(to, |raft| raft.step(message));
        match result {
            None | Some(Ok(()) | Err(raft::Error::ProposalDropped)) => {}
            Some(Err(error)) => panic!("a message between members was refused: {error}"),
        }
        self.report_snapshot(from, to, r#type, result.is_some());
    }

    /// Puts the present state of the sender into a snapshot, as a transport may that has none of the asked
    /// index.
    fn send_newer_state(&mut self, message: &mut Message) {
        let node = self.node(message.from);
        let (index, conf_state) = (node.applied, Some(node.conf_state.clone()));
        let term = node.disk.term(index).unwrap();
        let Some(metadata) = message.snapshot.as_mut().and_then(|snapshot| snapshot.metadata.as_mut()) else {
            return;
        };
        if index >= metadata.index && term <= message.term {
            *metadata = SnapshotMetadata { index, term, conf_state };
        }
    }

    /// Loses message `at` of the network.
    pub(crate) fn lose(&mut self, at: usize) {
        let message = self.network.remove(at);
        self.report_snapshot(message.from, message.to, message.r#type(), false);
    }

    fn report_snapshot(&mut self, from: u64, to: u64, r#type: MessageType, is_ok: bool) {
        if self.reports_snapshots && r#type == MessageType::MsgSnap {
            self.input(from, |raft| raft.report_snapshot(to, is_ok));
        }
    }

    /// Makes the oldest `count` queued writes of `id` durable and confirms the last of them.
    pub(crate) fn persist(&mut self, id: u64, count: usize) {
        let mut last = None;
        for _ in 0..count {
            last = self.node(id).disk.write_one().or(last);
        }
        let Some(seq) = last else { return };
        let node = self.node(id);
        let installed = node.disk.applied();
        if installed > node.applied && node.raft.is_some() {
            node.use_state_of_disk();
            self.note(|| format!("{id} has installed the snapshot at {installed}"));
        }
        let applied = self.node(id).applied;
        self.input(id, |raft| {
            raft.persisted(seq);
            raft.applied_to(applied);
        });
    }

    pub(crate) fn propose(&mut self, id: u64, data: &[Bytes]) -> Option<Result<Proposed, raft::Error>> {
        self.input(id, |raft| raft.propose(data.iter().cloned()))
    }

    pub(crate) fn read(&mut self, id: u64, context: Bytes) {
        self.checker.read_asked(context.clone());
        self.input(id, |raft| raft.read_index(context));
    }

    /// Writes and delivers everything until nothing is left to do.
    pub(crate) fn settle(&mut self) {
        for _ in 0..10_000 {
            self.ids().for_each(|id| self.settle_node(id));
            let mut is_quiet = self.network.is_empty();
            for id in self.ids() {
                let queued = self.node(id).disk.queued();
                is_quiet &= queued == 0;
                self.persist(id, queued);
            }
            for _ in 0..self.network.len() {
                self.deliver(0);
            }
            if is_quiet {
                return;
            }
        }
        panic!("the cluster does not come to rest");
    }

    /// Makes what `id` has applied its checkpoint.
    pub(crate) fn checkpoint(&mut self, id: u64) {
        let node = self.node(id);
        if node.raft.is_some() {
            node.disk.checkpoint(node.applied, node.conf_state.clone());
        }
    }

    /// Forgets the log of `id` up to `index`, on disk and in memory.
    pub(crate) fn compact(&mut self, id: u64, index: u64) {
        if !self.is_up(id) {
            return;
        }
        self.checkpoint(id);
        self.node(id).disk.compact(index);
        self.input(id, |raft| raft.compact(index, u64::MAX));
    }

    /// Applies at most `count` of the entries that were handed out to `id`.
    fn apply_some(&mut self, id: u64, count: usize) {
        for _ in 0..count {
            let Some(entry) = self.node(id).to_apply.pop_front() else { return };
            self.apply(id, &entry);
        }
    }

    fn settle_node(&mut self, id: u64) {
        if self.delays.is_none() {
            self.apply_some(id, usize::MAX);
        }
        while let Some(ready) = self.node(id).raft.as_mut().and_then(Raft::ready) {
            self.handle(id, ready);
        }
        let node = &mut self.nodes[usize::try_from(id - 1).unwrap()];
        let Some(now) = node.raft.as_ref().map(Raft::status) else { return };
        let before = node.last_status.replace(now).expect("a running member has a status");
        self.checker.status(&before, &now, &node.log);
    }

    fn handle(&mut self, id: u64, ready: Ready) {
        if let Some(soft) = ready.soft_state {
            self.note(|| format!("{id} is {:?} in term {}, leader {}", soft.role, soft.term, soft.leader));
        }
        if let Some(persist) = ready.persist {
            self.note(|| trace::persist(id, &persist));
            let Cluster { nodes, checker, .. } = self;
            let node = &mut nodes[usize::try_from(id - 1).unwrap()];
            let state = persist.snapshot.as_ref().map(|snapshot| checker.state(snapshot)).unwrap_or_default();
            if persist.snapshot.is_some() {
                node.log = state.clone();
                // The snapshot contains them.
                node.to_apply.clear();
                self.counts.snapshots += 1;
            }
            for entry in &persist.entries {
                node.log.truncate(usize::try_from(entry.index - 1).unwrap());
                checker.appended(entry, node.log.last().map_or(0, |prev| prev.term));
                node.log.push(entry.clone());
            }
            node.disk.queue(persist, state);
        }
        for message in ready.messages {
            assert_ne!(message.to, id, "no message leaves for its sender");
            let sender = self.status(id).unwrap();
            Checker::sent(&message, &sender, &self.node(id).disk);
            self.counts.handovers += usize::from(message.r#type() == MessageType::MsgTimeoutNow);
            self.note(|| trace::message(&message));
            self.network.push(message);
        }
        if !ready.committed.is_empty() {
            self.note(|| format!("{id} applies {}", trace::entries(&ready.committed)));
        }
        self.node(id).to_apply.extend(ready.committed);
        let count = match &mut self.delays {
            Some(random) => random.usize(..6),
            None => usize::MAX,
        };
        self.apply_some(id, count);
        for state in ready.read_states {
            self.note(|| format!("{id} may read {:?} at {}", state.context, state.index));
            self.checker.read_answered(&state);
        }
    }

    fn apply(&mut self, id: u64, entry: &Entry) {
        let holds = |node: &Node| node.disk.term(entry.index) == Some(entry.term);
        assert!(holds(self.node(id)), "{id} applies entry {} before it is durable there", entry.index);
        if self.conf_changes == 0 {
            let raft = self.node(id).raft.as_ref().unwrap();
            let voters = raft.conf_state().voters;
            let holders =
                self.nodes.iter().filter(|node| voters.contains(&node.config.id) && holds(node)).count();
            assert!(2 * holders > voters.len(), "entry {} is applied but not on a majority", entry.index);
        }
        let (before, term) = (self.node(id).applied, self.status(id).unwrap().term);
        self.checker.applied(entry, before, term);
        self.node(id).applied = entry.index;
        let raft = self.node(id).raft.as_mut().unwrap();
        if entry.r#type() != EntryType::EntryNormal {
            let state = raft.apply_conf_change(&changes::decode(entry));
            raft.applied_to(entry.index);
            self.conf_changes += 1;
            self.counts.joint += usize::from(!state.voters_outgoing.is_empty());
            self.node(id).conf_state = state.clone();
            self.checker.configured(entry.index, &state);
            self.note(|| trace::configuration(id, &state));
        } else {
            raft.applied_to(entry.index);
        }
    }

    fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(line());
        }
    }
}
