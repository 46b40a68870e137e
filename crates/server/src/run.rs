//! The life of a server process, from its arguments to its exit code.
//!
//! Start: settings, ports, data directory, member, workers; clients are let in when the cluster knows the
//! member. Stop, on SIGTERM or SIGINT: no new connections, calls under way may finish, watches end, then the
//! member's threads. If the member fails, the process ends with the reason as its last line and exit code 1,
//! and answers nothing more.

use std::fmt;
use std::future::pending;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use disk::{DataDir, Disk, RealDisk};
use node::{Fatal, Note, Started};
use proto::etcdserverpb::Member;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::level_filters::LevelFilter;
use tracing::{error, info, warn};

use crate::api::{Api, Settings};
use crate::config::{self, Command, Config, ETCD_VERSION, Notice};
use crate::driver::{Desk, Driver, Mailbox, Observer, Ticket};
use crate::grpc::Limits;
use crate::identity::{first_request_id, initial_member};
use crate::listen::{BindError, Endpoint, Listeners};
use crate::logging;
use crate::metrics::Metrics;
use crate::pages::Pages;
use crate::service::Calls;
use crate::worker::Workers;

/// Time that calls under way have to finish when the server stops.
const STOP_LIMIT: Duration = Duration::from_secs(5);
/// etcd's allowance for a request beside its election timeouts.
const REQUEST_TIME: Duration = Duration::from_secs(5);
/// Time between progress notifications of watches.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(600);
/// Bytes of log after which a checkpoint is made, and the least time between those that the number of entries
/// asks for.
const CHECKPOINT_BYTES: u64 = 128 << 20;
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(10);
/// Entries kept for slow followers: etcd's default.
const CATCHUP_ENTRIES: u64 = 5000;
/// Time between attempts at what failed for want of space.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
const SEGMENT_BYTES: u64 = 64 << 20;

/// Runs the server with the process's arguments and environment.
pub fn run() -> ExitCode {
    let args = std::env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned());
    let env = std::env::vars_os()
        .map(|(k, v)| (k.to_string_lossy().into_owned(), v.to_string_lossy().into_owned()));
    match Command::read(args, env) {
        Ok(Command::Help) => {
            eprint!("{}", config::usage());
            print!("{}", config::help());
            ExitCode::SUCCESS
        }
        Ok(Command::Version) => {
            print!("{}", config::version());
            ExitCode::SUCCESS
        }
        Ok(Command::Serve(config)) => serve_process(&config),
        Err(error) => refuse(&error),
    }
}

/// Words that are no command line get the usage; settings that cannot be served with are logged, as etcd does.
fn refuse(error: &config::Error) -> ExitCode {
    match error {
        config::Error::Usage(text) => eprint!("{text}\n{}", config::usage()),
        config::Error::Invalid(_) | config::Error::Shadowed { .. } => {
            if let Ok(_log) = logging::start(LevelFilter::INFO) {
                warn!(%error, "failed to verify flags");
            }
        }
    }
    ExitCode::from(error.exit_code())
}

/// Why a server did not start, or did not go on.
#[derive(Debug)]
enum Error {
    Bind(BindError),
    Disk(disk::Error),
    Member(Fatal),
    /// The first members of the cluster are not what this version can start.
    Cluster(String),
    System(std::io::Error),
}

impl From<BindError> for Error {
    fn from(error: BindError) -> Self {
        Error::Bind(error)
    }
}

impl From<disk::Error> for Error {
    fn from(error: disk::Error) -> Self {
        Error::Disk(error)
    }
}

impl From<Fatal> for Error {
    fn from(error: Fatal) -> Self {
        Error::Member(error)
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Error::System(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Bind(error) => error.fmt(f),
            Error::Disk(error) => error.fmt(f),
            Error::Member(error) => error.fmt(f),
            Error::Cluster(text) => f.write_str(text),
            Error::System(error) => error.fmt(f),
        }
    }
}

fn serve_process(config: &Config) -> ExitCode {
    let _log = match logging::start(config.log_level) {
        Ok(log) => log,
        Err(error) => {
            eprintln!("etcd: cannot start the log: {error}");
            return ExitCode::FAILURE;
        }
    };
    config.notices.iter().for_each(log_notice);
    match serve(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!(error = %error, "the server cannot go on");
            ExitCode::FAILURE
        }
    }
}

