//! A member whose log writer and jobs run when the test says so.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use disk::wal::{Recovered, Wal};
use disk::{Disk, SimDisk};
use node::{
    Answer, Config, Fatal, Finished, Forced, Input, Job, Node, Note, Output, Proposal, WalTask, WalWriter,
};
use prost::Message as _;
use proto::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, Member as MemberInfo, PutRequest, RangeRequest,
};
use proto::raftpb::Message;
use store::{Outcome, RangeQuery, Refusal, Request};

pub(crate) const ID: u64 = 7;
pub(crate) const WAL_DIR: &str = "/wal";
pub(crate) const DATA_DIR: &str = "/data";
/// Small, so that a few hundred puts fill several files.
const FILE_BYTES: u64 = 1 << 16;

pub(crate) const TICK: Duration = Duration::from_millis(100);

/// A running member and what it has given out so far.
pub(crate) struct Member {
    pub(crate) node: Node<u32>,
    writer: WalWriter,
    pub(crate) is_restart: bool,
    pub(crate) forced: Option<Forced>,
    pub(crate) tasks: Vec<WalTask>,
    pub(crate) jobs: Vec<Job>,
    pub(crate) answers: Vec<(u32, Answer)>,
    pub(crate) notes: Vec<Note>,
    pub(crate) messages: Vec<Message>,
    is_busy: bool,
    next_waiter: u32,
    /// Moved on by the test, and by [`TICK`] with each tick.
    pub(crate) now: Duration,
}

pub(crate) fn info(id: u64) -> MemberInfo {
    MemberInfo {
        id,
        name: format!("m{id}"),
        peer_ur_ls: vec![format!("http://m{id}:2380")],
        client_ur_ls: vec![format!("http://m{id}:2379")],
        is_learner: false,
    }
}

pub(crate) fn config() -> Config {
    Config {
        member: info(ID),
        cluster_id: 99,
        initial_members: vec![info(ID)],
        force_new_cluster: false,
        pre_vote: true,
        max_learners: 1,
        cluster_version: "3.7.0".to_owned(),
        tick: TICK,
        election_ticks: 10,
        seed: 1,
        first_request_id: 1,
        checkpoint_entries: 1000,
        checkpoint_bytes: 1 << 20,
        checkpoint_ticks: 100,
        catchup_entries: 5,
        retry_ticks: 3,
        quota_bytes: None,
        segment_bytes: FILE_BYTES,
    }
}

impl Member {
    /// Starts a member; it has not done anything yet.
    pub(crate) fn start(disk: &SimDisk, config: Config) -> Result<Member, Fatal> {
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let file_bytes = config.segment_bytes;
        let started = node::start(&disk, Path::new(WAL_DIR), Path::new(DATA_DIR), file_bytes, config)?;
        Ok(Member {
            node: started.node,
            writer: started.wal_writer,
            is_restart: started.is_restart,
            forced: started.forced,
            tasks: Vec::new(),
            jobs: Vec::new(),
            answers: Vec::new(),
            notes: Vec::new(),
            messages: Vec::new(),
            is_busy: false,
            next_waiter: 0,
            now: Duration::ZERO,
        })
    }

    /// Starts a lone member and lets it become the leader.
    pub(crate) fn lead(disk: &SimDisk, config: Config) -> Member {
        let mut member = Member::start(disk, config).unwrap();
        member.settle().unwrap();
        member.answers.clear();
        member
    }

    pub(crate) fn handle(&mut self, inputs: Vec<Input<u32>>) -> Result<(), Fatal> {
        let mut output = Output::default();
        self.node.handle(self.now, inputs, &mut output)?;
        self.collect(output);
        Ok(())
    }

    pub(crate) fn collect(&mut self, output: Output<u32>) {
        self.tasks.extend(output.wal);
        self.jobs.extend(output.jobs);
        self.answers.extend(output.answers);
        self.notes.extend(output.notes);
        self.messages.extend(output.messages);
        self.is_busy = output.is_busy;
    }

    pub(crate) fn tick(&mut self, times: u32) -> Result<(), Fatal> {
        for _ in 0..times {
            self.now += TICK;
            self.handle(vec![Input::Tick])?;
            self.settle()?;
        }
        Ok(())
    }

    /// An input that proposes `request`, and who waits for it.
    pub(crate) fn proposal(&mut self, request: Request) -> (u32, Input<u32>) {
        self.next_waiter += 1;
        let id = self.node.published().next_request_id();
        (self.next_waiter, Input::Propose(Proposal::new(id, request), self.next_waiter))
    }

    /// Proposes and does nothing else.
    pub(crate) fn propose(&mut self, request: Request) -> u32 {
        let (waiter, input) = self.proposal(request);
        self.handle(vec![input]).unwrap();
        waiter
    }

