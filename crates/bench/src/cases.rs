//! The rows of a comparison: each a workload with a few numbers changed.

use std::time::Duration;

use crate::compare::Comparison;
use crate::error::Error;
use crate::settings::{KeyOrder, Role, Settings, Workload};
use crate::table::Row;

/// One row: its name, and what it changes in the defaults of its workload.
pub(crate) struct Case {
    /// The name, as `--only` takes it.
    pub(crate) name: &'static str,
    /// What it does, in a few words.
    pub(crate) title: &'static str,
    workload: Workload,
    change: fn(&mut Settings),
    /// Operations a second and connections, of a case at a fixed rate.
    pace: Option<(f64, usize)>,
}

/// Calls that may be under way at a fixed rate, at least: more than ever are while the server keeps up.
const CALLS_MAX: usize = 64;

const CASES: &[Case] = &[
    case("put", "put, 256 B, saturated", Workload::Put, |_| {}),
    case("put-1k", "put, 1 KiB, saturated", Workload::Put, |s| s.value_bytes = 1024),
    case("put-4k", "put, 4 KiB, saturated", Workload::Put, |s| s.value_bytes = 4096),
    case("put-sequential", "put, keys in order", Workload::Put, |s| s.key_order = KeyOrder::Sequential),
    case("put-one-key", "put, all to one key", Workload::Put, |s| s.key_order = KeyOrder::One),
    case("put-one-client", "put, one client", Workload::Put, one_client),
    case("txn-put", "one put in a transaction", Workload::TxnPut, |_| {}),
    case("txn-update", "create, or update if unchanged", Workload::TxnUpdate, |_| {}),
    case("get", "get, linearizable", Workload::Get, |_| {}),
    case("get-serializable", "get, serializable", Workload::Get, |s| s.serializable = true),
    case("get-one-client", "get, one client", Workload::Get, one_client),
    case("list-10k", "list of 10,000 keys", Workload::Range, |_| {}),
    case("page-of-100k", "page of 500 out of 100,000, with count", Workload::Range, |s| page_of(s, 100_000)),
    case("page-of-500k", "page of 500 out of 500,000, with count", Workload::Range, |s| page_of(s, 500_000)),
    case("count-100k", "count of 100,000 keys", Workload::Range, count_100k),
    case("mixed-90-10", "nine gets and one put", Workload::Mixed, |_| {}),
    case("mixed-50-50", "gets and puts in equal parts", Workload::Mixed, |s| s.read_percent = 50),
    case("kubernetes", "as Kubernetes does", Workload::Kubernetes, |_| {}),
    case("watch-one-key", "event to each of 1,000 watchers of one key", Workload::Watch, |_| {}),
    case("watch-prefixes", "event to the watcher of one of 1,000 prefixes", Workload::WatchPrefixes, |_| {}),
    case("lease-grant", "lease grant", Workload::LeaseGrant, |_| {}),
    case("lease-keepalive", "lease keepalive, one stream for all", Workload::LeaseKeepalive, |_| {}),
    case("lease-keepalive-once", "lease keepalive, a stream each", Workload::LeaseKeepaliveOnce, |_| {}),
    at_rate("put-at-100", "put, 100/s, 1 connection", Workload::Put, 100.0, 1),
    at_rate("put-at-100-over-100", "put, 100/s, 100 connections", Workload::Put, 100.0, 100),
    at_rate("put-at-1000", "put, 1,000/s, 1 connection", Workload::Put, 1000.0, 1),
    at_rate("put-at-1000-over-100", "put, 1,000/s, 100 connections", Workload::Put, 1000.0, 100),
    at_rate("put-at-5000", "put, 5,000/s, 1 connection", Workload::Put, 5000.0, 1),
    at_rate("put-at-5000-over-100", "put, 5,000/s, 100 connections", Workload::Put, 5000.0, 100),
    at_rate("get-at-100", "get, 100/s, 1 connection", Workload::Get, 100.0, 1),
    at_rate("get-at-100-over-100", "get, 100/s, 100 connections", Workload::Get, 100.0, 100),
    at_rate("get-at-1000", "get, 1,000/s, 1 connection", Workload::Get, 1000.0, 1),
    at_rate("get-at-1000-over-100", "get, 1,000/s, 100 connections", Workload::Get, 1000.0, 100),
    at_rate("get-at-5000", "get, 5,000/s, 1 connection", Workload::Get, 5000.0, 1),
    at_rate("get-at-5000-over-100", "get, 5,000/s, 100 connections", Workload::Get, 5000.0, 100),
    at_rate("kubernetes-at-100", "as Kubernetes does, 100/s, 1 connection", Workload::Kubernetes, 100.0, 1),
    at_rate(
        "kubernetes-at-100-over-100",
        "as Kubernetes does, 100/s, 100 connections",
        Workload::Kubernetes,
        100.0,
        100,
    ),
    at_rate(
        "kubernetes-at-1000",
        "as Kubernetes does, 1,000/s, 1 connection",
        Workload::Kubernetes,
        1000.0,
        1,
    ),
    at_rate(
        "kubernetes-at-1000-over-100",
        "as Kubernetes does, 1,000/s, 100 connections",
        Workload::Kubernetes,
        1000.0,
        100,
    ),
    at_rate(
        "kubernetes-at-5000",
        "as Kubernetes does, 5,000/s, 1 connection",
        Workload::Kubernetes,
        5000.0,
        1,
    ),
    at_rate(
        "kubernetes-at-5000-over-100",
        "as Kubernetes does, 5,000/s, 100 connections",
        Workload::Kubernetes,
        5000.0,
        100,
    ),
    at_rate("bare-sync-at-100", "a bare write and sync, 100/s", Workload::BareSync, 100.0, 1),
    at_rate("bare-sync-at-1000", "a bare write and sync, 1,000/s", Workload::BareSync, 1000.0, 1),
    at_rate("bare-sync-at-5000", "a bare write and sync, 5,000/s", Workload::BareSync, 5000.0, 1),
    at_rate("bare-echo-at-100", "a bare echo, 100/s", Workload::BareEcho, 100.0, 1),
    at_rate("bare-echo-at-1000", "a bare echo, 1,000/s", Workload::BareEcho, 1000.0, 1),
    at_rate("bare-echo-at-5000", "a bare echo, 5,000/s", Workload::BareEcho, 5000.0, 1),
    case("idle-server", "a server that nobody calls", Workload::IdleServer, five_seconds),
    case("watch-catch-up", "four watchers of a million past events", Workload::WatchCatchUp, |_| {}),
    case("lease-expiry", "a million leases run out", Workload::LeaseExpiry, |_| {}),
    case("compaction", "compaction of a million revisions", Workload::Compaction, five_seconds),
    case("keys", "puts and gets as keys grow", Workload::Keys, |_| {}),
    case("overwrite", "a third overwritten and compacted, five times", Workload::Overwrite, |_| {}),
    case("idle-connections", "idle connections", Workload::IdleConnections, |_| {}),
    case("idle-watchers", "idle watchers", Workload::IdleWatchers, |_| {}),
    case("cluster-put", "three members: put, 256 B, saturated", Workload::Put, |s| s.members = 3),
    case("cluster-put-one-client", "three members: put, one client", Workload::Put, |s| {
        s.members = 3;
        one_client(s);
    }),
    case("cluster-get", "three members: get, linearizable, at the leader", Workload::Get, |s| s.members = 3),
    case("cluster-get-follower", "three members: get, linearizable, at a follower", Workload::Get, |s| {
        s.members = 3;
        s.called = Role::Follower;
    }),
    case("cluster-put-five", "five members: put, 256 B, saturated", Workload::Put, |s| s.members = 5),
    case("cluster-idle", "three members that nobody calls", Workload::IdleServer, idle_cluster),
    case("cluster-failover", "three members: the leader goes", Workload::ClusterFailover, |_| {}),
    case("restart", "a million keys of 1 KiB, kill -9", Workload::Restart, |_| {}),
];

