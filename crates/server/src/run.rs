//! The life of a server process, from its arguments to its exit code.
//!
//! Start: settings, ports, data directory, member, workers; monitoring is served from then on, clients are let in
//! when the cluster knows the member. Stop, on SIGTERM or SIGINT: no new connections, calls under way may finish,
//! watches end, then the member's threads; the process then ends by that signal, as its parent expects. If the
//! member fails, the process ends with the reason as its last line and exit code 1, and answers nothing more.

mod directories;
mod election_start;
mod handover;
mod initial_check;
mod join;
mod member;
mod reporter;
mod signals;
mod systemd;

use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use node::Fatal;
use signal_hook::low_level::emulate_default_handler;
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::sleep;
use tracing::{error, info, warn};

use self::reporter::{Life, Reporter, Seen};
use crate::api::{Api, Settings};
use crate::compactor;
use crate::config::{self, Command, Config, Discovery, ETCD_VERSION, LogConfig, StartupMessage, Url};
use crate::discovery;
use crate::driver::{Driver, LocalMember, Mailbox, NodeClient, NodeHandle};
use crate::grpc::{Keepalive, Limits};
use crate::listen::{BindError, Endpoint, Listeners, Reuse, Traffic, open_files};
use crate::logging::{self, FATAL};
use crate::metrics::Metrics;
use crate::pages::{Access, DebugPages, Pages};
use crate::peers::{self, Outbox, Peers, PeersHandle};
use crate::service::Calls;
use crate::version_monitor;
use crate::worker::Workers;

/// How long a member goes on after it was removed from the cluster, as in etcd.
const REMOVAL_DELAY: Duration = Duration::from_secs(1);

/// Time that calls under way have to finish when the server stops.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// The system's number for "too many open files", which has no name in the standard library.
const EMFILE: i32 = rustix::io::Errno::MFILE.raw_os_error();

/// Runs the server with the process's arguments and environment.
pub fn run() -> ExitCode {
    let args = std::env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned());
    let env = std::env::vars_os()
        .map(|(k, v)| (k.to_string_lossy().into_owned(), v.to_string_lossy().into_owned()));
    run_with(args, env)
}

/// Runs the server in this process with other words than the process was started with.
pub fn run_with(
    args: impl IntoIterator<Item = String>,
    env: impl IntoIterator<Item = (String, String)>,
) -> ExitCode {
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
        Ok(Command::Serve(config)) => serve_process(*config),
        Err(error) => refuse(&error),
    }
}

/// Words that are no command line get the usage; settings that cannot be served with are logged, as etcd does.
fn refuse(error: &config::Error) -> ExitCode {
    match error {
        config::Error::Usage(text) => eprint!("{text}\n{}", config::usage()),
        config::Error::Setup(text) => eprintln!("{text}"),
        config::Error::Invalid(_) | config::Error::Start(_) | config::Error::Shadowed { .. } => {
            if let Ok(_log) = logging::start(&LogConfig::default()) {
                log_refusal(error);
            }
        }
    }
    ExitCode::from(error.exit_code())
}

fn log_refusal(error: &config::Error) {
    match error {
        config::Error::Shadowed { variable } => {
            error!(target: FATAL, { "environment-variable" = variable }, "{error}");
        }
        config::Error::Start(_) => error!(target: FATAL, %error, "discovery failed"),
        _ => {
            warn!(%error, "failed to verify flags");
            if error.to_string().starts_with("--advertise-client-urls is required") {
                warn!(%error, "advertise client URLs are not set");
            }
        }
    }
}

