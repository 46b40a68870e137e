//! What the threads of a member do for each other, on a simulated disk.

use std::path::Path;
use std::sync::mpsc;

use disk::{Disk, SimDisk};
use node::{Answer, Finished, Job, Proposal, Published};
use proto::etcdserverpb::{CompactionRequest, DeleteRangeRequest, Member as EtcdMember, PutRequest};
use proto::raftpb::{Message as RaftMessage, MessageType};
use store::{Kind, Request};

use super::*;
use crate::driver::Driver;
use crate::driver::jobs::JobThreads;
use crate::metrics::Metrics;
use crate::peers::{Backlog, backlog_bytes};

const WAL_FILE: &str = "/wal/0000000000000000-0000000000000000.wal";

fn config() -> node::Config {
    let member = EtcdMember { id: 1, name: "m".into(), ..EtcdMember::default() };
    node::Config {
        initial_members: vec![member.clone()],
        member,
        cluster_id: 1,
        force_new_cluster: false,
        pre_vote: true,
        max_learners: 1,
        cluster_version: "3.7.0".into(),
        tick: Duration::from_millis(1),
        election_ticks: 10,
        seed: 1,
        first_request_id: 1,
        checkpoint_entries: 10_000,
        checkpoint_bytes: 1 << 20,
        checkpoint_ticks: 1_000_000,
        catchup_entries: 5000,
        retry_ticks: 3,
        quota_bytes: None,
        segment_bytes: 1 << 20,
    }
}

fn started(disk: &Arc<dyn Disk>, config: node::Config) -> node::Started<Ticket> {
    node::start(disk, Path::new("/wal"), Path::new("/data"), 1 << 20, config).unwrap()
}

fn metrics() -> Arc<Metrics> {
    Arc::new(Metrics::new(false))
}

/// The WAL of a new member on `disk`.
pub(in crate::driver) fn wal_on(disk: &Arc<dyn Disk>) -> SharedWal {
    SharedWal::new(started(disk, config()).wal_writer, metrics())
}

/// Tells what it is told.
struct Told(mpsc::Sender<Event>);

#[derive(Debug, PartialEq)]
enum Event {
    Published,
    Applied(usize),
    Ended(Result<(), String>),
}

impl Observer for Told {
    fn note(&mut self, note: &Note) {
        if *note == Note::Published {
            let _ = self.0.send(Event::Published);
        }
    }

    fn applied(&mut self, commands: &[(Kind, bool)], _: Duration) {
        let _ = self.0.send(Event::Applied(commands.len()));
    }

    fn paused(&mut self, _: Duration) {}

    fn ended(&mut self, result: &Result<(), Fatal>) {
        let _ = self.0.send(Event::Ended(result.as_ref().copied().map_err(ToString::to_string)));
    }
}

/// A follower of three, whose leader is member 2.
fn follower() -> node::Config {
    let member = |id| EtcdMember { id, name: "m".into(), ..EtcdMember::default() };
    node::Config { initial_members: vec![member(1), member(2), member(3)], ..config() }
}

fn append(index: u64, n_entries: u64) -> RaftMessage {
    let entry = |i| proto::raftpb::Entry { term: 2, index: index + 1 + i, ..Default::default() };
    RaftMessage {
        r#type: MessageType::MsgApp as i32,
        from: 2,
        to: 1,
        term: 2,
        log_term: if index == 3 { 1 } else { 2 },
        index,
        entries: (0..n_entries).map(entry).collect(),
        ..RaftMessage::default()
    }
}

