//! One run: connect, fill, warm up, measure, stop.
//!
//! The caller's thread only coordinates; the load comes from generator threads, each with a runtime of its
//! own, so that they share nothing but the phase. CPU is read at both ends of the measured time, from the
//! server and from this process, and set against the operations that ended between.
//! An interrupt ends the measured time early; what was counted until then is the result.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::cluster::Cluster;
use crate::error::Error;
use crate::experiment;
use crate::interrupt::Interrupt;
use crate::meter::{Meter, Phase};
use crate::pace::Pace;
use crate::process::{self, Reading, Switches};
use crate::progress;
use crate::report::{Measure, P50, P99, RSS, Report, SERVER_CPU, SWITCHES, WAKE_UPS, mib};
use crate::settings::Settings;
use crate::stats::Tally;
use crate::workload::{self, Shared};

/// How long answers to the last operations are waited for.
const GRACE: Duration = Duration::from_secs(2);
/// From this share of its processor time on, the generator counts as busy, and the server too.
const BUSY: f64 = 0.9;

static OPS: Measure = Measure::rate("ops/s");
static MEAN: Measure = Measure::cost("mean ms").detail();
static PERCENTILES: [(f64, Measure); 4] = [
    (50.0, P50),
    (90.0, Measure::cost("p90 ms").detail()),
    (99.0, P99),
    (99.9, Measure::cost("p99.9 ms").detail()),
];
static MAX: Measure = Measure::cost("max ms").detail();
static LOAD_RSS: Measure = Measure { in_table: false, ..RSS };
static GENERATOR_CPU: Measure = Measure::cost("generator CPU µs/op");

/// Carries out runs, one after the other; progress goes to standard error.
pub(crate) struct Coordinator {
    runtime: Runtime,
    interrupt: Interrupt,
}

impl Coordinator {
    /// Starts its runtime and listens for interrupts.
    pub(crate) fn new() -> Result<Self, Error> {
        let runtime = runtime()?;
        let interrupt = runtime.block_on(async { Interrupt::listen() });
        Ok(Self { runtime, interrupt: interrupt.map_err(system("cannot listen for signals"))? })
    }

    /// Runs `work`, unless an interrupt comes first.
    pub(crate) fn block_on<T>(&mut self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        self.runtime.block_on(or_interrupt(&mut self.interrupt, work))
    }

    /// Carries out one run; `cluster` has the processes, for workloads that stop and start them.
    ///
    /// # Errors
    /// If the server cannot be reached, keys cannot be written, the server's process is gone, or an
    /// interrupt came before there was anything to tell. Operations that fail are no error here: the report
    /// counts them.
    pub(crate) fn run(
        &mut self,
        settings: &Settings,
        cluster: Option<&mut Cluster>,
    ) -> Result<Report, Error> {
        if settings.workload.is_steady() {
            self.run_steady(settings)
        } else {
            self.block_on(experiment::run(settings, cluster))
        }
    }

    fn run_steady(&mut self, settings: &Settings) -> Result<Report, Error> {
        let Self { runtime, interrupt } = self;
        runtime.block_on(async {
            if settings.workload.reads() {
                or_interrupt(interrupt, workload::preload::keys(settings)).await?;
            }
            let (phase, seen) = watch::channel(Phase::Connect);
            let mut generators = Generators::start(settings, &seen)?;
            let measured = match or_interrupt(interrupt, generators.connected()).await {
                Ok(()) => measure(settings, &phase, &generators, interrupt).await,
                Err(error) => Err(error),
            };
            phase.send_replace(Phase::Stop);
            generators.join();
            let (span, interrupted) = measured?;
            let mut report = span.report(&generators.total());
            report.generator_bound = span.generator_bound(settings)?;
            report.interrupted = interrupted;
            Ok(report)
        })
    }
}

/// The threads that make the load.
struct Generators {
    threads: Vec<JoinHandle<()>>,
    tallies: Vec<Arc<Mutex<Tally>>>,
    connected: mpsc::UnboundedReceiver<Result<(), Error>>,
}

