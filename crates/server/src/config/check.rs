//! The checks of settings, in etcd's order: only the first failure is reported.

use std::time::Duration;

use super::url::{Scheme, Url};
use super::{Config, ELECTION_TIMEOUT_MAX, security};
use crate::flags::Flags;

/// Checks everything that etcd checks before it starts. The error is etcd's text.
pub(super) fn check(config: &Config, flags: &Flags) -> Result<(), String> {
    let bound = [
        &config.listen_peer_urls,
        &config.listen_client_urls,
        &config.listen_client_http_urls,
        &config.listen_metrics_urls,
    ];
    bound.into_iter().flatten().try_for_each(Url::check_bindable)?;
    check_advertised("initial-advertise-peer-urls", "\"host:port\"", &config.initial_advertise_peer_urls)?;
    let client_form = "in the format \"host:port\", \"unix:/path/to/socket\" or \"unixs:/path/to/socket\"";
    check_advertised("advertise-client-urls", client_form, &config.advertise_client_urls)?;
    check_bootstrap(flags)?;
    check_timing(config.heartbeat_interval, config.election_timeout)?;
    let is_from_file = flags.is_from_file();
    if !is_from_file && flags.is_given("listen-client-urls") && !flags.is_given("advertise-client-urls") {
        return Err(
            "--advertise-client-urls is required when --listen-client-urls is set explicitly".to_owned()
        );
    }
    match &*flags.value("auto-compaction-mode").into_text() {
        "periodic" | "revision" => {}
        "" => return Err("undefined auto-compaction-mode".to_owned()),
        mode => return Err(format!("unknown auto-compaction-mode {mode:?}")),
    }
    check_tracing(flags)?;
    if config.feature_gates.is_on("LeaseCheckpointPersist") && !config.feature_gates.is_on("LeaseCheckpoint")
    {
        return Err("enabling feature gate LeaseCheckpointPersist requires enabling feature gate \
                    LeaseCheckpoint"
            .to_owned());
    }
    if flags.value("compact-hash-check-time").into_duration().is_zero() {
        return Err("--compact-hash-check-time must be >0 (set to 0s)".to_owned());
    }
    security::check_tls_versions(flags)
}

fn check_advertised(flag: &str, form: &str, urls: &[Url]) -> Result<(), String> {
    let is_hostless =
        |url: &&Url| matches!(url.scheme, Scheme::Http | Scheme::Https) && url.host().is_empty();
    let Some(url) = urls.iter().find(is_hostless) else { return Ok(()) };
    let list: Vec<String> = urls.iter().map(Url::to_string).collect();
    Err(format!("--{flag} {:?} must be {form} (unexpected empty host ({url}))", list.join(",")))
}

/// Checks that only one way to find the first members is configured.
fn check_bootstrap(flags: &Flags) -> Result<(), String> {
    let state = flags.value("initial-cluster-state").into_text();
    if !matches!(&*state, "new" | "existing") {
        return Err(format!("unexpected clusterState {state:?}"));
    }
    let endpoints = flags.value("discovery-endpoints").into_words();
    let has_srv = !flags.value("discovery-srv").into_text().is_empty();
    let has_cluster =
        flags.is_given("initial-cluster") && !flags.value("initial-cluster").into_text().is_empty();
    if [has_cluster, has_srv, !endpoints.is_empty()].into_iter().filter(|&is_set| is_set).count() > 1 {
        return Err("multiple discovery or bootstrap flags are set. Choose one of \"initial-cluster\", \
                    \"discovery-endpoints\" or \"discovery-srv\""
            .to_owned());
    }
    if flags.value("discovery-token").into_text().is_empty() != endpoints.is_empty() {
        return Err("both --discovery-token and --discovery-endpoints must be set".to_owned());
    }
    if endpoints.iter().any(|endpoint| endpoint.trim().is_empty()) {
        return Err("--discovery-endpoints must not contain empty endpoints".to_owned());
    }
    Ok(())
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

fn check_tracing(flags: &Flags) -> Result<(), String> {
    if !flags.value("enable-distributed-tracing").is_true() {
        return Ok(());
    }
    let reason = match flags.value("distributed-tracing-sampling-rate").into_int::<i64>() {
        ..0 => "tracing sampling rate must be positive",
        1_000_001.. => "tracing sampling rate must be less than 1000000",
        _ => return Ok(()),
    };
    Err(format!("distributed tracing configurition is not valid: ({reason})"))
}
