//! All flags of etcd 3.7, and how this version treats them.
//!
//! A flag whose feature does not exist yet is accepted with its default, so that scripts which name the
//! default work, and refused with any other value. A flag that changes nothing here, or tunes a
//! part that does not exist here, is accepted and logged. `snapshot` and similar flags have had no meaning
//! for years and are accepted with any value.

use super::value::Kind;
use crate::flags::{Flag, Support};

/// Why flags for TLS change nothing.
const NO_PEER_TLS: &str = "only https URLs of members would use it, which are refused: there is no TLS yet";
const NO_DISCOVERY_TLS: &str =
    "only https endpoints of the discovery service would use it, which are refused: there is no TLS yet";
/// Why the time limits of sockets between members cannot be set.
const FIXED_PEER_TIMEOUT: &str = "sockets between members have a limit of 5 s, the least that etcd takes";

/// The flags of `etcd`; those that work first, in the order of the help text.
pub(crate) static FLAGS: &[Flag] = &[
    works("name", Kind::Text, "default", "Name of this member, unique in its cluster."),
    works("data-dir", Kind::Text, "", "Directory of the data; ${name}.etcd if empty."),
    works("wal-dir", Kind::Text, "", "Directory of the write-ahead log; inside the data directory if empty."),
    works(
        "snapshot-count",
        Kind::Uint,
        "10000",
        "Entries applied between two checkpoints; 0 means the default.",
    ),
    works(
        "snapshot-catchup-entries",
        Kind::Uint,
        "5000",
        "Log entries kept for slow followers; 0 means the default.",
    ),
    works("heartbeat-interval", Kind::Uint, "100", "Milliseconds between two heartbeats of a leader."),
    works(
        "election-timeout",
        Kind::Uint,
        "1000",
        "Milliseconds without a heartbeat after which a member stands for election.",
    ),
    works(
        "listen-peer-urls",
        Kind::Urls,
        "http://localhost:2380",
        "URLs on which to listen for other members.",
    ),
    works(
        "listen-client-urls",
        Kind::Urls,
        "http://localhost:2379",
        "URLs on which to listen for gRPC clients, and for HTTP unless it has URLs of its own.",
    ),
    works(
        "listen-client-http-urls",
        Kind::OptionalUrls,
        "",
        "URLs on which to listen for HTTP alone; the client URLs then take gRPC alone.",
    ),
    works(
        "quota-backend-bytes",
        Kind::Int,
        "0",
        "Bytes of data at which writes are refused; 0 means 2 GiB, negative means no limit.",
    ),
    works("max-txn-ops", Kind::Uint, "128", "Operations that a transaction may hold."),
    works("max-request-bytes", Kind::Uint, "1572864", "Length of the longest request in bytes."),
    works(
        "max-concurrent-streams",
        Kind::Uint32,
        "4294967295",
        "Calls that a connection may have open at once.",
    ),
    works(
        "grpc-keepalive-min-time",
        Kind::Duration,
        "5s",
        "Least time between two pings of a client; 0 means 5 minutes.",
    ),
    works(
        "grpc-keepalive-interval",
        Kind::Duration,
        "2h",
        "Silence after which a client is pinged; 0 means the default.",
    ),
    works(
        "grpc-keepalive-timeout",
        Kind::Duration,
        "20s",
        "Time that a pinged client has to answer; 0 means the default.",
    ),
    works("socket-reuse-port", Kind::Bool, "false", "Let other sockets share the ports (SO_REUSEPORT)."),
    works("socket-reuse-address", Kind::Bool, "false", "Take ports that linger in TIME_WAIT (SO_REUSEADDR)."),
    works(
        "feature-gates",
        Kind::FeatureGates,
        "",
        "Features to switch: Name=true|false,... ; see docs/flags.md.",
    ),
    works(
        "initial-advertise-peer-urls",
        Kind::Urls,
        "http://localhost:2380",
        "URLs by which other members reach this one.",
    ),
    works(
        "advertise-client-urls",
        Kind::Urls,
        "http://localhost:2379",
        "URLs by which clients reach this member.",
    ),
    works(
        "initial-cluster",
        Kind::Text,
        "default=http://localhost:2380",
        "All first members: name=URL,name=URL,...",
    ),
    works(
        "initial-cluster-state",
        Kind::OneOf(&["new", "existing"]),
        "new",
        "Whether a member without data begins a \"new\" cluster or joins an \"existing\" one.",
    ),
    works(
        "initial-cluster-token",
        Kind::Text,
        "etcd-cluster",
        "Keeps clusters apart that have the same URLs.",
    ),
    works("cors", Kind::Origins, "*", "Origins that browsers may call from: * or URLs."),
    works("host-whitelist", Kind::Text, "*", "Hosts that HTTP requests may name: * or names."),
    works("enable-pprof", Kind::Bool, "false", "Offer /debug/pprof/ on the HTTP port."),
    works(
        "metrics",
        Kind::Text,
        "basic",
        "\"extensive\" adds a histogram of the handling time of each gRPC method.",
    ),
    works(
        "listen-metrics-urls",
        Kind::OptionalUrls,
        "",
        "URLs on which to serve /metrics, /health, /livez and /readyz alone.",
    ),
    works("logger", Kind::Text, "zap", "The one logger there is."),
    works(
        "log-outputs",
        Kind::Words,
        "default",
        "Where the log goes: default (stderr), stderr, stdout, or files.",
    ),
    works(
        "log-level",
        Kind::Text,
        "info",
        "Least severe level to log: debug, info, warn, error, panic or fatal.",
    ),
    works("log-format", Kind::Text, "json", "How lines look: json or console."),
    works("enable-log-rotation", Kind::Bool, "false", "Rotate the one file among the log outputs."),
    works(
        "log-rotation-config-json",
        Kind::Text,
        "{\"maxsize\": 100, \"maxage\": 0, \"maxbackups\": 0, \"localtime\": false, \"compress\": false}",
        "When to rotate: megabytes, days, files to keep.",
    ),
    works(
        "warning-unary-request-duration",
        Kind::Duration,
        "300ms",
        "Unary calls that take longer are logged; 0 means the default.",
    ),
    works(
        "warning-apply-duration",
        Kind::Duration,
        "100ms",
        "Batches of commands that take longer to apply, and longer reads, are logged.",
    ),
    works(
        "auto-compaction-mode",
        Kind::Text,
        "periodic",
        "What the retention counts: time (periodic) or revisions (revision).",
    ),
    works(
        "auto-compaction-retention",
        Kind::Text,
        "0",
        "History to keep: hours or a duration, or revisions; 0 keeps everything.",
    ),
    works(
        "watch-progress-notify-interval",
        Kind::Duration,
        "0",
        "Time between progress notifications of watches; 0 means 10m, at least 100ms.",
    ),
    works(
        "unsafe-no-fsync",
        Kind::Bool,
        "false",
        "Never wait for the disk: a power failure may lose acknowledged writes.",
    ),
    works(
        "config-file",
        Kind::Text,
        "",
        "A YAML or JSON file with all settings; other flags and the environment are ignored then.",
    ),
    works("version", Kind::Bool, "false", "Print the version and exit."),
    no_effect("max-snapshots", Kind::Uint, "5", "one checkpoint is kept"),
    no_effect("max-wals", Kind::Uint, "5", "files of the log go when no checkpoint needs them"),
    no_effect("memory-mlock", Kind::Bool, "false", "there is no mapped database to lock"),
    no_effect("backend-bbolt-freelist-type", Kind::Text, "", "there is no bbolt database"),
    no_effect("backend-batch-interval", Kind::Duration, "0", "there is no bbolt database"),
    no_effect("backend-batch-limit", Kind::Int, "0", "there is no bbolt database"),
    no_effect(
        "bootstrap-defrag-threshold-megabytes",
        Kind::Uint,
        "0",
        "space is reclaimed while the server runs",
    ),
    no_effect(
        "compaction-batch-limit",
        Kind::Int,
        "0",
        "compaction works in steps short enough not to be felt",
    ),
    no_effect(
        "compaction-sleep-interval",
        Kind::Duration,
        "0",
        "compaction works in steps short enough not to be felt",
    ),
    no_effect("enable-grpc-gateway", Kind::Bool, "true", "there is no JSON gateway yet"),
    no_effect("v2-deprecation", Kind::Deprecation, "", "the v2 store does not exist"),
    no_effect("raft-read-timeout", Kind::Duration, "5s", FIXED_PEER_TIMEOUT),
    no_effect("raft-write-timeout", Kind::Duration, "5s", FIXED_PEER_TIMEOUT),
    works(
        "strict-reconfig-check",
        Kind::Bool,
        "true",
        "Refuse changes of the members that could leave the cluster without a majority.",
    ),
    works(
        "pre-vote",
        Kind::Bool,
        "true",
        "Ask the others for their votes before an election begins a new term.",
    ),
    works(
        "initial-election-tick-advance",
        Kind::Bool,
        "true",
        "Wait less for a leader at the start, once peers are connected.",
    ),
    works("discovery-srv", Kind::Text, "", "Domain whose SRV records name the first members."),
    works("discovery-srv-name", Kind::Text, "", "Suffix of the service whose SRV records are asked for."),
    works("discovery-token", Kind::Text, "", "Names the list of first members at the discovery service."),
    works(
        "discovery-endpoints",
        Kind::Words,
        "",
        "Members of the etcd cluster that is the discovery service.",
    ),
    works(
        "discovery-dial-timeout",
        Kind::Duration,
        "2s",
        "Time of an attempt to connect to the discovery service.",
    ),
    works("discovery-request-timeout", Kind::Duration, "5s", "Time of a call to the discovery service."),
    works(
        "discovery-keepalive-time",
        Kind::Duration,
        "2s",
        "Silence after which the discovery service is pinged, 10 s at least.",
    ),
    works(
        "discovery-keepalive-timeout",
        Kind::Duration,
        "6s",
        "Time that the discovery service has to answer a ping.",
    ),
    not_yet_for_new("discovery-insecure-transport", Kind::Bool, "true"),
    not_yet_for_new("discovery-user", Kind::Text, ""),
    not_yet_for_new("discovery-password", Kind::Text, ""),
    no_effect("discovery-insecure-skip-tls-verify", Kind::Bool, "false", NO_DISCOVERY_TLS),
    no_effect("discovery-cert", Kind::Text, "", NO_DISCOVERY_TLS),
    no_effect("discovery-key", Kind::Text, "", NO_DISCOVERY_TLS),
    no_effect("discovery-cacert", Kind::Text, "", NO_DISCOVERY_TLS),
    no_effect(
        "discovery-fallback",
        Kind::OneOf(&["exit", "proxy"]),
        "exit",
        "there is no proxy to fall back to",
    ),
    no_effect(
        "cert-file",
        Kind::Text,
        "",
        "only https URLs would use it, which are refused: there is no TLS yet",
    ),
    no_effect(
        "key-file",
        Kind::Text,
        "",
        "only https URLs would use it, which are refused: there is no TLS yet",
    ),
    no_effect("client-cert-file", Kind::Text, "", "this server dials nobody by TLS"),
    no_effect("client-key-file", Kind::Text, "", "this server dials nobody by TLS"),
    no_effect(
        "client-cert-auth",
        Kind::Bool,
        "false",
        "only https URLs would use it, which are refused: there is no TLS yet",
    ),
    no_effect(
        "client-crl-file",
        Kind::Text,
        "",
        "only https URLs would use it, which are refused: there is no TLS yet",
    ),
    no_effect(
        "client-cert-allowed-hostname",
        Kind::Words,
        "",
        "only https URLs would use it, which are refused: there is no TLS yet",
    ),
    no_effect(
        "trusted-ca-file",
        Kind::Text,
        "",
        "only https URLs would use it, which are refused: there is no TLS yet",
    ),
    no_effect(
        "auto-tls",
        Kind::Bool,
        "false",
        "only https URLs would use it, which are refused: there is no TLS yet",
    ),
    no_effect("peer-cert-file", Kind::Text, "", NO_PEER_TLS),
    no_effect("peer-key-file", Kind::Text, "", NO_PEER_TLS),
    no_effect("peer-client-cert-file", Kind::Text, "", NO_PEER_TLS),
    no_effect("peer-client-key-file", Kind::Text, "", NO_PEER_TLS),
    no_effect("peer-client-cert-auth", Kind::Bool, "false", NO_PEER_TLS),
    no_effect("peer-trusted-ca-file", Kind::Text, "", NO_PEER_TLS),
    no_effect("peer-cert-allowed-cn", Kind::Words, "", NO_PEER_TLS),
    no_effect("peer-cert-allowed-hostname", Kind::Words, "", NO_PEER_TLS),
    no_effect("peer-skip-client-san-verification", Kind::Bool, "false", NO_PEER_TLS),
    no_effect("peer-auto-tls", Kind::Bool, "false", NO_PEER_TLS),
    no_effect("peer-crl-file", Kind::Text, "", NO_PEER_TLS),
    no_effect("self-signed-cert-validity", Kind::Uint, "1", "no certificates are made: there is no TLS yet"),
    no_effect("cipher-suites", Kind::Words, "", "there is no TLS yet"),
    no_effect("tls-min-version", Kind::Text, "TLS1.2", "there is no TLS yet"),
    no_effect("tls-max-version", Kind::Text, "", "there is no TLS yet"),
    no_effect("auth-token", Kind::Text, "simple", "authentication is off and cannot be enabled yet"),
    no_effect("bcrypt-cost", Kind::Uint, "10", "authentication is off and cannot be enabled yet"),
    no_effect("auth-token-ttl", Kind::Uint, "300", "authentication is off and cannot be enabled yet"),
    not_yet("enable-distributed-tracing", Kind::Bool, "false"),
    no_effect(
        "distributed-tracing-address",
        Kind::Text,
        "localhost:4317",
        "only --enable-distributed-tracing would use it",
    ),
    no_effect(
        "distributed-tracing-service-name",
        Kind::Text,
        "etcd",
        "only --enable-distributed-tracing would use it",
    ),
    no_effect(
        "distributed-tracing-instance-id",
        Kind::Text,
        "",
        "only --enable-distributed-tracing would use it",
    ),
    no_effect(
        "distributed-tracing-sampling-rate",
        Kind::Int,
        "0",
        "only --enable-distributed-tracing would use it",
    ),
    works(
        "corrupt-check-time",
        Kind::Duration,
        "0",
        "Time between two comparisons of all data; 0 means never.",
    ),
    works("compact-hash-check-time", Kind::Duration, "1m", "Time between two comparisons of compacted data."),
    works(
        "downgrade-check-time",
        Kind::Duration,
        "5s",
        "Time between two looks whether a downgrade is complete; 0 means never.",
    ),
    works("max-learners", Kind::Int, "1", "Learners that the cluster may have."),
    works(
        "force-new-cluster",
        Kind::Bool,
        "false",
        "UNSAFE: leave all other members behind and go on alone with the data; see docs/cluster.md.",
    ),
    ignored("cluster-active-size"),
    ignored("cluster-remove-delay"),
    ignored("cluster-sync-interval"),
    ignored("config"),
    ignored("force"),
    ignored("max-result-buffer"),
    ignored("max-retry-attempts"),
    ignored("peer-heartbeat-interval"),
    ignored("peer-election-timeout"),
    ignored("retry-interval"),
    ignored("snapshot"),
    ignored("v"),
    ignored("vv"),
    ignored("test.coverprofile"),
    ignored("test.outputdir"),
];

