//! The settings of a server: read from flags and environment or from a file, checked, and ready to use.
//!
//! Flags, keys, defaults, checks and error texts are etcd's (release 3.7); what this version cannot do yet is
//! refused by name rather than ignored. Member and cluster identifiers are computed elsewhere.

mod check;
mod cluster;
mod compaction;
mod discovery;
mod error;
mod feature_gates;
mod file;
mod log;
mod security;
mod startup_message;
mod table;
mod text;
mod url;
pub(crate) mod value;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use self::cluster::InitialMember;
pub(crate) use self::cluster::{default_host, parse_members};
pub use self::compaction::AutoCompaction;
pub use self::discovery::{Discovery, DiscoveryService, SrvDomain};
pub use self::error::Error;
pub(crate) use self::error::go_text;
pub use self::feature_gates::FeatureGates;
pub use self::log::{LogConfig, LogFormat, LogOutput, Rotation};
pub use self::startup_message::StartupMessage;
pub use self::text::{ETCD_VERSION, help, usage, version};
pub use self::url::{Scheme, Url};
use crate::flags::{Flags, Request, Support};

/// The name of a member that was not given one.
const DEFAULT_NAME: &str = "default";

/// URLs that a member advertises unless told otherwise.
const DEFAULT_PEER_URL: &str = "http://localhost:2380";
const DEFAULT_CLIENT_URL: &str = "http://localhost:2379";

/// `--quota-backend-bytes` when it is zero.
const DEFAULT_QUOTA_BYTES: u64 = 2 << 30;

/// `--snapshot-count` and `--snapshot-catchup-entries` when they are zero.
const DEFAULT_SNAPSHOT_COUNT: u64 = 10_000;
const DEFAULT_CATCHUP_ENTRIES: u64 = 5_000;

/// `--warning-unary-request-duration` and `--watch-progress-notify-interval` when they are zero, and the
/// least of the latter.
const DEFAULT_SLOW_REQUEST: Duration = Duration::from_millis(300);
const DEFAULT_PROGRESS_INTERVAL: Duration = Duration::from_secs(600);
const PROGRESS_INTERVAL_MIN: Duration = Duration::from_millis(100);

/// Longest `--election-timeout`.
const ELECTION_TIMEOUT_MAX: Duration = Duration::from_secs(50);

/// Bytes by which a gRPC message may exceed the longest request: etcd's allowance for the rest of the
/// message.
const MESSAGE_OVERHEAD: usize = 512 << 10;

/// Quota and request length above which etcd warns.
const RECOMMENDED_QUOTA_BYTES: u64 = 8 << 30;
const RECOMMENDED_REQUEST_BYTES: usize = 10 << 20;

/// First arguments with which etcd does something else than run a server.
const OTHER_PROGRAMS: [&str; 2] = ["gateway", "grpc-proxy"];

/// What the command line asks for.
#[derive(Debug)]
pub enum Command {
    /// To run a server.
    Serve(Box<Config>),
    /// To print [`usage`] on stderr and [`help`] on stdout.
    Help,
    /// To print [`version`] on stdout.
    Version,
}