#[test]
fn a_brief_append_is_written_and_acknowledged_on_the_peers_thread() {
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(1));
    let node::Started { node, wal_writer, .. } = started(&disk, follower());
    let (published, wal) = (node.published(), Arc::new(SharedWal::new(wal_writer, metrics())));
    let outbox = Arc::<Outbox>::default();
    let effects = Effects {
        wal: Arc::clone(&wal),
        outbox: Arc::clone(&outbox),
        jobs: JobQueues::default(),
        mailboxes: Vec::new(),
    };
    let observer = Told(mpsc::channel().0);
    let runner = NodeRunner::new(node, effects, watch::channel(false).0, Instant::now(), observer);
    let member = Member::new(Arc::default(), wal, Arc::default(), runner);
    assert!(!member.run_brief_appends(&mut vec![append(3, 1)]), "nothing is known of the disk yet");
    member.wal.assume_sync_time(Duration::ZERO);
    // The node learns how much room the WAL has.
    let report = member.wal.write([]).unwrap();
    member.lock().run([Input::WalWritten(report)].into_iter(), &mut |_, _| {}).unwrap();
    let mut messages = vec![append(3, 2)];
    let applied = published.applied();
    assert!(member.run_brief_appends(&mut messages));
    let sent = outbox.taken();
    assert!(
        matches!(&sent[..], [.., last] if last.r#type() == MessageType::MsgAppResp && last.index == 5),
        "{sent:?}"
    );
    assert_eq!(published.applied(), applied, "that is for the node's thread, which has the next turn");
    assert!(!member.run_brief_appends(&mut vec![append(5, 1)]));

    for long in [vec![append(5, 5)], vec![], vec![RaftMessage::default()], vec![append(5, 0)]] {
        assert!(!are_brief_appends(&long), "{long:?}");
    }
}

/// A leader on a simulated disk, without threads: nothing happens but what a test does.
struct Still {
    disk: Arc<SimDisk>,
    member: Member,
    jobs: JobQueues,
    mailbox: Arc<Mailbox>,
    published: Arc<Published>,
}

impl Still {
    fn new(config: node::Config) -> Still {
        Still::on(Arc::new(SimDisk::new(1)), config)
    }

    fn on(sim: Arc<SimDisk>, config: node::Config) -> Still {
        let disk: Arc<dyn Disk> = Arc::<SimDisk>::clone(&sim);
        let node::Started { node, wal_writer, .. } = started(&disk, config);
        let (published, wal) = (node.published(), Arc::new(SharedWal::new(wal_writer, metrics())));
        let (jobs, mailbox) = (JobQueues::default(), Arc::<Mailbox>::default());
        let mailboxes = vec![Arc::clone(&mailbox)];
        let observer = Told(mpsc::channel().0);
        let effects =
            Effects { wal: Arc::clone(&wal), outbox: Arc::default(), jobs: jobs.clone(), mailboxes };
        let runner = NodeRunner::new(node, effects, watch::channel(false).0, Instant::now(), observer);
        let member = Member::new(Arc::default(), wal, Arc::default(), runner);
        let still = Still { disk: sim, member, jobs, mailbox, published };
        while !still.published.reads_at_once() {
            still.handle(vec![Input::Tick]);
        }
        still.member.wal.assume_sync_time(Duration::ZERO);
        still
    }

    /// What the node's and the WAL's thread do with inputs, until nothing more comes of them.
    fn handle(&self, mut inputs: Vec<Input<Ticket>>) {
        let mut runner = self.member.lock();
        let mut has_more = true;
        while has_more {
            runner.run(inputs.drain(..), &mut |_, _| {}).unwrap();
            let is_busy = runner.output.is_busy;
            let tasks = taken(&self.member.wal.tasks);
            if !tasks.is_empty() {
                inputs.push(Input::WalWritten(self.member.wal.write(tasks).unwrap()));
            }
            has_more = is_busy || !inputs.is_empty();
        }
    }

    fn run_brief(&self, inputs: &mut Vec<Input<Ticket>>) -> bool {
        self.member.run_brief(0, inputs)
    }

    fn propose(&self, slot: usize, request: Request) -> Input<Ticket> {
        propose(&self.published, Ticket { worker: 0, slot, generation: 0 }, request)
    }

    fn put(&self, slot: usize) -> Input<Ticket> {
        self.propose(slot, put("k", 8))
    }

