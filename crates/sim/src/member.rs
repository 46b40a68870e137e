//! The member under test: a node and the queues of its effects, which are carried out one small step at a
//! time.
//!
//! Takes the place of the server's driver, with one difference: at each step the caller chooses which queue
//! goes on. WAL tasks stay in order. Jobs run in any order and at any later time, and report later still. All
//! reports wait in one inbox until the node takes them.
//!
//! After a step has failed the member is dead: only what it reported before may be used.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use disk::{Disk, SimDisk};
use node::{Answer, Config, Fatal, Finished, Input, Job, Node, Note, Output, Published, WalTask, WalWriter};
use prost::Message as _;
use proto::etcdserverpb;
use proto::raftpb::{ConfChange, Entry, EntryType, Message, SnapshotMetadata};
use store::{Alarms, Command, Kind, LeaseTable, MemberChange, ReadView, Signal, WatchHub};

use crate::random::Random;

/// The directories of the WAL and of everything else.
pub(crate) const WAL_DIR: &str = "/member/wal";
pub(crate) const DATA_DIR: &str = "/member/data";

/// The id of the first member. The others have the ids that follow.
pub(crate) const ID: u64 = 0xa1;

/// Names a command or a read until it is answered.
pub(crate) type Ticket = u64;

/// The time of a tick, and ticks after which an election, a checkpoint, a retry is due.
pub(crate) const TICK: Duration = Duration::from_millis(100);
const ELECTION_TICKS: u32 = 10;
/// How much longer than granted a lease lives after a restart.
pub(crate) const ELECTION_TIMEOUT: Duration = Duration::from_secs(1);
/// The longest that a request waits for its answer: 5 s and two election timeouts.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(7);
const CHECKPOINT_TICKS: u32 = 4;
pub(crate) const RETRY_TICKS: u32 = 2;
/// Learners that a cluster may have.
pub(crate) const LEARNERS_MAX: usize = 1;
/// Request ids that one life of a member may use, and lives that a member may have.
const IDS_OF_A_LIFE: u64 = 1 << 40;
const LIVES_MAX: u64 = 1 << 16;

/// How the seed decides on the files and the limits of a member.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) segment_bytes: u64,
    pub(crate) wal_file_bytes: u64,
    pub(crate) checkpoint_entries: u64,
    pub(crate) checkpoint_bytes: u64,
    pub(crate) catchup_entries: u64,
    pub(crate) quota_bytes: Option<u64>,
}

/// What distinguishes one start of a member from all others.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Birth {
    /// Place of the member in its cluster, from 0 on.
    pub(crate) place: usize,
    /// Members that the new cluster begins with; 0 for a member that joins a cluster.
    pub(crate) members: usize,
    /// Counts the starts of the member from 1.
    pub(crate) life: u64,
    /// Seed of its election timeouts.
    pub(crate) seed: u64,
    /// The time from which its clock goes on.
    pub(crate) now: Duration,
}

/// How often each thread of a member goes on, relative to everything else. With 0 it stands still.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) node: u64,
    pub(crate) wal: u64,
    pub(crate) jobs: u64,
}

impl Pace {
    /// The pace of the node and of the WAL writer.
    pub(crate) const USUAL: u64 = 8;
}

/// A running member.
#[derive(Debug)]
pub(crate) struct Member {
    node: Node<Ticket>,
    writer: WalWriter,
    pub(crate) view: ReadView,
    pub(crate) watch_hub: Arc<WatchHub>,
    inbox: VecDeque<Input<Ticket>>,
    wal_tasks: VecDeque<WalTask>,
    /// Whether the WAL writer has something to report, if only how much room it has.
    is_report_due: bool,
    jobs: BTreeMap<u64, JobState>,
    next_job: u64,
    /// What the node has decided, without WAL tasks and jobs. It has not applied anything since.
    decided: Option<Output<Ticket>>,
    is_busy: bool,
    pub(crate) now: Duration,
}