/// The settings of a server. Each field is named after its flag, with the unit where it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Name of the member.
    pub name: String,
    /// The directory of its data.
    pub data_dir: PathBuf,
    /// The directory of its WAL, if that is not in `data_dir`.
    pub wal_dir: Option<PathBuf>,
    /// Where clients connect. Bindable, but not necessarily `http`.
    pub listen_client_urls: Vec<Url>,
    /// URLs that serve clients only HTTP. If there are any, `listen_client_urls` serve only gRPC.
    pub listen_client_http_urls: Vec<Url>,
    /// URLs that serve only metrics and health.
    pub listen_metrics_urls: Vec<Url>,
    /// What clients are told to connect to.
    pub advertise_client_urls: Vec<Url>,
    /// Where other members connect.
    pub listen_peer_urls: Vec<Url>,
    /// What other members are told to connect to.
    pub initial_advertise_peer_urls: Vec<Url>,
    /// The first members of the cluster, by name, or why their list cannot be read. A member that has data
    /// needs neither this nor the next two fields: its WAL names member and cluster.
    pub initial_cluster: Result<Vec<InitialMember>, String>,
    /// Whether a member without data joins a cluster that exists already.
    pub is_joining: bool,
    /// Where a member without data finds the first members; `None` means in `initial_cluster`.
    pub discovery: Option<Discovery>,
    /// Whether the member leaves its cluster behind and goes on alone, with its data.
    pub force_new_cluster: bool,
    /// Whether a member with peers waits less for a leader at its start.
    pub initial_election_tick_advance: bool,
    /// Part of what member and cluster identifiers are hashed from.
    pub initial_cluster_token: String,
    /// Entries applied between two checkpoints, never zero.
    pub snapshot_count: u64,
    /// Entries of the raft log that are kept for slow followers, never zero.
    pub snapshot_catchup_entries: u64,
    /// One tick of raft.
    pub heartbeat_interval: Duration,
    /// At least five heartbeats.
    pub election_timeout: Duration,
    /// Whether to ask the others for their votes before an election begins a new term.
    pub pre_vote: bool,
    /// Whether changes of the members are refused that could leave the cluster without a majority.
    pub strict_reconfig_check: bool,
    /// Learners that the cluster may have.
    pub max_learners: usize,
    /// Data bytes at which writes are refused; `None` means no limit.
    pub quota_backend_bytes: Option<u64>,
    /// Operations in a transaction.
    pub max_txn_ops: usize,
    /// Longest request, as it is proposed.
    pub max_request_bytes: usize,
    /// Calls open at once on one connection.
    pub max_concurrent_streams: u32,
    /// Least time between two pings of a client with open calls; zero means gRPC's own default.
    pub grpc_keepalive_min_time: Duration,
    /// Silence after which a client is pinged; zero means the default.
    pub grpc_keepalive_interval: Duration,
    /// Time that a pinged client has to answer; zero means the default.
    pub grpc_keepalive_timeout: Duration,
    /// Whether other sockets may listen on the same ports.
    pub socket_reuse_port: bool,
    /// Whether to listen on ports that an earlier process has left in TIME_WAIT.
    pub socket_reuse_address: bool,
    /// How much history automatic compaction keeps.
    pub auto_compaction: Option<AutoCompaction>,
    /// Time between progress notifications of watches.
    pub watch_progress_notify_interval: Duration,
    /// Unary calls that take longer are logged.
    pub warning_unary_request_duration: Duration,
    /// Batches of commands that take longer to apply are logged, and so are longer reads.
    pub warning_apply_duration: Duration,
    /// Time between two comparisons of the data of all members; zero means never.
    pub corrupt_check_time: Duration,
    /// Time between two comparisons of what compactions have left, if the gate for it is open.
    pub compact_hash_check_time: Duration,
    /// Time between two looks whether a downgrade is complete; zero means never.
    pub downgrade_check_time: Duration,
    /// Positions of the feature gates.
    pub feature_gates: FeatureGates,
    /// Origins that browsers may call from; `*` among them means any.
    pub cors: Vec<String>,
    /// Hosts that HTTP requests may name; `*` among them means any.
    pub host_whitelist: Vec<String>,
    /// Whether to offer `/debug/pprof/`.
    pub enable_pprof: bool,
    /// Whether handling times of gRPC methods are counted.
    pub has_extensive_metrics: bool,
    /// Whether to leave out waiting for the disk.
    pub unsafe_no_fsync: bool,
    /// At a start, the log says that no defragmentation is needed below this many bytes; 0 means that it says
    /// nothing.
    pub bootstrap_defrag_threshold_bytes: u64,
    /// The settings of logging.
    pub log: LogConfig,
    /// What is logged about the settings.
    pub startup_messages: Vec<StartupMessage>,
}