fn log_notice(notice: &Notice) {
    match notice {
        Notice::VariableUsed { name, value } => {
            info!(
                "variable-name" = name,
                "variable-value" = value,
                "recognized and used environment variable"
            );
        }
        Notice::VariableUnknown { name, value } => {
            warn!("variable-name" = name, "variable-value" = value, "unrecognized environment variable");
        }
    }
}

fn serve(config: &Config) -> Result<(), Error> {
    info!(
        "etcd-version" = ETCD_VERSION,
        name = config.name,
        "data-dir" = %config.data_dir.display(),
        "starting an etcd server"
    );
    let listeners = Listeners::bind(&config.listen_client_urls)?;
    let (data_dir, settings, started) = start_member(config)?;
    let worker_count = std::thread::available_parallelism()?.get();
    let mailboxes: Vec<_> = (0..worker_count).map(|_| Arc::new(Mailbox::default())).collect();
    let metrics = Arc::new(Metrics::new());
    let (life, lives) = watch::channel(Life::Starting);
    let driver = Driver::start(
        started.node,
        started.log_writer,
        mailboxes.clone(),
        config.heartbeat_interval,
        Arc::clone(&metrics),
        Reporter { life, metrics: Arc::clone(&metrics), member_id: settings.member_id },
    )?;
    let (stop, stopping) = watch::channel(false);
    let workers = start_workers(&driver, settings, limits(config), mailboxes, metrics, stopping)?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let end = runtime.block_on(accept_until_stopped(listeners, &workers, lives))?;
    stop.send_replace(true);
    workers.stop(match end {
        End::Signal => STOP_LIMIT,
        // A member that has failed answers nothing more: there is nothing to wait for.
        End::Failure => Duration::ZERO,
    });
    driver.stop()?;
    drop(data_dir);
    info!(name = config.name, "closed etcd server");
    Ok(())
}

/// Takes the data directory and brings the member up from what is in it.
fn start_member(config: &Config) -> Result<(DataDir, Settings, Started<Ticket>), Error> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let root = std::path::absolute(&config.data_dir)?;
    let data_dir = DataDir::open(&*disk, &root, std::process::id())?;
    let (member, cluster_id) = initial_member(config).map_err(Error::Cluster)?;
    let settings = settings(config, cluster_id, member.id);
    let member_config = member_config(config, member, cluster_id);
    let (wal, log) = (data_dir.wal(), data_dir.log());
    let started = node::start(&disk, &wal, &log, disk::wal::SEGMENT_BYTES, member_config)?;
    info!(
        "local-member-id" = format!("{:x}", settings.member_id),
        "cluster-id" = format!("{cluster_id:x}"),
        restart = started.is_restart,
        "starting local member"
    );
    if started.is_repaired {
        warn!("the log ended in a torn write, which was never acknowledged; it was cut off");
    }
    Ok((data_dir, settings, started))
}

/// Starts a worker for each mailbox; each has handlers of its own.
fn start_workers(
    driver: &Driver,
    settings: Settings,
    limits: Limits,
    mailboxes: Vec<Arc<Mailbox>>,
    metrics: Arc<Metrics>,
    stopping: watch::Receiver<bool>,
) -> std::io::Result<Workers> {
    let handle = driver.handle();
    Workers::start(mailboxes.len(), move |worker| {
        let desk = Desk::new(worker, Arc::clone(&mailboxes[worker]));
        tokio::task::spawn_local(desk.clone().pump());
        let api = Rc::new(Api::new(settings.clone(), handle.clone(), desk));
        let calls = Calls::new(Rc::clone(&api), &metrics, stopping.clone());
        let pages = Pages { api, metrics: Arc::clone(&metrics) };
        Endpoint { grpc: Rc::new(calls), http: Rc::new(pages), limits }
    })
}

/// Where the member stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Starting,
    Ready,
    Failed,
}

/// Why the server stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Signal,
    Failure,
}

