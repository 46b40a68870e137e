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
use node::{Answer, Config, Fatal, Finished, Input, Job, Node, Note, Output, WalTask, WalWriter};
use proto::etcdserverpb::Member as Identity;
use proto::raftpb::EntryType;
use store::{Alarms, Command, Kind, LeaseTable, ReadView, Signal, WatchHub};

use crate::plan::Plan;
use crate::random::Random;

/// The directories of the WAL and of everything else.
pub(crate) const WAL_DIR: &str = "/member/wal";
pub(crate) const DATA_DIR: &str = "/member/data";

/// The member's id.
pub(crate) const ID: u64 = 0xa1;

/// Names a command or a read until it is answered.
pub(crate) type Ticket = u64;

/// The time of a tick, and ticks after which an election, a checkpoint, a retry is due.
const TICK: Duration = Duration::from_millis(100);
const ELECTION_TICKS: u32 = 10;
/// How much longer than granted a lease lives after a restart.
pub(crate) const ELECTION_TIMEOUT: Duration = Duration::from_secs(1);
const CHECKPOINT_TICKS: u32 = 4;
pub(crate) const RETRY_TICKS: u32 = 2;
/// Request ids that one life of a member may use.
const IDS_OF_A_LIFE: u64 = 1 << 40;

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
    /// Commands handed to the WAL, in order. They are applied in this order. Commands by which the member
    /// makes itself known to the cluster are left out, here and below.
    pub(crate) logged: Vec<Command>,
    /// How many commands were applied.
    pub(crate) applied: usize,
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
    /// Starts a member with what is on the disk. `life` counts its starts from 1. Time goes on from `now`.
    pub(crate) fn start(disk: &SimDisk, plan: &Plan, life: u64, now: Duration) -> Result<Member, Fatal> {
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let (wal_dir, data_dir) = (Path::new(WAL_DIR), Path::new(DATA_DIR));
        let started = node::start(&disk, wal_dir, data_dir, plan.wal_file_bytes, config(plan, life))?;
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
            now,
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
    pub(crate) fn choose(&self, random: &mut Random, plan: &Plan) -> Option<Step> {
        let mut steps = Vec::with_capacity(4);
        if self.decided.is_some() {
            steps.push((Plan::USUAL_PACE, Step::Apply));
        } else if !self.inbox.is_empty() || self.is_busy {
            steps.push((Plan::USUAL_PACE, Step::Decide(1 + random.index(8))));
        }
        if !self.wal_tasks.is_empty() {
            steps.push((Plan::USUAL_PACE, Step::Write));
        }
        if self.is_report_due {
            steps.push((Plan::USUAL_PACE, Step::Sync));
        }
        if !self.jobs.is_empty() {
            let job = self.jobs.keys().nth(random.index(self.jobs.len()));
            steps.extend(job.map(|id| (plan.job_pace, Step::Job(*id))));
        }
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
        assert!(output.messages.is_empty(), "a lone member has nobody to write to");
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
        let logged = commands(&output.wal);
        self.wal_tasks.extend(output.wal.drain(..));
        for job in output.jobs.drain(..) {
            self.jobs.insert(self.next_job, JobState::Waits(job));
            self.next_job += 1;
        }
        let answers = std::mem::take(&mut output.answers);
        StepResult { logged, applied: 0, answers, notes: std::mem::take(&mut output.notes) }
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

fn commands(tasks: &[WalTask]) -> Vec<Command> {
    let appended = tasks.iter().flat_map(|task| match task {
        WalTask::Append(batch) => &batch.entries[..],
        _ => &[],
    });
    let full = appended.filter(|entry| entry.r#type() == EntryType::EntryNormal && !entry.data.is_empty());
    full.map(|entry| Command::decode(entry.data.clone()).expect("what a node logs can be read"))
        .filter(|command| !introduces(Kind::from(&command.request)))
        .collect()
}

/// Whether a new leader makes itself known by a command of this kind.
fn introduces(kind: Kind) -> bool {
    matches!(kind, Kind::ClusterMemberAttrSet | Kind::ClusterVersionSet)
}

fn config(plan: &Plan, life: u64) -> Config {
    let identity = Identity {
        id: ID,
        name: "a".into(),
        peer_ur_ls: vec!["http://a:2380".into()],
        client_ur_ls: vec!["http://a:2379".into()],
        is_learner: false,
    };
    Config {
        initial_members: vec![identity.clone()],
        member: identity,
        cluster_id: 0xc1,
        pre_vote: true,
        max_learners: 1,
        cluster_version: "3.7.0".into(),
        tick: TICK,
        election_ticks: ELECTION_TICKS,
        seed: plan.seed ^ life,
        first_request_id: life * IDS_OF_A_LIFE,
        checkpoint_entries: plan.checkpoint_entries,
        checkpoint_bytes: plan.checkpoint_bytes,
        checkpoint_ticks: CHECKPOINT_TICKS,
        catchup_entries: plan.catchup_entries,
        retry_ticks: RETRY_TICKS,
        quota_bytes: plan.quota_bytes,
        segment_bytes: plan.segment_bytes,
    }
}

/// A waker without effect: the simulator looks at every watch stream now and then.
#[derive(Debug)]
pub(crate) struct NoWaker;

impl Signal for NoWaker {
    fn signal(&self) {}
}
