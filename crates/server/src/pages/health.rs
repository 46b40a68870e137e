//! Whether a member can serve: `/health` for people and load balancers, `/livez` and `/readyz` for Kubernetes.

use std::borrow::Cow;

use http::{StatusCode, header};
use serde_json::json;
use tracing::{error, warn};

use super::Pages;
use crate::http::{Answer, decoded};

/// One question about the member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Check {
    DataCorruption,
    SerializableRead,
    LinearizableRead,
    NonLearner,
}

impl Check {
    fn name(self) -> &'static str {
        match self {
            Check::DataCorruption => "data_corruption",
            Check::SerializableRead => "serializable_read",
            Check::LinearizableRead => "linearizable_read",
            Check::NonLearner => "non_learner",
        }
    }
}

/// A path and the checks it stands for.
#[derive(Debug)]
pub(super) struct Endpoint<'a> {
    path: &'a str,
    /// `livez` or `readyz`.
    kind: &'static str,
    checks: Vec<Check>,
    /// Whether it stands for all checks, so that some may be left out.
    is_root: bool,
}

/// What `path` stands for, if it is about health.
pub(super) fn checks_of(path: &str) -> Option<Endpoint<'_>> {
    let (kind, all): (_, &[Check]) = match path.split('/').nth(1)? {
        "livez" => ("livez", &[Check::SerializableRead]),
        "readyz" => (
            "readyz",
            &[Check::DataCorruption, Check::SerializableRead, Check::LinearizableRead, Check::NonLearner],
        ),
        _ => return None,
    };
    let name = path[1 + kind.len()..].strip_prefix('/');
    let checks: Vec<_> =
        all.iter().copied().filter(|check| name.is_none_or(|name| name == check.name())).collect();
    (!checks.is_empty()).then_some(Endpoint { path, kind, checks, is_root: name.is_none() })
}

impl Pages {
    /// Healthy is who has no alarm, knows a leader and can serve a linearizable read; `serializable=true` asks
    /// for less, `exclude=` names an alarm that is of no interest.
    pub(super) async fn health(&self, query: &str) -> Answer {
        let is_serializable = values(query, "serializable").next().as_deref() == Some("true");
        let excluded: Vec<_> = values(query, "exclude").collect();
        let Some(reason) = self.unhealthy_reason(is_serializable, &excluded).await else {
            self.metrics.health_success.inc();
            return Answer::text(StatusCode::OK, r#"{"health":"true","reason":""}"#);
        };
        self.metrics.health_failures.inc();
        let output = format!(r#"{{"health":"false","reason":{}}}"#, json!(reason));
        warn!(output, "status-code" = 503, "/health error");
        Answer::error(StatusCode::SERVICE_UNAVAILABLE, format!("{output}\n"))
    }

    async fn unhealthy_reason(&self, is_serializable: bool, excluded: &[Cow<'_, str>]) -> Option<String> {
        let mut alarms = self.api.alarm_names().into_iter();
        if let Some(alarm) = alarms.find(|alarm| !excluded.iter().any(|name| name == alarm)) {
            return Some(format!("ALARM {alarm}"));
        }
        if !is_serializable && !self.api.has_leader() {
            return Some("RAFT NO LEADER".to_owned());
        }
        let read = self.api.probe(is_serializable).await;
        read.err().map(|error| format!("RANGE ERROR:{}", error.text()))
    }

    /// Runs the checks of an endpoint. Their results are listed if one fails or the query says `verbose`.
    pub(super) async fn check(&self, endpoint: &Endpoint<'_>, query: &str) -> Answer {
        let mut excluded: Vec<Cow<'_, str>> = match endpoint.is_root {
            true => values(query, "exclude").collect(),
            false => Vec::new(),
        };
        let (mut report, mut is_ok) = (String::new(), true);
        for check in &endpoint.checks {
            let n_excluded = excluded.len();
            excluded.retain(|name| *name != check.name());
            if excluded.len() < n_excluded {
                continue;
            }
            let failure = self.failure(*check).await;
            is_ok &= failure.is_none();
            self.metrics.count_check(endpoint.kind, check.name(), failure.is_none());
            report += &match failure {
                None => format!("[+]{} ok\n", check.name()),
                Some(reason) => format!("[-]{} failed: {reason}\n", check.name()),
            };
        }
        if !excluded.is_empty() {
            let names = excluded.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(",");
            warn!("missing-health-checks" = names, "some health checks cannot be excluded");
        }
        if !is_ok {
            error!(path = endpoint.path, reason = report, "status-code" = 503, "Health check error");
            return Answer::error(StatusCode::SERVICE_UNAVAILABLE, format!("{report}\n"));
        }
        let is_verbose = values(query, "verbose").next().is_some();
        let report = if is_verbose { report } else { String::new() };
        Answer::text(StatusCode::OK, format!("{report}ok\n")).with(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
    }

    /// Why a check fails, if it does.
    async fn failure(&self, check: Check) -> Option<String> {
        let read = match check {
            Check::SerializableRead => self.api.probe(true).await,
            Check::LinearizableRead => self.api.probe(false).await,
            Check::DataCorruption => {
                let is_corrupt = self.api.alarm_names().contains(&"CORRUPT");
                return is_corrupt.then(|| "alarm activated: CORRUPT".to_owned());
            }
            Check::NonLearner => {
                return self.api.is_learner().then(|| "not supported for learner".to_owned());
            }
        };
        read.err().map(|error| error.text().into_owned())
    }
}

/// The values of `key` in a query, decoded; those of `exclude` must not be empty to count. Like Go, this passes over
/// pairs that cannot be decoded.
fn values<'a>(query: &'a str, key: &'a str) -> impl Iterator<Item = Cow<'a, str>> {
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let pairs = pairs.filter_map(|(name, value)| Some((decoded_word(name)?, decoded_word(value)?)));
    pairs
        .filter(move |(name, value)| *name == key && (key != "exclude" || !value.is_empty()))
        .map(|(_, value)| value)
}

/// A name or a value of a query, where a plus sign stands for a space.
fn decoded_word(word: &str) -> Option<Cow<'_, str>> {
    if !word.contains('+') {
        return decoded(word);
    }
    let spaced = word.replace('+', " ");
    decoded(&spaced).map(|decoded| Cow::Owned(decoded.into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_check_has_a_path() {
        let names = |path| {
            checks_of(path)
                .map(|endpoint| endpoint.checks.iter().map(|check| check.name()).collect::<Vec<_>>())
        };
        assert_eq!(names("/livez"), Some(vec!["serializable_read"]));
        assert_eq!(names("/readyz").unwrap().len(), 4);
        assert_eq!(names("/readyz/non_learner"), Some(vec!["non_learner"]));
        for path in ["/livez/non_learner", "/livez/", "/readyz/nope", "/livezx", "/health", "/"] {
            assert_eq!(names(path), None, "{path}");
        }
    }

    #[test]
    fn query_values_are_found_by_name() {
        assert_eq!(values("exclude=A&verbose&exclude=&exclude=B", "exclude").collect::<Vec<_>>(), ["A", "B"]);
        assert_eq!(values("e%78clude=%41+B&exclude=%zz", "exclude").collect::<Vec<_>>(), ["A B"]);
        assert_eq!(values("verbose", "verbose").count(), 1);
        assert_eq!(values("", "verbose").count(), 0);
    }
}
