//! Numbers and booleans as Go reads them, with Go's error texts.

use super::quote;

/// Reads a whole number of 64 bits. With base 0 a prefix selects the base: `0x`, `0o` or `0`, `0b`; otherwise
/// decimal.
pub(crate) fn parse_int(text: &str, base: u32) -> Result<i64, String> {
    let fail = |why: &str| format!("strconv.ParseInt: parsing {}: {why}", quote(text));
    let (is_negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (base, digits) = if base == 0 { prefixed(digits) } else { (base, digits) };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(base)) {
        return Err(fail("invalid syntax"));
    }
    let value = i128::from_str_radix(digits, base).map_err(|_| fail("value out of range"))?;
    i64::try_from(if is_negative { -value } else { value }).map_err(|_| fail("value out of range"))
}

/// Reads the id of a member: 64 bits in hexadecimal digits, without a sign.
pub(crate) fn parse_member_id(text: &str) -> Result<u64, String> {
    let fail = |why: &str| Err(format!("strconv.ParseUint: parsing {}: {why}", quote(text)));
    if text.is_empty() || !text.chars().all(|c| c.is_ascii_hexdigit()) {
        return fail("invalid syntax");
    }
    u64::from_str_radix(text, 16).or_else(|_| fail("value out of range"))
}

fn prefixed(digits: &str) -> (u32, &str) {
    match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    }
}

/// Reads a boolean.
pub(crate) fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("strconv.ParseBool: parsing {}: invalid syntax", quote(text))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_member_has_no_sign() {
        assert_eq!(parse_member_id("00fF"), Ok(255));
        for text in ["", "-1", "+1", "0x1", "1_0"] {
            let refused = format!("strconv.ParseUint: parsing {text:?}: invalid syntax");
            assert_eq!(parse_member_id(text), Err(refused));
        }
        let refused = parse_member_id("10000000000000000").unwrap_err();
        assert_eq!(refused, "strconv.ParseUint: parsing \"10000000000000000\": value out of range");
    }

    #[test]
    fn numbers_keep_to_their_base_and_to_64_bits() {
        assert_eq!(parse_int("-7f", 16), Ok(-127));
        assert_eq!(parse_int("0x10", 0), Ok(16));
        assert_eq!(parse_int("010", 0), Ok(8));
        assert_eq!(parse_int("-9223372036854775808", 10), Ok(i64::MIN));
        let refused = parse_int("zz", 16).unwrap_err();
        assert_eq!(refused, r#"strconv.ParseInt: parsing "zz": invalid syntax"#);
        for long in ["9223372036854775808", "99999999999999999999999999999999999999999999"] {
            let refused = parse_int(long, 10).unwrap_err();
            assert_eq!(refused, format!("strconv.ParseInt: parsing {long:?}: value out of range"));
        }
    }
}