    /// The slots whose commands were carried out.
    fn answered(&self) -> Vec<usize> {
        answered(&self.mailbox)
    }
}

fn propose(published: &Published, ticket: Ticket, request: Request) -> Input<Ticket> {
    Input::Propose(Proposal::new(published.next_request_id(), request), ticket)
}

fn put(key: &str, value_len: usize) -> Request {
    Request::Put(PutRequest {
        key: key.to_owned().into(),
        value: vec![b'v'; value_len].into(),
        ..PutRequest::default()
    })
}

fn answered(mailbox: &Mailbox) -> Vec<usize> {
    let mut mail = Vec::new();
    mailbox.take(&mut mail);
    let applied = mail.iter().filter(|(_, mail)| matches!(mail, Mail::Answer(Answer::Applied(Ok(_)))));
    applied.map(|(ticket, _)| ticket.slot).collect()
}

/// What waits in `queue`, by a thread that owns it.
fn taken<T>(queue: &BatchQueue<T>) -> Vec<T> {
    let mut items = Vec::new();
    queue.take(&mut items, Some(Instant::now()));
    queue.end_own_turn(false);
    items
}

#[test]
fn a_brief_batch_is_carried_out_from_end_to_end_by_one_thread() {
    let still = Still::new(config());
    let before = still.disk.ops();
    let mut inputs = vec![still.put(3), still.put(5)];
    assert!(still.run_brief(&mut inputs));
    assert_eq!((still.answered(), inputs.len()), (vec![3, 5], 0));
    assert_eq!(still.disk.ops().syncs - before.syncs, 1, "both share a sync");
    assert!(taken(&still.member.inbox).is_empty() && taken(&still.member.wal.tasks).is_empty());
}