/// Why a server could not start, or had to stop.
#[derive(Debug)]
enum Error {
    Bind(BindError),
    Disk(disk::Error),
    Member(Fatal),
    /// A new member's list of first members does not fit it.
    Cluster(String),
    /// A discovery service was of no help.
    Discovery(String),
    /// A directory that cannot be used; the text names it.
    Directory(String),
    /// The limit of open files is too low.
    OpenFiles(String),
    System(io::Error),
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

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Error::System(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Bind(error) => error.fmt(f),
            Error::Disk(error) | Error::Member(Fatal::Disk(error)) => {
                write!(f, "{error}{}", remedy(error).unwrap_or_default())
            }
            Error::Member(error) => error.fmt(f),
            Error::Cluster(text)
            | Error::Discovery(text)
            | Error::Directory(text)
            | Error::OpenFiles(text) => f.write_str(text),
            Error::System(error) => error.fmt(f),
        }
    }
}

/// What an operator can do about an error of the disk at start, where the error does not say it.
fn remedy(error: &disk::Error) -> Option<&'static str> {
    match error {
        disk::Error::NoSpace { .. } => Some(": make room on it and start again"),
        disk::Error::Io { source, .. } => match source.kind() {
            io::ErrorKind::PermissionDenied => {
                Some(": start the server as the user who owns the directory, or choose another one")
            }
            io::ErrorKind::ReadOnlyFilesystem => Some(": mount it for writing, or choose another directory"),
            _ if source.raw_os_error() == Some(EMFILE) => {
                Some(": raise the limit of open files, as with `ulimit -n`")
            }
            _ => None,
        },
        _ => None,
    }
}

fn serve_process(mut config: Config) -> ExitCode {
    let log = match logging::start(&config.log) {
        Ok(log) => log,
        Err(error) => return refuse(&config::Error::Invalid(error)),
    };
    config.startup_messages.iter().for_each(StartupMessage::log);
    info!(args = ?std::env::args_os().collect::<Vec<_>>(), "Running: ");
    if let Some(host) = config::default_host()
        && config.substitute_default_host(host)
    {
        info!(%host, "detected default host for advertise");
    }
    let outcome = signals::ignore()
        .map_err(Error::System)
        .and_then(|()| open_files::raise_limit().map_err(Error::OpenFiles))
        .and_then(|()| serve(&config));
    if let Err(error) = &outcome {
        log_failure(&config, error);
    }
    drop(log);
    match outcome {
        Ok(End::Signal(signal)) => end_by(signal),
        Ok(End::Removal) => ExitCode::SUCCESS,
        Ok(End::Failure) | Err(_) => ExitCode::FAILURE,
    }
}

/// Says why the server cannot go on.
fn log_failure(config: &Config, error: &Error) {
    match (error, &config.discovery) {
        (Error::Discovery(text), Some(Discovery::Service(service))) => discovery::log_failure(service, text),
        // etcd's word for whatever else keeps a server from going on.
        _ => error!(target: FATAL, %error, "discovery failed"),
    }
}

/// Ends the process by the signal that stopped the server. Process 1 cannot be killed and just exits.
fn end_by(signal: SignalKind) -> ExitCode {
    if std::process::id() != 1 {
        // Returns only if the system refuses, and then there is nothing better than to exit.
        let _ = emulate_default_handler(signal.as_raw_value());
    }
    ExitCode::SUCCESS
}