impl Command {
    /// Reads the arguments that follow the program's name, the environment, and the file if they name one.
    pub fn read(
        args: impl IntoIterator<Item = String>,
        env: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Command, Error> {
        let env: Vec<_> = env.into_iter().collect();
        let args: Vec<String> = args.into_iter().collect();
        if let Some(program) = args.first().filter(|first| OTHER_PROGRAMS.contains(&first.as_str())) {
            return Err(Error::Setup(format!(
                "etcd {program} is not supported by this version yet; etcd's own `etcd {program}` works in front of it"
            )));
        }
        let (mut flags, request) = Flags::read_args(table::FLAGS, args)?;
        match request {
            Request::Help => return Ok(Command::Help),
            Request::Version => return Ok(Command::Version),
            Request::Run => {}
        }
        match flags.file(&env) {
            Some(path) => flags = Flags::from_file(table::FLAGS, file::read(table::FLAGS, &path)?, path),
            None => flags.read_env(env)?,
        }
        Config::from_flags(flags).map(|config| Command::Serve(Box::new(config)))
    }
}

impl Config {
    /// Longest gRPC message that a client may send, in bytes.
    pub fn message_len_max(&self) -> usize {
        self.max_request_bytes.saturating_add(MESSAGE_OVERHEAD)
    }

    /// Heartbeats in an election timeout, rounded up.
    pub fn election_ticks(&self) -> u32 {
        self.election_timeout.div_duration_f64(self.heartbeat_interval).ceil() as u32
    }

    /// Whether gRPC and HTTP clients share their URLs.
    pub fn has_shared_port(&self) -> bool {
        self.listen_client_http_urls.is_empty()
    }

    /// Advertises `host` instead of `localhost` where the member listens on all addresses and advertises the
    /// default. True if it did so anywhere.
    pub fn substitute_default_host(&mut self, host: IpAddr) -> bool {
        let peer = cluster::substitute_host(
            &mut self.initial_advertise_peer_urls,
            DEFAULT_PEER_URL,
            &self.listen_peer_urls,
            host,
        );
        if peer
            && self.name != DEFAULT_NAME
            && let Ok(members) = &mut self.initial_cluster
            && is_cluster_of_default_url(members, &self.name)
        {
            members[0].peer_urls.clone_from(&self.initial_advertise_peer_urls);
        }
        let client = cluster::substitute_host(
            &mut self.advertise_client_urls,
            DEFAULT_CLIENT_URL,
            &self.listen_client_urls,
            host,
        );
        peer || client
    }

    fn from_flags(flags: Flags) -> Result<Config, Error> {
        if flags.value("discovery-fallback").into_text() == "proxy" {
            let text = "v2 proxy is deprecated, and --discovery-fallback can't be configured as \"proxy\"";
            return Err(Error::Invalid(text.to_owned()));
        }
        let log = LogConfig::from_flags(&flags)?;
        let (mut config, mut startup_messages) = Config::of_values(&flags, log)?;
        check::check(&config, &flags).map_err(Error::Invalid)?;
        config.auto_compaction = auto_compaction(&flags)?;
        config.initial_cluster = initial_cluster(&flags, &config);
        security::check(&config, &flags).map_err(Error::Start)?;
        check_supported(&flags, &config)?;
        startup_messages.append(&mut security::startup_messages(&config, &flags));
        startup_messages
            .extend(flags.without_effect().map(|(flag, reason)| StartupMessage::NoEffect { flag, reason }));
        config.startup_messages = flags.into_startup_messages();
        config.startup_messages.append(&mut startup_messages);
        Ok(config)
    }