#[test]
fn peers_are_heard_while_a_long_command_is_applied() {
    let still = Still::new(config());
    let n_keys = 5_000;
    still.handle((0..n_keys).map(|n| still.propose(n, put(&format!("k{n:04}"), 8))).collect());
    let all = DeleteRangeRequest { key: "k".into(), range_end: "l".into(), ..DeleteRangeRequest::default() };
    let mut runner = still.member.lock();
    runner.run([still.propose(0, Request::DeleteRange(all))].into_iter(), &mut |_, _| {}).unwrap();
    let report = still.member.wal.write(taken(&still.member.wal.tasks)).unwrap();
    // While the delete is applied, a peer sends a message and a client wants to put something.
    let stale =
        RaftMessage { r#type: MessageType::MsgHeartbeat as i32, from: 9, to: 1, ..RaftMessage::default() };
    let backlog = Backlog::default();
    backlog.grow(backlog_bytes(&stale));
    still.member.inbox.push(Message::Input(Input::Message(Box::new(stale))));
    still.member.inbox.push(Message::Input(still.put(1)));
    let (mut ticks, mut postponed) = (Ticks::new(Duration::from_secs(60), Instant::now()), Vec::new());
    let (arrived, output) = (Vec::new(), Output::default());
    let inbox = &still.member.inbox;
    let mut pause =
        Pause { inbox, backlog: &backlog, ticks: &mut ticks, postponed: &mut postponed, arrived, output };
    runner
        .run([Input::WalWritten(report)].into_iter(), &mut |effects, meanwhile| {
            pause.handle(effects, meanwhile);
        })
        .unwrap();
    assert!(backlog.is_empty(), "the node has taken the message");
    assert!(matches!(postponed[..], [Message::Input(Input::Propose(..))]), "the put waits: {postponed:?}");
    assert!(taken(inbox).is_empty());
}

#[test]
fn what_one_thread_has_answered_outlives_a_crash() {
    let still = Still::new(config());
    assert!(still.run_brief(&mut vec![still.put(0)]));
    assert_eq!(still.answered(), [0]);
    let Still { disk, .. } = still;
    disk.crash();
    let still = Still::on(disk, config());
    assert_eq!(still.member.lock().node.view().revision(), 2);
}

#[test]
fn a_batch_is_not_brief_while_something_else_waits() {
    let still = Still::new(config());
    let mut inputs = vec![still.put(0)];
    let refused = |inputs: &mut Vec<_>, why: &str| {
        assert!(!still.run_brief(inputs), "{why}");
        assert_eq!(inputs.len(), 1, "{why}");
    };
    assert!(still.member.inbox.try_take_turn());
    refused(&mut inputs, "another thread runs the node");
    still.member.inbox.end_turn(true);
    refused(&mut inputs, "the node is in the midst of upkeep");
    taken(&still.member.inbox);
    assert!(still.member.wal.tasks.try_take_turn());
    refused(&mut inputs, "the WAL is being written");
    still.member.wal.tasks.end_turn(false);
    still.member.wal.assume_sync_time(Duration::from_millis(5));
    refused(&mut inputs, "the disk is slow");
    still.member.wal.assume_sync_time(Duration::ZERO);
    assert!(still.run_brief(&mut inputs));
    assert_eq!(still.answered(), [0]);
}

#[test]
fn many_commands_are_no_brief_batch() {
    let still = Still::new(config());
    let mut inputs: Vec<_> = (0..=BRIEF_INPUTS_MAX).map(|slot| still.put(slot)).collect();
    assert!(!still.run_brief(&mut inputs));
    inputs.pop();
    assert!(still.run_brief(&mut inputs));
    assert_eq!(still.answered().len(), BRIEF_INPUTS_MAX);
}

#[test]
fn a_failed_sync_is_final_and_answers_nothing() {
    let still = Still::new(config());
    still.disk.fail_syncs(Path::new(WAL_FILE)).unwrap();
    assert!(still.run_brief(&mut vec![still.put(0)]));
    still.member.inbox.push(Message::Stop);
    assert!(still.answered().is_empty());
    assert!(!still.run_brief(&mut vec![still.put(1)]), "nobody runs the node again");
    assert!(!still.member.wal.tasks.take(&mut Vec::new(), None), "nobody writes the WAL again");
    let ended = still.member.run_node(Duration::from_secs(1));
    assert!(ended.unwrap_err().to_string().contains(WAL_FILE));
    assert!(still.answered().is_empty());
}

/// What the node proposes on its own account, as the end of many leases, may take long to apply.
#[test]
fn more_than_was_asked_for_is_left_to_the_threads() {
    let still = Still::new(config());
    let mut runner = still.member.lock();
    let mut inputs = vec![still.put(0), still.put(1)];
    runner.handle(inputs.drain(..)).unwrap();
    assert!(is_append_of(&runner.output.wal, 2));
    assert!(!is_append_of(&runner.output.wal, 1));
    runner.output.wal.push(WalTask::Release(1));
    assert!(!is_append_of(&runner.output.wal, 2));
    runner.output.wal.clear();
    assert!(!is_append_of(&runner.output.wal, 2));
}

/// Four threads beside each other: two that send, the node's and the WAL's.
struct Running {
    disk: Arc<SimDisk>,
    driver: Driver,
    mailboxes: Vec<Arc<Mailbox>>,
    told: mpsc::Receiver<Event>,
}

impl Running {
    fn start() -> Running {
        let sim = Arc::new(SimDisk::new(1));
        let disk: Arc<dyn Disk> = Arc::<SimDisk>::clone(&sim);
        let mailboxes: Vec<_> = (0..2).map(|_| Arc::<Mailbox>::default()).collect();
        let node::Started { node, wal_writer, .. } = started(&disk, config());
        let (tell, told) = mpsc::channel();
        let tick = Duration::from_millis(1);
        let (outbox, observer) = (Arc::default(), Told(tell));
        let started = Driver::start(node, wal_writer, mailboxes.clone(), outbox, tick, metrics(), observer);
        let driver = started.unwrap();
        while told.recv().unwrap() != Event::Published {}
        Running { disk: sim, driver, mailboxes, told }
    }

    /// Sends commands from both workers at once, brief ones and others in turn, until each has had `n` answers.
    fn send_from_both(&self, n: usize) {
        std::thread::scope(|scope| {
            for (worker, mailbox) in self.mailboxes.iter().enumerate() {
                let handle = self.driver.handle();
                scope.spawn(move || {
                    let published = handle.published();
                    let mut slots = Vec::new();
                    for slot in 0..n {
                        let ticket = Ticket { worker, slot, generation: 0 };
                        let delete = DeleteRangeRequest { key: "k".into(), ..Default::default() };
                        let (request, is_brief) = match slot % 3 {
                            0 => (Request::DeleteRange(delete), false),
                            _ => (put("k", 8), true),
                        };
                        handle.send(worker, &mut vec![propose(&published, ticket, request)], is_brief);
                        while slot % 2 == 0 && slots.len() <= slot {
                            slots.extend(answered(mailbox));
                            std::thread::yield_now();
                        }
                    }
                    while slots.len() < n {
                        slots.extend(answered(mailbox));
                        std::thread::yield_now();
                    }
                    slots.sort_unstable();
                    assert_eq!(slots, (0..n).collect::<Vec<_>>(), "each once");
                });
            }
        });
    }
}

#[test]
fn threads_that_run_the_node_in_turn_lose_nothing() {
    let running = Running::start();
    running.send_from_both(300);
    running.driver.stop().unwrap();
    let applied: usize =
        running.told.try_iter().map(|event| if let Event::Applied(n) = event { n } else { 0 }).sum();
    assert!(applied >= 600, "{applied}");
    assert!(running.mailboxes.iter().all(|mailbox| answered(mailbox).is_empty()));
}

#[test]
fn a_member_that_has_failed_answers_nothing_and_says_why() {
    let running = Running::start();
    running.disk.fail_syncs(Path::new(WAL_FILE)).unwrap();
    let handle = running.driver.handle();
    let ticket = Ticket { worker: 0, slot: 0, generation: 0 };
    handle.send(0, &mut vec![propose(&handle.published(), ticket, put("k", 8))], true);
    let ended = loop {
        if let Event::Ended(result) = running.told.recv().unwrap() {
            break result;
        }
    };
    assert!(ended.unwrap_err().contains(WAL_FILE));
    assert!(answered(&running.mailboxes[0]).is_empty());
    assert!(running.driver.stop().is_err());
}

#[test]
fn a_checkpoint_does_not_wait_for_maintenance() {
    let still = Still::new(node::Config { checkpoint_bytes: 1, ..config() });
    still.handle(vec![still.put(0)]);
    let compaction = CompactionRequest { revision: 2, ..CompactionRequest::default() };
    still.handle(vec![still.propose(1, Request::Compact(compaction))]);
    let jobs: Vec<Job> = still.jobs.taken();
    assert!(jobs.iter().any(|job| matches!(job, Job::HashCompaction(_))), "{jobs:?}");

    let inbox = Arc::default();
    let threads = JobThreads::start(&inbox, &metrics()).unwrap();
    let queues = threads.queues();
    assert!(queues.keep_maintenance_busy(), "its thread has nothing to do yet");
    jobs.into_iter().for_each(|job| queues.push(job));
    let mut messages = Vec::new();
    let is_checkpoint =
        |message: &Message| matches!(message, Message::Input(Input::Finished(Finished::Checkpoint(Ok(_)))));
    while !messages.iter().any(is_checkpoint) {
        let mut more = Vec::new();
        inbox.take(&mut more, None);
        inbox.end_own_turn(false);
        messages.append(&mut more);
    }
    let is_hash =
        |message: &Message| matches!(message, Message::Input(Input::Finished(Finished::HashCompaction(_))));
    assert!(!messages.iter().any(is_hash), "maintenance was busy");
    queues.end_maintenance();
    threads.stop();
    messages.extend(taken(&inbox));
    assert!(messages.iter().any(is_hash));
}