const fn case(
    name: &'static str,
    title: &'static str,
    workload: Workload,
    change: fn(&mut Settings),
) -> Case {
    Case { name, title, workload, change, pace: None }
}

/// A case whose operations are meant to start at fixed times, `rate` a second over so many connections.
const fn at_rate(
    name: &'static str,
    title: &'static str,
    workload: Workload,
    rate: f64,
    connections: usize,
) -> Case {
    Case { name, title, workload, change: |_| {}, pace: Some((rate, connections)) }
}

fn one_client(settings: &mut Settings) {
    (settings.connections, settings.streams) = (1, 1);
}

fn page_of(settings: &mut Settings, keys: u64) {
    (settings.keys, settings.limit) = (keys, 500);
}

fn count_100k(settings: &mut Settings) {
    (settings.keys, settings.count_only) = (100_000, true);
}

/// So that an idle server is seen for long enough, too.
fn five_seconds(settings: &mut Settings) {
    settings.duration = settings.duration.max(Duration::from_secs(5));
}

/// The members of a new cluster agree on its version a few seconds after their start.
fn idle_cluster(settings: &mut Settings) {
    settings.members = 3;
    settings.warmup = settings.warmup.max(Duration::from_secs(8));
    five_seconds(settings);
}

impl Case {
    /// The settings of a run; those of an experiment have the sizes that `comparison` wants.
    pub(crate) fn settings(&self, comparison: &Comparison) -> Settings {
        let &Comparison { warmup, duration, shrink, keys_max, .. } = comparison;
        let mut settings = Settings { warmup, duration, ..Settings::of(self.workload) };
        (self.change)(&mut settings);
        if let Some((rate, connections)) = self.pace {
            settings.rate = Some(rate);
            settings.connections = connections;
            settings.streams = CALLS_MAX.div_ceil(connections);
        }
        if self.workload == Workload::Keys {
            settings.keys = keys_max;
        }
        settings.kills = comparison.kills;
        if !self.is_steady() && !self.is_bare() {
            settings.revisions /= shrink;
            settings.leases /= shrink;
            settings.keys /= shrink;
            settings.kills = settings.kills.div_ceil(usize::try_from(shrink).unwrap_or(usize::MAX));
        }
        settings
    }