/// Accepts clients from when the member is ready until a signal comes or the member fails.
async fn accept_until_stopped(
    listeners: Listeners,
    workers: &Workers,
    mut lives: watch::Receiver<Life>,
) -> Result<End, Error> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut failed = lives.clone();
    let serving = async {
        // The observer lives as long as the node; if it is gone the other branch reports why.
        if lives.wait_for(|life| *life == Life::Ready).await.is_err() {
            pending::<()>().await;
        }
        for address in listeners.addresses() {
            info!(%address, traffic = "grpc+http", "serving client traffic insecurely; this is strongly discouraged!");
        }
        info!("ready to serve client requests");
        listeners.run(workers).await
    };
    let signal = tokio::select! {
        result = serving => return result.map(|()| End::Failure).map_err(Error::from),
        _ = failed.wait_for(|life| *life == Life::Failed) => return Ok(End::Failure),
        _ = terminate.recv() => "terminated",
        _ = interrupt.recv() => "interrupt",
    };
    info!(signal, "received signal; shutting down");
    Ok(End::Signal)
}

/// Tells the log and the main thread what happens to the member.
#[derive(Debug)]
struct Reporter {
    life: watch::Sender<Life>,
    metrics: Arc<Metrics>,
    member_id: u64,
}

impl Observer for Reporter {
    fn note(&mut self, note: &Note) {
        match note {
            Note::Leader { id: 0, term } => warn!(term, "lost the leader"),
            Note::Leader { id, term } => {
                self.metrics.leader_changes.inc();
                let is_self = *id == self.member_id;
                info!(leader = format!("{id:x}"), term, "is-self" = is_self, "elected leader");
            }
            Note::Published => {
                info!("published local member to cluster through raft");
                self.life.send_replace(Life::Ready);
            }
            Note::ClusterVersion(version) => {
                info!("cluster-version" = version, "set initial cluster version");
            }
            Note::Checkpoint { index } => info!(index, "saved checkpoint"),
            Note::Compacted { revision } => {
                info!("compact-revision" = revision, "finished scheduled compaction");
            }
            Note::Space { is_left: false } => {
                warn!(
                    "the disk is nearly full: writes are refused until there is room; reads and deletes go on"
                );
            }
            Note::Space { is_left: true } => info!("there is room on the disk again: writes are accepted"),
        }
    }

    fn ended(&mut self, result: &Result<(), Fatal>) {
        if let Err(reason) = result {
            error!(%reason, "the member stops: going on could lose or falsify data");
            self.life.send_replace(Life::Failed);
        }
    }
}

fn member_config(config: &Config, member: Member, cluster_id: u64) -> node::Config {
    let tick = config.heartbeat_interval;
    let ticks = |time: Duration| time.div_duration_f64(tick).ceil() as u32;
    node::Config {
        first_request_id: first_request_id(member.id),
        seed: first_request_id(member.id),
        initial_members: vec![member.clone()],
        member,
        cluster_id,
        cluster_version: cluster_version(),
        election_ticks: ticks(config.election_timeout),
        checkpoint_entries: config.snapshot_count,
        checkpoint_bytes: CHECKPOINT_BYTES,
        checkpoint_ticks: ticks(CHECKPOINT_INTERVAL),
        catchup_entries: CATCHUP_ENTRIES,
        retry_ticks: ticks(RETRY_INTERVAL),
        quota_bytes: config.quota_backend_bytes,
        segment_bytes: SEGMENT_BYTES,
    }
}

/// The version of etcd whose cluster this is, without its patch level.
fn cluster_version() -> String {
    let (minor, _patch) = ETCD_VERSION.rsplit_once('.').expect("a version has three parts");
    format!("{minor}.0")
}

fn settings(config: &Config, cluster_id: u64, member_id: u64) -> Settings {
    Settings {
        cluster_id,
        member_id,
        max_txn_ops: config.max_txn_ops,
        max_request_bytes: config.max_request_bytes,
        request_timeout: REQUEST_TIME + 2 * config.election_timeout,
        election_timeout: config.election_timeout,
        progress_interval: PROGRESS_INTERVAL,
    }
}

fn limits(config: &Config) -> Limits {
    Limits {
        message_len_max: config.message_len_max(),
        concurrent_streams_max: config.max_concurrent_streams,
    }
}
