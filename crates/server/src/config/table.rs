//! All flags of etcd 3.7, with what this version supports of them.
//!
//! A flag without a help text is known, so that scripts which spell out a default keep working, and refused with
//! any other value. `snapshot` and its like have had no meaning for years and are accepted whatever they say.

use super::value::Kind;
use crate::flags::Flag;

/// The flags of `etcd`; supported ones first, in the order of the help text.
pub(crate) static FLAGS: &[Flag] = &[
    supported("name", Kind::Text, "default", "Name of this member, unique in its cluster."),
    supported("data-dir", Kind::Text, "", "Directory of the data; ${name}.etcd if empty."),
    supported(
        "snapshot-count",
        Kind::Uint,
        "10000",
        "Entries applied between two checkpoints; 0 means the default.",
    ),
    supported("heartbeat-interval", Kind::Uint, "100", "Milliseconds between two heartbeats of a leader."),
    supported(
        "election-timeout",
        Kind::Uint,
        "1000",
        "Milliseconds without a heartbeat after which a member stands for election.",
    ),
    supported(
        "listen-peer-urls",
        Kind::Urls,
        "http://localhost:2380",
        "URLs on which to listen for other members.",
    ),
    supported(
        "listen-client-urls",
        Kind::Urls,
        "http://localhost:2379",
        "URLs on which to listen for clients.",
    ),
    supported(
        "quota-backend-bytes",
        Kind::Int,
        "0",
        "Bytes of data at which writes are refused; 0 means 2 GiB, negative means no limit.",
    ),
    supported("max-txn-ops", Kind::Uint, "128", "Operations that a transaction may hold."),
    supported("max-request-bytes", Kind::Uint, "1572864", "Length of the longest request in bytes."),
    supported(
        "max-concurrent-streams",
        Kind::Uint32,
        "4294967295",
        "Calls that a connection may have open at once.",
    ),
    supported(
        "initial-advertise-peer-urls",
        Kind::Urls,
        "http://localhost:2380",
        "URLs by which other members reach this one.",
    ),
    supported(
        "advertise-client-urls",
        Kind::Urls,
        "http://localhost:2379",
        "URLs by which clients reach this member.",
    ),
    supported(
        "initial-cluster",
        Kind::Text,
        "default=http://localhost:2380",
        "All first members: name=URL,name=URL,...",
    ),
    supported(
        "initial-cluster-state",
        Kind::OneOf(&["new", "existing"]),
        "new",
        "Whether the cluster is \"new\" or \"existing\"; this version can only start new ones.",
    ),
    supported(
        "initial-cluster-token",
        Kind::Text,
        "etcd-cluster",
        "Keeps clusters apart that have the same URLs.",
    ),
    supported(
        "log-level",
        Kind::Text,
        "info",
        "Least severe level to log: debug, info, warn, error, panic or fatal.",
    ),
    supported("version", Kind::Bool, "false", "Print the version and exit."),
    known("wal-dir", Kind::Text, ""),
    known("snapshot-catchup-entries", Kind::Uint, "5000"),
    known("initial-election-tick-advance", Kind::Bool, "true"),
    known("listen-client-http-urls", Kind::Text, ""),
    known("max-snapshots", Kind::Uint, "5"),
    known("max-wals", Kind::Uint, "5"),
    known("memory-mlock", Kind::Bool, "false"),
    known("backend-bbolt-freelist-type", Kind::Text, ""),
    known("backend-batch-interval", Kind::Duration, "0"),
    known("backend-batch-limit", Kind::Int, "0"),
    known("grpc-keepalive-min-time", Kind::Duration, "5s"),
    known("grpc-keepalive-interval", Kind::Duration, "2h"),
    known("grpc-keepalive-timeout", Kind::Duration, "20s"),
    known("socket-reuse-port", Kind::Bool, "false"),
    known("socket-reuse-address", Kind::Bool, "false"),
    known("enable-grpc-gateway", Kind::Bool, "true"),
    known("raft-read-timeout", Kind::Duration, "5s"),
    known("raft-write-timeout", Kind::Duration, "5s"),
    known("feature-gates", Kind::Text, ""),
    known("strict-reconfig-check", Kind::Bool, "true"),
    known("pre-vote", Kind::Bool, "true"),
    known("discovery-srv", Kind::Text, ""),
    known("discovery-srv-name", Kind::Text, ""),
    known("discovery-token", Kind::Text, ""),
    known("discovery-endpoints", Kind::Text, ""),
    known("discovery-dial-timeout", Kind::Duration, "2s"),
    known("discovery-request-timeout", Kind::Duration, "5s"),
    known("discovery-keepalive-time", Kind::Duration, "2s"),
    known("discovery-keepalive-timeout", Kind::Duration, "6s"),
    known("discovery-insecure-transport", Kind::Bool, "true"),
    known("discovery-insecure-skip-tls-verify", Kind::Bool, "false"),
    known("discovery-cert", Kind::Text, ""),
    known("discovery-key", Kind::Text, ""),
    known("discovery-cacert", Kind::Text, ""),
    known("discovery-user", Kind::Text, ""),
    known("discovery-password", Kind::Text, ""),
    known("discovery-fallback", Kind::Text, "exit"),
    known("v2-deprecation", Kind::Text, ""),
    known("cert-file", Kind::Text, ""),
    known("key-file", Kind::Text, ""),
    known("client-cert-file", Kind::Text, ""),
    known("client-key-file", Kind::Text, ""),
    known("client-cert-auth", Kind::Bool, "false"),
    known("client-crl-file", Kind::Text, ""),
    known("client-cert-allowed-hostname", Kind::Text, ""),
    known("trusted-ca-file", Kind::Text, ""),
    known("auto-tls", Kind::Bool, "false"),
    known("peer-cert-file", Kind::Text, ""),
    known("peer-key-file", Kind::Text, ""),
    known("peer-client-cert-file", Kind::Text, ""),
    known("peer-client-key-file", Kind::Text, ""),
    known("peer-client-cert-auth", Kind::Bool, "false"),
    known("peer-trusted-ca-file", Kind::Text, ""),
    known("peer-cert-allowed-cn", Kind::Text, ""),
    known("peer-cert-allowed-hostname", Kind::Text, ""),
    known("peer-skip-client-san-verification", Kind::Bool, "false"),
    known("peer-auto-tls", Kind::Bool, "false"),
    known("peer-crl-file", Kind::Text, ""),
    known("self-signed-cert-validity", Kind::Uint, "1"),
    known("cipher-suites", Kind::Text, ""),
    known("tls-min-version", Kind::Text, "TLS1.2"),
    known("tls-max-version", Kind::Text, ""),
    known("cors", Kind::Text, "*"),
    known("host-whitelist", Kind::Text, "*"),
    known("auth-token", Kind::Text, "simple"),
    known("bcrypt-cost", Kind::Uint, "10"),
    known("auth-token-ttl", Kind::Uint, "300"),
    known("enable-pprof", Kind::Bool, "false"),
    known("metrics", Kind::Text, "basic"),
    known("listen-metrics-urls", Kind::Text, ""),
    known("logger", Kind::Text, "zap"),
    known("log-outputs", Kind::Text, "default"),
    known("log-format", Kind::Text, "json"),
    known("enable-log-rotation", Kind::Bool, "false"),
    known(
        "log-rotation-config-json",
        Kind::Text,
        "{\"maxsize\": 100, \"maxage\": 0, \"maxbackups\": 0, \"localtime\": false, \"compress\": false}",
    ),
    known("warning-unary-request-duration", Kind::Duration, "300ms"),
    known("enable-distributed-tracing", Kind::Bool, "false"),
    known("distributed-tracing-address", Kind::Text, "localhost:4317"),
    known("distributed-tracing-service-name", Kind::Text, "etcd"),
    known("distributed-tracing-instance-id", Kind::Text, ""),
    known("distributed-tracing-sampling-rate", Kind::Int, "0"),
    known("auto-compaction-mode", Kind::Text, "periodic"),
    known("auto-compaction-retention", Kind::Text, "0"),
    known("corrupt-check-time", Kind::Duration, "0"),
    known("compact-hash-check-time", Kind::Duration, "1m"),
    known("compaction-batch-limit", Kind::Int, "0"),
    known("compaction-sleep-interval", Kind::Duration, "0"),
    known("watch-progress-notify-interval", Kind::Duration, "0"),
    known("warning-apply-duration", Kind::Duration, "100ms"),
    known("downgrade-check-time", Kind::Duration, "5s"),
    known("bootstrap-defrag-threshold-megabytes", Kind::Uint, "0"),
    known("max-learners", Kind::Int, "1"),
    known("force-new-cluster", Kind::Bool, "false"),
    known("unsafe-no-fsync", Kind::Bool, "false"),
    known("config-file", Kind::Text, ""),
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

const fn supported(name: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Flag {
    Flag { name, kind, default, help: Some(help) }
}

const fn known(name: &'static str, kind: Kind, default: &'static str) -> Flag {
    Flag { name, kind, default, help: None }
}

const fn ignored(name: &'static str) -> Flag {
    Flag { name, kind: Kind::Ignored, default: "", help: None }
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
}