    /// The row of its results, empty.
    pub(crate) fn row(&self) -> Row {
        Row { is_at_fixed_rate: self.pace.is_some(), ..Row::new(self.name, self.title) }
    }

    /// Whether it measures the system without any etcd.
    pub(crate) fn is_bare(&self) -> bool {
        self.workload.is_bare()
    }

    /// Whether it repeats an operation for a measured time.
    pub(crate) fn is_steady(&self) -> bool {
        self.workload.is_steady()
    }
}

/// The names of all cases, as `--only` takes them.
pub(crate) fn names() -> String {
    let names: Vec<_> = CASES.iter().map(|case| case.name).collect();
    names.join(",")
}

/// The cases with these names, in the order of the table; all if there are none.
pub(crate) fn chosen(only: &[String]) -> Result<Vec<&'static Case>, Error> {
    if let Some(unknown) = only.iter().find(|name| CASES.iter().all(|case| case.name != *name)) {
        return Err(Error::Usage(format!("unknown case `{unknown}`; there are {}", names())));
    }
    let wanted = |case: &&Case| only.is_empty() || only.iter().any(|name| name == case.name);
    Ok(CASES.iter().filter(wanted).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_case_has_a_name_of_its_own_and_consistent_settings() {
        for (idx, case) in CASES.iter().enumerate() {
            assert!(CASES[..idx].iter().all(|other| other.name != case.name), "{}", case.name);
            case.settings(&Comparison::default()).check().unwrap();
        }
    }

    #[test]
    fn every_workload_has_a_case() {
        for (workload, name, _) in Workload::ALL {
            assert!(CASES.iter().any(|case| case.workload == workload), "{name}");
        }
    }

    #[test]
    fn an_unknown_case_is_refused_with_the_known_ones() {
        let Err(error) = chosen(&["put".to_owned(), "delete".to_owned()]) else { panic!("no such case") };
        assert!(error.to_string().contains("unknown case `delete`; there are put,put-1k"), "{error}");
    }

    #[test]
    fn a_case_at_a_fixed_rate_says_so_in_its_name() {
        for case in CASES.iter().filter(|case| case.pace.is_some()) {
            let settings = case.settings(&Comparison::default());
            let rate = settings.rate.unwrap();
            assert!(
                case.row().is_at_fixed_rate && case.name.contains(&format!("-at-{rate}")),
                "{}",
                case.name
            );
            assert_eq!(case.name.ends_with("-over-100"), settings.connections == 100, "{}", case.name);
            assert!(settings.connections * settings.streams >= CALLS_MAX, "{}", case.name);
        }
    }

    #[test]
    fn a_case_of_a_cluster_says_so_in_its_name() {
        for case in CASES {
            let settings = case.settings(&Comparison::default());
            assert_eq!(case.name.starts_with("cluster-"), settings.members > 1, "{}", case.name);
            let members = if case.name.ends_with("-five") { 5 } else { 3 };
            assert!([1, members].contains(&settings.members), "{}", case.name);
            let is_follower = settings.called == Role::Follower;
            assert_eq!(case.name.ends_with("-follower"), is_follower, "{}", case.name);
        }
    }

    #[test]
    fn leaders_go_as_often_as_was_asked_for() {
        let kills = |kills, shrink| {
            let case = chosen(&["cluster-failover".to_owned()]).unwrap()[0];
            case.settings(&Comparison { shrink, kills, ..Comparison::default() }).kills
        };
        assert_eq!([kills(100, 1), kills(100, 10), kills(3, 10)], [100, 10, 1]);
    }

    #[test]
    fn only_experiments_shrink() {
        let keys = |name: &str, shrink| {
            let case = chosen(&[name.to_owned()]).unwrap()[0];
            case.settings(&Comparison { shrink, ..Comparison::default() }).keys
        };
        assert_eq!((keys("restart", 10), keys("get", 10)), (100_000, 100_000));
    }
}
