//! Durations as Go writes and reads them: `1m5.2s`, `1.5ms`.

use std::time::Duration;

use super::quote;

/// Units with their nanoseconds, as they are read.
const UNITS: [(&str, f64); 8] =
    [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("μs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9)];

/// Writes `duration` in its largest fitting unit, with no more digits than it has.
pub(crate) fn format_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let (unit, per_unit) = match nanos {
        0 => return "0s".to_owned(),
        1..1_000 => ("ns", 1),
        1_000..1_000_000 => ("µs", 1_000),
        1_000_000..1_000_000_000 => ("ms", 1_000_000),
        _ => ("s", 1_000_000_000),
    };
    let minutes = duration.as_secs() / 60;
    let rest = decimal(nanos - u128::from(minutes) * 60_000_000_000, per_unit);
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{rest}{unit}"),
        (0, minutes) => format!("{minutes}m{rest}{unit}"),
        (hours, minutes) => format!("{hours}h{minutes}m{rest}{unit}"),
    }
}

/// `value / scale` without trailing zeros; the scale is a power of ten.
fn decimal(value: u128, scale: u128) -> String {
    if value.is_multiple_of(scale) {
        return (value / scale).to_string();
    }
    let digits = scale.ilog10() as usize;
    let text = format!("{}.{:0digits$}", value / scale, value % scale);
    text.trim_end_matches('0').to_owned()
}

/// Reads a sequence of numbers with units. A negative duration is read as zero: a limit that has passed.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let invalid = || format!("time: invalid duration {}", quote(text));
    let (is_negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut nanos = 0.0;
    while !rest.is_empty() {
        let (number, after) = rest.split_at(end_of(rest, |c| c.is_ascii_digit() || c == '.'));
        let number: f64 = number.parse().map_err(|_| invalid())?;
        let (unit, after) = after.split_at(end_of(after, |c| !c.is_ascii_digit() && c != '.'));
        if unit.is_empty() {
            return Err(format!("time: missing unit in duration {}", quote(text)));
        }
        let Some((_, per_unit)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(format!("time: unknown unit {} in duration {}", quote(unit), quote(text)));
        };
        nanos += number * per_unit;
        rest = after;
    }
    let nanos = if is_negative { 0.0 } else { nanos };
    if nanos > i64::MAX as f64 { Err(invalid()) } else { Ok(Duration::from_nanos(nanos.round() as u64)) }
}

/// The length of the leading characters that are `wanted`.
fn end_of(text: &str, wanted: impl Fn(char) -> bool) -> usize {
    text.find(|c| !wanted(c)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_in_their_largest_unit() {
        for (nanos, text) in [
            (0, "0s"),
            (17, "17ns"),
            (1_500, "1.5µs"),
            (1_901_283, "1.901283ms"),
            (5_000_429_991, "5.000429991s"),
            (65_200_000_000, "1m5.2s"),
            (3_600_000_000_000, "1h0m0s"),
        ] {
            assert_eq!(format_duration(Duration::from_nanos(nanos)), text);
        }
    }

    #[test]
    fn durations_need_units() {
        assert_eq!(parse_duration("1m1.5s"), Ok(Duration::from_millis(61_500)));
        assert_eq!(parse_duration("-3s"), Ok(Duration::ZERO));
        assert_eq!(parse_duration("5").unwrap_err(), r#"time: missing unit in duration "5""#);
        assert_eq!(parse_duration("5x").unwrap_err(), r#"time: unknown unit "x" in duration "5x""#);
        assert_eq!(parse_duration("").unwrap_err(), r#"time: invalid duration """#);
        assert_eq!(parse_duration("s").unwrap_err(), r#"time: invalid duration "s""#);
    }
}