fn serve(config: &Config) -> Result<End, Error> {
    log_start(config);
    let reuse = Reuse { port: config.socket_reuse_port, address: config.socket_reuse_address };
    let listeners = Listeners::bind(&ports(config), reuse)?;
    let peer_listeners = member::bind_peer_urls(config, reuse)?;
    let (data_dir, settings, started) = member::start(config)?;
    let metrics = Arc::new(Metrics::new(config.has_extensive_metrics));
    metrics.introduce(settings.member_id, &config.feature_gates);
    let worker_count = std::thread::available_parallelism()?.get();
    // Two more than there are workers: this thread and that of the peers ask things of the node as well.
    let mailboxes: Vec<_> = (0..worker_count + 2).map(|_| Arc::new(Mailbox::default())).collect();
    let own_client = NodeClient::new(worker_count, Arc::clone(&mailboxes[worker_count]));
    let (life, lives) = watch::channel(Life::Starting);
    let (peers_handle, outbox) = (PeersHandle::default(), Arc::<Outbox>::default());
    let published = started.node.published();
    initial_check::compare_if_asked(config, &settings, &started)?;
    peers_handle.set_members(published.control().members());
    let driver = Driver::start(
        started.node,
        started.wal_writer,
        mailboxes.clone(),
        Arc::clone(&outbox),
        config.heartbeat_interval,
        Arc::clone(&metrics),
        Reporter {
            life,
            metrics: Arc::clone(&metrics),
            member_id: settings.member_id,
            published,
            peers: peers_handle.clone(),
            slow_apply: config.warning_apply_duration,
            seen: Seen::default(),
        },
    )?;
    log_serving(config, settings.member_id);
    let (stop, stopping) = watch::channel(false);
    let context =
        Context { config: config.clone(), settings, metrics, peers: peers_handle.clone(), stopping };
    let peers = Peers::start(
        member::peer_settings(config, &context.settings),
        &peers_handle,
        peer_listeners,
        outbox,
        Arc::new(LocalMember::new(driver.handle(), data_dir.snap())),
        pages_for_peers(&driver, &context, worker_count + 1, &mailboxes),
        Arc::clone(&context.metrics),
    )?;
    let own_api = Rc::new(context.api(driver.handle(), own_client.clone()));
    let workers = start_workers(&driver, context, mailboxes, worker_count)?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let end = LocalSet::new().block_on(&runtime, async {
        let node = election_start::start(config, driver.handle(), &peers_handle, &own_client);
        spawn_local(own_client.run(move |worker, inputs, are_brief| node.send(worker, inputs, are_brief)));
        start_upkeep(config, &own_api);
        let end = accept_until_stopped(listeners, &workers, lives).await;
        if matches!(end, Ok(End::Signal(_))) {
            handover::hand_over(&own_api, &peers_handle).await;
        }
        end
    })?;
    info!(name = config.name, "data-dir" = %config.data_dir.display(), "closing etcd server");
    stop.send_replace(true);
    workers.stop(match end {
        End::Signal(_) | End::Removal => STOP_LIMIT,
        // A member that has failed answers nothing more: there is nothing to wait for.
        End::Failure => Duration::ZERO,
    });
    let stopped = driver.stop();
    peers.stop();
    stopped?;
    drop(data_dir);
    info!(name = config.name, "data-dir" = %config.data_dir.display(), "closed etcd server");
    Ok(end)
}

/// Starts what the member does by itself for as long as it runs; most of it only while it leads.
fn start_upkeep(config: &Config, api: &Rc<Api>) {
    if let Some(mode) = config.auto_compaction {
        spawn_local(compactor::run(mode, Rc::clone(api)));
    }
    spawn_local(version_monitor::watch_versions(Rc::clone(api)));
    if !config.downgrade_check_time.is_zero() {
        spawn_local(version_monitor::watch_downgrades(Rc::clone(api), config.downgrade_check_time));
    }
    if !config.corrupt_check_time.is_zero() {
        let (api, interval) = (Rc::clone(api), config.corrupt_check_time);
        spawn_local(async move { api.compare_data(interval).await });
    }
    if config.feature_gates.is_on("CompactHashCheck") {
        let (api, interval) = (Rc::clone(api), config.compact_hash_check_time);
        spawn_local(async move { api.compare_compactions(interval).await });
    }
}

fn log_start(config: &Config) {
    let data_dir = config.data_dir.display();
    if config.data_dir.join("member").exists() {
        info!("data-dir" = %data_dir, "dir-type" = "member", "server has already been initialized");
    } else {
        info!("data-dir" = %data_dir, "dir-type" = "empty", "Initialize and start etcd server");
    }
    info!(
        "etcd-version" = ETCD_VERSION,
        name = config.name,
        "data-dir" = %data_dir,
        "heartbeat-interval" = ?config.heartbeat_interval,
        "election-timeout" = ?config.election_timeout,
        "snapshot-count" = config.snapshot_count,
        "initial-advertise-peer-urls" = ?urls(&config.initial_advertise_peer_urls),
        "listen-peer-urls" = ?urls(&config.listen_peer_urls),
        "advertise-client-urls" = ?urls(&config.advertise_client_urls),
        "listen-client-urls" = ?urls(&config.listen_client_urls),
        "listen-metrics-urls" = ?urls(&config.listen_metrics_urls),
        "initial-cluster-token" = config.initial_cluster_token,
        "max-request-bytes" = config.max_request_bytes,
        "auto-compaction" = ?config.auto_compaction,
        "starting an etcd server"
    );
}