impl Generators {
    fn start(settings: &Settings, phase: &watch::Receiver<Phase>) -> Result<Self, Error> {
        let shared = Arc::new(Shared::new(settings.clone()));
        let (report, connected) = mpsc::unbounded_channel();
        let mut all = Self { threads: Vec::new(), tallies: Vec::new(), connected };
        for idx in 0..settings.threads {
            let tally = Arc::new(Mutex::new(Tally::new()));
            let (shared, phase, report) = (shared.clone(), phase.clone(), report.clone());
            all.tallies.push(tally.clone());
            let body = move || generate(&shared, idx, phase, tally, &report);
            let thread = std::thread::Builder::new().name(format!("generator-{idx}")).spawn(body);
            all.threads.push(thread.map_err(system("cannot start a thread"))?);
        }
        Ok(all)
    }

    /// Waits until each thread has its connections.
    async fn connected(&mut self) -> Result<(), Error> {
        for _ in 0..self.threads.len() {
            self.connected.recv().await.expect("each thread reports before it ends")?;
        }
        Ok(())
    }

    /// Whether all workers have given up.
    fn finished(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    fn join(&mut self) {
        for thread in self.threads.drain(..) {
            thread.join().expect("generator threads do not panic");
        }
    }

    fn total(&self) -> Tally {
        let mut total = Tally::new();
        for tally in &self.tallies {
            total.add(&tally.lock().unwrap_or_else(PoisonError::into_inner));
        }
        total
    }
}

/// The body of one generator thread: connects, reports, and works until the run stops.
fn generate(
    shared: &Arc<Shared>,
    idx: usize,
    mut phase: watch::Receiver<Phase>,
    tally: Arc<Mutex<Tally>>,
    connected: &mpsc::UnboundedSender<Result<(), Error>>,
) {
    // The receiver goes only when the run has failed already, so a report that nobody takes is no loss.
    let report = |result| drop(connected.send(result));
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return report(Err(error)),
    };
    runtime.block_on(async {
        let mut stopping = phase.clone();
        let workers = tokio::select! {
            workers = connect(shared, idx, phase.clone(), tally) => workers,
            _ = stopping.wait_for(|now| *now == Phase::Stop) => return,
        };
        let workers = match workers {
            Ok(workers) => workers,
            Err(error) => return report(Err(error)),
        };
        report(Ok(()));
        tokio::select! {
            _ = workers.join_all() => {}
            () = out_of_grace(&mut phase) => {}
        }
    });
}

async fn connect(
    shared: &Arc<Shared>,
    idx: usize,
    phase: watch::Receiver<Phase>,
    tally: Arc<Mutex<Tally>>,
) -> Result<JoinSet<()>, Error> {
    let pace = pace(&shared.settings)?;
    workload::start(shared, idx, &Meter::new(phase, pace, tally)).await
}

async fn out_of_grace(phase: &mut watch::Receiver<Phase>) {
    // An error means that the run is gone, which is as good as its end.
    drop(phase.wait_for(|now| *now == Phase::Stop).await);
    tokio::time::sleep(GRACE).await;
}

/// The pace of one of the threads, which share the rate evenly.
fn pace(settings: &Settings) -> Result<Pace, Error> {
    match settings.rate {
        None => Ok(Pace::Closed),
        Some(rate) => Pace::open(rate / settings.threads as f64).map_err(system("cannot start a thread")),
    }
}

/// What is read at either end of the measured time.
struct Sample {
    at: Instant,
    server: Option<Reading>,
    generator: Reading,
}

impl Sample {
    fn take(settings: &Settings) -> Result<Self, Error> {
        let server = Reading::of_all(&settings.server_pids)?;
        Ok(Self { at: Instant::now(), server, generator: Reading::own()? })
    }
}

/// The measured time, by what was read at its ends.
struct Span {
    start: Sample,
    end: Sample,
}

impl Span {
    fn elapsed(&self) -> Duration {
        self.end.at - self.start.at
    }

    /// Processor time of the server, if it is observed.
    fn server_cpu(&self) -> Option<Duration> {
        Some(self.end.server?.cpu.saturating_sub(self.start.server?.cpu))
    }

    fn server_switches(&self) -> Option<Switches> {
        Some(self.end.server?.switches.since(self.start.server?.switches))
    }

    fn generator_cpu(&self) -> Duration {
        self.end.generator.cpu.saturating_sub(self.start.generator.cpu)
    }