    /// Carries out what the log is asked for, with one sync, and reports.
    pub(crate) fn write_log(&mut self) -> Result<(), Fatal> {
        for task in self.tasks.drain(..) {
            self.writer.accept(task)?;
        }
        let report = self.writer.sync()?;
        self.handle(vec![Input::WalWritten(report)])
    }

    pub(crate) fn run_jobs(&mut self) -> Result<(), Fatal> {
        let finished: Vec<Finished> = self.jobs.drain(..).map(Job::run).collect();
        self.handle(finished.into_iter().map(Input::Finished).collect())
    }

    /// Runs those of the jobs that are wanted and keeps the others.
    pub(crate) fn run_jobs_that(&mut self, is_wanted: impl Fn(&Job) -> bool) {
        let wanted: Vec<Job> = self.jobs.extract_if(.., |job| is_wanted(job)).collect();
        self.handle(wanted.into_iter().map(|job| Input::Finished(job.run())).collect()).unwrap();
    }

    /// Whether something is left to be done without any input.
    pub(crate) fn has_work(&self) -> bool {
        self.is_busy || !self.tasks.is_empty() || !self.jobs.is_empty()
    }

    /// Goes on until there is nothing more to do; the log is always ahead of the jobs.
    pub(crate) fn settle(&mut self) -> Result<(), Fatal> {
        self.handle(Vec::new())?;
        while self.has_work() {
            while !self.tasks.is_empty() {
                self.write_log()?;
            }
            self.run_jobs()?;
        }
        Ok(())
    }

    /// Proposes, goes on until there is nothing more to do, and takes the answer.
    pub(crate) fn apply(&mut self, request: Request) -> Result<Answer, Fatal> {
        let (waiter, input) = self.proposal(request);
        self.handle(vec![input])?;
        self.settle()?;
        Ok(self.answer(waiter).expect("whoever is settled has answered"))
    }

    pub(crate) fn answer(&mut self, waiter: u32) -> Option<Answer> {
        let place = self.answers.iter().position(|(who, _)| *who == waiter)?;
        Some(self.answers.remove(place).1)
    }

    /// Number of keys, from the store.
    pub(crate) fn keys(&self) -> i64 {
        let request = RangeRequest { key: "\0".into(), range_end: "\0".into(), ..RangeRequest::default() };
        let mut reading = self.node.view().range(RangeQuery::new(&request).unwrap()).unwrap();
        while !reading.step().unwrap() {}
        reading.finish().unwrap().count
    }
}

pub(crate) fn put(key: &str, value: impl Into<Bytes>) -> Request {
    let (key, value) = (Bytes::copy_from_slice(key.as_bytes()), value.into());
    Request::Put(PutRequest { key, value, ..PutRequest::default() })
}

pub(crate) fn delete(key: &str) -> Request {
    let key = Bytes::copy_from_slice(key.as_bytes());
    Request::DeleteRange(DeleteRangeRequest { key, ..DeleteRangeRequest::default() })
}

pub(crate) fn compact(revision: i64, physical: bool) -> Request {
    Request::Compact(CompactionRequest { revision, physical })
}

/// The revision an answer tells of, if the command was applied.
pub(crate) fn revision(answer: Option<Answer>) -> Option<i64> {
    match answer? {
        Answer::Applied(Ok(Outcome::Put(put))) => Some(put.revision),
        Answer::Applied(Ok(Outcome::Delete(delete))) => Some(delete.revision),
        Answer::Applied(Ok(Outcome::Compact { revision })) => Some(revision),
        _ => None,
    }
}

pub(crate) fn refusal(answer: &Answer) -> Option<Refusal> {
    if let Answer::Applied(Err(refusal)) = answer { Some(*refusal) } else { None }
}

/// Opens the log of a member that is down.
pub(crate) fn open_log(disk: &SimDisk) -> (Wal, Recovered) {
    Wal::open_sized(Arc::new(disk.clone()), Path::new(WAL_DIR), 0, FILE_BYTES).unwrap()
}

/// Appends what no member would write to the log of one that is down.
pub(crate) fn append_foreign_entry(
    disk: &SimDisk,
    entry_type: proto::raftpb::EntryType,
    data: &'static [u8],
) -> u64 {
    let (mut log, recovered) = open_log(disk);
    let last = recovered.entries.last().unwrap();
    let (term, index) = (last.term, last.index + 1);
    let entry =
        proto::raftpb::Entry { term, index, r#type: entry_type as i32, data: Bytes::from_static(data) };
    let hard_state = proto::raftpb::HardState { commit: index, ..recovered.hard_state };
    log.append(&[entry], Some(&hard_state)).unwrap();
    log.sync().unwrap();
    index
}

/// The configuration change an entry holds.
pub(crate) fn conf_change(data: &Bytes) -> proto::raftpb::ConfChange {
    proto::raftpb::ConfChange::decode(data.clone()).unwrap()
}
