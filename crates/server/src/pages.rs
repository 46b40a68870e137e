//! The HTTP pages of a member: health, version, metrics.

use std::rc::Rc;
use std::sync::Arc;

use http::StatusCode;
use serde_json::json;

use crate::api::Api;
use crate::http::{Answer, Routes};
use crate::metrics::Metrics;

/// The pages as one worker thread serves them.
#[derive(Debug)]
pub(crate) struct Pages {
    pub(crate) api: Rc<Api>,
    pub(crate) metrics: Arc<Metrics>,
}

impl Routes for Pages {
    fn is_known(&self, path: &str) -> bool {
        matches!(path, "/health" | "/version" | "/metrics")
    }

    async fn get(&self, path: &str, query: &str) -> Answer {
        match path {
            "/health" => self.health(query).await,
            "/version" => self.version(),
            _ => Answer::text(StatusCode::OK, self.metrics.expose(&self.api.gauges())),
        }
    }
}

impl Pages {
    /// Healthy is who can serve a linearizable read; `?serializable=true` asks for less.
    async fn health(&self, query: &str) -> Answer {
        let is_serializable = query.split('&').any(|part| part == "serializable=true");
        let reason = self.api.unhealthy_reason(is_serializable).await;
        let status = if reason.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let health = if reason.is_none() { "true" } else { "false" };
        let reason = json!(reason.unwrap_or_default());
        Answer::text(status, format!(r#"{{"health":"{health}","reason":{reason}}}"#))
    }

    fn version(&self) -> Answer {
        let (server, cluster) = self.api.versions();
        let or_unset =
            |text: &'static str| if cluster.is_empty() { text.to_owned() } else { cluster.clone() };
        let (cluster, storage) = (or_unset("not_decided"), or_unset("unknown"));
        Answer::json(format!(
            r#"{{"etcdserver":"{server}","etcdcluster":"{cluster}","storage":"{storage}"}}"#
        ))
    }
}