/// How far a job is.
#[derive(Debug)]
enum JobState {
    Waits(Job),
    /// It has run, and the node has no report yet.
    Ran(Finished),
}

/// The results of a step.
#[derive(Debug, Default)]
pub(crate) struct StepResult {
    /// Entries handed to the WAL, in order. An entry replaces what was at its index and after it.
    pub(crate) logged: Vec<Entry>,
    /// How many commands were applied, without those by which the member makes itself known to the cluster.
    pub(crate) applied: usize,
    /// For other members.
    pub(crate) messages: Vec<Message>,
    pub(crate) answers: Vec<(Ticket, Answer)>,
    pub(crate) notes: Vec<Note>,
}

/// One thing a member can do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The node takes at most this many inputs from its inbox, and decides.
    Decide(usize),
    /// The node applies something, after it has decided.
    Apply,
    /// The WAL writer writes a task.
    Write,
    /// The WAL writer syncs and reports.
    Sync,
    /// A job runs, or reports if it has run.
    Job(u64),
}

impl Member {
    /// Starts a member with what is on the disk.
    pub(crate) fn start(disk: &SimDisk, settings: &Settings, birth: Birth) -> Result<Member, Fatal> {
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let (wal_dir, data_dir) = (Path::new(WAL_DIR), Path::new(DATA_DIR));
        let started =
            node::start(&disk, wal_dir, data_dir, settings.wal_file_bytes, config(settings, birth))?;
        let node = started.node;
        Ok(Member {
            view: node.view(),
            watch_hub: node.watch_hub(),
            node,
            writer: started.wal_writer,
            inbox: VecDeque::new(),
            wal_tasks: VecDeque::new(),
            is_report_due: true,
            jobs: BTreeMap::new(),
            next_job: 0,
            decided: None,
            is_busy: true,
            now: birth.now,
        })
    }

    /// Lets one heartbeat interval pass.
    pub(crate) fn tick(&mut self) {
        self.now += TICK;
        self.send(Input::Tick);
    }

    /// Whether the clock may go on: not between the two phases of a call.
    pub(crate) fn may_pass_time(&self) -> bool {
        self.decided.is_none()
    }

    /// Puts something into the inbox.
    pub(crate) fn send(&mut self, input: Input<Ticket>) {
        self.inbox.push_back(input);
    }

    /// The whole state as etcd's database, with its place in the raft log; `None` if it cannot be written down now.
    pub(crate) fn export(&mut self) -> Option<(SnapshotMetadata, Vec<u8>)> {
        if self.decided.is_some() {
            return None;
        }
        let mut export = self.node.export()?;
        while export.measure_step().is_none() {}
        let mut state = Vec::new();
        loop {
            let is_complete = export.write_step().ok()?;
            state.append(export.output());
            if is_complete {
                break;
            }
        }
        let conf_state = Some(export.conf_state().clone());
        let (index, term) = (export.applied_index(), export.applied_term());
        Some((SnapshotMetadata { conf_state, index, term }, state))
    }

    /// Whether it has not noticed yet that an interval has passed.
    pub(crate) fn has_tick_waiting(&self) -> bool {
        self.inbox.iter().any(|input| matches!(input, Input::Tick))
    }

    /// Renews a lease without asking the node, if that is possible.
    pub(crate) fn renew_lease(&self, id: i64) -> Option<i64> {
        self.node.lease_renewer().renew(id, self.now)
    }

    /// An id for a proposal.
    pub(crate) fn request_id(&self) -> u64 {
        self.node.published().next_request_id()
    }

    /// The replicated leases.
    pub(crate) fn leases(&self) -> &LeaseTable {
        self.node.leases()
    }

    /// The alarms that are raised.
    pub(crate) fn alarms(&self) -> Alarms {
        self.node.published().control().alarms().clone()
    }

    /// Whether everything on the disk has been applied and reads are served.
    pub(crate) fn serves(&self) -> bool {
        self.node.published().reads_at_once()
    }

