//! Values of flags as Go's `flag` and `strconv` read them.

use std::time::Duration;

use super::feature_gates::FeatureGates;
use super::url::Url;

/// Stages that `--v2-deprecation` may name; the empty one stands for the default.
const DEPRECATION_STAGES: [&str; 5] =
    ["", "write-only", "write-only-skip-check", "write-only-drop-data", "gone"];

/// The type of a flag's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Any text.
    Text,
    /// `true`, `false` and their short forms.
    Bool,
    /// An unsigned number of 64 bits, in base 10, or 16, 8, 2 by prefix.
    Uint,
    /// The same of 32 bits.
    Uint32,
    /// A signed number of 64 bits.
    Int,
    /// A Go duration such as `1h30m`.
    Duration,
    /// A comma-separated list of at least one URL.
    Urls,
    /// The same, or an empty list.
    OptionalUrls,
    /// A comma-separated list of origins: URLs, or `*` for any.
    Origins,
    /// A comma-separated list of texts.
    Words,
    /// Feature gates and their positions.
    FeatureGates,
    /// One of a few words.
    OneOf(&'static [&'static str]),
    /// A stage of the deprecation of etcd's v2 store.
    Deprecation,
    /// Accepted for the sake of old scripts, with any value or none.
    Ignored,
}

/// A value of a flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Bool(bool),
    Int(i128),
    Duration(Duration),
    Text(String),
    Urls(Vec<Url>),
    Words(Vec<String>),
    FeatureGates(FeatureGates),
    Ignored,
}

impl Kind {
    /// Whether the flag without a value means true.
    pub(crate) fn is_boolean(self) -> bool {
        matches!(self, Kind::Bool | Kind::Ignored)
    }

    /// Reads a value; the error is Go's reason.
    pub(crate) fn parse(self, text: &str) -> Result<Value, String> {
        match self {
            Kind::Text => Ok(Value::Text(text.to_owned())),
            Kind::Bool => parse_bool(text).map(Value::Bool),
            Kind::Uint => parse_int(text, 0, u64::MAX.into()).map(Value::Int),
            Kind::Uint32 => match parse_int(text, 0, u32::MAX.into()) {
                Ok(number) => Ok(Value::Int(number)),
                Err(reason) if reason == parse_error() => Err(uint_error(text, "invalid syntax")),
                Err(reason) => Err(uint_error(text, &reason)),
            },
            Kind::Int => parse_int(text, i64::MIN.into(), i64::MAX.into()).map(Value::Int),
            Kind::Duration => parse_duration(text).map(Value::Duration),
            Kind::Urls => Url::parse_list(text).map(Value::Urls),
            Kind::OptionalUrls if text.is_empty() => Ok(Value::Urls(Vec::new())),
            Kind::OptionalUrls => Url::parse_list(text).map(Value::Urls),
            Kind::Origins if text == "*" => Ok(Value::Words(vec![text.to_owned()])),
            Kind::Origins => {
                Url::parse_list(text).map(|urls| Value::Words(urls.iter().map(Url::to_string).collect()))
            }
            Kind::Words => Ok(Value::Words(words(text))),
            Kind::FeatureGates => FeatureGates::parse(text).map(Value::FeatureGates),
            Kind::Deprecation if text.split(',').all(|stage| DEPRECATION_STAGES.contains(&stage)) => {
                Ok(Value::Text(text.to_owned()))
            }
            Kind::Deprecation => Err(format!("invalid value {text:?}")),
            Kind::OneOf(words) if words.contains(&text) => Ok(Value::Text(text.to_owned())),
            Kind::OneOf(_) => Err("invalid value".to_owned()),
            Kind::Ignored => Ok(Value::Ignored),
        }
    }
}

impl Value {
    /// The text of a `Text` or `OneOf` flag. Panics on other kinds, as do the methods below.
    pub(crate) fn into_text(self) -> String {
        match self {
            Value::Text(text) => text,
            other => panic!("{other:?} is no text"),
        }
    }

    /// The number of a numeric flag, as a type that holds all values of its kind.
    pub(crate) fn into_int<T: TryFrom<i128>>(self) -> T {
        let Value::Int(number) = self else { panic!("{self:?} is no number") };
        T::try_from(number).ok().expect("the kind of the flag bounds its value")
    }

    /// The duration of a `Duration` flag.
    pub(crate) fn into_duration(self) -> Duration {
        match self {
            Value::Duration(duration) => duration,
            other => panic!("{other:?} is no duration"),
        }
    }

    /// Whether a `Bool` flag is set.
    pub(crate) fn is_true(&self) -> bool {
        match self {
            Value::Bool(is_true) => *is_true,
            other => panic!("{other:?} is no boolean"),
        }
    }

