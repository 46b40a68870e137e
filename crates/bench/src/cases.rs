//! The rows of a comparison: each a workload with a few numbers changed.

use std::time::Duration;

use crate::compare::Comparison;
use crate::error::Error;
use crate::settings::{KeyOrder, Settings, Workload};

/// One row: its name, and what it changes in the defaults of its workload.
pub(crate) struct Case {
    /// The name, as `--only` takes it.
    pub(crate) name: &'static str,
    workload: Workload,
    change: fn(&mut Settings),
}

const CASES: &[Case] = &[
    case("put", Workload::Put, |_| {}),
    case("put-1k", Workload::Put, |s| s.value_bytes = 1024),
    case("put-4k", Workload::Put, |s| s.value_bytes = 4096),
    case("put-sequential", Workload::Put, |s| s.key_order = KeyOrder::Sequential),
    case("put-one-key", Workload::Put, |s| s.key_order = KeyOrder::One),
    case("put-one-client", Workload::Put, one_client),
    case("put-2000-a-second", Workload::Put, |s| s.rate = Some(2000.0)),
    case("txn-put", Workload::TxnPut, |_| {}),
    case("txn-update", Workload::TxnUpdate, |_| {}),
    case("get", Workload::Get, |_| {}),
    case("get-serializable", Workload::Get, |s| s.serializable = true),
    case("get-one-client", Workload::Get, one_client),
    case("list-10k", Workload::Range, |_| {}),
    case("page-of-100k", Workload::Range, |s| (s.keys, s.limit) = (100_000, 500)),
    case("page-of-500k", Workload::Range, |s| (s.keys, s.limit) = (500_000, 500)),
    case("count-100k", Workload::Range, |s| (s.keys, s.count_only) = (100_000, true)),
    case("mixed-90-10", Workload::Mixed, |_| {}),
    case("mixed-50-50", Workload::Mixed, |s| s.read_percent = 50),
    case("kubernetes", Workload::Kubernetes, |_| {}),
    case("watch-one-key", Workload::Watch, |_| {}),
    case("watch-prefixes", Workload::WatchPrefixes, |_| {}),
    case("lease-grant", Workload::LeaseGrant, |_| {}),
    case("lease-keepalive", Workload::LeaseKeepalive, |_| {}),
    case("lease-keepalive-once", Workload::LeaseKeepaliveOnce, |_| {}),
    case("watch-catch-up", Workload::WatchCatchUp, |_| {}),
    case("lease-expiry", Workload::LeaseExpiry, |_| {}),
    case("compaction", Workload::Compaction, |s| s.duration = s.duration.max(Duration::from_secs(5))),
    case("keys", Workload::Keys, |_| {}),
    case("overwrite", Workload::Overwrite, |_| {}),
    case("idle-connections", Workload::IdleConnections, |_| {}),
    case("idle-watchers", Workload::IdleWatchers, |_| {}),
    case("restart", Workload::Restart, |_| {}),
];

const fn case(name: &'static str, workload: Workload, change: fn(&mut Settings)) -> Case {
    Case { name, workload, change }
}

fn one_client(settings: &mut Settings) {
    (settings.connections, settings.streams) = (1, 1);
}

impl Case {
    /// The settings of a run; those of an experiment have the sizes that `comparison` wants.
    pub(crate) fn settings(&self, comparison: &Comparison) -> Settings {
        let &Comparison { warmup, duration, shrink, keys_max, .. } = comparison;
        let mut settings = Settings { warmup, duration, ..Settings::of(self.workload) };
        (self.change)(&mut settings);
        if self.workload == Workload::Keys {
            settings.keys = keys_max;
        }
        if !self.is_steady() {
            settings.revisions /= shrink;
            settings.leases /= shrink;
            settings.keys /= shrink;
        }
        settings
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
    fn only_experiments_shrink() {
        let keys = |name: &str, shrink| {
            let case = chosen(&[name.to_owned()]).unwrap()[0];
            case.settings(&Comparison { shrink, ..Comparison::default() }).keys
        };
        assert_eq!((keys("restart", 10), keys("get", 10)), (100_000, 100_000));
    }
}
