//! How much history automatic compaction keeps.

use std::time::Duration;

/// What is compacted automatically.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoCompaction {
    /// Revisions older than this.
    Periodic(Duration),
    /// Revisions more than this many before the newest.
    Revision(i64),
}

impl AutoCompaction {
    /// Reads a retention: a plain number counts hours or revisions, anything else is a duration, which in
    /// revision mode counts nanoseconds as revisions, as in etcd. `None` means that everything is kept; the
    /// error is etcd's text.
    pub(super) fn parse(mode: &str, retention: &str) -> Result<Option<AutoCompaction>, String> {
        let nanos = match retention.parse::<i64>() {
            Ok(revisions @ 0..) if mode == "revision" => revisions,
            Ok(hours @ 0..) => hours.saturating_mul(3600 * 1_000_000_000),
            _ => {
                let duration = duration(retention);
                duration.map_err(|error| format!("error parsing CompactionRetention: time: {error}"))?
            }
        };
        Ok(match mode {
            _ if nanos == 0 => None,
            "revision" => Some(AutoCompaction::Revision(nanos)),
            _ => Some(AutoCompaction::Periodic(Duration::from_nanos(nanos.unsigned_abs()))),
        })
    }
}

/// Nanoseconds, with the error texts of Go's `time` package for the mistakes that are made.
fn duration(text: &str) -> Result<i64, String> {
    let parsed = super::value::parse_duration(text);
    parsed.map(|duration| duration.as_nanos() as i64).map_err(|_| {
        let digits = text.trim_start_matches(['+', '-']);
        let unit = digits.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        match unit.split(|c: char| c.is_ascii_digit() || c == '.').next() {
            _ if digits.len() == unit.len() => format!("invalid duration {text:?}"),
            Some("") | None => format!("missing unit in duration {text:?}"),
            Some(unit) => format!("unknown unit {unit:?} in duration {text:?}"),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_number_counts_hours_or_revisions() {
        let hours = |n: u64| Some(AutoCompaction::Periodic(Duration::from_secs(3600 * n)));
        assert_eq!(AutoCompaction::parse("periodic", "2"), Ok(hours(2)));
        assert_eq!(AutoCompaction::parse("revision", "1000"), Ok(Some(AutoCompaction::Revision(1000))));
        assert_eq!(
            AutoCompaction::parse("periodic", "5m"),
            Ok(Some(AutoCompaction::Periodic(Duration::from_secs(300))))
        );
        for mode in ["periodic", "revision"] {
            assert_eq!(AutoCompaction::parse(mode, "0"), Ok(None));
        }
    }

    #[test]
    fn mistakes_get_the_texts_of_go() {
        for (text, error) in [
            ("foo", "invalid duration \"foo\""),
            ("", "invalid duration \"\""),
            ("1.5", "missing unit in duration \"1.5\""),
            ("5x", "unknown unit \"x\" in duration \"5x\""),
        ] {
            let expected = format!("error parsing CompactionRetention: time: {error}");
            assert_eq!(AutoCompaction::parse("periodic", text), Err(expected), "{text}");
        }
    }
}
