//! The time by which a call must be answered: the `grpc-timeout` header and the timer for it.
//!
//! The timer is armed only by a caller that has to wait, so a call answered at once never pays for it.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::quote::quote;

/// An optional point in time that can be awaited.
#[derive(Debug)]
pub(super) struct Deadline {
    at: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    pub(super) fn new(at: Option<Instant>) -> Deadline {
        Deadline { at, timer: None }
    }

    /// Ready once the time has come; never, if there is none.
    pub(super) fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.at else { return Poll::Pending };
        self.timer.get_or_insert_with(|| Box::pin(sleep_until(at))).as_mut().poll(cx)
    }
}

/// Reads a `grpc-timeout` header: one to eight digits and a unit. The error is the text of grpc-go.
pub(super) fn parse_timeout(text: &[u8]) -> Result<Duration, String> {
    let (digits, unit) = match text {
        [] | [_] => return Err(format!("transport: timeout string is too short: {}", quote(text))),
        [_, _, _, _, _, _, _, _, _, _, ..] => {
            return Err(format!("transport: timeout string is too long: {}", quote(text)));
        }
        [digits @ .., unit] => (digits, unit),
    };
    let of_unit: fn(u64) -> Duration = match unit {
        b'H' => |n| Duration::from_secs(n * 3600),
        b'M' => |n| Duration::from_secs(n * 60),
        b'S' => Duration::from_secs,
        b'm' => Duration::from_millis,
        b'u' => Duration::from_micros,
        b'n' => Duration::from_nanos,
        _ => return Err(format!("transport: timeout unit is not recognized: {}", quote(text))),
    };
    let add_digit = |count, digit: &u8| digit.is_ascii_digit().then(|| 10 * count + u64::from(digit - b'0'));
    let count = digits.iter().try_fold(0, add_digit);
    count.map(of_unit).ok_or_else(|| format!("strconv.ParseUint: parsing {}: invalid syntax", quote(digits)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_unit_is_read() {
        assert_eq!(parse_timeout(b"2H"), Ok(Duration::from_secs(7200)));
        assert_eq!(parse_timeout(b"3M"), Ok(Duration::from_secs(180)));
        assert_eq!(parse_timeout(b"5S"), Ok(Duration::from_secs(5)));
        assert_eq!(parse_timeout(b"250m"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_timeout(b"7u"), Ok(Duration::from_micros(7)));
        assert_eq!(parse_timeout(b"99999999n"), Ok(Duration::from_nanos(99_999_999)));
    }

    #[test]
    fn malformed_timeout_is_refused() {
        for (text, part) in [
            ("", "too short"),
            ("S", "too short"),
            ("123456789S", "too long"),
            ("5x", "not recognized"),
            ("+5S", "invalid syntax"),
        ] {
            assert!(parse_timeout(text.as_bytes()).unwrap_err().contains(part), "{text}");
        }
        assert!(parse_timeout("1\u{20ac}".as_bytes()).is_err());
    }
}
