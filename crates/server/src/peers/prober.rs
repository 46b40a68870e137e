//! Asks a peer from time to time whether it is there, how far away it is, and what its clock says.

use std::io;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use ::peer::Route;
use jiff::Timestamp;
use serde_json::Value;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tracing::warn;

use super::client::{Connection, PeerRequest, read_answer};
use super::peer::Peer;
use super::socket::SILENCE_MAX;

/// Time between two probes: shorter than a peer keeps an idle connection.
const INTERVAL: Duration = Duration::from_secs(4);

/// Probes between two reports to the metrics, while the peer answers.
const PROBES_A_REPORT: u32 = 8;

/// A difference of clocks that an operator should know of.
const CLOCK_DRIFT: Duration = Duration::from_secs(1);

/// What probes have told so far.
#[derive(Debug, Default)]
struct Probed {
    /// The smoothed round trip time.
    round_trip: Duration,
    clock_difference: Duration,
    n_probes: u32,
}

/// Probes a peer. Never ends by itself.
pub(super) async fn run(peer: Rc<Peer>) {
    let (mut connection, mut probed) = (None, Probed::default());
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first is due at once, when nothing is connected yet.
    ticks.tick().await;
    loop {
        ticks.tick().await;
        match timeout(SILENCE_MAX, probe(&peer, &mut connection)).await {
            Ok(Ok((round_trip, clock))) => probed.answered(&peer, round_trip, clock),
            Ok(Err(error)) => probed.failed(&peer, &mut connection, &error.to_string()),
            Err(_) => probed.failed(&peer, &mut connection, "i/o timeout"),
        }
    }
}

impl Probed {
    fn answered(&mut self, peer: &Peer, round_trip: Duration, clock: Option<Timestamp>) {
        self.round_trip = match self.n_probes {
            0 => round_trip,
            _ => (7 * self.round_trip + round_trip) / 8,
        };
        let now = Timestamp::try_from(SystemTime::now()).ok();
        if let (Some(now), Some(clock)) = (now, clock) {
            let difference = clock.duration_since(now).unsigned_abs();
            self.clock_difference = difference.saturating_sub(self.round_trip / 2);
        }
        if self.n_probes.is_multiple_of(PROBES_A_REPORT) {
            self.report(peer);
        }
        self.n_probes = self.n_probes.wrapping_add(1);
    }

    fn report(&self, peer: &Peer) {
        peer.metrics.round_trip_times.observe(self.round_trip.as_secs_f64());
        if self.clock_difference > CLOCK_DRIFT {
            warn!(
                "round-tripper-name" = "ROUND_TRIPPER_RAFT_MESSAGE",
                "remote-peer-id" = peer.id_text(),
                "clock-drift" = ?self.clock_difference,
                rtt = ?self.round_trip,
                "prober found high clock drift"
            );
        }
    }

    fn failed(&mut self, peer: &Peer, connection: &mut Option<Connection>, error: &str) {
        *connection = None;
        // The next answer is reported at once.
        self.n_probes = 0;
        warn!(
            "round-tripper-name" = "ROUND_TRIPPER_RAFT_MESSAGE",
            "remote-peer-id" = peer.id_text(),
            rtt = ?self.round_trip,
            error,
            "prober detected unhealthy status"
        );
    }
}

/// One probe: how long the answer took, and the peer's clock.
async fn probe(
    peer: &Peer,
    connection: &mut Option<Connection>,
) -> io::Result<(Duration, Option<Timestamp>)> {
    let url = peer.urls.pick();
    let is_open = connection.as_ref().is_some_and(Connection::is_open);
    let open = match connection {
        Some(open) if is_open => open,
        _ => connection.insert(Connection::open(&url, peer.context.dial_limit).await?),
    };
    let asked_at = Instant::now();
    let request = PeerRequest::get(Route::PROBING.to_owned(), None);
    let (head, body) = open.request(&peer.context.identity, request).await?.into_parts();
    let answer = read_answer(body).await?;
    if !head.status.is_success() {
        return Err(io::Error::other(format!("unhealthy: status {}", head.status.as_u16())));
    }
    Ok((asked_at.elapsed(), clock_of(&answer)))
}

/// The clock in the answer to a probe.
fn clock_of(answer: &[u8]) -> Option<Timestamp> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    answer.get("Now")?.as_str()?.parse().ok()
}

/// The answer to a probe of a peer.
pub(super) fn answer() -> String {
    let now = Timestamp::try_from(SystemTime::now()).unwrap_or_default();
    format!("{{\"OK\":true,\"Now\":\"{now}\"}}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_tells_the_clock() {
        let before = Timestamp::try_from(SystemTime::now()).unwrap();
        assert!(clock_of(answer().as_bytes()).unwrap() >= before);
        let of_go = br#"{"OK":true,"Now":"2026-11-28T15:00:00.123456789+01:00"}"#;
        assert_eq!(clock_of(of_go).unwrap().to_string(), "2026-11-28T14:00:00.123456789Z");
        assert_eq!(clock_of(b"garbage"), None);
    }
}
