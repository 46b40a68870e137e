//! The threads that serve connections: each runs one single-threaded runtime and keeps its connections for life.
//!
//! Flows in: accepted connections, dealt out in turn. Owns: one context a thread, built there and never sent
//! elsewhere, so that the state of a connection needs no locks. Stops in two steps: connections are told to
//! finish what they have begun, and whatever is left at the time limit is dropped with its thread's runtime.

use std::fmt;
use std::future::Future;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, timeout_at};

use crate::background::lower_priority;
use crate::listen::Accepted;

/// Threads beside each worker that take over what would keep its connections waiting.
const BACKGROUND_THREADS: usize = 1;

/// What a worker does with a connection; one instance a thread.
pub trait Serve: 'static {
    /// Serves a connection to its end, soon after `stop` resolves.
    fn serve(self: &Rc<Self>, connection: Accepted, stop: Stop) -> impl Future<Output = ()>;
}

/// Tells a connection that the server is stopping.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<Option<Instant>>);

impl Stop {
    /// Resolves when connections must finish; at once if that was before.
    pub async fn stopping(mut self) {
        // If the sender is gone the workers were dropped, which is a stop too.
        let _ = self.0.wait_for(Option::is_some).await;
    }
}

/// A running set of worker threads.
pub struct Workers {
    threads: Vec<Worker>,
    turn: AtomicUsize,
    /// Set once: the time at which unfinished connections are dropped.
    stop: watch::Sender<Option<Instant>>,
}

struct Worker {
    /// Unbounded, but the listeners' connection limit bounds what can be in it.
    inbox: mpsc::UnboundedSender<Accepted>,
    thread: JoinHandle<()>,
}

impl Workers {
    /// Starts `n` threads, or one for each core if `n` is zero. On each of them `init` makes the context from
    /// the number of the thread. The error is the system's refusal of a thread or an event queue.
    pub fn start<C: Serve>(
        n: usize,
        init: impl Fn(usize) -> C + Send + Sync + 'static,
    ) -> io::Result<Workers> {
        let n = if n == 0 { thread::available_parallelism()?.get() } else { n };
        let init = Arc::new(init);
        let (stop, _) = watch::channel(None);
        let threads = (0..n).map(|index| {
            let init = Arc::clone(&init);
            Worker::start(index, move || init(index), Stop(stop.subscribe()))
        });
        Ok(Workers { threads: threads.collect::<io::Result<_>>()?, turn: AtomicUsize::new(0), stop })
    }

    /// Gives a connection to the next thread in turn.
    pub fn hand_over(&self, connection: Accepted) {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.threads.len();
        // A worker ends before its inbox closes only by a panic, which is reported when it is joined.
        let _ = self.threads[turn].inbox.send(connection);
    }

    /// Lets calls finish for up to `limit`, then closes what is left. Blocks until all threads have ended.
    pub fn stop(self, limit: Duration) {
        self.stop.send_replace(Some(Instant::now() + limit));
        for Worker { inbox, thread } in self.threads {
            drop(inbox);
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers").field("threads", &self.threads.len()).finish_non_exhaustive()
    }
}

impl Worker {
    fn start<C: Serve>(
        index: usize,
        init: impl FnOnce() -> C + Send + 'static,
        stop: Stop,
    ) -> io::Result<Worker> {
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .thread_name(format!("background-{index}"))
            .max_blocking_threads(BACKGROUND_THREADS)
            .on_thread_start(lower_priority)
            .build()?;
        let (inbox, connections) = mpsc::unbounded_channel();
        let thread = thread::Builder::new()
            .name(format!("worker-{index}"))
            .spawn(move || run(&runtime, init, connections, &stop))?;
        Ok(Worker { inbox, thread })
    }
}

/// The life of a worker thread. Dropping the `LocalSet` at its end closes every connection that is left.
fn run<C: Serve>(
    runtime: &Runtime,
    init: impl FnOnce() -> C,
    connections: mpsc::UnboundedReceiver<Accepted>,
    stop: &Stop,
) {
    let tasks = LocalSet::new();
    tasks.block_on(runtime, async {
        let context = Rc::new(init());
        let mut open = JoinSet::new();
        take_connections(&context, connections, stop, &mut open).await;
        let limit = (*stop.0.borrow()).unwrap_or_else(Instant::now);
        // An elapsed limit needs no answer: what is left is dropped.
        let _ = timeout_at(limit, async { while open.join_next().await.is_some() {} }).await;
    });
}

/// Starts a task for each connection until the inbox closes.
async fn take_connections<C: Serve>(
    context: &Rc<C>,
    mut connections: mpsc::UnboundedReceiver<Accepted>,
    stop: &Stop,
    open: &mut JoinSet<()>,
) {
    loop {
        tokio::select! {
            biased;
            connection = connections.recv() => {
                let Some(connection) = connection else { return };
                let (context, stop) = (Rc::clone(context), stop.clone());
                open.spawn_local(async move { context.serve(connection, stop).await });
            }
            Some(_) = open.join_next(), if !open.is_empty() => {}
        }
    }
}
