//! A whole member without sockets and threads: puts from proposal to answer, in batches.
//!
//! On the simulated disk a sync costs next to nothing, so that what is left is the work of consensus, log
//! and store; on the real disk it is what one client, or a hundred, wait for.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use disk::{Disk, RealDisk, SimDisk};
use node::{Config, Input, Node, Output, Proposal, WalWriter};
use proto::etcdserverpb;
use store::Request;

use crate::codec;
use crate::runner::Runner;

pub(crate) fn run(runner: &Runner) {
    let dir = tempfile::tempdir().unwrap();
    let real: Arc<dyn Disk> = Arc::new(RealDisk);
    let simulated = || Arc::new(SimDisk::new(1)) as Arc<dyn Disk>;
    let mut member = Member::start(&simulated(), Path::new("/"));
    runner.run("member: put, by 100, simulated disk", 100, || member.put(100));
    let mut member = Member::start(&simulated(), Path::new("/"));
    runner.run("member: put, one at a time, simulated disk", 1, || member.put(1));
    let mut member = Member::start(&real, dir.path());
    runner.run("member: put, by 100, real disk", 100, || member.put(100));
    runner.run("member: put, one at a time, real disk", 1, || member.put(1));
}

/// A lone member that has become the leader.
pub(crate) struct Member {
    pub(crate) node: Node<()>,
    log: WalWriter,
    next: u64,
    /// The time that leases are counted by.
    pub(crate) now: Duration,
    /// The longest that the node took for one call.
    pub(crate) longest_step: Duration,
}

impl Member {
    pub(crate) fn start(disk: &Arc<dyn Disk>, dir: &Path) -> Self {
        let started = node::start(disk, &dir.join("wal"), &dir.join("data"), disk::wal::FILE_BYTES, config());
        let started = started.unwrap();
        let (now, longest_step) = (Duration::ZERO, Duration::ZERO);
        let mut member = Self { node: started.node, log: started.wal_writer, next: 0, now, longest_step };
        while member.node.published().leader() == 0 {
            member.settle(vec![Input::Tick]);
        }
        member
    }

    /// Proposes `count` puts together and returns when all are answered.
    fn put(&mut self, count: u64) {
        let puts = (self.next..self.next + count).map(|number| Request::Put(codec::put(number % 100_000)));
        self.next += count;
        self.apply(puts.collect());
    }

    /// Proposes requests together and returns when all are answered.
    pub(crate) fn apply(&mut self, requests: Vec<Request>) {
        let count = requests.len();
        let propose =
            |request| Input::Propose(Proposal::new(self.node.published().next_request_id(), request), ());
        let inputs = requests.into_iter().map(propose).collect();
        assert_eq!(self.settle(inputs), count);
    }

    /// Ticks until there is a checkpoint, so that a restart does not apply anything again.
    pub(crate) fn checkpoint(&mut self) {
        for _ in 0..=config().checkpoint_ticks {
            self.settle(vec![Input::Tick]);
        }
    }

    /// Carries out whatever comes of `inputs`; returns how many of them were answered.
    fn settle(&mut self, mut inputs: Vec<Input<()>>) -> usize {
        let mut answers = 0;
        loop {
            let mut output = Output::default();
            let started_at = Instant::now();
            self.node.handle(self.now, inputs, &mut output).unwrap();
            self.longest_step = self.longest_step.max(started_at.elapsed());
            answers += output.answers.len();
            if output.wal.is_empty() && output.jobs.is_empty() && !output.is_busy {
                return answers;
            }
            inputs = output.jobs.into_iter().map(|job| Input::Finished(job.run())).collect();
            if !output.wal.is_empty() {
                output.wal.into_iter().for_each(|task| self.log.accept(task).unwrap());
                inputs.push(Input::WalWritten(self.log.sync().unwrap()));
            }
        }
    }
}

/// The server's defaults.
fn config() -> Config {
    let member = etcdserverpb::Member { id: 1, name: "bench".to_owned(), ..etcdserverpb::Member::default() };
    Config {
        initial_members: vec![member.clone()],
        member,
        cluster_id: 1,
        force_new_cluster: false,
        pre_vote: true,
        max_learners: 1,
        cluster_version: "3.7.0".to_owned(),
        tick: Duration::from_millis(100),
        election_ticks: 10,
        seed: 1,
        first_request_id: 1,
        checkpoint_entries: 10_000,
        checkpoint_bytes: 32 << 20,
        checkpoint_ticks: 100,
        catchup_entries: 5000,
        retry_ticks: 3,
        quota_bytes: None,
        segment_bytes: 64 << 20,
    }
}