const fn works(name: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Flag {
    Flag { name, kind, default, support: Support::Works(help) }
}

const fn no_effect(name: &'static str, kind: Kind, default: &'static str, why: &'static str) -> Flag {
    Flag { name, kind, default, support: Support::NoEffect(why) }
}

const fn not_yet(name: &'static str, kind: Kind, default: &'static str) -> Flag {
    Flag { name, kind, default, support: Support::NotYet }
}

const fn not_yet_for_new(name: &'static str, kind: Kind, default: &'static str) -> Flag {
    Flag { name, kind, default, support: Support::NotYetForNew }
}

const fn ignored(name: &'static str) -> Flag {
    Flag { name, kind: Kind::Ignored, default: "", support: Support::Ignored }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<_> = FLAGS.iter().map(|flag| flag.name).collect();
        assert_eq!(names.len(), FLAGS.len());
    }

    #[test]
    fn defaults_are_well_formed() {
        for flag in FLAGS {
            assert!(flag.kind.parse(flag.default).is_ok(), "{}", flag.name);
        }
    }

    #[test]
    fn every_flag_stands_in_the_documentation() {
        let page = include_str!("../../../../docs/flags.md");
        for flag in FLAGS {
            assert!(page.contains(&format!("`--{}`", flag.name)), "docs/flags.md lacks --{}", flag.name);
        }
    }
}
