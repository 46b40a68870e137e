//! The architecture, as rules about which crate may depend on which.

use std::collections::{BTreeSet, VecDeque};

use super::{Finding, Source};
use crate::metadata::{Metadata, Package};

/// The crates in the order the data flows: each may depend only on those before it.
const ORDER: [&str; 17] = [
    "bugs", "proto", "raft", "disk", "store", "node", "peer", "http2", "client", "server", "etcd", "etcdctl",
    "etcdutl", "sim", "bench", "fuzz", "xtask",
];

/// The deterministic core: no runtime, no sockets, few crates from outside.
pub(super) const CORE: [&str; 5] = ["raft", "disk", "store", "node", "sim"];

/// Crates that the core must not depend on, not even through other crates.
const ASYNC: [&str; 6] = ["tokio", "tonic", "hyper", "h2", "rustls", "async-std"];

/// Crates from outside that all core crates together may link directly.
const CORE_OUTSIDE_MAX: usize = 5;

pub(super) fn check(sources: &[Source], metadata: &Metadata) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (id, package) in metadata.members() {
        findings.extend(order(sources, metadata, package));
        if CORE.contains(&package.name.as_str()) {
            findings.extend(asynchrony(sources, metadata, id, package));
        }
    }
    findings.extend(outside_crates(metadata));
    findings
}

fn order(sources: &[Source], metadata: &Metadata, package: &Package) -> Vec<Finding> {
    let rank = |name: &str| ORDER.iter().position(|crate_name| *crate_name == name);
    let Some(own) = rank(&package.name) else {
        let advice = format!("give {} a place in ORDER of xtask/src/tidy/layering.rs", package.name);
        return vec![at(sources, package, "name", "layering", advice)];
    };
    let later = |name: &&String| metadata.is_member(name) && rank(name).is_some_and(|other| other >= own);
    let finding = |name: &String| {
        let advice = format!("{} comes before {name} and must not depend on it", package.name);
        at(sources, package, name, "layering", advice)
    };
    package.declared.iter().filter(later).map(finding).collect()
}

/// Finds the shortest path from a core crate to each forbidden one, so that the advice can name it.
fn asynchrony(sources: &[Source], metadata: &Metadata, id: &str, package: &Package) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut seen = BTreeSet::from([id]);
    let mut queue = VecDeque::from([(id, package.name.clone())]);
    while let Some((id, path)) = queue.pop_front() {
        let Some(current) = metadata.packages.get(id) else { continue };
        if ASYNC.contains(&current.name.as_str()) {
            let first = path.split(" → ").nth(1).unwrap_or_default();
            let advice = format!("the core must not link {}: {path}", current.name);
            findings.push(at(sources, package, first, "core-is-synchronous", advice));
            continue;
        }
        for next in &current.linked {
            if let Some(name) = metadata.packages.get(next).map(|p| &p.name)
                && seen.insert(next)
            {
                queue.push_back((next, format!("{path} → {name}")));
            }
        }
    }
    findings
}

fn outside_crates(metadata: &Metadata) -> Option<Finding> {
    let outside: BTreeSet<&str> = metadata
        .members()
        .filter(|(_, package)| CORE.contains(&package.name.as_str()))
        .flat_map(|(_, package)| &package.linked)
        .filter_map(|id| metadata.packages.get(id))
        .filter(|package| package.source.is_some())
        .map(|package| package.name.as_str())
        .collect();
    (outside.len() > CORE_OUTSIDE_MAX).then(|| {
        let list = outside.into_iter().collect::<Vec<_>>().join(", ");
        let advice =
            format!("the core links more than {CORE_OUTSIDE_MAX} outside crates, drop one of: {list}");
        Finding::new("Cargo.toml", 1, "core-dependencies", advice)
    })
}

/// A finding at the line of a crate's manifest that begins with `key`.
fn at(sources: &[Source], package: &Package, key: &str, rule: &'static str, advice: String) -> Finding {
    let paths = [format!("crates/{0}/Cargo.toml", package.name), format!("{0}/Cargo.toml", package.name)];
    let manifest = sources.iter().find(|source| paths.contains(&source.path));
    let line = manifest.and_then(|m| m.lines().find(|(_, line)| line.starts_with(key)));
    let path = manifest.map_or(&paths[0], |m| &m.path);
    Finding::new(path, line.map_or(1, |(number, _)| number), rule, advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Crates by name, with what they declare and link; those not in `ORDER` come from outside unless
    /// their name begins with "new".
    fn workspace(packages: &[(&str, &[&str])]) -> Metadata {
        let package = |name: &str, uses: &[&str]| Package {
            name: name.to_owned(),
            source: (!ORDER.contains(&name) && !name.starts_with("new")).then(|| "registry".to_owned()),
            declared: uses.iter().map(|&s| s.to_owned()).collect(),
            linked: uses.iter().map(|&s| s.to_owned()).collect(),
            ..Package::default()
        };
        let packages =
            packages.iter().map(|(name, uses)| ((*name).to_owned(), package(name, uses))).collect();
        Metadata { packages }
    }

    fn lines(metadata: &Metadata) -> Vec<String> {
        let manifest =
            Source::new("crates/disk/Cargo.toml", "[package]\n\n[dependencies]\nnode.workspace = true\n");
        check(&[manifest], metadata).iter().map(Finding::to_string).collect()
    }

    #[test]
    fn a_crate_may_depend_on_earlier_ones() {
        let metadata = workspace(&[("proto", &[]), ("raft", &["proto"]), ("sim", &["raft", "proto"])]);
        assert_eq!(lines(&metadata), [""; 0]);
    }

    #[test]
    fn a_crate_must_not_depend_on_later_ones() {
        let metadata = workspace(&[("disk", &["node"]), ("node", &[])]);
        let expected = "crates/disk/Cargo.toml:4: layering: disk comes before node and must not depend on it";
        assert_eq!(lines(&metadata), [expected]);
    }

    #[test]
    fn a_new_crate_needs_a_place_in_the_order() {
        let metadata = workspace(&[("newcomer", &[])]);
        assert!(lines(&metadata)[0].contains("give newcomer a place"));
    }

    #[test]
    fn the_core_must_not_reach_a_runtime_through_others() {
        let metadata = workspace(&[("disk", &["files"]), ("files", &["tokio"]), ("tokio", &[])]);
        let expected = "crates/disk/Cargo.toml:1: core-is-synchronous: the core must not link tokio: disk → files → tokio";
        assert_eq!(lines(&metadata), [expected]);
    }

    #[test]
    fn the_shell_may_use_a_runtime() {
        assert_eq!(lines(&workspace(&[("server", &["tokio"]), ("tokio", &[])])), [""; 0]);
    }

    #[test]
    fn the_core_links_five_outside_crates_at_most() {
        let outside: [(&str, &[&str]); 6] =
            [("a", &[]), ("b", &[]), ("c", &[]), ("d", &[]), ("e", &[]), ("f", &[])];
        let with = |disk: &'static [&'static str]| {
            let mut packages = outside.to_vec();
            packages.extend([("disk", disk), ("raft", &["a", "b"])]);
            workspace(&packages)
        };
        assert_eq!(lines(&with(&["b", "c", "d", "e"])), [""; 0]);
        let findings = lines(&with(&["c", "d", "e", "f"]));
        assert_eq!(findings.len(), 1);
        assert!(findings[0].ends_with("drop one of: a, b, c, d, e, f"), "{findings:?}");
    }
}