    /// Term of the entry of its raft log at `index`; `None` if it is not in memory.
    pub(crate) fn entry_term(&self, index: u64) -> Option<u64> {
        self.node.entry_term(index)
    }

    /// What it knows of the cluster: term, leader, committed and applied index.
    pub(crate) fn published(&self) -> Arc<Published> {
        self.node.published()
    }

    /// Whether writes are taken.
    pub(crate) fn has_space(&self) -> bool {
        self.node.published().has_space()
    }

    /// Bytes of the data, dead records included.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.node.published().size_bytes()
    }

    /// Bytes of live records.
    pub(crate) fn size_in_use_bytes(&self) -> u64 {
        self.node.published().size_in_use_bytes()
    }

    /// A step for which there is work, or `None`.
    pub(crate) fn choose(&self, random: &mut Random, pace: Pace) -> Option<Step> {
        let mut steps = Vec::with_capacity(4);
        if self.decided.is_some() {
            steps.push((pace.node, Step::Apply));
        } else if !self.inbox.is_empty() || self.is_busy {
            steps.push((pace.node, Step::Decide(1 + random.index(8))));
        }
        if !self.wal_tasks.is_empty() {
            steps.push((pace.wal, Step::Write));
        }
        if self.is_report_due {
            steps.push((pace.wal, Step::Sync));
        }
        if !self.jobs.is_empty() {
            let job = self.jobs.keys().nth(random.index(self.jobs.len()));
            steps.extend(job.map(|id| (pace.jobs, Step::Job(*id))));
        }
        steps.retain(|(pace, _)| *pace > 0);
        if steps.is_empty() { None } else { Some(random.weighted(&steps)) }
    }

    /// Does one step.
    pub(crate) fn step(&mut self, step: Step) -> Result<StepResult, Fatal> {
        match step {
            Step::Decide(inputs_max) => return self.decide(inputs_max),
            Step::Apply => return self.apply(),
            Step::Write => {
                if let Some(task) = self.wal_tasks.pop_front() {
                    self.writer.accept(task)?;
                }
                self.is_report_due = true;
            }
            Step::Sync => {
                let report = self.writer.sync()?;
                self.inbox.push_back(Input::WalWritten(report));
                self.is_report_due = false;
            }
            Step::Job(id) => match self.jobs.remove(&id).expect("a step names a job that is there") {
                JobState::Waits(job) => {
                    self.jobs.insert(id, JobState::Ran(job.run()));
                }
                JobState::Ran(finished) => self.inbox.push_back(Input::Finished(finished)),
            },
        }
        Ok(StepResult::default())
    }

    fn decide(&mut self, inputs_max: usize) -> Result<StepResult, Fatal> {
        let mut output = Output::default();
        let taken = self.inbox.len().min(inputs_max);
        self.node.decide(self.now, self.inbox.drain(..taken), &mut output)?;
        let news = self.carry_out(&mut output);
        self.decided = Some(output);
        Ok(news)
    }

    fn apply(&mut self) -> Result<StepResult, Fatal> {
        let mut output = self.decided.take().expect("the node has decided");
        self.node.apply(&mut output, &mut |_| {})?;
        output.signals.iter().for_each(|signal| signal.signal());
        self.is_busy = output.is_busy;
        let applied = output.applied.iter().filter(|(kind, _)| !introduces(*kind)).count();
        Ok(StepResult { applied, ..self.carry_out(&mut output) })
    }

    /// Queues WAL tasks and jobs; returns everything else.
    fn carry_out(&mut self, output: &mut Output<Ticket>) -> StepResult {
        let logged = entries(&output.wal);
        self.wal_tasks.extend(output.wal.drain(..));
        for job in output.jobs.drain(..) {
            self.jobs.insert(self.next_job, JobState::Waits(job));
            self.next_job += 1;
        }
        StepResult {
            logged,
            applied: 0,
            messages: std::mem::take(&mut output.messages),
            answers: std::mem::take(&mut output.answers),
            notes: std::mem::take(&mut output.notes),
        }
    }

    /// Describes what a job does next, for the trace.
    pub(crate) fn job_name(&self, id: u64) -> &'static str {
        match self.jobs.get(&id) {
            Some(JobState::Waits(Job::PrepareWalFile(_))) => "prepare a log file",
            Some(JobState::Waits(Job::PrepareSegment(_))) => "prepare a segment",
            Some(JobState::Waits(Job::Checkpoint(_))) => "checkpoint",
            Some(JobState::Waits(Job::HashCompaction(_))) => "hash a compaction",
            Some(JobState::Waits(Job::Reclaim(_))) => "reclaim",
            Some(JobState::Waits(Job::Remove(_))) => "remove segments",
            Some(JobState::Waits(_)) => "something else",
            Some(JobState::Ran(_)) => "report",
            None => "nothing",
        }
    }
}

