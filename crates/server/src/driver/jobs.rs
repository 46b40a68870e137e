//! The threads that run jobs: work that takes long and decides nothing.
//!
//! A spare file must not wait, since writes may soon wait for it; nor a checkpoint, since the write-ahead log grows
//! until it is done. Everything else, which may read or copy all data, has a thread of its own. The last two have a
//! lower priority than the threads that answer clients.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use node::{Input, Job};

use super::Message;
use super::batch_queue::BatchQueue;
use crate::background::lower_priority;
use crate::metrics::Metrics;

/// The queues of the job threads.
#[derive(Debug, Default, Clone)]
pub(super) struct JobQueues {
    spare_files: Arc<BatchQueue<Job>>,
    checkpoint: Arc<BatchQueue<Job>>,
    maintenance: Arc<BatchQueue<Job>>,
}

impl JobQueues {
    /// Gives a job to the thread for its kind.
    pub(super) fn push(&self, job: Job) {
        let queue = match job {
            Job::PrepareWalFile(_) | Job::PrepareSegment(_) => &self.spare_files,
            // A checkpoint makes the same files durable; one thread does not do that twice at a time.
            Job::SyncSegments(_) | Job::Checkpoint(_) => &self.checkpoint,
            Job::HashCompaction(_)
            | Job::Reclaim(_)
            | Job::Remove(_)
            | Job::ImportSnapshot(_)
            | Job::InstallSnapshot(_) => &self.maintenance,
        };
        queue.push(job);
    }
}

#[cfg(test)]
impl JobQueues {
    /// What waits in queues that no thread owns.
    pub(super) fn taken(&self) -> Vec<Job> {
        let mut all = Vec::new();
        for queue in [&self.spare_files, &self.checkpoint, &self.maintenance] {
            let mut jobs = Vec::new();
            queue.take(&mut jobs, Some(Instant::now()));
            queue.end_own_turn(false);
            all.append(&mut jobs);
        }
        all
    }

    /// Keeps the maintenance thread from its jobs, as one that takes long would. False if it has one already.
    pub(super) fn keep_maintenance_busy(&self) -> bool {
        self.maintenance.try_take_turn()
    }

    pub(super) fn end_maintenance(&self) {
        self.maintenance.end_turn(false);
    }
}

/// The running threads.
#[derive(Debug)]
pub(super) struct JobThreads {
    queues: JobQueues,
    threads: Vec<JoinHandle<()>>,
}

impl JobThreads {
    /// Starts them; each tells `inbox` what its jobs have come to.
    pub(super) fn start(inbox: &Arc<BatchQueue<Message>>, metrics: &Arc<Metrics>) -> io::Result<JobThreads> {
        let mut threads = Vec::new();
        let mut start = |name: &str, prepare: fn()| {
            let queue = Arc::<BatchQueue<Job>>::default();
            let (jobs, inbox, metrics) = (Arc::clone(&queue), Arc::clone(inbox), Arc::clone(metrics));
            threads.push(thread::Builder::new().name(name.into()).spawn(move || {
                prepare();
                run(&jobs, &inbox, &metrics);
            })?);
            Ok::<_, io::Error>(queue)
        };
        let queues = JobQueues {
            spare_files: start("spare-files", || ())?,
            checkpoint: start("checkpoint", lower_priority)?,
            maintenance: start("maintenance", lower_priority)?,
        };
        Ok(JobThreads { queues, threads })
    }

    /// What to give jobs to.
    pub(super) fn queues(&self) -> JobQueues {
        self.queues.clone()
    }

    /// Waits until all jobs given so far are done.
    pub(super) fn stop(self) {
        let JobQueues { spare_files, checkpoint, maintenance } = &self.queues;
        [spare_files, checkpoint, maintenance].into_iter().for_each(|queue| queue.close());
        for thread in self.threads {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    }
}

/// The body of a job thread.
fn run(queue: &BatchQueue<Job>, inbox: &BatchQueue<Message>, metrics: &Metrics) {
    let mut jobs = Vec::new();
    while queue.take(&mut jobs, None) {
        for job in jobs.drain(..) {
            let (is_checkpoint, start) = (matches!(job, Job::Checkpoint(_)), Instant::now());
            let finished = job.run();
            if is_checkpoint {
                metrics.disk.checkpoint.observe(start.elapsed());
            }
            inbox.push(Message::Input(Input::Finished(finished)));
        }
        queue.end_own_turn(false);
    }
}
