//! Whether this version may join a cluster, by the versions that its members tell.

use crate::config::ETCD_VERSION;

/// The major version of all clusters that a member joins.
const MAJOR: u64 = 3;

/// Checks that a member tells a version of the cluster that fits this one, and that none tells one that does not.
/// While the cluster is downgraded, only members of the version before may join.
pub(crate) fn check_versions(told: &[(u64, String)], is_downgrading: bool) -> Result<(), String> {
    let own = minor_of(ETCD_VERSION).expect("the version has three parts");
    let (min, max) = if is_downgrading { (own + 1, own + 1) } else { (0, own) };
    let refused = |reason: &str| Err(format!("incompatible with current running cluster: {reason}"));
    let mut is_known = false;
    for (id, version) in told {
        // One that has not decided yet tells no version.
        let Some(minor) = minor_of(version) else { continue };
        if !(min..=max).contains(&minor) {
            return refused(&format!(
                "member {id:x} says that the cluster is of version {version}, and this member of version {ETCD_VERSION} \
                 joins clusters from {MAJOR}.{min} to {MAJOR}.{max} only: start the same version as the others"
            ));
        }
        is_known = true;
    }
    if is_known {
        return Ok(());
    }
    refused("no member that answers knows the version of the cluster: wait until the cluster has a leader")
}

/// The minor version; `None` if the text is no version. A major version other than etcd's is above all others.
fn minor_of(version: &str) -> Option<u64> {
    let mut parts = version.split('.');
    let major: u64 = parts.next()?.parse().ok()?;
    let minor: u64 = parts.next()?.parse().ok()?;
    let _patch: u64 = parts.next()?.split(['-', '+']).next()?.parse().ok()?;
    Some(if major == MAJOR { minor } else { u64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(versions: &[&str], is_downgrading: bool) -> Result<(), String> {
        let told: Vec<_> =
            versions.iter().zip(1..).map(|(version, id)| (id, (*version).to_owned())).collect();
        check_versions(&told, is_downgrading)
    }

    #[test]
    fn a_cluster_of_this_version_or_before_is_joined() {
        for versions in [&["3.7.0"][..], &["3.0.0"], &["3.4.0", "not_decided"], &["not_decided", "3.7.0"]] {
            assert_eq!(check(versions, false), Ok(()), "{versions:?}");
        }
    }

    #[test]
    fn a_cluster_that_is_newer_or_does_not_know_is_not_joined() {
        for versions in [&["3.8.0"][..], &["3.7.0", "3.8.0"], &["4.0.0"], &["not_decided"], &[]] {
            let error = check(versions, false).unwrap_err();
            assert!(error.starts_with("incompatible with current running cluster"), "{error}");
        }
        assert!(
            check(&["3.8.0"], false)
                .unwrap_err()
                .contains("member 1 says that the cluster is of version 3.8.0")
        );
    }

    #[test]
    fn a_cluster_that_is_downgraded_is_joined_by_the_version_before() {
        assert!(check(&["3.8.0"], true).is_ok(), "it is on its way to 3.7");
        assert!(check(&["3.7.0"], true).is_err(), "it is on its way to 3.6");
    }
}
