//! Parses the address of a member and sets the options of its connection.

use std::time::Duration;

use tonic::transport::Endpoint;

use crate::config::Config;
use crate::error::Error;

/// HTTP/2 flow-control windows in bytes: that of a stream holds a list of ten thousand keys.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;
/// The shortest time between pings that servers accept.
const PING_INTERVAL_MIN: Duration = Duration::from_secs(10);
const NO_TLS: &str = "TLS is not supported by this version yet";

/// Reads `text` as the address of a member: `host:port`, `http://host:port`, `unix://path` or `unix:path`.
pub(crate) fn parse(text: &str, config: &Config) -> Result<Endpoint, Error> {
    let endpoint = Endpoint::from_shared(uri(text)?)
        .map_err(|error| Error::Config(format!("cannot use endpoint {text:?}: {error}")))?;
    Ok(endpoint
        .connect_timeout(config.dial_timeout)
        .http2_keep_alive_interval(config.keepalive_time.max(PING_INTERVAL_MIN))
        .keep_alive_timeout(config.keepalive_timeout)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW))
}

fn uri(text: &str) -> Result<String, Error> {
    let refuse = |why: &str| Err(Error::Config(format!("cannot use endpoint {text:?}: {why}")));
    if text.starts_with("unix:") {
        return Ok(text.to_owned());
    }
    let address = match text.split_once("://") {
        None if text.starts_with("unixs:") => return refuse(NO_TLS),
        None => text,
        // A path has no meaning here; URLs with one are accepted.
        Some(("http", address)) => address.split('/').next().unwrap_or_default(),
        Some(("https" | "unixs", _)) => return refuse(NO_TLS),
        Some(_) => return refuse("its scheme is not http or unix"),
    };
    match address.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
            Ok(format!("http://{address}"))
        }
        _ => refuse("it has no port"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes_are_optional_and_ports_are_not() {
        assert_eq!(uri("[::1]:2379").unwrap(), "http://[::1]:2379");
        assert_eq!(uri("http://member:1/path").unwrap(), "http://member:1");
        assert_eq!(uri("unix://member.sock").unwrap(), "unix://member.sock");
        for refused in
            ["member", "http://member", ":2379", "member:x", "https://member:1", "unixs://a", "ftp://a:1"]
        {
            assert!(uri(refused).is_err(), "{refused}");
        }
    }
}
