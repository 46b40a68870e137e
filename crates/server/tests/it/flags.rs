//! Runs the golden script of command lines. `UPDATE=1` rewrites it.
//!
//! A line that starts with `$` is a command line, environment variables first. What follows it up to a blank
//! line is the outcome: the settings that differ from the defaults, or the exit code and the error.

use std::fmt::Write;
use std::path::Path;

use server::config::{Command, Config, StartupMessage, help, usage, version};

const SCRIPT: &str = "tests/scripts/flags.txt";

#[test]
fn command_lines_have_the_outcomes_of_the_script() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(SCRIPT);
    let expected = std::fs::read_to_string(&path).unwrap();
    let mut actual = String::new();
    let mut is_outcome = false;
    for line in expected.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            writeln!(actual, "{line}\n{}", outcome(command)).unwrap();
            is_outcome = true;
        } else if !is_outcome || line.is_empty() {
            writeln!(actual, "{line}").unwrap();
            is_outcome = false;
        }
    }
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &actual).unwrap();
    } else {
        assert_eq!(actual, expected, "UPDATE=1 rewrites {SCRIPT}");
    }
}

#[test]
fn version_has_four_lines() {
    let version = version();
    assert_eq!(version.lines().next(), Some("etcd Version: 3.7.1"));
    assert_eq!(version.lines().count(), 4);
}

#[test]
fn help_names_every_supported_flag_with_its_default() {
    assert!(help().contains("  --snapshot-count '10000'\n"));
    assert!(!help().contains("--test.outputdir"));
    assert!(usage().starts_with("Usage:"));
}

fn read(line: &str) -> Result<Command, server::config::Error> {
    let words = || line.split_whitespace().map(str::to_owned);
    let is_variable = |word: &String| word.starts_with("ETCD_");
    let env = words().take_while(is_variable).map(|word| {
        let (name, value) = word.split_once('=').unwrap();
        (name.to_owned(), value.to_owned())
    });
    Command::read(words().skip_while(is_variable).skip(1), env)
}

fn outcome(line: &str) -> String {
    let Ok(Command::Serve(default)) = read("etcd") else { panic!("the defaults are refused") };
    match read(line) {
        Ok(Command::Serve(config)) => difference(&describe(&config), &describe(&default)),
        Ok(other) => format!("{other:?}"),
        Err(error) => format!("exit {}: {error}", error.exit_code()).trim_end().to_owned(),
    }
}

fn difference(actual: &[String], default: &[String]) -> String {
    let changed: Vec<&str> =
        actual.iter().zip(default).filter(|(a, b)| a != b).map(|(line, _)| line.as_str()).collect();
    if changed.is_empty() { "the defaults".to_owned() } else { changed.join("\n") }
}

/// One line for each setting.
fn describe(config: &Config) -> Vec<String> {
    let urls =
        |urls: &[server::config::Url]| urls.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let cluster = match &config.initial_cluster {
        Ok(members) => {
            let members = members.iter().map(|member| format!("{}={}", member.name, urls(&member.peer_urls)));
            members.collect::<Vec<_>>().join(" ")
        }
        Err(error) => format!("unreadable: {error}"),
    };
    let is_common = |startup_message: &&StartupMessage| {
        matches!(
            startup_message,
            StartupMessage::SharedPort | StartupMessage::DefaultName | StartupMessage::DefaultDataDir { .. }
        )
    };
    let startup_messages: Vec<_> =
        config.startup_messages.iter().filter(|startup_message| !is_common(startup_message)).collect();
    vec![
        format!("name {}", config.name),
        format!("data-dir {}", config.data_dir.display()),
        format!("wal-dir {:?}", config.wal_dir),
        format!("listen-client-urls {}", urls(&config.listen_client_urls)),
        format!("listen-client-http-urls {}", urls(&config.listen_client_http_urls)),
        format!("listen-metrics-urls {}", urls(&config.listen_metrics_urls)),
        format!("advertise-client-urls {}", urls(&config.advertise_client_urls)),
        format!("listen-peer-urls {}", urls(&config.listen_peer_urls)),
        format!("initial-advertise-peer-urls {}", urls(&config.initial_advertise_peer_urls)),
        format!("initial-cluster {cluster}"),
        format!("discovery {:?}", config.discovery),
        format!("initial-cluster-token {}", config.initial_cluster_token),
        format!("snapshot-count {}", config.snapshot_count),
        format!("snapshot-catchup-entries {}", config.snapshot_catchup_entries),
        format!("heartbeat-interval {:?}", config.heartbeat_interval),
        format!("election-timeout {:?}", config.election_timeout),
        format!("quota-backend-bytes {:?}", config.quota_backend_bytes),
        format!("max-txn-ops {}", config.max_txn_ops),
        format!("max-request-bytes {}, messages {}", config.max_request_bytes, config.message_len_max()),
        format!("max-concurrent-streams {}", config.max_concurrent_streams),
        format!(
            "grpc-keepalive {:?}, {:?}, {:?}",
            config.grpc_keepalive_min_time, config.grpc_keepalive_interval, config.grpc_keepalive_timeout
        ),
        format!("socket-reuse-port {}", config.socket_reuse_port),
        format!("socket-reuse-address {}", config.socket_reuse_address),
        format!("auto-compaction {:?}", config.auto_compaction),
        format!("watch-progress-notify-interval {:?}", config.watch_progress_notify_interval),
        format!("warning-unary-request-duration {:?}", config.warning_unary_request_duration),
        format!("feature-gates {:?}", config.feature_gates),
        format!("cors {:?}", config.cors),
        format!("host-whitelist {:?}", config.host_whitelist),
        format!("enable-pprof {}", config.enable_pprof),
        format!("metrics extensive {}", config.has_extensive_metrics),
        format!("unsafe-no-fsync {}", config.unsafe_no_fsync),
        format!("log {:?}", config.log),
        format!("startup_messages {:?}", startup_messages),
    ]
}
