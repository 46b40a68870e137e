//! The settings of a client.

use std::time::Duration;

use crate::error::Error;

/// Settings of a [`Client`](crate::Client). The defaults are those of etcd's own client.
#[derive(Debug, Clone)]
pub struct Config {
    /// Members to call: `host:port`, `http://host:port` or `unix://path`. At least one.
    pub endpoints: Vec<String>,
    /// Time limit of one attempt to connect. A call keeps trying until its own deadline.
    pub dial_timeout: Duration,
    /// Time without received data after which a connection in use is pinged; less than 10 s counts as 10 s, since servers close
    /// connections that ping too often.
    pub keepalive_time: Duration,
    /// Time limit for the answer to a ping; a connection that exceeds it counts as broken.
    pub keepalive_timeout: Duration,
    /// Bytes of the largest request that is sent; `None` means 2 MiB.
    pub request_len_max: Option<usize>,
    /// Bytes of the largest response that is taken, no less than those of a request; `None` means 2 GiB.
    pub response_len_max: Option<usize>,
}

/// The limits of etcd's client.
pub(crate) const REQUEST_LEN_MAX: usize = 2 << 20;
pub(crate) const RESPONSE_LEN_MAX: usize = i32::MAX as usize;

impl Default for Config {
    fn default() -> Self {
        Config {
            endpoints: vec!["127.0.0.1:2379".to_owned()],
            dial_timeout: Duration::from_secs(2),
            keepalive_time: Duration::from_secs(2),
            keepalive_timeout: Duration::from_secs(6),
            request_len_max: None,
            response_len_max: None,
        }
    }
}

impl Config {
    /// Checks that the settings fit together. Endpoints are parsed when the client is made.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.endpoints.is_empty() {
            return Err(Error::Config("etcdclient: no available endpoints".to_owned()));
        }
        if let (Some(request), Some(response)) = (self.request_len_max, self.response_len_max)
            && response < request
        {
            return Err(Error::Config(format!(
                "gRPC message recv limit ({response} bytes) must be greater than send limit ({request} bytes)"
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_may_be_as_long_as_a_request() {
        let config = |request, response| Config {
            request_len_max: Some(request),
            response_len_max: Some(response),
            ..Config::default()
        };
        assert_eq!(config(3, 3).check(), Ok(()));
        assert!(config(3, 2).check().is_err());
        assert_eq!(Config { response_len_max: Some(2), ..Config::default() }.check(), Ok(()));
    }
}