    /// The list of a `Urls` or `OptionalUrls` flag.
    pub(crate) fn into_urls(self) -> Vec<Url> {
        match self {
            Value::Urls(urls) => urls,
            other => panic!("{other:?} is no list of URLs"),
        }
    }

    /// The list of a `Words` or `Origins` flag.
    pub(crate) fn into_words(self) -> Vec<String> {
        match self {
            Value::Words(words) => words,
            other => panic!("{other:?} is no list"),
        }
    }

    /// The positions of a `FeatureGates` flag.
    pub(crate) fn into_feature_gates(self) -> FeatureGates {
        match self {
            Value::FeatureGates(gates) => gates,
            other => panic!("{other:?} are no gates"),
        }
    }
}

/// Splits at commas. An empty text gives an empty list, and a word that comes twice counts once.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in text.split(',').filter(|word| !word.is_empty()) {
        if !words.iter().any(|known| known == word) {
            words.push(word.to_owned());
        }
    }
    words
}

/// The error text of Go's `strconv`.
fn uint_error(text: &str, reason: &str) -> String {
    format!("strconv.ParseUint: parsing {text:?}: {reason}")
}

fn parse_error() -> String {
    "parse error".to_owned()
}

pub(super) fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(parse_error()),
    }
}

fn parse_int(text: &str, min: i128, max: i128) -> Result<i128, String> {
    let (sign, magnitude) = match text.as_bytes().first() {
        Some(b'-') if min < 0 => (-1, &text[1..]),
        Some(b'+') if min < 0 => (1, &text[1..]),
        _ => (1, text),
    };
    let lower = magnitude.to_ascii_lowercase();
    let (radix, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, &lower[..]),
    };
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return Err(parse_error());
    }
    let number = i128::from_str_radix(digits, radix).map(|number| sign * number);
    number.ok().filter(|number| (min..=max).contains(number)).ok_or_else(|| "value out of range".to_owned())
}

/// Reads numbers that each have a unit, as in `300ms` or `1h30m`. Only `0` needs none. No flag takes a
/// negative duration.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest.is_empty() {
        return Err(parse_error());
    }
    let mut nanos: f64 = 0.0;
    while !rest.is_empty() {
        let number_len = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(parse_error)?;
        let (number, tail) = rest.split_at(number_len);
        let unit_len = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_len);
        nanos += number.parse::<f64>().map_err(|_| parse_error())? * unit_nanos(unit)?;
        rest = tail;
    }
    // Go counts nanoseconds in 63 bits.
    if nanos < i64::MAX as f64 { Ok(Duration::from_nanos(nanos as u64)) } else { Err(parse_error()) }
}

fn unit_nanos(unit: &str) -> Result<f64, String> {
    match unit {
        "ns" => Ok(1.0),
        "us" | "\u{b5}s" | "\u{3bc}s" => Ok(1e3),
        "ms" => Ok(1e6),
        "s" => Ok(1e9),
        "m" => Ok(60e9),
        "h" => Ok(3600e9),
        _ => Err(parse_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_bases_and_bounds() {
        assert_eq!(Kind::Uint.parse("0x10"), Ok(Value::Int(16)));
        assert_eq!(Kind::Uint.parse("010"), Ok(Value::Int(8)));
        assert_eq!(Kind::Uint.parse("0"), Ok(Value::Int(0)));
        assert_eq!(Kind::Int.parse("-5"), Ok(Value::Int(-5)));
        for text in ["", "-1", "+1", "1x", "0x", "1.5"] {
            assert_eq!(Kind::Uint.parse(text), Err(parse_error()), "{text}");
        }
        let error = "strconv.ParseUint: parsing \"4294967296\": value out of range";
        assert_eq!(Kind::Uint32.parse("4294967296"), Err(error.to_owned()));
        assert_eq!(Kind::Int.parse("9223372036854775808"), Err("value out of range".to_owned()));
    }

    #[test]
    fn durations_are_sums_of_units() {
        let parsed = |text| parse_duration(text);
        assert_eq!(parsed("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parsed("300ms"), Ok(Duration::from_millis(300)));
        assert_eq!(parsed("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(parsed("0"), Ok(Duration::ZERO));
        for text in ["", "5", "s", "1 s", "1x", "-1s", "1e9h", "99999999999h"] {
            assert_eq!(parsed(text), Err(parse_error()), "{text}");
        }
    }

    #[test]
    fn words_are_checked() {
        let kind = Kind::OneOf(&["new", "existing"]);
        assert_eq!(kind.parse("new").map(Value::into_text), Ok("new".to_owned()));
        assert_eq!(kind.parse("old"), Err("invalid value".to_owned()));
    }
}