    /// The settings that are the values of flags, and what is logged about them.
    fn of_values(flags: &Flags, log: LogConfig) -> Result<(Config, Vec<StartupMessage>), Error> {
        let text = |name| flags.value(name).into_text();
        let urls = |name| flags.value(name).into_urls();
        let is_set = |name| flags.value(name).is_true();
        let millis = |name| Duration::from_millis(flags.value(name).into_int());
        let non_zero = |name: &str, default: u64| match flags.value(name).into_int() {
            0 => default,
            number => number,
        };
        let config = Config {
            name: text("name"),
            data_dir: data_dir(&text("name"), text("data-dir")),
            wal_dir: Some(text("wal-dir")).filter(|dir| !dir.is_empty()).map(PathBuf::from),
            listen_client_urls: urls("listen-client-urls"),
            listen_client_http_urls: urls("listen-client-http-urls"),
            listen_metrics_urls: urls("listen-metrics-urls"),
            advertise_client_urls: urls("advertise-client-urls"),
            listen_peer_urls: urls("listen-peer-urls"),
            initial_advertise_peer_urls: urls("initial-advertise-peer-urls"),
            initial_cluster: Ok(Vec::new()),
            is_joining: text("initial-cluster-state") == "existing",
            discovery: Discovery::from_flags(flags),
            force_new_cluster: is_set("force-new-cluster"),
            initial_election_tick_advance: is_set("initial-election-tick-advance"),
            initial_cluster_token: text("initial-cluster-token"),
            snapshot_count: non_zero("snapshot-count", DEFAULT_SNAPSHOT_COUNT),
            snapshot_catchup_entries: non_zero("snapshot-catchup-entries", DEFAULT_CATCHUP_ENTRIES),
            heartbeat_interval: millis("heartbeat-interval"),
            election_timeout: millis("election-timeout"),
            pre_vote: is_set("pre-vote"),
            strict_reconfig_check: is_set("strict-reconfig-check"),
            // A negative number is refused later.
            max_learners: usize::try_from(flags.value("max-learners").into_int::<i64>()).unwrap_or(0),
            quota_backend_bytes: quota(flags.value("quota-backend-bytes").into_int()),
            max_txn_ops: flags.value("max-txn-ops").into_int(),
            max_request_bytes: flags.value("max-request-bytes").into_int(),
            max_concurrent_streams: flags.value("max-concurrent-streams").into_int(),
            grpc_keepalive_min_time: flags.value("grpc-keepalive-min-time").into_duration(),
            grpc_keepalive_interval: flags.value("grpc-keepalive-interval").into_duration(),
            grpc_keepalive_timeout: flags.value("grpc-keepalive-timeout").into_duration(),
            socket_reuse_port: is_set("socket-reuse-port"),
            socket_reuse_address: is_set("socket-reuse-address"),
            auto_compaction: None,
            watch_progress_notify_interval: progress_interval(flags),
            warning_unary_request_duration: match flags
                .value("warning-unary-request-duration")
                .into_duration()
            {
                Duration::ZERO => DEFAULT_SLOW_REQUEST,
                duration => duration,
            },
            warning_apply_duration: flags.value("warning-apply-duration").into_duration(),
            corrupt_check_time: flags.value("corrupt-check-time").into_duration(),
            compact_hash_check_time: flags.value("compact-hash-check-time").into_duration(),
            downgrade_check_time: flags.value("downgrade-check-time").into_duration(),
            feature_gates: flags.value("feature-gates").into_feature_gates(),
            cors: flags.value("cors").into_words(),
            host_whitelist: text("host-whitelist").split(',').map(str::to_owned).collect(),
            enable_pprof: is_set("enable-pprof"),
            has_extensive_metrics: text("metrics") == "extensive",
            unsafe_no_fsync: is_set("unsafe-no-fsync"),
            bootstrap_defrag_threshold_bytes: flags
                .value("bootstrap-defrag-threshold-megabytes")
                .into_int::<u64>()
                .saturating_mul(1 << 20),
            log,
            startup_messages: Vec::new(),
        };
        let startup_messages = config.startup_messages_of_values(flags);
        Ok((config, startup_messages))
    }

