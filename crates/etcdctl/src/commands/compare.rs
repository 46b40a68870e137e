//! A condition of a transaction: `target("key") op "value"`.

use bytes::Bytes;
use proto::etcdserverpb::Compare;
use proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};

use crate::failure::{Failure, INVALID_INPUT};
use crate::text::{lossy, parse_int, quote, unquote};

/// Reads a condition.
pub(super) fn parse(line: &[u8]) -> Result<Compare, Failure> {
    let refuse = |message: String| Failure::new(INVALID_INPUT, message);
    let malformed = || format!("malformed comparison: {}", lossy(line));
    let invalid = || refuse(format!("invalid txn compare request: {}", lossy(line)));
    let Some(at) = line.iter().position(|byte| *byte == b'(') else { return Err(refuse(malformed())) };
    let target = lossy(&line[..at]);
    let (words, is_whole) = scan(&line[at + 1..]);
    if !is_whole {
        let Words { key, op, value } = words;
        let got = format!("{target}({}) {} {}", quote(&key), lossy(&op), quote(&value));
        return Err(refuse(format!("{}; got {got}", malformed())));
    }
    let text = lossy(&words.value);
    let number = || parse_int(&text, 10).map_err(|_| invalid());
    let (target, target_union) = match target.as_str() {
        "ver" | "version" => (CompareTarget::Version, TargetUnion::Version(number()?)),
        "c" | "create" => (CompareTarget::Create, TargetUnion::CreateRevision(number()?)),
        "m" | "mod" => (CompareTarget::Mod, TargetUnion::ModRevision(number()?)),
        "val" | "value" => (CompareTarget::Value, TargetUnion::Value(words.value.into())),
        "lease" => (CompareTarget::Lease, TargetUnion::Lease(number()?)),
        _ => return Err(refuse(format!("{} (unknown target {target})", malformed()))),
    };
    let result = match &words.op[..] {
        b"=" => CompareResult::Equal,
        b"!=" => CompareResult::NotEqual,
        b">" => CompareResult::Greater,
        b"<" => CompareResult::Less,
        _ => return Err(invalid()),
    };
    Ok(Compare {
        result: result.into(),
        target: target.into(),
        key: words.key.into(),
        range_end: Bytes::new(),
        target_union: Some(target_union),
    })
}

/// The part after the opening parenthesis, as far as it could be parsed.
#[derive(Debug, Default)]
struct Words {
    key: Vec<u8>,
    op: Vec<u8>,
    value: Vec<u8>,
}

/// Reads `"key") op "value"`, and returns whether all of it was there. The rest of the line is ignored.
fn scan(text: &[u8]) -> (Words, bool) {
    let mut words = Words::default();
    let is_whole = scan_into(&mut words, text).is_some();
    (words, is_whole)
}

fn scan_into(words: &mut Words, text: &[u8]) -> Option<()> {
    let (key, rest) = unquote(text.trim_ascii_start())?;
    words.key = key;
    let rest = blanks(rest.strip_prefix(b")")?)?;
    let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
    words.op = rest[..end].to_vec();
    words.value = unquote(blanks(&rest[end..])?)?.0;
    Some(())
}

/// The rest of the text after at least one blank.
fn blanks(text: &[u8]) -> Option<&[u8]> {
    let rest = text.trim_ascii_start();
    (rest.len() < text.len() && !rest.is_empty()).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_target_takes_its_kind_of_value() {
        let compare = parse(br#"val("k\x00") != "v""#).unwrap();
        assert_eq!((compare.target(), compare.result()), (CompareTarget::Value, CompareResult::NotEqual));
        assert_eq!(compare.key, &b"k\0"[..]);
        assert_eq!(compare.target_union, Some(TargetUnion::Value(Bytes::from_static(b"v"))));
        let compare = parse(br#"lease("k")  <  "7" and so on"#).unwrap();
        assert_eq!(compare.target_union, Some(TargetUnion::Lease(7)));
    }

    #[test]
    fn what_could_be_read_is_named() {
        for (line, got) in [
            (r#"mod("k")>"0""#, r#"; got mod("k")  """#),
            (r#"mod("k") > 0"#, r#"; got mod("k") > """#),
            (r#"mod( "k" ) = "1""#, r#"; got mod("k")  """#),
            (r#"mod(k) = "1""#, r#"; got mod("")  """#),
            (r#"foo("k") = "1""#, " (unknown target foo)"),
            ("foo", ""),
        ] {
            let failure = format!("{:?}", parse(line.as_bytes()).unwrap_err());
            let message = format!("{:?}", format!("Error: malformed comparison: {line}{got}\n"));
            assert!(failure.contains(&message), "{failure}");
        }
    }
}
