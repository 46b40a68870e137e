//! Pings: whether a client sends too many, and whether a silent one is still there.
//!
//! The rules are those of grpc-go's server, which clients are tuned to. A ping is a *strike* if it comes
//! sooner after the last than [`Policy::min_interval`], or than two hours while no stream is open. Whenever
//! the server has sent HEADERS or DATA since, strikes are forgiven. The third strike is out.

use std::time::{Duration, Instant};

/// Strikes that a client may have.
const STRIKES_MAX: u32 = 2;

/// The least time between pings of a client without streams.
const MIN_INTERVAL_IDLE: Duration = Duration::from_secs(2 * 60 * 60);

/// When to ping, and how often to be pinged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The least time between pings of a client that has a stream open.
    pub min_interval: Duration,
    /// A client that has been silent for so long is pinged.
    pub ping_after: Duration,
    /// A client that stays silent for so long after that is gone.
    pub ping_timeout: Duration,
}

/// What the time asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    Ping,
    /// The client is gone.
    Close,
}

#[derive(Debug)]
pub(crate) struct Keepalive {
    policy: Policy,
    strikes: u32,
    /// Whether HEADERS or DATA were sent since the last ping.
    has_sent: bool,
    last_ping: Option<Instant>,
    last_received: Instant,
    /// When we pinged, if nothing has been received since.
    pinged_at: Option<Instant>,
}

impl Keepalive {
    pub(crate) fn new(policy: Policy, now: Instant) -> Keepalive {
        Keepalive {
            policy,
            strikes: 0,
            has_sent: false,
            last_ping: None,
            last_received: now,
            pinged_at: None,
        }
    }

    /// Counts a ping; false if it is one too many.
    pub(crate) fn allows_ping(&mut self, has_streams: bool, now: Instant) -> bool {
        let last = self.last_ping.replace(now);
        if std::mem::take(&mut self.has_sent) {
            self.strikes = 0;
            return true;
        }
        let min_interval = if has_streams { self.policy.min_interval } else { MIN_INTERVAL_IDLE };
        if last.is_some_and(|last| last + min_interval > now) {
            self.strikes += 1;
        }
        self.strikes <= STRIKES_MAX
    }

    /// Notes that HEADERS or DATA were sent.
    pub(crate) fn note_sent(&mut self) {
        self.has_sent = true;
    }

    /// Notes that something was received.
    pub(crate) fn note_received(&mut self, now: Instant) {
        self.last_received = now;
        self.pinged_at = None;
    }

    /// When to look at the clock again.
    pub(crate) fn deadline(&self) -> Instant {
        match self.pinged_at {
            Some(pinged_at) => pinged_at + self.policy.ping_timeout,
            None => self.last_received + self.policy.ping_after,
        }
    }

    pub(crate) fn due(&mut self, now: Instant) -> Due {
        if now < self.deadline() {
            return Due::Nothing;
        }
        match self.pinged_at.replace(now) {
            Some(_) => Due::Close,
            None => Due::Ping,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);
    const POLICY: Policy = Policy {
        min_interval: Duration::from_secs(5),
        ping_after: MIN_INTERVAL_IDLE,
        ping_timeout: Duration::from_secs(20),
    };

    /// How many pings, `interval` apart, are allowed before one is not.
    fn allowed(interval: Duration, has_streams: bool) -> u32 {
        let mut now = Instant::now();
        let mut keepalive = Keepalive::new(POLICY, now);
        (0..100)
            .take_while(|_| {
                now += interval;
                keepalive.allows_ping(has_streams, now)
            })
            .count() as u32
    }

    #[test]
    fn third_strike_is_out() {
        assert_eq!(allowed(S, true), 1 + STRIKES_MAX);
        assert_eq!(allowed(5 * S, true), 100);
    }

    #[test]
    fn idle_client_has_no_reason_to_ping() {
        assert_eq!(allowed(60 * S, false), 1 + STRIKES_MAX);
        assert_eq!(allowed(MIN_INTERVAL_IDLE, false), 100);
    }

    #[test]
    fn strikes_are_reset_when_something_was_sent() {
        let now = Instant::now();
        let mut keepalive = Keepalive::new(POLICY, now);
        for _ in 0..100 {
            assert!(keepalive.allows_ping(true, now) && keepalive.allows_ping(true, now));
            keepalive.note_sent();
        }
    }

    #[test]
    fn silent_client_is_pinged_then_given_up() {
        let start = Instant::now();
        let mut keepalive = Keepalive::new(POLICY, start);
        assert_eq!(keepalive.due(start + MIN_INTERVAL_IDLE - S), Due::Nothing);
        keepalive.note_received(start + S);
        assert_eq!(keepalive.due(start + MIN_INTERVAL_IDLE), Due::Nothing);
        let pinged_at = start + S + MIN_INTERVAL_IDLE;
        assert_eq!(keepalive.due(pinged_at), Due::Ping);
        assert_eq!(keepalive.due(pinged_at + 19 * S), Due::Nothing);
        let mut answered = Keepalive { pinged_at: Some(pinged_at), ..Keepalive::new(POLICY, start) };
        answered.note_received(pinged_at + S);
        assert_eq!(answered.due(pinged_at + 20 * S), Due::Nothing);
        assert_eq!(keepalive.due(pinged_at + 20 * S), Due::Close);
    }
}