fn entries(tasks: &[WalTask]) -> Vec<Entry> {
    let batches = tasks.iter().filter_map(|task| match task {
        WalTask::Append(batch) => Some(&batch.entries),
        _ => None,
    });
    batches.flatten().cloned().collect()
}

/// The command that an entry holds; `None` for a configuration change, and for the entry with which a leader
/// begins its term.
pub(crate) fn command(entry: &Entry) -> Option<Command> {
    let is_command = entry.r#type() == EntryType::EntryNormal && !entry.data.is_empty();
    is_command.then(|| Command::decode(entry.data.clone()).expect("what a node logs can be read"))
}

/// The change of members that an entry holds, with the id of its proposal; `None` if it holds none.
pub(crate) fn member_change(entry: &Entry) -> Option<(u64, MemberChange)> {
    if entry.r#type() != EntryType::EntryConfChange {
        return None;
    }
    let change = ConfChange::decode(&entry.data[..]).expect("what a node logs can be read");
    let of_members = MemberChange::decode(&change).expect("nodes log only such changes as etcd knows");
    Some((change.id, of_members))
}

/// Whether a new leader makes itself known by a command of this kind.
pub(crate) fn introduces(kind: Kind) -> bool {
    matches!(kind, Kind::ClusterMemberAttrSet | Kind::ClusterVersionSet)
}

/// What the cluster knows of the member at `place`.
pub(crate) fn identity(place: usize) -> etcdserverpb::Member {
    etcdserverpb::Member {
        id: ID + place as u64,
        name: format!("m{place}"),
        peer_ur_ls: vec![format!("http://m{place}:2380")],
        client_ur_ls: vec![format!("http://m{place}:2379")],
        is_learner: false,
    }
}

fn config(settings: &Settings, birth: Birth) -> Config {
    let life = birth.place as u64 * LIVES_MAX + birth.life;
    Config {
        initial_members: (0..birth.members).map(identity).collect(),
        member: identity(birth.place),
        cluster_id: 0xc1,
        force_new_cluster: false,
        pre_vote: true,
        max_learners: LEARNERS_MAX,
        cluster_version: "3.7.0".into(),
        tick: TICK,
        election_ticks: ELECTION_TICKS,
        seed: birth.seed ^ birth.life,
        first_request_id: life * IDS_OF_A_LIFE,
        checkpoint_entries: settings.checkpoint_entries,
        checkpoint_bytes: settings.checkpoint_bytes,
        checkpoint_ticks: CHECKPOINT_TICKS,
        catchup_entries: settings.catchup_entries,
        retry_ticks: RETRY_TICKS,
        quota_bytes: settings.quota_bytes,
        segment_bytes: settings.segment_bytes,
    }
}

/// A waker without effect: the simulator looks at every watch stream now and then.
#[derive(Debug)]
pub(crate) struct NoWaker;

impl Signal for NoWaker {
    fn signal(&self) {}
}
