//! The settings of a server: read from flags and environment, checked, and ready to use.
//!
//! Flags, defaults, checks and error texts are etcd's (release 3.7); what this version cannot do yet is
//! refused by name rather than ignored. Member and cluster identifiers are computed elsewhere.

mod error;
mod table;
mod text;
mod url;
pub(crate) mod value;

use std::path::PathBuf;
use std::time::Duration;

use tracing::level_filters::LevelFilter;

pub use self::error::Error;
pub use self::text::{ETCD_VERSION, help, usage, version};
pub use self::url::{Scheme, Url};
pub use crate::flags::Notice;
use crate::flags::{Flags, Request};

/// The name of a member that was not given one.
const DEFAULT_NAME: &str = "default";

/// `--quota-backend-bytes` when it is zero.
const DEFAULT_QUOTA_BYTES: u64 = 2 << 30;

/// `--snapshot-count` when it is zero.
const DEFAULT_SNAPSHOT_COUNT: u64 = 10_000;

/// Longest `--election-timeout`.
const ELECTION_TIMEOUT_MAX: Duration = Duration::from_secs(50);

/// What a gRPC message may be longer than the longest request: etcd's allowance for the rest of the message.
const MESSAGE_OVERHEAD: usize = 512 << 10;

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
    /// Where its data lies.
    pub data_dir: PathBuf,
    /// Where clients connect. Bindable, but not necessarily `http`.
    pub listen_client_urls: Vec<Url>,
    /// What clients are told to connect to.
    pub advertise_client_urls: Vec<Url>,
    /// Where other members connect.
    pub listen_peer_urls: Vec<Url>,
    /// What other members are told to connect to.
    pub initial_advertise_peer_urls: Vec<Url>,
    /// The first members of the cluster, by name; URLs sorted.
    pub initial_cluster: Vec<InitialMember>,
    /// Part of what member and cluster identifiers are hashed from.
    pub initial_cluster_token: String,
    /// Entries applied between two checkpoints, never zero.
    pub snapshot_count: u64,
    /// One tick of raft.
    pub heartbeat_interval: Duration,
    /// At least five heartbeats.
    pub election_timeout: Duration,
    /// Data bytes at which writes are refused; `None` means no limit.
    pub quota_backend_bytes: Option<u64>,
    /// Operations in a transaction.
    pub max_txn_ops: usize,
    /// Longest request, as it is proposed.
    pub max_request_bytes: usize,
    /// Calls open at once on one connection.
    pub max_concurrent_streams: u32,
    /// Least severe level to log.
    pub log_level: LevelFilter,
    /// What the log should tell about the environment.
    pub notices: Vec<Notice>,
}

/// A member named by `--initial-cluster`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitialMember {
    /// Its name.
    pub name: String,
    /// Its peer URLs, sorted.
    pub peer_urls: Vec<Url>,
}

impl Command {
    /// Reads the arguments that follow the program's name, and the environment.
    pub fn read(
        args: impl IntoIterator<Item = String>,
        env: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Command, Error> {
        let (mut flags, request) = Flags::read_args(table::FLAGS, args)?;
        match request {
            Request::Help => return Ok(Command::Help),
            Request::Version => return Ok(Command::Version),
            Request::Run => flags.read_env(env)?,
        }
        flags.check_supported()?;
        Config::from_flags(flags).map(|config| Command::Serve(Box::new(config)))
    }
}

impl Config {
    /// Longest gRPC message that a client may send, in bytes.
    pub fn message_len_max(&self) -> usize {
        self.max_request_bytes.saturating_add(MESSAGE_OVERHEAD)
    }

    fn from_flags(flags: Flags) -> Result<Config, Error> {
        let name = flags.value("name").into_text();
        let advertised = flags.value("initial-advertise-peer-urls").into_urls();
        let config = Config {
            data_dir: data_dir(&name, flags.value("data-dir").into_text()),
            listen_client_urls: flags.value("listen-client-urls").into_urls(),
            advertise_client_urls: flags.value("advertise-client-urls").into_urls(),
            listen_peer_urls: flags.value("listen-peer-urls").into_urls(),
            initial_cluster: initial_cluster(&flags, &name, &advertised)?,
            initial_advertise_peer_urls: advertised,
            initial_cluster_token: flags.value("initial-cluster-token").into_text(),
            snapshot_count: match flags.value("snapshot-count").into_int() {
                0 => DEFAULT_SNAPSHOT_COUNT,
                count => count,
            },
            heartbeat_interval: Duration::from_millis(flags.value("heartbeat-interval").into_int()),
            election_timeout: Duration::from_millis(flags.value("election-timeout").into_int()),
            quota_backend_bytes: quota(flags.value("quota-backend-bytes").into_int()),
            max_txn_ops: flags.value("max-txn-ops").into_int(),
            max_request_bytes: flags.value("max-request-bytes").into_int(),
            max_concurrent_streams: flags.value("max-concurrent-streams").into_int(),
            log_level: log_level(&flags.value("log-level").into_text())?,
            name,
            notices: Vec::new(),
        };
        config.check(&flags).map_err(Error::Invalid)?;
        Ok(Config { notices: flags.into_notices(), ..config })
    }