    /// What was counted meanwhile, with its cost.
    fn report(&self, tally: &Tally) -> Report {
        let ms = |latency: Duration| latency.as_secs_f64() * 1e3;
        let per_op = |cpu: Duration| (tally.ops > 0).then(|| cpu.as_secs_f64() * 1e6 / tally.ops as f64);
        let mut report = Report::after(tally);
        report.add(&SERVER_CPU, self.server_cpu().and_then(per_op));
        if let Some(switches) = self.server_switches().filter(|_| tally.ops > 0) {
            report.add(&WAKE_UPS, switches.voluntary as f64 / tally.ops as f64);
            report.add(&SWITCHES, switches.all() as f64 / tally.ops as f64);
        }
        report.add(&OPS, tally.ops as f64 / self.elapsed().as_secs_f64());
        report.add(&MEAN, ms(tally.mean()));
        for (percent, measure) in &PERCENTILES {
            report.add(measure, ms(tally.percentile(*percent)));
        }
        report.add(&MAX, ms(tally.max()));
        report.add(&LOAD_RSS, self.end.server.map(|server| mib(server.rss_bytes)));
        report.add(&GENERATOR_CPU, per_op(self.generator_cpu()));
        report
    }

    /// Whether the generator's threads were busy all the time while the server's processors were not.
    fn generator_bound(&self, settings: &Settings) -> Result<bool, Error> {
        let share =
            |cpu: Duration, cores: usize| cpu.as_secs_f64() / self.elapsed().as_secs_f64() / cores as f64;
        let cores = settings.server_pids.first().map(|&pid| process::core_count(pid)).transpose()?;
        let server_busy = self.server_cpu().zip(cores).is_some_and(|(cpu, cores)| share(cpu, cores) >= BUSY);
        Ok(share(self.generator_cpu(), settings.threads) >= BUSY && !server_busy)
    }
}

/// Takes the run through its phases; the second value says whether an interrupt cut it short.
async fn measure(
    settings: &Settings,
    phase: &watch::Sender<Phase>,
    generators: &Generators,
    interrupt: &mut Interrupt,
) -> Result<(Span, bool), Error> {
    phase.send_replace(Phase::WarmUp);
    let warm = tokio::select! {
        () = tokio::time::sleep(settings.warmup) => true,
        () = interrupt.wait() => false,
    };
    let start = Sample::take(settings)?;
    phase.send_replace(Phase::Measure);
    let full = warm
        && tokio::select! {
            () = watch_progress(settings, &start, generators) => true,
            () = interrupt.wait() => false,
        };
    let end = Sample::take(settings)?;
    Ok((Span { start, end }, !full))
}

/// The result of `work`, unless an interrupt comes first.
async fn or_interrupt<T>(
    interrupt: &mut Interrupt,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::select! {
        result = work => result,
        () = interrupt.wait() => Err(Error::Interrupted),
    }
}

/// Prints a line a second until the time is over or no worker is left.
async fn watch_progress(settings: &Settings, start: &Sample, generators: &Generators) {
    let mut ticks = tokio::time::interval_at((start.at + progress::PERIOD).into(), progress::PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let end = tokio::time::sleep_until((start.at + settings.duration).into());
    tokio::pin!(end);
    let mut before = 0;
    while !generators.finished() {
        tokio::select! {
            biased;
            () = &mut end => return,
            _ = ticks.tick() => {}
        }
        let total = generators.total();
        eprintln!("{}", line(start.at.elapsed(), total.ops - before, &total));
        before = total.ops;
    }
}

/// One line: the time, the operations of the last second, what failed so far.
fn line(elapsed: Duration, ops: u64, total: &Tally) -> String {
    let mut line = format!("{:4.0} s {ops:9} ops/s", elapsed.as_secs_f64());
    if let Some(error) = &total.first_error {
        line += &format!("   {} failed: {error}", total.errors);
    }
    line
}

fn runtime() -> Result<Runtime, Error> {
    Builder::new_current_thread().enable_all().build().map_err(system("cannot start a runtime"))
}

fn system(what: &'static str) -> impl Fn(io::Error) -> Error {
    move |cause| Error::System { what, cause }
}

#[cfg(test)]
mod tests;