    fn startup_messages_of_values(&self, flags: &Flags) -> Vec<StartupMessage> {
        let data_dir = || StartupMessage::DefaultDataDir { path: self.data_dir.display().to_string() };
        let gates = &self.feature_gates;
        let conditions = [
            (self.has_shared_port(), StartupMessage::SharedPort),
            (
                gates.is_on("LeaseCheckpoint") && !gates.is_on("LeaseCheckpointPersist"),
                StartupMessage::Words(
                    "Detected that checkpointing is enabled without persistence. Consider enabling feature \
                     gate LeaseCheckpointPersist",
                ),
            ),
            (self.name == DEFAULT_NAME, StartupMessage::DefaultName),
            (flags.value("data-dir").into_text().is_empty(), data_dir()),
            (
                self.quota_backend_bytes.is_some_and(|bytes| bytes > RECOMMENDED_QUOTA_BYTES),
                StartupMessage::Words("quota exceeds the maximum value"),
            ),
            (
                self.max_request_bytes > RECOMMENDED_REQUEST_BYTES,
                StartupMessage::Words("exceeded recommended request limit"),
            ),
            (
                !flags.value("watch-progress-notify-interval").into_duration().is_zero()
                    && self.watch_progress_notify_interval == PROGRESS_INTERVAL_MIN,
                StartupMessage::Words("adjusting watch progress notify interval to minimum period"),
            ),
            (
                flags.is_given("max-snapshots"),
                StartupMessage::Words(
                    "--max-snapshots is deprecated in 3.6 and will be decommissioned in 3.8.",
                ),
            ),
            (
                flags.is_given("v2-deprecation"),
                StartupMessage::Words(
                    "--v2-deprecation is deprecated and scheduled for removal in v3.8. The default value is \
                     enforced, ignoring user input.",
                ),
            ),
        ];
        conditions
            .into_iter()
            .filter(|(holds, _)| *holds)
            .map(|(_, startup_message)| startup_message)
            .collect()
    }
}

fn data_dir(name: &str, given: String) -> PathBuf {
    if given.is_empty() { PathBuf::from(format!("{name}.etcd")) } else { PathBuf::from(given) }
}

fn quota(bytes: i64) -> Option<u64> {
    match bytes {
        0 => Some(DEFAULT_QUOTA_BYTES),
        bytes => u64::try_from(bytes).ok(),
    }
}

fn progress_interval(flags: &Flags) -> Duration {
    match flags.value("watch-progress-notify-interval").into_duration() {
        Duration::ZERO => DEFAULT_PROGRESS_INTERVAL,
        interval => interval.max(PROGRESS_INTERVAL_MIN),
    }
}

fn auto_compaction(flags: &Flags) -> Result<Option<AutoCompaction>, Error> {
    let mode = flags.value("auto-compaction-mode").into_text();
    let retention = flags.value("auto-compaction-retention").into_text();
    AutoCompaction::parse(&mode, &retention).map_err(Error::Start)
}

/// If only the name is set, the cluster consists of this member under that name.
fn initial_cluster(flags: &Flags, config: &Config) -> Result<Vec<InitialMember>, String> {
    if config.name != DEFAULT_NAME && !flags.is_given("initial-cluster") {
        let (name, peer_urls) = (config.name.clone(), config.initial_advertise_peer_urls.clone());
        return Ok(vec![InitialMember { name, peer_urls }]);
    }
    cluster::parse_members(&flags.value("initial-cluster").into_text())
}

fn is_cluster_of_default_url(members: &[InitialMember], name: &str) -> bool {
    let [member] = members else { return false };
    member.name == name && member.peer_urls.len() == 1 && member.peer_urls[0].to_string() == DEFAULT_PEER_URL
}

/// Refuses settings that etcd supports and this version does not.
fn check_supported(flags: &Flags, config: &Config) -> Result<(), Error> {
    let refused = if let Some(name) = flags.first_changed(Support::NotYet) {
        format!("--{name}")
    } else if let Some(gate) = config.feature_gates.first_unsupported() {
        format!("--feature-gates={gate}")
    } else {
        return Ok(());
    };
    Err(Error::Invalid(format!("{refused} is not supported by this version yet")))
}