fn log_serving(config: &Config, member_id: u64) {
    info!(
        "local-member-id" = format!("{member_id:x}"),
        "initial-advertise-peer-urls" = ?urls(&config.initial_advertise_peer_urls),
        "listen-peer-urls" = ?urls(&config.listen_peer_urls),
        "advertise-client-urls" = ?urls(&config.advertise_client_urls),
        "listen-client-urls" = ?urls(&config.listen_client_urls),
        "listen-metrics-urls" = ?urls(&config.listen_metrics_urls),
        "now serving peer/client/metrics"
    );
}

fn urls(urls: &[Url]) -> Vec<String> {
    urls.iter().map(ToString::to_string).collect()
}

/// What is spoken where. A URL that is given both for gRPC and for HTTP serves both.
fn ports(config: &Config) -> Vec<(Url, Traffic)> {
    let (clients, http) = (&config.listen_client_urls, &config.listen_client_http_urls);
    let shares = |url: &Url| config.has_shared_port() || http.contains(url);
    let clients_traffic = clients.iter().map(|url| match shares(url) {
        true => (url.clone(), Traffic::GrpcAndHttp),
        false => (url.clone(), Traffic::Grpc),
    });
    let http_alone = http.iter().filter(|url| !clients.contains(url)).map(|url| (url.clone(), Traffic::Http));
    let metrics = config.listen_metrics_urls.iter().map(|url| (url.clone(), Traffic::Metrics));
    clients_traffic.chain(http_alone).chain(metrics).collect()
}

/// What each worker's handlers are made of.
#[derive(Debug, Clone)]
struct Context {
    config: Config,
    settings: Settings,
    metrics: Arc<Metrics>,
    peers: PeersHandle,
    stopping: watch::Receiver<bool>,
}

impl Context {
    fn api(&self, node: NodeHandle, node_client: NodeClient) -> Api {
        let (settings, peers, metrics) =
            (self.settings.clone(), self.peers.clone(), Arc::clone(&self.metrics));
        Api::new(settings, node, node_client, peers, metrics)
    }

    fn endpoint(&self, api: Api) -> Endpoint<Calls, Pages> {
        let (api, config) = (Rc::new(api), &self.config);
        let slow_call = config.warning_unary_request_duration;
        let calls = Calls::new(Rc::clone(&api), &self.metrics, slow_call, self.stopping.clone());
        let pages = Pages {
            api,
            metrics: Arc::clone(&self.metrics),
            access: Access { hosts: config.host_whitelist.clone(), origins: config.cors.clone() },
            debug: DebugPages { has_profiles: config.enable_pprof },
        };
        let limits = Limits {
            message_len_max: config.message_len_max(),
            concurrent_streams_max: config.max_concurrent_streams,
            keepalive: keepalive(config),
        };
        Endpoint { grpc: Rc::new(calls), http: Rc::new(pages), limits }
    }
}

/// The rules for pings; gRPC's own where a flag says nothing. Interval and timeout count only together.
fn keepalive(config: &Config) -> Keepalive {
    let minutes = |n: u64| Duration::from_secs(60 * n);
    let (interval, timeout) = (config.grpc_keepalive_interval, config.grpc_keepalive_timeout);
    let (ping_after, ping_timeout) = match interval.min(timeout) {
        Duration::ZERO => (minutes(120), Duration::from_secs(20)),
        _ => (interval, timeout),
    };
    let min_interval = match config.grpc_keepalive_min_time {
        Duration::ZERO => minutes(5),
        min_time => min_time,
    };
    Keepalive { min_interval, ping_after, ping_timeout }
}

