//! The paths of a peer port.

/// What a stream carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StreamKind {
    /// Appends.
    Append,
    /// Everything else.
    Message,
}

impl StreamKind {
    /// Both kinds.
    pub const ALL: [StreamKind; 2] = [StreamKind::Append, StreamKind::Message];

    /// The path at which member `own_id` asks a peer for this stream.
    pub fn path(self, own_id: u64) -> String {
        let name = match self {
            StreamKind::Append => "msgapp",
            StreamKind::Message => "message",
        };
        format!("/raft/stream/{name}/{own_id:x}")
    }

    /// The name in etcd's logging.
    pub fn name(self) -> &'static str {
        match self {
            StreamKind::Append => "stream MsgApp v2",
            StreamKind::Message => "stream Message",
        }
    }
}

/// What a path stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// A message in the body of a request.
    Pipeline,
    /// A stream; the kind and the asking member's id as far as the path names them.
    Stream {
        /// `None` if the path names no kind.
        kind: Option<StreamKind>,
        /// `None` if the path names no id.
        from: Option<u64>,
    },
    /// A state of the store.
    Snapshot,
    /// Whether the member is there, and its clock.
    Probing,
    /// The members of the cluster.
    Members,
    /// Makes a learner a voter; the id as it was written.
    Promote(String),
    /// A hash of the keys.
    HashKv,
    /// Renews a lease.
    LeaseKeepAlive,
    /// What is left of a lease.
    LeaseTimeToLive,
    /// Whether a downgrade is under way.
    DowngradeEnabled,
    /// Versions of server and cluster.
    Version,
    /// Nothing.
    Unknown,
}

impl Route {
    /// The path that a message is posted to.
    pub const PIPELINE: &'static str = "/raft";
    /// The path that a state is posted to.
    pub const SNAPSHOT: &'static str = "/raft/snapshot";
    /// The path of probes.
    pub const PROBING: &'static str = "/raft/probing";

    /// What `path` stands for.
    pub fn of(path: &str) -> Route {
        match path {
            Route::PIPELINE => Route::Pipeline,
            Route::SNAPSHOT => Route::Snapshot,
            Route::PROBING => Route::Probing,
            "/members" => Route::Members,
            "/members/hashkv" => Route::HashKv,
            "/leases" => Route::LeaseKeepAlive,
            "/leases/internal" => Route::LeaseTimeToLive,
            "/downgrade/enabled" => Route::DowngradeEnabled,
            "/version" => Route::Version,
            _ => Route::with_parameter(path),
        }
    }

    fn with_parameter(path: &str) -> Route {
        if let Some(id) = path.strip_prefix("/members/promote/") {
            return Route::Promote(id.to_owned());
        }
        let Some(rest) = path.strip_prefix("/raft/stream/") else { return Route::Unknown };
        let (kind, from) = rest.rsplit_once('/').unwrap_or(("", rest));
        let kind = match kind {
            "msgapp" => Some(StreamKind::Append),
            "message" => Some(StreamKind::Message),
            _ => None,
        };
        Route::Stream { kind, from: parse_id(from) }
    }

    /// The method that the path is for; `None` if there is no such path.
    pub fn method(&self) -> Option<&'static str> {
        match self {
            Route::Pipeline
            | Route::Snapshot
            | Route::Promote(_)
            | Route::LeaseKeepAlive
            | Route::LeaseTimeToLive => Some("POST"),
            Route::Stream { .. }
            | Route::Members
            | Route::HashKv
            | Route::DowngradeEnabled
            | Route::Probing
            | Route::Version => Some("GET"),
            Route::Unknown => None,
        }
    }
}

/// An id as members write it: hexadecimal, without leading zeros or with them.
pub(crate) fn parse_id(text: &str) -> Option<u64> {
    let is_hex = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then(|| u64::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_streams_are_read_as_they_are_written() {
        for kind in StreamKind::ALL {
            let route = Route::of(&kind.path(0x8e9e_05c5_2164_694d));
            assert_eq!(route, Route::Stream { kind: Some(kind), from: Some(0x8e9e_05c5_2164_694d) });
        }
        let unknown = Route::Stream { kind: None, from: Some(1) };
        assert_eq!(Route::of("/raft/stream/msgappv3/1"), unknown);
        assert_eq!(Route::of("/raft/stream/1"), unknown);
        let nobody = Route::Stream { kind: Some(StreamKind::Append), from: None };
        for id in ["", "x", "+1", "11111111111111111"] {
            assert_eq!(Route::of(&format!("/raft/stream/msgapp/{id}")), nobody, "{id}");
        }
    }

    #[test]
    fn other_paths_are_whole() {
        assert_eq!(Route::of("/raft"), Route::Pipeline);
        assert_eq!(Route::of("/members/promote/17"), Route::Promote("17".to_owned()));
        for path in ["/", "/raft/", "/raft/streams/1", "/members/", "/health", "/metrics", "raft"] {
            assert_eq!(Route::of(path), Route::Unknown, "{path}");
            assert_eq!(Route::of(path).method(), None);
        }
    }
}