    /// The checks in etcd's order, since only the first failure is reported.
    fn check(&self, flags: &Flags) -> Result<(), String> {
        for url in self.listen_peer_urls.iter().chain(&self.listen_client_urls) {
            url.check_bindable()?;
        }
        check_advertised("initial-advertise-peer-urls", "\"host:port\"", &self.initial_advertise_peer_urls)?;
        let client_form =
            "in the format \"host:port\", \"unix:/path/to/socket\" or \"unixs:/path/to/socket\"";
        check_advertised("advertise-client-urls", client_form, &self.advertise_client_urls)?;
        if flags.value("initial-cluster-state").into_text() != "new" {
            return Err("--initial-cluster-state=existing is not supported by this version yet".to_owned());
        }
        check_timing(self.heartbeat_interval, self.election_timeout)?;
        if flags.is_given("listen-client-urls") && !flags.is_given("advertise-client-urls") {
            return Err(
                "--advertise-client-urls is required when --listen-client-urls is set explicitly".to_owned()
            );
        }
        Ok(())
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

/// The levels above `error` are Go's ways to end a process; nothing of ours is logged at them.
fn log_level(text: &str) -> Result<LevelFilter, Error> {
    match text {
        "debug" => Ok(LevelFilter::DEBUG),
        "info" => Ok(LevelFilter::INFO),
        "warn" => Ok(LevelFilter::WARN),
        "error" => Ok(LevelFilter::ERROR),
        "dpanic" | "panic" | "fatal" => Ok(LevelFilter::OFF),
        _ => Err(Error::Usage(format!("unrecognized level: {text:?}"))),
    }
}

/// A member that has only a name of its own is its whole cluster under that name.
fn initial_cluster(flags: &Flags, name: &str, advertised: &[Url]) -> Result<Vec<InitialMember>, Error> {
    if name != DEFAULT_NAME && !flags.is_given("initial-cluster") {
        return Ok(vec![InitialMember { name: name.to_owned(), peer_urls: advertised.to_vec() }]);
    }
    parse_initial_cluster(&flags.value("initial-cluster").into_text()).map_err(Error::Invalid)
}

/// Reads `name=URL,name=URL`; a name may come several times.
fn parse_initial_cluster(text: &str) -> Result<Vec<InitialMember>, String> {
    let mut members: Vec<InitialMember> = Vec::new();
    for pair in text.split(',').filter(|pair| !pair.is_empty()) {
        let (name, url) = pair.split_once('=').unwrap_or((pair, ""));
        if url.is_empty() {
            return Err(format!("empty URL given for {name:?}"));
        }
        let url = Url::parse(url)?;
        match members.iter_mut().find(|member| member.name == name) {
            Some(member) => member.peer_urls.push(url),
            None => members.push(InitialMember { name: name.to_owned(), peer_urls: vec![url] }),
        }
    }
    for member in &mut members {
        member.peer_urls.sort_by_key(Url::to_string);
        member.peer_urls.dedup();
    }
    members.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(members)
}

fn check_advertised(flag: &str, form: &str, urls: &[Url]) -> Result<(), String> {
    let is_hostless =
        |url: &&Url| matches!(url.scheme, Scheme::Http | Scheme::Https) && url.host().is_empty();
    let Some(url) = urls.iter().find(is_hostless) else { return Ok(()) };
    let list: Vec<String> = urls.iter().map(Url::to_string).collect();
    Err(format!("--{flag} {:?} must be {form} (unexpected empty host ({url}))", list.join(",")))
}

fn check_timing(heartbeat: Duration, election: Duration) -> Result<(), String> {
    let (heartbeat_ms, election_ms) = (heartbeat.as_millis(), election.as_millis());
    if heartbeat.is_zero() {
        return Err("--heartbeat-interval must be >0 (set to 0ms)".to_owned());
    }
    if election.is_zero() {
        return Err("--election-timeout must be >0 (set to 0ms)".to_owned());
    }
    if heartbeat.saturating_mul(5) > election {
        return Err(format!(
            "--election-timeout[{election_ms}ms] should be at least as 5 times as \
             --heartbeat-interval[{heartbeat_ms}ms]"
        ));
    }
    if election > ELECTION_TIMEOUT_MAX {
        return Err(format!(
            "--election-timeout[{election_ms}ms] is too long, and should be set less than {}ms",
            ELECTION_TIMEOUT_MAX.as_millis()
        ));
    }
    Ok(())
}
