//! Reads from the metrics of a member how much memory it takes.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const METRIC: &str = "process_resident_memory_bytes";
/// Bytes of metrics that are read at most. etcd has a tenth of that with all its histograms.
const METRICS_LEN_MAX: u64 = 4 << 20;

/// The resident memory of the member at `endpoint`, in bytes. An error is a line for standard output.
pub(super) async fn resident_memory(endpoint: &str) -> Result<f64, String> {
    let address = endpoint.strip_prefix("http://").unwrap_or(endpoint);
    let address = address.split('/').next().unwrap_or_default();
    let text = fetch(address).await.map_err(|error| format!("fetch error: Get {endpoint:?}: {error}"))?;
    value(&text)
}

/// The answer to `GET /metrics`, its head included. HTTP 1.0 has no chunks, and the answer ends with the
/// connection.
async fn fetch(address: &str) -> std::io::Result<String> {
    let mut socket = TcpStream::connect(address).await?;
    let request = format!("GET /metrics HTTP/1.0\r\nHost: {address}\r\n\r\n");
    socket.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    socket.take(METRICS_LEN_MAX).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn value(metrics: &str) -> Result<f64, String> {
    let mut values = metrics.lines().filter_map(|line| line.strip_prefix(METRIC));
    let value = values.next().map(str::trim).filter(|value| !value.is_empty());
    let value = value.ok_or_else(|| format!("could not find: {METRIC}"))?;
    let number = value.parse::<f64>();
    number.map_err(|_| format!("parse error: strconv.ParseFloat: parsing {value:?}: invalid syntax"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metric_is_a_line_of_its_own() {
        let metrics = "HTTP/1.0 200 OK\r\n\r\n# HELP process_resident_memory_bytes Resident memory\n\
                       # TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes 4.2483712e+07\n";
        assert_eq!(value(metrics), Ok(42_483_712.0));
        assert_eq!(value("a 1\n"), Err("could not find: process_resident_memory_bytes".to_owned()));
        let error = "parse error: strconv.ParseFloat: parsing \"many\": invalid syntax";
        assert_eq!(value("process_resident_memory_bytes many\n"), Err(error.to_owned()));
    }
}