/// Makes what answers peers, on their thread, which uses the mailbox of this number.
fn pages_for_peers(
    driver: &Driver,
    context: &Context,
    number: usize,
    mailboxes: &[Arc<Mailbox>],
) -> impl FnOnce() -> Rc<dyn peers::Pages> + Send + 'static {
    let (node, context, mailbox) = (driver.handle(), context.clone(), Arc::clone(&mailboxes[number]));
    move || {
        let node_client = NodeClient::new(number, mailbox);
        let api = context.api(node.clone(), node_client.clone());
        spawn_local(node_client.run(move |worker, inputs, are_brief| node.send(worker, inputs, are_brief)));
        Rc::new(api)
    }
}

/// Starts the workers; each has a mailbox and handlers of its own.
fn start_workers(
    driver: &Driver,
    context: Context,
    mailboxes: Vec<Arc<Mailbox>>,
    count: usize,
) -> io::Result<Workers> {
    let handle = driver.handle();
    Workers::start(count, move |worker| {
        let node_client = NodeClient::new(worker, Arc::clone(&mailboxes[worker]));
        let (node, api) = (handle.clone(), context.api(handle.clone(), node_client.clone()));
        spawn_local(node_client.run(move |worker, inputs, are_brief| node.send(worker, inputs, are_brief)));
        context.endpoint(api)
    })
}

/// Why the server stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Signal(SignalKind),
    /// The member was removed from the cluster.
    Removal,
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
    let (mut failed, mut removed) = (lives.clone(), lives.clone());
    let (open, opened) = watch::channel(false);
    let addresses: Vec<_> = listeners.addresses().collect();
    log_metrics_addresses(&addresses);
    let becoming_ready = async {
        // The observer lives as long as the node; if it is gone, the failure says why.
        if lives.wait_for(|life| *life == Life::Ready).await.is_ok() {
            log_ready(&addresses);
            open.send_replace(true);
            systemd::notify_ready();
        }
        std::future::pending::<()>().await;
    };
    let (signal, name) = tokio::select! {
        // In this order: how many connections are accepted is known, and told, before the server is ready.
        biased;
        result = listeners.run(workers, opened) => return result.map(|()| End::Failure).map_err(Error::from),
        () = becoming_ready => unreachable!("it waits for ever"),
        _ = failed.wait_for(|life| *life == Life::Failed) => return Ok(End::Failure),
        // Those that wait for the removal are answered first.
        _ = removed.wait_for(|life| *life == Life::Removed) => {
            sleep(REMOVAL_DELAY).await;
            error!("the member has been permanently removed from the cluster");
            warn!("data-dir used by this member must be removed");
            return Ok(End::Removal);
        }
        signal = received(&mut terminate, SignalKind::terminate(), "terminated") => signal,
        signal = received(&mut interrupt, SignalKind::interrupt(), "interrupt") => signal,
    };
    info!(signal = name, "received signal; shutting down");
    Ok(End::Signal(signal))
}

async fn received(signal: &mut Signal, kind: SignalKind, name: &'static str) -> (SignalKind, &'static str) {
    signal.recv().await;
    (kind, name)
}

fn log_metrics_addresses(addresses: &[(String, Traffic)]) {
    for (address, _) in addresses.iter().filter(|(_, traffic)| *traffic == Traffic::Metrics) {
        info!(address, "serving metrics");
    }
}

fn log_ready(addresses: &[(String, Traffic)]) {
    for (address, traffic) in addresses.iter().filter(|(_, traffic)| *traffic != Traffic::Metrics) {
        let traffic = traffic.name();
        info!(traffic, address, "serving client traffic insecurely; this is strongly discouraged!");
    }
    info!("ready to serve client requests");
}
